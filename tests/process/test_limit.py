"""Rate limits (process/limit.py L1 to L3)."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from shipper.agent.formats import decoder_for
from shipper.agent.verify_report import Tally, make_report
from shipper.config.process_redact import ByField, Limit
from shipper.config.processing import Processing as Wanted
from shipper.decode import Budget
from shipper.model import Batch, Source
from shipper.process.chain import Work
from shipper.process.limit import Limiter
from shipper.process.limits import Limits
from shipper.tail.ports import Settings

KEY = "abcdefghijklmnop"


def source(pod: str = "web-0") -> Source:
    return Source("containers", "c", "/p", "/p", "n1", namespace="shop", pod=pod, container="web")


def work(count: int, now_s: float, *, at: int = 0, values: list[dict[str, Any]] | None = None) -> Work:
    ids = [b"%x+a" % ((at + i) * 10) for i in range(count)]
    return Work(Batch(source(), KEY, [b"T"] * count, [b"stdout"] * count, ids, [b"x" * 9] * count, None, 0, False), now_s, values)


def test_delay_lets_the_batch_pass_and_its_file_waits_until_the_debt_is_paid() -> None:
    limiter = Limiter(Limit(records_per_s=100, burst=1.0), source(), Limits())  # type: ignore[arg-type]
    first, second, third = work(100, 0.0), work(250, 0.0), work(10, 3.5)
    for each in (first, second, third):
        limiter(each)
        assert not each.drops
    assert (first.hold_until_s, second.hold_until_s, third.hold_until_s) == (0.0, 2.5, 0.0)
    assert len(second.batch) == 250


def test_a_limit_of_bytes_alone_is_paid_back_in_bytes() -> None:
    limiter = Limiter(Limit(bytes_per_s=90, burst=1.0), source(), Limits())  # type: ignore[arg-type]
    found = []
    for now_s in (0.0, 0.0, 1.5, 3.0):
        each = work(10, now_s)                           # 90 bytes
        limiter(each)
        found.append(each.hold_until_s)
    assert found == [0.0, 1.0, 2.0, 0.0]


def test_all_files_of_a_pod_share_its_budget_and_another_pod_has_its_own() -> None:
    limits, limit = Limits(), Limit(records_per_s=10, burst=1.0)  # type: ignore[arg-type]
    one, two, other = work(10, 0.0), work(10, 0.0), work(10, 0.0)
    Limiter(limit, source(), limits)(one)
    Limiter(limit, source(), limits)(two)
    Limiter(limit, source("web-1"), limits)(other)
    assert (one.hold_until_s, two.hold_until_s, other.hold_until_s) == (0.0, 1.0, 0.0)


def test_by_a_field_each_value_is_in_debt_for_its_own_records_and_the_file_waits_for_the_longest() -> None:
    limit = Limit(by=ByField(field="user.id"), records_per_s=2, bytes_per_s=36, burst=1.0)  # type: ignore[arg-type]
    limits = Limits()
    values = [{"user": {"id": name}} for name in "aabbbbbb"]
    first = work(8, 0.0, values=values)
    Limiter(limit, source(), limits)(first)
    assert first.hold_until_s == 2.0 and len(first.batch) == 8          # b: six, of which two were free; a: none too many
    later = work(1, 0.0, values=values[:1])
    Limiter(limit, source(), limits)(later)
    assert later.hold_until_s == 0.5


def test_records_without_the_field_have_a_budget_of_their_own_together() -> None:
    limit = Limit(by=ByField(field="user.id"), records_per_s=2, burst=1.0, action="drop")  # type: ignore[arg-type]
    each = work(7, 0.0, values=[None, {}, {"user": 7}, {"user": {}}, {"user": {"id": None}}, {"user": {"id": "a"}}, {"x": 1}])
    Limiter(limit, source(), Limits())(each)
    assert len(each.batch) == 3 and each.drops["rate_limited"] == 4


def test_once_does_not_wait() -> None:
    limits = Limits()
    limits.delays = False
    batch = work(1000, 0.0)
    Limiter(Limit(records_per_s=1), source(), limits)(batch)
    assert batch.hold_until_s == 0.0


def test_drop_counts_records_and_source_bytes_and_one_record_tells_of_them() -> None:
    limiter = Limiter(Limit(records_per_s=10, burst=1.0, action="drop", name="L"), source(), Limits())  # type: ignore[arg-type]
    first = work(30, 0.0)
    limiter(first)
    assert len(first.batch) == 10 and first.drops == {"rate_limited": 20, "rate_limited:bytes": 200}
    assert limiter.overdue_since_s() == 0.0 and limiter.overdue(-1.0, 0) is None
    second = work(15, 30.0, at=30)
    limiter(second)
    told = second.batch.messages[-1]
    assert told == b"25 records of shop/web-0 dropped by limit 'L' in 30 s", told
    assert second.batch.marks == {10: {"rate_limited": 25}}
    assert all(part.endswith(b"+0") for part in second.batch.ids[-1].split(b","))
    assert limiter.overdue_since_s() is None
    assert len({len(column) for column in (second.batch.ids, second.batch.times, second.batch.messages,
        second.batch.streams)}) == 1


def test_what_was_dropped_is_told_when_the_log_is_quiet() -> None:
    limiter = Limiter(Limit(bytes_per_s=90, burst=1.0, action="drop"), source(), Limits())  # type: ignore[arg-type]
    limiter(work(30, 5.0))
    found = limiter.overdue(7.0, 0)
    assert found is not None and found[0] == KEY and found[1].messages[0].startswith(b"20 records of shop/web-0")


def test_each_value_of_a_field_has_its_own_budget() -> None:
    limiter = Limiter(Limit(by=ByField(field="http.user"), records_per_s=2, burst=1.0, action="drop"),  # type: ignore[arg-type]
                      source(), Limits(), lambda text: text.replace(b"bob", b"[name]"))
    one = work(6, 0.0, values=[{"http": {"user": name}} for name in ("bob", "bob", "bob", "eve", "bob", "eve")])
    limiter(one)
    assert [item for item in one.batch.ids] == [b"0+a", b"a+a", b"1e+a", b"32+a"]
    found = limiter.overdue(1.0, 0)
    assert found is not None and found[1].messages == [b"2 records of [name] dropped by limit 'by http.user' in 1 s"]


def test_there_are_never_more_buckets_than_allowed() -> None:
    limits = Limits(most=3)
    for pod in range(10):
        Limiter(Limit(records_per_s=1), source(f"web-{pod}"), limits)(work(1, 0.0))
    assert len(limits) == 3


def test_verify_takes_the_record_of_the_agent_for_no_bytes() -> None:
    tally = Tally()
    ids = [f"{KEY}:0+a", f"{KEY}:a+0,{KEY}:32+0", f"{KEY}:3c+a"]
    tally.add_lines([b'{"id":"%s"}' % item.encode() for item in ids])
    report = make_report(tally, None)
    assert (report.unparsed, report.records, tally.of_the_agent) == (0, 2, 1)
    assert report.total("missing_bytes") == 50


def test_a_limit_by_a_field_works_whichever_parser_found_the_field() -> None:
    """Parsers that work line by line leave no values, only the column of fields."""
    limiter = Limiter(Limit(by=ByField(field="user"), records_per_s=1, burst=1.0, action="drop"),  # type: ignore[arg-type]
                      source(), Limits())
    one = work(4, 0.0)
    one.batch = replace(one.batch, fields=[b'{"user":"%b"}' % name for name in (b"bob", b"eve", b"bob", b"eve")])
    limiter(one)
    assert len(one.batch) == 2 and one.drops["rate_limited"] == 2
    found = limiter.overdue(1.0, 0)
    assert found is not None and found[1].messages == [b"1 records of bob, 1 records of eve dropped by limit 'by user' in 1 s"]


def test_two_limits_without_a_name_do_not_pay_each_others_debts() -> None:
    limits = Limits()
    Limiter(Limit(records_per_s=1, burst=1.0), source(), limits)(work(1000, 0.0))  # type: ignore[arg-type]
    other = work(10, 0.0)
    Limiter(Limit(records_per_s=1000, burst=1.0), source(), limits)(other)  # type: ignore[arg-type]
    assert other.hold_until_s == 0.0


def test_what_is_closed_by_time_earns_no_tokens_a_second_time() -> None:
    """A flush asks with the time before which a record was quiet: two seconds ago. Those seconds were paid out already."""
    limits, limit = Limits(), Limit(records_per_s=10, burst=1.0, action="drop")  # type: ignore[arg-type]
    limiter, passed = Limiter(limit, source(), limits), 0
    for tenth in range(100):
        for now_s in (tenth / 10, tenth / 10 - 2.0):
            each = work(10, now_s)
            limiter(each)
            passed += sum(b"dropped by" not in message for message in each.batch.messages)
    assert passed <= 10 + 10 * 10


def test_a_debt_made_by_what_is_closed_by_time_is_waited_for_from_now_on() -> None:
    limits, limit = Limits(), Limit(records_per_s=10, burst=1.0)  # type: ignore[arg-type]
    Limiter(limit, source(), limits)(work(10, 100.0))
    late = work(10, 98.0)
    Limiter(limit, source(), limits)(late)
    assert late.hold_until_s == 101.0


def test_the_bucket_that_is_unused_longest_goes_first_and_one_in_debt_that_is_used_stays() -> None:
    """Else a pod that is over its limit all the time began anew, with a fresh burst, each time that many others had come."""
    limits, limit = Limits(most=2), Limit(records_per_s=1, burst=1.0)  # type: ignore[arg-type]
    limits.bucket(limit, "L", b"busy", 0.0).records = -100.0
    limits.bucket(limit, "L", b"idle", 0.0)
    limits.bucket(limit, "L", b"busy", 0.0)
    limits.bucket(limit, "L", b"new", 0.0)
    assert limits.bucket(limit, "L", b"busy", 0.0).records == -100.0 and len(limits) == 2


def test_what_was_dropped_is_told_by_the_decoder_of_a_log_that_is_quiet() -> None:
    wanted = Wanted(limit=Limit(records_per_s=1, burst=1.0, action="drop"))  # type: ignore[arg-type]
    settings = Settings("c", "raw", "beginning", 1 << 20, 1 << 20, 2.0, (), False, wanted)
    decoder = decoder_for(Budget())(source(), settings)
    batch = decoder.decode(KEY, 0, [b"a", b"b", b"c"], read_ns=1, now_s=0.0, reread=lambda piece: b"")
    assert batch is not None and batch.messages == [b"a"] and decoder.oldest_open_s() == 0.0
    [(key, told)] = decoder.flush(before_s=5.0, read_ns=2, reread=lambda piece: b"")
    assert key == KEY and told.messages[0].startswith(b"2 records of shop/web-0 dropped by limit")
    assert decoder.oldest_open_s() is None and decoder.flush(before_s=9.0, read_ns=3, reread=lambda piece: b"") == []
