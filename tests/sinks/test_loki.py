"""What Loki's answers mean. LK: sinks/loki.py. The contract with a misbehaving server: test_http_contract.py."""
import orjson
import pytest

from shipper.errors import Rejected, Retryable, TooLarge
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._http_status import Answer
from shipper.sinks.loki import SINK
from shipper.telemetry import Telemetry
from tests.deliver.support import section, source
from tests.support.bad_http import BadServer, Reply, Seen

from .codecs import Loki
from .http_world import World, entry_of
from .syslog_kit import batch


def sink(keys=""):
    text = "type: loki, url: 'http://127.0.0.1:3100', labels: {namespace: '{namespace}', pod: '{pod}'}" + keys
    return SINK.build(entry_of(text).config, SinkContext("far", "n1", "", Telemetry()))


def request():
    old = batch([b"one", b"two"], time=b"2026-11-20T09:04:05Z")
    new = batch([b"three", b"four"], first=2, time=b"2026-11-20T09:04:06Z")
    other = batch([b"five"], first=9, time=b"2026-11-20T09:04:05Z", pod="web-1")
    return Request(1, [old, new, other])


def refused(status, text, keys=""):
    with pytest.raises((Rejected, Retryable, TooLarge)) as caught:
        sink(keys).read_answer(Answer(status, {}, text.encode()), request())
    return caught.value


def test_what_is_too_old_is_named_by_its_time_and_the_rest_goes_again():
    error = refused(400, "entry for stream '{namespace=\"default\", pod=\"web-0\"}' has timestamp too old: 2026-11-20T09:04:05Z, "
                         "oldest acceptable timestamp is: 2026-11-20T09:04:06Z")
    assert isinstance(error, Rejected) and error.indexes == (0, 1, 4) and not error.rest_delivered
    assert "too old" in str(error)


def test_what_is_too_far_behind_is_named_by_its_stream_and_time():
    error = refused(400, "entry with timestamp 2026-11-20 09:04:05 +0000 UTC ignored, reason: 'entry too far behind, entry "
                         "timestamp is: 2026-11-20T09:04:05Z, oldest acceptable timestamp is: 2026-11-20T09:04:06Z' for stream: "
                         '{detected="x", namespace="default", pod="web-0"},\nuser \'fake\', total ignored: 2 out of 4')
    assert error.indexes == (0, 1)


def test_lines_over_the_limit_of_the_server_are_named():
    error = refused(400, "Max entry size '4' bytes exceeded for stream '{pod=\"web-0\"}' while adding an entry with length "
                         "'5' bytes")
    assert error.indexes == (2,)


@pytest.mark.parametrize("text", [
    "entry out of order", "error at least one label pair is required per stream", "", "oldest acceptable timestamp is: never",
    "timestamp too old: x, oldest acceptable timestamp is: yesterday", "entry too far behind' for stream: {",
])
def test_an_answer_that_names_nothing_is_found_out_by_halving(text):
    error = refused(400, text)
    assert isinstance(error, Rejected) and error.indexes == ()


def test_rate_limits_and_gRPC_limits():
    assert isinstance(refused(429, "Ingestion rate limit exceeded"), Retryable)
    assert isinstance(refused(500, "rpc error: grpc: received message larger than max (5 vs. 4)"), TooLarge)
    assert isinstance(refused(500, "oops"), Retryable)


@pytest.mark.parametrize(("size", "fits"), [(1023, True), (1024, True), (1025, False)])
def test_a_line_over_max_line_is_never_sent(size, fits):
    far = sink(", max_line: 1KiB")
    batches = [batch([b"short", b"x" * size])]
    if fits:
        assert len(far.encode(batches)) > size
    else:
        with pytest.raises(TooLarge) as caught:
            far.encode(batches)
        assert caught.value.indexes == (1,)


def test_the_tenant_and_the_path():
    far = sink(", tenant: team-a")
    assert far.encode([batch([b"a"])]).headers == {"X-Scope-OrgID": "team-a"} and far.url == "http://127.0.0.1:3100/loki/api/v1/push"


@pytest.mark.parametrize(("keys", "says"), [
    ("labels: {'a-b': x}", "is not the name of a label"), ("labels: {a: '{time}'}", "new stream all the time"),
    ("labels: {a: '{nope}'}", "unknown field"), ("labels: {}", "0 labels"), ("tenant: ''", "cannot stand in a header"),
    ("max_line: 10", "no room"), ("labels: {" + ", ".join(f"l{i}: x" for i in range(11)) + "}", "11 labels"),
])
def test_wrong_configs(keys, says):
    with pytest.raises(Exception, match=says):
        entry_of("type: loki, url: 'http://127.0.0.1:3100', " + keys)


def test_labels_that_make_many_streams_are_warned_of():
    [(key, says)] = SINK.warn(entry_of("type: loki, url: 'http://127.0.0.1:1', labels: {uid: '{pod_uid}'}").config)
    assert key == "labels.uid" and "stream for each pod" in says


class LokiOfToday(Loki):
    """Refuses what is older than a day, and says so as Loki does: the time of one, and the oldest that it takes."""

    def partial(self, seen: Seen, records: list[bytes], dead: dict[int, str], retry: set[int]) -> Reply:
        text = ("entry for stream '{namespace=\"default\"}' has timestamp too old: 2026-11-10T09:04:05Z, "
                "oldest acceptable timestamp is: 2026-11-19T09:04:05Z")
        return Reply(400, text.encode())


def _old(record: bytes) -> str:
    return "too old" if int(orjson.loads(record)[0]) < 1_795_079_045_000_000_000 else ""


async def test_lk1_after_a_week_of_outage_what_is_too_old_is_dead_and_all_else_delivered_without_halving():
    codec = LokiOfToday()
    async with BadServer(codec, refuses=_old) as server, World(codec, server) as world:
        number = 0
        for day, count, pod in ((b"10", 3_000, "a"), (b"20", 200, "a"), (b"11", 700, "b"), (b"20", 300, "b"), (b"12", 50, "a")):
            made = section(source(pod), number * 50, [b"m%06d" % (number + i) for i in range(count)])
            made.batch.times = [b"2026-11-%b T09:04:05Z".replace(b" ", b"") % day] * count
            world.buffer.append(made)
            number += count
        world.buffer.append(last := section(source("c"), 0, [b"m999999"]))
        last.batch.times = [b"2026-11-20T09:04:06Z"]
        await world.until_done()
        assert len(world.letters.records) == 3_750 and len(server.stored) == 501
        assert all("too old" in why for _, _, why in world.letters.records.values())
        assert len(server.seen) < 30


async def test_a_proxys_login_page_is_not_taken_for_delivered():
    codec = Loki()
    async with BadServer(codec, schedule=iter(["login", "login"])) as server, World(codec, server) as world:
        world.write(5)
        await world.until_done()
        assert len(server.stored) == 5 and server.faults[:3] == ["login", "login", "ok"]
