"""The event collector's answers and its indexer acknowledgement. SH: sinks/splunk_hec.py; SA: sinks/_splunk_ack.py.

The contract with a misbehaving server, without acknowledgement: test_http_contract.py.
"""
import asyncio
import json
import os

import orjson
import pytest

from shipper.errors import Fatal, Rejected, Retryable
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._http_status import Answer
from shipper.sinks._splunk_ack import Acks
from shipper.sinks.splunk_hec import SINK
from shipper.telemetry import Telemetry
from tests.support.bad_http import BadServer, Reply, Seen

from .codecs import Splunk
from .http_world import World, entry_of
from .syslog_kit import batch
from .test_http_contract import one_schedule


class SplunkAck(Splunk):
    """With acknowledgement: what was taken is indexed at the next poll, told at the one after it, and told once."""

    keys = "url: '{url}', token: splunk-secret, index: main, ack: true, ack_interval: 10ms, ack_timeout: 400ms"

    def __init__(self) -> None:
        self.next_ack = 0
        self.polls: dict[tuple[str, int], int] = {}             # how often an id was asked for

    def records(self, seen: Seen) -> list[bytes]:
        self.channel = seen.headers["x-splunk-request-channel"]
        assert len(self.channel) == 36
        if seen.path == "/services/collector/ack":
            assert orjson.loads(seen.body).keys() == {"acks"} and orjson.loads(seen.body)["acks"]
            return []
        return super().records(seen)

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        if not records:
            return Reply(200, json.dumps({"acks": {str(a): self.told(a) for a in orjson.loads(seen.body)["acks"]}}).encode())
        self.next_ack += 1
        self.polls[self.channel, self.next_ack] = 0
        return Reply(200, b'{"text":"Success","code":0,"ackId":%d}' % self.next_ack)

    def told(self, ack: int) -> bool:
        key = (self.channel, ack)
        self.polls[key] = self.polls.get(key, 99) + 1
        return self.polls[key] == 2


@pytest.mark.parametrize("seed", range(12))
async def test_with_acknowledgement_every_record_is_delivered_or_dead_whatever_the_server_does(seed):
    await one_schedule(SplunkAck, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_300))
async def test_with_acknowledgement_every_record_is_delivered_or_dead_300_times(seed):
    await one_schedule(SplunkAck, seed)


class NeverIndexed(SplunkAck):
    def told(self, ack: int) -> bool:
        return False


async def test_sh1_nothing_is_confirmed_that_was_not_indexed_and_it_goes_again_on_a_new_channel():
    codec = NeverIndexed()
    async with BadServer(codec) as server, World(codec, server) as world:
        world.write(5)
        events = lambda: [s for s in server.seen if s.path.endswith("/event")]  # noqa: E731
        await world.clock.until(lambda: len(events()) >= 2, 1e9)
        assert world.position == (0, 0)
        assert len({s.headers["x-splunk-request-channel"] for s in events()}) == len(events())
        assert len({s.wire for s in events()}) == 1
        codec.told = lambda ack: True                           # type: ignore[method-assign]
        await world.until_done()
        assert len(server.stored) == 5


async def test_flush_returns_when_all_is_indexed_and_says_what_is_not():
    codec = NeverIndexed()
    async with BadServer(codec) as server:
        confirmed: list[int] = []
        text = f"type: splunk_hec, {codec.keys}, proxy: none".replace("{url}", f"http://127.0.0.1:{server.port}")
        entry = entry_of(text.replace("400ms", "60s"))
        assert entry.spec.confirms == "later" and SINK.confirms == "on_send"
        sink = entry.spec.build(entry.config, SinkContext("far", "n1", "", Telemetry(), confirmed.append))
        await sink.start(None)
        batches = [batch([b"m000001"])]
        await sink.send(Request(7, batches), sink.encode(batches))
        with pytest.raises(Retryable, match="1 requests are not acknowledged"):
            await sink.flush(0.05)
        assert confirmed == [] and sink.status()["waiting_for_ack"] == 1
        codec.told = lambda ack: True                           # type: ignore[method-assign]
        await asyncio.wait_for(sink.flush(10), 10)
        assert confirmed == [7]
        await sink.close()


async def test_what_was_acknowledged_before_a_rewind_confirms_nothing():
    codec = SplunkAck()
    async with BadServer(codec) as server:
        confirmed: list[int] = []
        text = f"type: splunk_hec, {codec.keys}, proxy: none".replace("{url}", f"http://127.0.0.1:{server.port}")
        sink = SINK.build(entry_of(text).config, SinkContext("far", "n1", "", Telemetry(), confirmed.append))
        batches = [batch([b"m000001"])]
        await sink.send(Request(1, batches), sink.encode(batches))
        sink.rewound(0)
        await sink.flush(0.1)
        await sink.start(None)
        await asyncio.sleep(0.05)
        assert confirmed == [] and len(server.seen) == 1        # nobody asks for what is void
        await sink.close()


