"""Standard output: bytes for programs, text for people, and nothing that a log could make a terminal do."""
from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import tty
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode import record_json
from shipper.errors import Fatal, Retryable
from shipper.model import Batch, Request, Source
from shipper.sinks import SinkContext, find
from shipper.sinks.stdout import StdoutConfig, StdoutSink, encode_pretty
from shipper.telemetry import Telemetry

POD = Source("containers", "c", "/l", "/l", "n1", "default", "web-0", "uid", "web", "cid")
HOST = Source("files", "h", "/var/log/syslog", "/var/log/syslog", "n1")
TIME = b"2026-11-20T09:04:05.123456789Z"
CONTEXT = SinkContext("out", "n1", "/nonexistent", Telemetry())


def batch(*messages: bytes, source: Source = POD, stream: bytes = b"stdout", time: bytes = TIME, marks=None) -> Batch:
    count = len(messages)
    return Batch(source, "key", [time] * count, [stream] * count, [b"%x+1" % i for i in range(count)], messages, marks, 10**18)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError as error:
            assert error.errno == 9             # the test closed it


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    keyboard, screen = pty.openpty()
    tty.setraw(screen)
    yield keyboard, screen
    os.close(keyboard)
    os.close(screen)


async def send(sink: StdoutSink, *batches: Batch) -> None:
    await sink.send(Request(1, list(batches)), sink.encode(batches))


async def test_into_a_pipe_goes_ndjson_in_order(pipe):
    reader, writer = pipe
    sink = StdoutSink(StdoutConfig(), CONTEXT, writer, {})
    batches = [batch(b"one", b"two"), batch(b"three", source=HOST, stream=b"")]
    await send(sink, *batches)
    assert os.read(reader, 100_000) == b"".join(map(record_json.encode, batches))
    await sink.close()


async def test_on_a_terminal_records_are_readable_and_stderr_is_red(terminal):
    keyboard, screen = terminal
    sink = StdoutSink(StdoutConfig(), CONTEXT, screen, {})
    await send(sink, batch(b"fine"), batch(b"broken", stream=b"stderr"))
    written = os.read(keyboard, 100_000)
    name = re.search(rb"\x1b\[\d+mdefault/web-0/web\x1b\[0m", written)[0]
    time = b"\x1b[2m09:04:05.123\x1b[0m"
    assert written == time + b" " + name + b" fine\n" + time + b" " + name + b" \x1b[31mbroken\x1b[0m\n"
    await sink.close()


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_without_colour_there_is_no_escape_at_all(terminal, environ):
    keyboard, screen = terminal
    sink = StdoutSink(StdoutConfig(), CONTEXT, screen, environ)
    await send(sink, batch(b"broken", stream=b"stderr"))
    assert os.read(keyboard, 100_000) == b"09:04:05.123 default/web-0/web broken\n"
    await sink.close()


async def test_the_format_of_the_config_wins_over_what_is_at_the_other_end(pipe, terminal):
    sink = StdoutSink(StdoutConfig(format="pretty"), CONTEXT, pipe[1], {})
    await send(sink, batch(b"x"))
    assert os.read(pipe[0], 1000) == b"09:04:05.123 default/web-0/web x\n"
    await sink.close()
    sink = StdoutSink(StdoutConfig(format="ndjson"), CONTEXT, terminal[1], {})
    await send(sink, batch(b"x"))
    assert json.loads(os.read(terminal[0], 1000))["message"] == "x"
    await sink.close()


