"""Decode and process together, on any bytes, cut anywhere: columns, ids and sums (P11); bytes untouched where all is off."""
from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.agent.formats import decoder_for
from shipper.config.process_multiline import MultilinePattern
from shipper.config.process_redact import Limit, RedactRule
from shipper.config.processing import Condition, ParseRegex, Processing
from shipper.decode import Budget
from shipper.model import Batch, Piece, Source
from shipper.process import patterns
from shipper.process.patterns import PatternError
from shipper.process.redact_rules import _rules
from shipper.tail.cutter import LineDecoder
from shipper.tail.ports import Settings

from .test_patterns import BLOWS_UP, ENGINES

KEY = "k" * 16
SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web")
T = b"2026-11-20T09:04:05.123456789Z "
OFF = Processing(multiline="off", parse="off")
ALL = Processing(
    multiline="auto", parse="auto",
    redact=["email", "ipv4", "credit_card", "private_key", RedactRule(name="own", pattern=r"\bs\d+")],
    keep=[Condition(match="."), Condition(severity=">=INFO")], drop=[Condition(match="noise"), Condition(field="n", equals=1)],
    limit=Limit(records_per_s=5, burst=1.0, action="drop"))


def made(processing: Processing | None, form: str = "cri") -> LineDecoder:
    return decoder_for(Budget())(SOURCE, Settings("c", form, "beginning", 1 << 20, 1 << 20, 2.0, (), False, processing))


def batches(decoder: LineDecoder, data: bytes, cuts: list[int]) -> Iterator[Batch]:
    def reread(piece: Piece) -> bytes:
        return data[piece.start : piece.start + piece.length]

    at = 0
    for cut in [*sorted(cuts), len(data)]:
        end = data.rfind(b"\n", at, cut) + 1
        if end <= at:
            continue
        found = decoder.decode(KEY, at, data[at:end].split(b"\n")[:-1], read_ns=1, now_s=0.0, reread=reread)
        if found is not None:
            yield found
        at = end
    yield from [batch for _, batch in decoder.flush(before_s=1e9, read_ns=1, reread=reread)]


def named_bytes(item: bytes) -> int:
    return sum(int(part.rpartition(b"+")[2], 16) for part in item.split(b","))


LINE = st.binary(max_size=40).map(lambda line: line.replace(b"\n", b" "))
CUTS = st.lists(st.integers(0, 600), max_size=4)


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(LINE, min_size=1, max_size=12), cuts=CUTS, processing=st.sampled_from([None, OFF]),
       stream=st.sampled_from([b"stdout", b"stderr"]))
def test_with_all_processing_off_messages_are_byte_for_byte_the_input(
    lines: list[bytes], cuts: list[int], processing: Processing | None, stream: bytes
) -> None:
    for form, prefix in (("raw", b""), ("cri", T + stream + b" F ")):
        data = b"".join(prefix + line + b"\n" for line in lines)
        found = list(batches(made(processing, form), data, cuts))
        assert [message for batch in found for message in batch.messages] == lines
        places = [item.partition(b"+") for batch in found for item in batch.ids]
        assert [data[int(at, 16) :][: int(size, 16)] for at, _, size in places] == [prefix + line + b"\n" for line in lines]
        assert all(batch.severities is None and batch.fields is None and not batch.marks for batch in found)


TEXT = st.one_of(LINE, st.sampled_from([
    b"Traceback (most recent call last):", b'  File "a.py", line 1, in f', b"ValueError: x", b"\tat a.B.c(B.java:1)",
    b"a.b.Exception: x", b'{"level":"info","msg":"from bob@example.com","n":1}', b'{"n":2,"ip":"10.1.2.3"}', b"noise s123",
    b"-----BEGIN RSA PRIVATE KEY-----", b"MIIEpAIBAAKCAQEA7bqY0", b"4111111111111111",
]))
CRI = st.tuples(st.sampled_from([b"stdout", b"stderr"]), st.sampled_from([b"F", b"F", b"P", b"bad"]), TEXT).map(
    lambda each: (T + each[0] + b" " + each[1] + b" " + each[2] if each[1] != b"bad" else each[2]) + b"\n")


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(CRI, min_size=1, max_size=25), cuts=CUTS)
def test_with_all_of_it_on_columns_are_equal_ids_unique_and_the_bytes_add_up(lines: list[bytes], cuts: list[int]) -> None:
    data, decoder = b"".join(lines), made(ALL)
    ids: list[bytes] = []
    for batch in batches(decoder, data, cuts):
        columns = [batch.times, batch.streams, batch.ids, batch.messages, batch.severities, batch.fields]
        assert len({len(column) for column in columns if column is not None}) == 1 and len(batch)
        assert not any(b"bob@example.com" in text for text in (*batch.messages, *(batch.fields or ())))
        ids += batch.ids
    told = [item for item in ids if not named_bytes(item)]
    assert len(set(ids)) == len(ids) and len(told) <= 1
    drops = decoder.take_drops(KEY) or {}
    assert sum(map(named_bytes, ids)) + sum(n for reason, n in drops.items() if reason.endswith(":bytes")) == len(data)
    assert not [each for each in decoder.state() if each.pieces]


# ------------------------------------------------------------ patterns that blow up

PLACES = {
    "multiline start": lambda text: Processing(multiline=MultilinePattern(start=text)),
    "multiline continue": lambda text: Processing(multiline=MultilinePattern(continue_=text)),
    "parse": lambda text: Processing(parse=ParseRegex(regex=f"(?P<all>{text})")),
    "keep": lambda text: Processing(keep=[Condition(match=text)]),
    "drop": lambda text: Processing(drop=[Condition(match=text)]),
    "redact": lambda text: Processing(redact=[RedactRule(name="own", pattern=text)]),
}
SOME = ["(a+)+$", "^.*.*x", r"\w+@x", "(?i)(?:a|A)*b"]


def cost_s(decoder: LineDecoder, size: int) -> float:
    lines = [b"a" * size + b"!", b"a" * 40]
    data = b"".join(T + b"stdout F " + line + b"\n" for line in lines)
    began_s = time.thread_time()
    assert sum(len(batch) for batch in batches(decoder, data, [])) <= 2
    return time.thread_time() - began_s


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("pattern", [pytest.param(text, marks=() if text in SOME else pytest.mark.long) for text in BLOWS_UP])
def test_a_known_bad_pattern_is_refused_or_linear_on_a_line_of_a_megabyte_wherever_it_stands(
    pattern: str, place: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "engine", lambda: engine)
    _rules.cache_clear()
    plain = pattern.removeprefix("(?i)") if place == "parse" else pattern
    try:
        decoder = made(PLACES[place](plain))
    except PatternError:
        return
    finally:
        _rules.cache_clear()
    assert engine == "google-re2", "the standard engine takes none of them"
    quarter_s = cost_s(decoder, 250_000)
    assert cost_s(made(PLACES[place](plain)), 1_000_000) < 8 * max(quarter_s, 0.05)


@pytest.mark.parametrize("glob", ["*a*a*a*a*a*b", "*[a-z]*[a-z]*[0-9]", "?*?*?*b", "a*" * 50 + "b"])
def test_a_glob_full_of_stars_is_linear_on_a_line_of_a_megabyte(glob: str) -> None:
    keep = Processing(keep=[Condition(glob=[glob, "x"])])
    quarter_s = cost_s(made(keep), 250_000)
    assert cost_s(made(keep), 1_000_000) < 8 * max(quarter_s, 0.05)