async def test_an_answer_about_a_channel_that_is_gone_confirms_nothing_of_the_new_one():
    """Acknowledgement ids begin anew on each channel."""
    confirmed: list[int] = []
    config = entry_of("type: splunk_hec, url: 'http://127.0.0.1:8088', token: x, ack: true").config
    sink = SINK.build(config, SinkContext("far", "n1", "", Telemetry(), confirmed.append))
    sink._acks.sent(1, 0, 0.0)

    async def answered_late(*_: object, **__: object) -> Answer:
        sink.rewound(0)
        sink._acks.sent(2, 0, 0.0)
        return Answer(200, {}, b'{"acks":{"0":true}}')

    sink.client.request = answered_late                         # type: ignore[method-assign]
    await sink._ask()
    assert confirmed == [] and len(sink._acks) == 1


async def test_an_id_that_was_given_on_a_channel_that_is_gone_is_not_asked_for_on_the_new_one():
    """There it is another request's, whose acknowledgement would confirm this one."""
    config = entry_of("type: splunk_hec, url: 'http://127.0.0.1:8088', token: x, ack: true").config
    sink = SINK.build(config, SinkContext("far", "n1", "", Telemetry()))

    async def taken_late(*_: object, **__: object) -> Answer:
        sink.rewound(0)
        return Answer(200, {}, b'{"code":0,"ackId":0}')

    sink.client.request = taken_late                            # type: ignore[method-assign]
    one = batch([b"m"])
    await sink.send(Request(1, [one]), sink.encode([one]))
    assert len(sink._acks) == 0


# ---------------------------------------------------------------- acknowledgements, pure

def test_sa1_a_number_is_confirmed_when_all_before_it_are():
    acks = Acks()
    for number, ack in ((3, 10), (4, 11), (6, 12)):
        acks.sent(number, ack, float(number))
    assert acks.asked() == [10, 11, 12] and acks.oldest_s() == 3.0
    assert acks.acked([12, 99]) is None and acks.asked() == [10, 11]
    assert acks.acked([10]) == 3 and acks.oldest_s() == 4.0
    assert acks.acked([10]) is None
    assert acks.acked([11]) == 6 and len(acks) == 0 and acks.oldest_s() is None


def test_sa2_after_clear_nothing_is_known():
    acks = Acks()
    acks.sent(1, 10, 0.0)
    acks.clear()
    assert acks.acked([10]) is None and acks.asked() == []


# ---------------------------------------------------------------- answers

def read(status, body, keys=""):
    config = entry_of("type: splunk_hec, url: 'http://127.0.0.1:8088', token: x" + keys).config
    return SINK.build(config, SinkContext("far", "n1", "", Telemetry()))._read(Answer(status, {}, body))


async def test_sh1_a_channel_that_became_invalid_confirms_nothing_that_was_sent_on_it_before():
    """Request 1 waits for its acknowledgement when request 2 hears of an invalid channel: if 2 went again alone, its
    acknowledgement would confirm 1 as well."""
    confirmed: list[int] = []
    resent: list[Exception] = []
    config = entry_of("type: splunk_hec, url: 'http://127.0.0.1:8088', token: x, ack: true").config
    context = SinkContext("far", "n1", "", Telemetry(), confirmed.append)
    sink = SINK.build(config, context)
    context.resend = resent.append
    batches = [batch([b"m000001"])]
    answers = [Answer(200, {}, b'{"text":"Success","code":0,"ackId":0}'),
               Answer(400, {}, b'{"text":"Invalid data channel","code":11}')]

    async def post(payload: object) -> Answer:
        return answers.pop(0)

    sink.post = post                                            # type: ignore[method-assign]
    await sink.send(Request(1, batches), sink.encode(batches))
    with pytest.raises(Retryable, match="new channel"):
        await sink.send(Request(2, batches), sink.encode(batches))
    assert len(resent) == 1 and confirmed == []
    await sink.close()


def test_an_incorrect_index_is_found_out_by_halving():
    """Splunk counts from 1 there (one event alone is answered with number 1), from 0 beside every other code."""
    with pytest.raises(Rejected, match="Incorrect index") as caught:
        read(400, b'{"text":"Incorrect index","code":7,"invalid-event-number":1}')
    assert caught.value.indexes == ()