async def test_a_reader_that_does_not_read_blocks_neither_the_loop_nor_the_end(pipe):
    reader, writer = pipe
    sink = StdoutSink(StdoutConfig(), CONTEXT, writer, {})
    sending = asyncio.create_task(send(sink, batch(b"x" * 1_000_000)))
    assert await asyncio.to_thread(os.read, reader, 1) == b"{"      # the thread is at it, and a pipe holds 64 KiB
    assert not sending.done()
    await sink.close()
    with pytest.raises(Retryable, match="stopped while its reader does not read"):
        await sending


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_slow_reader_gets_everything_once(pipe, blocking):
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    sink = StdoutSink(StdoutConfig(), CONTEXT, writer, {})
    sent = batch(b"x" * 300_000, b"y" * 300_000)
    sending, read = asyncio.create_task(send(sink, sent)), b""
    while len(read) < len(record_json.encode(sent)):
        read += await asyncio.to_thread(os.read, reader, 70_000)
    await sending
    assert read == record_json.encode(sent)
    await sink.close()


async def test_a_reader_that_is_gone_is_fatal(pipe):
    reader, writer = pipe
    os.close(reader)
    sink = StdoutSink(StdoutConfig(), CONTEXT, writer, {})
    with pytest.raises(Fatal, match="closed by its reader; start the agent with a reader"):
        await send(sink, batch(b"x"))
    await sink.close()


async def test_a_descriptor_that_takes_nothing_is_retried(pipe):
    sink = StdoutSink(StdoutConfig(), CONTEXT, os.open("/dev/full", os.O_WRONLY), {})
    with pytest.raises(Retryable, match="No space left on device; see to where it leads"):
        await send(sink, batch(b"x"))
    await sink.close()
    os.close(sink._descriptor)


# ------------------------------------------------------------ for people


@pytest.mark.parametrize(("given_batch", "expected"), [
    (batch(b"a\x1b[2Jb"), b"09:04:05.123 default/web-0/web a<U+001B>[2Jb\n"),
    (batch(b"a\rb\x07\x9b1m"), "09:04:05.123 default/web-0/web a<U+000D>b<U+0007>\ufffd1m\n".encode()),
    (batch("a\u202eb\u009bc".encode()), b"09:04:05.123 default/web-0/web a<U+202E>b<U+009B>c\n"),
    (batch("tab\tümlaut 日本".encode()), "09:04:05.123 default/web-0/web tab\tümlaut 日本\n".encode()),
    (batch(b"two\nlines"), b"09:04:05.123 default/web-0/web two\n    lines\n"),
    (batch(b"x", source=replace(POD, pod="p\x1b[2J\nq", cache={})), b"09:04:05.123 default/p<U+001B>[2J<U+000A>q/web x\n"),
    (batch(b"x", source=HOST), b"09:04:05.123 /var/log/syslog x\n"),
    (batch(b"x", time=b"2026-11-20T09:04:05+09:00"), b"09:04:05     default/web-0/web x\n"),
    (batch(b"x", time=b"2026-11-20T09:04:05.12Z"), b"09:04:05.12  default/web-0/web x\n"),
    (batch(b"x", marks={0: {"truncated": 9, "partial": True}}), b"09:04:05.123 default/web-0/web x (truncated, partial)\n"),
])
def test_lines_for_people(given_batch, expected):
    assert encode_pretty(given_batch, False) == expected


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=30), st.text(max_size=20))
def test_no_log_and_no_name_sends_a_control_character_to_the_terminal(message, time, name):
    written = encode_pretty(batch(message, source=replace(POD, pod=name, cache={}), time=time), False).decode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", written)


def test_a_pod_keeps_its_colour_and_none_is_red():
    colours = {re.search(rb"(\x1b\[\d+m)default", encode_pretty(batch(b"x", source=replace(POD, pod=f"p{i}", cache={})), True))[1]
               for i in range(200)}
    assert len(colours) > 5 and not colours & {b"\x1b[31m", b"\x1b[91m"}
    assert encode_pretty(batch(b"x"), True) == encode_pretty(batch(b"x"), True)


def test_the_spec_promises_at_least_once_with_ids():
    spec = find("stdout")
    assert spec.confirms == "on_send" and "ids" in spec.guarantee(StdoutConfig()).can_repeat
    assert spec.targets(StdoutConfig()) == ["standard output"]
