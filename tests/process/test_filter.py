"""keep and drop (shipper/process/filter.py)."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config.processing import Condition
from shipper.model import Batch, Source
from shipper.process.chain import Work
from shipper.process.filter import Filter
from shipper.process.parse import parse_step

SOURCE = Source("containers", "c", "/x", "/x", "n")
LINES = [
    b'{"level":"debug","msg":"GET /healthz","http":{"status":200,"ok":true},"a.b":"dotted"}',
    b'{"level":"error","msg":"it broke","http":{"status":500,"ok":false},"user":null}',
    b"plain text",
]


def left(keep=(), drop=(), lines=LINES):
    count = len(lines)
    work = Work(Batch(SOURCE, "k", [b"2026-11-20T09:04:05Z"] * count, [b""] * count, [b"%x+10" % (i * 16) for i in range(count)],
                      list(lines), {count - 1: {"partial": True}}), 0.0)
    parse_step("json", SOURCE)(work)
    Filter(list(keep), list(drop))(work)
    return work


def kept(*conditions):
    return [int(item.split(b"+")[0], 16) // 16 for item in left(keep=conditions).batch.ids]


@pytest.mark.parametrize(("condition", "want"), [
    (Condition(severity=">=WARNING"), [1]), (Condition(severity=["DEFAULT", "DEBUG"]), [0, 2]),
    (Condition(severity="<=INFO"), [0]),
    (Condition(match="^GET|text$"), [0, 2]), (Condition(glob="plain*"), [2]), (Condition(equals="it broke"), [1]),
    (Condition(field="http.status", equals=500), [1]), (Condition(field="http.status", equals="500"), [1]),
    (Condition(field="http.status", equals=500.0), [1]), (Condition(field="http.ok", equals=True), [0]),
    (Condition(field="http.ok", equals=1), []), (Condition(field="http.status", match="^[45]"), [1]),
    (Condition(field="a.b", glob=["x", "dot*"]), [0]), (Condition(field="user", exists=True), [1]),
    (Condition(field="user", exists=False), [0, 2]), (Condition(field="nothing.here", match=""), []),
    (Condition(field="http.status", equals=500, severity="DEBUG"), []),
    (Condition(field="http.ok", exists=True, match="true"), [0]),
])
def test_a_condition_keeps(condition, want):
    assert kept(condition) == want


def test_one_of_several_is_enough_for_keep_and_for_drop():
    two = Condition(severity="ERROR"), Condition(glob="plain*")
    assert kept(*two) == [1, 2]
    assert list(left(drop=two).batch.messages) == [b"GET /healthz"]


def test_what_goes_is_counted_with_its_source_bytes_and_marks_stay_with_their_records():
    work = left(drop=[Condition(severity="DEBUG")])
    assert work.drops == {"filtered": 1, "filtered:bytes": 16}
    assert work.batch.marks == {1: {"partial": True}} and len(work.batch.fields) == len(work.batch.severities) == 2


def test_all_can_go():
    work = left(keep=[Condition(match="never seen")], drop=[Condition(match="x")])
    assert len(work.batch) == 0 and work.drops == {"filtered": 3, "filtered:bytes": 48}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=9))
def test_any_lines_what_is_kept_and_what_is_dropped_add_up(lines):
    condition = Condition(severity=">=ERROR")
    keep, drop = left(keep=[condition], lines=lines), left(drop=[condition], lines=lines)
    assert sorted([*keep.batch.ids, *drop.batch.ids]) == sorted(b"%x+10" % (i * 16) for i in range(len(lines)))
    assert keep.drops.get("filtered", 0) + drop.drops.get("filtered", 0) == len(lines)