@pytest.mark.parametrize("code", [6, 12, 13, 15])
def test_an_event_that_the_collector_names_is_at_fault_and_the_rest_goes_again(code):
    with pytest.raises(Rejected, match="Invalid data") as caught:
        read(400, b'{"text":"Invalid data","code":%d,"invalid-event-number":3}' % code)
    assert caught.value.indexes == (3,) and not caught.value.rest_delivered


@pytest.mark.parametrize(("status", "body", "error"), [
    (400, b'{"text":"Invalid data format","code":6}', Rejected),
    (400, b'{"text":"Data channel is missing","code":10}', Fatal), (400, b'{"text":"ACK is disabled","code":14}', Fatal),
    (403, b'{"text":"Token disabled","code":1}', Fatal), (400, b'{"text":"Invalid channel","code":11}', Retryable),
    (403, b'{"text":"Invalid token","code":4}', Retryable), (401, b'{"text":"Token is required","code":2}', Retryable),
    (503, b'{"text":"Server is busy","code":9}', Retryable), (500, b'{"text":"Internal server error","code":8}', Retryable),
    (200, b"<html>login</html>", Retryable), (200, b"", Retryable), (200, b"[]", Retryable), (400, b"nginx", Rejected),
])
def test_sh2_sh3_other_answers(status, body, error):
    with pytest.raises(error):
        read(status, body)


def test_success_is_code_0():
    assert read(200, b'{"text":"Success","code":0}')["code"] == 0


async def test_a_token_without_acknowledgement_is_a_setting_to_mend():
    async with BadServer(Splunk()) as server:
        text = f"type: splunk_hec, {SplunkAck.keys}, proxy: none".replace("{url}", f"http://127.0.0.1:{server.port}")
        sink = SINK.build(entry_of(text).config, SinkContext("far", "n1", "", Telemetry()))
        batches = [batch([b"m000001"])]
        with pytest.raises(Fatal, match="ack: false"):
            await sink.send(Request(1, batches), sink.encode(batches))
        await sink.close()


@pytest.mark.parametrize(("keys", "says"), [
    ("", "is needed"), ("token: a, token_file: /nonexistent", "stands beside token"),
    ("token: a, index: '{time}'", "all the time"),
    ("token: a, max_body: 1KiB", "no room"), ("token: a, ack: true, ack_timeout: 1s, ack_interval: 2s", "is not longer"),
    ("token: a, auth: {bearer: b}", "stands beside token"), ("token: ' '", "is empty"),
])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of("type: splunk_hec, url: 'http://127.0.0.1:8088'" + (", " + keys if keys else ""))


def test_the_token_is_read_again_from_its_file_and_never_said(tmp_path):
    path = tmp_path / "token"
    path.write_text("first-secret\n")
    telemetry = Telemetry()
    config = entry_of(f"type: splunk_hec, url: 'https://splunk:8088', token_file: {path}").config
    sink = SINK.build(config, SinkContext("far", "n1", "", telemetry))
    headers = sink.client._credentials.headers
    assert asyncio.run(headers()) == {"Authorization": "Splunk first-secret"}
    path.write_text("second-secret\n")
    assert asyncio.run(headers()) == {"Authorization": "Splunk second-secret"}
    stat = path.stat()
    path.write_text("third--secret\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert asyncio.run(headers()) == {"Authorization": "Splunk second-secret"}      # nothing to be seen of the change
    sink.client._credentials.refused()
    assert asyncio.run(headers()) == {"Authorization": "Splunk third--secret"}
    assert telemetry.scrub("it says first-secret and second-secret") == telemetry.scrub("it says first-secret and first-secret")
    assert "secret and" not in telemetry.scrub("it says second-secret and")


async def test_a_mistake_of_ours_in_asking_for_acknowledgements_is_seen_and_they_are_asked_for_again():
    config = entry_of("type: splunk_hec, url: 'http://127.0.0.1:8088', token: x, ack: true, ack_interval: 1ms").config
    sink = SINK.build(config, SinkContext("far", "n1", "", Telemetry()))
    asked = []

    async def answered(*_: object, **__: object) -> Answer:
        asked.append(1)
        return Answer(200, {}, '{"acks":{"²":true,"0":true}}'.encode()) if len(asked) > 1 else None     # a bug

    sink.client.request = answered                              # type: ignore[method-assign]
    sink._acks.sent(1, 0, 0.0)
    await sink.start(None)
    with pytest.raises(AttributeError):
        async with asyncio.timeout(5):
            while True:
                await asyncio.sleep(0.001)
                sink._raise_poller()
    sink._acks.sent(2, 0, asyncio.get_running_loop().time())
    await sink.flush(5.0)
    assert len(asked) == 2
    await sink.close()
