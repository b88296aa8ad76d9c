"""A1 to A3, O1, O2: every byte is accounted for, and a sum that is off is said with both sides."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shipper.agent.accounts import audit_facts, file_facts, sink_audit
from shipper.agent.audit import AuditFacts, FileAudit, SinkAudit, human, ledger_for, problems, to_json
from shipper.agent.status import FileFacts
from shipper.agent.verify_report import Tally, make_report
from shipper.buffer.positions import FilePosition, LineagePosition, Positions
from shipper.model import FileRef, Gap, Lost, Open, Piece, Source

KEY = "k3v9q2f7abcdefgh"
FILE = FileAudit(KEY, "/var/log/a.log", size_bytes=120, read_bytes=100, framed_bytes=100)
SINK = SinkAudit(
    delivered_bytes=90, held_bytes=4, dead_bytes=3, dropped={"drop_oldest": 1}, unrouted_bytes=1, before_start_bytes=1)
GOOD = AuditFacts([FILE], {"central": SINK}, total_bytes=100)


def test_sums_that_hold_are_the_proof() -> None:
    assert problems(GOOD) == []


def test_files_that_were_forgotten_are_part_of_the_sum() -> None:
    facts = AuditFacts([FILE], {}, total_bytes=150, retired_bytes=50)
    assert problems(facts) == []
    assert problems(replace(facts, retired_bytes=49)) == [
        "files: read + retired = 149 bytes, which is 1 less than the buffer's total of 150"]


@pytest.mark.parametrize("term", ["delivered_bytes", "held_bytes", "dead_bytes", "unrouted_bytes", "before_start_bytes"])
def test_each_term_of_a_sink_counts(term: str) -> None:
    off = replace(SINK, **{term: getattr(SINK, term) + 7})
    assert problems(replace(GOOD, sinks={"central": off})) == [
        "sink central: delivered + dead + dropped + unrouted + before_start + held = 107 bytes, "
        "which is 7 more than the buffer's total of 100"]


def test_a_position_that_frames_and_gaps_do_not_explain_is_said() -> None:
    facts = replace(GOOD, files=[replace(FILE, read_bytes=110)])
    assert problems(facts) == [f"file /var/log/a.log ({KEY}): framed + skipped + lost = 100 bytes, but it is read up to 110"]


def test_a_gap_beyond_the_position_is_said_and_one_with_an_unknown_end_is_not() -> None:
    facts = replace(GOOD, files=[replace(FILE, gaps=(Gap(100, -1, "rotated_away", 5), Gap(90, 101, "truncated")))])
    assert problems(facts) == [f"file /var/log/a.log ({KEY}): gap 90..101 lies outside what was read (0..100)"]


def test_the_json_form_is_what_verify_reads() -> None:
    assert to_json(GOOD) == {
        "files": [{"key": KEY, "path": "/var/log/a.log", "size": 120, "read_bytes": 100, "framed_bytes": 100,
                   "unread_bytes": 20, "gaps": [], "dropped": {}, "open_bytes": 0}],
        "totals": {"total_bytes": 100, "read_bytes": 100, "retired_bytes": 0, "unread_bytes": 20, "open_bytes": 0,
                   "gap_bytes": {}, "balanced": True, "problems": []},
        "sinks": {"central": {
            "delivered_bytes": 90, "held_bytes": 4, "dead_bytes": 3, "dropped": {"drop_oldest": 1}, "unrouted_bytes": 1,
            "before_start_bytes": 1, "accounted_bytes": 100, "dead_files": {}, "dropped_files": {},
            "unrouted_files": {}}},
    }


def test_the_text_says_what_is_off_and_shows_files_that_need_a_word() -> None:
    quiet = replace(FILE, key="q" * 16, path="/q.log", size_bytes=0, read_bytes=0, framed_bytes=0)
    text = human(to_json(replace(GOOD, files=[FILE, quiet])))
    assert "/var/log/a.log" in text and "/q.log" not in text
    assert "1 other file is read to the end, without a gap" in text
    assert text.endswith("BALANCED: every byte read is accounted for in every sink")
    off = human(to_json(replace(GOOD, total_bytes=99)))
    assert "NOT BALANCED: files: read + retired = 100 bytes, which is 1 more than the buffer's total of 99" in off


def test_a_hole_that_was_passed_over_is_not_told_as_dropped_records() -> None:
    file = replace(FILE, dropped={"zeros": 4096}, skipped_bytes=4096)
    text = human(to_json(replace(GOOD, files=[file])))
    assert "never read, zeros: 4096 bytes" in text and "in DELIVERED" not in text


def test_what_was_dropped_on_purpose_is_not_told_as_never_read() -> None:
    file = replace(FILE, dropped={"rate_limited": 40})
    text = human(to_json(replace(GOOD, files=[file])))
    assert "read and dropped in front of the buffer, rate_limited: 40 bytes (in DELIVERED" in text
    assert "never read" not in text


# ---------------------------------------------------------------- from positions and cursors

SOURCE = Source("files", "host", "/var/log/a.log", "/var/log/a.log", "n1")
REF = FileRef(KEY, SOURCE, "/var/log/a.log", 1, 2, 10, "00")


def one_file(**fields: Any) -> Positions:
    found = FilePosition(REF, **({"offset": 100, "read_bytes": 100, "size": 100} | fields))
    return Positions(total_bytes=found.read_bytes, files={KEY: found})


def only(positions: Positions, **settings: Any) -> FileAudit:
    facts = audit_facts(positions, {}, **settings)
    assert problems(facts) == []
    return facts.files[0]


def test_a_file_that_began_at_its_end_has_a_gap_from_its_first_byte() -> None:
    file = only(one_file(read_bytes=60, skipped_bytes=40, gaps={"start_at_end": 40}))
    assert file.gaps == [Gap(0, 40, "start_at_end")] and file.dropped == {}


def test_bytes_that_rotation_removed_lie_behind_the_position_and_pay_for_no_hole() -> None:
    file = only(one_file(gaps={"rotated_away": 30}), sizes={KEY: 130})
    assert file.gaps == [Gap(100, -1, "rotated_away", 30)] and file.dropped == {}
    assert to_json(audit_facts(one_file(gaps={"rotated_away": 30}), {}, {KEY: 130}))["totals"]["unread_bytes"] == 0


def test_a_jump_whose_place_is_not_known_is_declared_as_a_sum() -> None:
    file = only(one_file(read_bytes=50, skipped_bytes=50, gaps={"start_at_end": 40, "buffer_damaged": 10}))
    assert (file.gaps, file.dropped) == ([Gap(0, 40, "start_at_end")], {"buffer_damaged": 10})


def test_a_lost_range_is_unread_until_it_was_read_again() -> None:
    positions = one_file(read_bytes=80)
    positions.lost = (Lost(REF, 10, 30),)
    file = only(positions)
    assert (file.gaps, file.lost_bytes) == ([Gap(10, 30, "buffer_damaged")], 20)
    assert to_json(audit_facts(positions, {}))["totals"]["unread_bytes"] == 20


def test_open_records_are_told_per_file() -> None:
    positions = one_file()
    positions.lineages[SOURCE.lineage] = LineagePosition(SOURCE, (
        Open("stdout", "partial", (Piece(KEY, 10, 20), Piece("other", 0, 5))), Open("stderr", "partial", (Piece(KEY, 40, 2),))))
    assert only(positions).open_bytes == 22


def test_a_sinks_sums_come_from_its_cursors_counters() -> None:
    counters = {"total_bytes": 96, "delivered_bytes": 90, "dead": {"rejected": [1, 2], "too_large": [1, 1]},
                "dropped": {"drop_oldest": [5, 1]}, "unrouted_bytes": 1, "before_start_bytes": 1, "dead_files": {KEY: 3}}
    assert sink_audit(counters, 100) == replace(SINK, dead_files={KEY: 3})
    assert sink_audit({}, 100) == SinkAudit(delivered_bytes=0, held_bytes=100)


def test_the_ledger_of_one_sink_pays_for_what_it_dropped_and_verify_agrees() -> None:
    positions = one_file(offset=110, read_bytes=100, size=110, skipped_bytes=10, gaps={"start_at_end": 10})
    counters = {"total_bytes": 100, "delivered_bytes": 80, "dead": {"rejected": [1, 15]}, "dead_files": {KEY: 15},
                "dropped": {"drop_oldest": [1, 5]}, "dropped_files": {KEY: 5}}
    audit = to_json(audit_facts(positions, {"central": counters}))
    assert audit["totals"]["balanced"]
    delivered = [b'{"id":"%b:a+1e"}' % KEY.encode(), b'{"id":"%b:3c+32"}' % KEY.encode()]      # 10..40 and 60..110
    tally = Tally()
    tally.add_lines(delivered)
    assert make_report(tally, ledger_for(audit, "central")).whole
    assert not make_report(tally, audit).whole
    with pytest.raises(KeyError):
        ledger_for(audit, "other")


def test_file_facts_tell_lag_in_bytes_and_seconds() -> None:
    positions = one_file(last_ns=5_000_000_000)
    assert file_facts(positions, 9.0, {KEY: 150}) == [FileFacts(KEY, "/var/log/a.log", "host", 150, 100, 4.0, "behind")]
    assert file_facts(positions, 9.0)[0].state == "read"
    assert file_facts(one_file(closed=True, last_ns=1), 9.0, {KEY: 150})[0].state == "closed"
