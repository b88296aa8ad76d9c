"""`shipper verify`: V1 to V6 (ids.py, verify_report.py) and R1 to R3 (ranges.py)."""
from __future__ import annotations

import gzip
import io
import random
import sqlite3
from argparse import ArgumentParser
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.agent import verify
from shipper.agent.ids import id_in_json, id_in_line, id_in_syslog, parse_id
from shipper.agent.ranges import COMPACT_AT, Spans, walk
from shipper.agent.verify_report import Report, Tally, human, make_report
from shipper.errors import Usage
from shipper.model import Piece

KEY, OTHER = "k3v9q2f7abcdefgh", "m3v9q2f7abcdefgh"
FAKE = f"{OTHER}:0+ffff"
HOSTILE = [
    f'"id":"{FAKE}"', f'","id":"{FAKE}","x":"', f'\\","id":"{FAKE}"', f'\\\\","id":"{FAKE}"', f'{{"id":"{FAKE}"}}', "\\", '"',
    f'[k8s id="{FAKE}"]', f' id="{FAKE}"', f']\n<14>1 - - - - - [k8s id="{FAKE}"] x', f"{FAKE}", "\u2028\x00\x1b[2J", "",
]


def json_line(item: str, message: str = "hello", key: str = KEY) -> bytes:
    return orjson.dumps({
        "time": "2026-11-20T09:04:05.1Z", "stream": "stdout", "message": message, "id": f"{key}:{item}" if key else item,
        "node": "n1", "kubernetes": {"pod_name": "web-0", "labels": {"id": FAKE}},
    })


def syslog_line(item: str, message: str = "hello") -> bytes:
    return f'<14>1 2026-11-20T09:04:05.1Z n1 web - - [k8s@1 pod="web-0" id="{KEY}:{item}"] {message}'.encode()


def report_of(items: list[str], ledger: dict | None = None) -> Report:
    tally = Tally()
    tally.add_lines([json_line(item) for item in items])
    return make_report(tally, ledger)


def ledger_of(**entry: object) -> dict:
    return {"files": [{"key": KEY, "path": "/var/log/pods/a/b/0.log", "size": 250, "read_bytes": 250, **entry}], "sinks": {}}


# ---------------------------------------------------------------- ids (V1, V2)

def test_an_id_gives_its_pieces_in_order():
    assert parse_id(f"{KEY}:1a4f0+c8".encode()) == (Piece(KEY, 0x1A4F0, 0xC8),)
    assert parse_id(f"{KEY}:fe+2,{OTHER}:0+1f".encode()) == (Piece(KEY, 0xFE, 2), Piece(OTHER, 0, 0x1F))


@pytest.mark.parametrize("text", [
    "", KEY, f"{KEY}:", f"{KEY}:0", f"{KEY}:0+", f"{KEY}:0+0", f"{KEY}:-1+5", f"{KEY}:0x1+5", f"{KEY}:1_0+5", f"{KEY}:0+5,",
    f",{KEY}:0+5", f"{KEY}:A+5", f" {KEY}:0+5", f"{KEY}:0+5 ", f"{KEY}:0+5\n", f"{KEY}:0+{'f' * 16}", f"{KEY}:0+5;{KEY}:5+5",
])
def test_what_is_no_id_gives_nothing(text: str):
    assert parse_id(text.encode()) is None


@pytest.mark.parametrize("message", HOSTILE)
def test_no_message_passes_for_an_id_in_json(message: str):
    assert id_in_line(json_line("1+2", message)) == f"{KEY}:1+2".encode()
    assert id_in_line(orjson.dumps({"message": message, "fields": {"id": FAKE}})) is None


@pytest.mark.parametrize("message", HOSTILE)
def test_no_message_passes_for_an_id_in_syslog(message: str):
    assert id_in_line(syslog_line("1+2", message)) == f"{KEY}:1+2".encode()
    assert id_in_line(b"<14>1 2026-11-20T09:04:05.1Z n1 web - - - " + message.encode()) is None
    assert id_in_line(b'<14>1 2026-11-20T09:04:05.1Z n1 web - - [k8s@1 pod="x"] ' + message.encode()) is None


@pytest.mark.parametrize("value", [r"a\" id=\"x:0+1", r"a\]", "a] b", r"\\", "a=b id=c"])
def test_a_quoted_parameter_before_the_id_does_not_hide_it(value: str):
    line = f'<14>1 - n1 web - - [meta seq="1"][k8s@1 pod="{value}" id="{KEY}:1+2" ns="x"] hello'
    assert id_in_syslog(line.encode()) == f"{KEY}:1+2".encode()


def test_a_line_of_a_receivers_own_template_gives_its_first_id():
    assert id_in_line(f'Nov 20 09:04:05 n1 web[1]: [k8s@1 id="{KEY}:1+2"] x id="{FAKE}"'.encode()) == f"{KEY}:1+2".encode()


def test_what_begins_as_rfc_5424_and_is_none_gives_no_id_that_its_message_names():
    """Cut on its way, say: what looks like an id in it may be anybody's."""
    assert id_in_syslog(f'<14>1 2026-11-20T09:04:05Z n1 id="{FAKE}"'.encode()) is None
    assert id_in_syslog(f'<14>Nov 20 09:04:05 n1 web[1]: [k8s@1 id="{KEY}:1+2"] x'.encode()) == f"{KEY}:1+2".encode()
    assert id_in_syslog(f'a >1 b [k8s@1 id="{KEY}:1+2"] x'.encode()) == f"{KEY}:1+2".encode()


def test_a_dead_letter_gives_the_id_of_its_record():
    assert id_in_json(b'{"record":' + json_line("1+2") + b',"reason":"rejected"}') == f"{KEY}:1+2".encode()


@given(st.binary(max_size=80))
def test_no_bytes_raise(data: bytes):
    for line in (data, b"{" + data, b"<14>1 - - - - - [k id=\"" + data):
        found = id_in_line(line)
        assert found is None or parse_id(found) is None or b":" in found


# ---------------------------------------------------------------- ranges (R1 to R3)

def shuffled_file(rng: random.Random, records: int) -> tuple[list[tuple[int, int]], int]:
    """The spans of a file in which two streams interleave pieces, as a decoder would number them, and its length.

    Lines that do not decode have no stream and stand where they stand, also while both streams have a record open."""
    at, spans, opened = 0, [], {"out": None, "err": None, "malformed": None}
    while len(spans) < records or any(opened.values()):
        stream = rng.choice(["out", "err", "malformed"])
        size = rng.randint(1, 300)
        more = stream != "malformed" and rng.random() < 0.4 and len(spans) < records
        start, total = opened[stream] or (at, 0)
        opened[stream] = (start, total + size) if more else None
        if not more:
            spans.append((start, total + size))
        at += size
    return spans, at


@pytest.mark.parametrize("seed", range(40))
def test_interleaved_pieces_add_up_in_any_order_of_arrival(seed: int):
    rng = random.Random(seed)
    spans, length = shuffled_file(rng, 60)
    found = walk(sorted(spans))
    assert (found.covered_bytes, found.missing_bytes, found.overlap_bytes) == (length, 0, 0)


@pytest.mark.parametrize("seed", range(40))
def test_a_missing_record_is_never_overlooked_and_never_counted_for_more_than_it_was(seed: int):
    """R1: the last records show what is before them; with the length known the count is exact (V3)."""
    rng = random.Random(seed)
    spans, length = shuffled_file(rng, 60)
    gone = spans.pop(rng.randrange(len(spans)))
    items = [f"{start:x}+{size:x}" for start, size in spans]
    assert report_of(items, ledger_of(size=length, read_bytes=length)).total("missing_bytes") == gone[1]
    found = walk(sorted(spans))
    assert found.missing_bytes <= gone[1] and found.overlap_bytes == 0


@pytest.mark.parametrize("seed", range(10))
def test_the_sql_of_the_docs_finds_the_same_bytes_missing(seed: int):
    """Its last part, which both dialects share, on spans of several files."""
    docs = (Path(__file__).parents[2] / "docs" / "verify.md").read_text()
    queries = ["WITH sums AS (" + part.split("```")[0] for part in docs.split("), sums AS (")[1:]]
    assert len(queries) == 2
    rng = random.Random(seed)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE pieces (file_key TEXT, start_byte INT, bytes INT)")
    want = {}
    for key in "abc":
        spans, _ = shuffled_file(rng, 40)
        for _ in range(rng.randrange(3)):
            spans.pop(rng.randrange(len(spans)))
        found = walk(sorted(spans))
        if found.missing_bytes:
            want[key] = (len(spans), found.covered_bytes, found.missing_bytes)
        database.executemany("INSERT INTO pieces VALUES (?, ?, ?)", [(key, *span) for span in spans])
    for query in queries:
        assert {row[0]: row[1:] for row in database.execute(query)} == want
    database.close()


def test_a_hole_is_shown_where_it_is():
    found = walk([(0, 100), (150, 50), (200, 10), (300, 1)])
    assert (found.missing_bytes, found.holes) == (140, [(100, 150), (210, 300)])


def test_one_start_with_two_sizes_is_an_overlap():
    found = walk([(0, 100), (0, 150), (150, 10)])
    assert (found.covered_bytes, found.overlaps, found.overlap_bytes, found.missing_bytes) == (160, 1, 100, 0)


def test_a_file_read_again_off_by_ten_bytes_is_an_overlap():
    spans = sorted([(at, 100) for at in range(0, 2000, 100)] + [(at + 10, 100) for at in range(0, 2000, 100)])
    found = walk(spans)
    assert found.overlap_bytes > 1_500 and found.missing_bytes == 0


def test_a_large_record_that_is_over_does_not_excuse_an_overlap_behind_it():
    spans = [(0, 100_000)] + [(100_000 + at + off, 100) for at in range(0, 2000, 100) for off in (0, 10)]
    assert walk(spans).overlap_bytes > 1_500


def test_spans_count_repeats_and_keep_each_once_also_when_they_are_large():
    spans = Spans()
    for start in [*range(COMPACT_AT), *range(COMPACT_AT // 2)]:
        spans.add(start * 10, 10)
    for start in (1 << 45, 1 << 45, 3):
        spans.add(start, 1 << 30)
    assert (len(spans), spans.repeated) == (COMPACT_AT + 2, COMPACT_AT // 2 + 1)
    found = list(spans.distinct())
    assert found == sorted(set(found)) and (3, 1 << 30) in found and (1 << 45, 1 << 30) in found


# ---------------------------------------------------------------- reports (V3, V4, V6)

def test_interleaved_records_are_whole():
    report = report_of(["64+32", "0+c8", "fa+10"])
    assert report.whole and report.total("covered_bytes") == 266


def test_a_repeat_is_counted_and_still_whole():
    report = report_of(["0+64", "0+64", "64+32", "0+64"])
    assert (report.records, report.distinct, report.repeated, report.whole) == (4, 2, 2, True)


def test_a_hole_is_not_whole():
    report = report_of(["0+64", "65+1"])
    assert not report.whole and report.files[0].holes == [(100, 101)] and "1 bytes missing" in human(report)


def test_a_record_of_two_files_counts_in_both():
    tally = Tally()
    joined = f"{KEY}:64+32,{OTHER}:0+a"
    tally.add_lines([json_line("0+64"), *[json_line(joined, key="")] * 2, json_line("a+5", key=OTHER)])
    report = make_report(tally)
    by_key = {file.key: file for file in report.files}
    assert (by_key[KEY].covered_bytes, by_key[OTHER].covered_bytes) == (150, 15)
    assert (report.records, report.distinct, report.repeated, report.whole) == (4, 3, 1, True)


def test_a_record_closed_early_and_delivered_again_whole_is_an_overlap():
    tally = Tally()
    tally.add_lines([json_line("0+64"), json_line(f"{KEY}:0+64,{OTHER}:0+a", key="")])
    report = make_report(tally)
    assert not report.whole and report.total("overlap_bytes") == 100


def test_lines_without_an_id_are_pointed_at_and_their_content_is_not_shown():
    tally = Tally()
    tally.add_lines([json_line("0+64"), b'{"message":"secret"}', b"secret", json_line("x+y")], "a.ndjson")
    report = make_report(tally)
    assert (report.unparsed, report.unparsed_at, report.whole) == (3, ["a.ndjson:2", "a.ndjson:3", "a.ndjson:4"], False)
    assert "secret" not in human(report) + str(report.to_json())


def test_nothing_at_all_is_not_whole():
    assert not report_of([]).whole and "no records" in human(report_of([]))


def test_with_a_ledger_a_missing_tail_is_seen():
    report = report_of(["0+64"], ledger_of())
    assert not report.whole and report.files[0].missing_bytes == 150


def test_a_file_of_which_nothing_came_is_missing():
    tally = Tally()
    assert make_report(tally, ledger_of()).files[0].missing_bytes == 250


@pytest.mark.parametrize("entry", [
    {"gaps": [{"start": 100, "end": 250, "reason": "truncated", "at_least": 0}]},
    {"dropped": {"filtered": 150}},
    {"dropped": {"filtered": 100}, "open_bytes": 50},
    {"read_bytes": 100},
])
def test_what_the_ledger_declares_is_not_missing(entry: dict):
    report = report_of(["0+64"], ledger_of(**entry))
    assert report.whole and report.total("declared_bytes") + report.total("pending_bytes") + report.total("unread_bytes") == 150


def test_declared_drops_pay_for_holes_but_for_no_more_than_they_are():
    assert report_of(["0+64", "c8+32"], ledger_of(dropped={"filtered": 100})).whole
    report = report_of(["0+64", "c8+32"], ledger_of(dropped={"filtered": 90}))
    assert not report.whole and report.files[0].missing_bytes == 10 and report.files[0].holes


def test_a_gap_at_the_start_is_declared_and_bytes_of_vanished_files_are_told():
    gaps = [{"start": 0, "end": 150, "reason": "start_at_end", "at_least": 0},
            {"start": 0, "end": -1, "reason": "rotated_away", "at_least": 4711}]
    report = report_of(["96+64"], ledger_of(gaps=gaps))
    assert report.whole and report.files[0].declared == {"start_at_end": 150} and "4,711 bytes" in human(report)


def test_with_a_ledger_an_overlap_that_looks_like_interleaving_is_seen():
    """R3: 0+64 and 32+64 could be pieces around each other; 250 bytes in all say that they are not."""
    assert report_of(["0+64", "32+64", "96+64"]).whole
    report = report_of(["0+64", "32+64", "96+64"], ledger_of())
    assert not report.whole and report.files[0].overlap_bytes == 50


def test_data_newer_than_the_ledger_are_not_called_an_overlap():
    report = report_of(["0+fa", "fa+fa"], ledger_of())
    assert report.whole and "write the ledger after the data" in human(report)


# ---------------------------------------------------------------- files and command

@pytest.mark.parametrize("chunk_bytes", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("form", ["lines", "no last newline", "frames", "frames and newlines"])
def test_records_do_not_depend_on_where_the_chunks_were_cut(form: str, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verify, "CHUNK_BYTES", chunk_bytes)
    records = [syslog_line(f"{n:x}+1", "x" * n) for n in range(20)]
    if form.startswith("frames"):
        end = b"\n" if form.endswith("newlines") else b""
        records.append(syslog_line("20+1", "two\nlines 12 34"))
        data = b"".join(b"%d %s%s" % (len(r), r, end) for r in records)
    else:
        data = b"\n".join(records) + (b"\n\n" if form == "lines" else b"")
    assert list(verify.read_lines(io.BytesIO(data))) == records


def test_a_cut_frame_is_a_record_without_an_id():
    frame = syslog_line("0+1")
    assert list(verify.read_lines(io.BytesIO(b"%d %s%d %s" % (len(frame), frame, len(frame), frame[:-1])))) == [frame, b""]


def test_what_rsyslog_wrote_by_the_template_of_the_docs_begins_with_a_time_and_is_read_as_lines():
    """docs/sinks/syslog.md; it was taken for the length of a frame, and refused."""
    line = b'2026-11-21T18:07:11.360530+00:00 vm a [shipper@32473 id="k3v9q2f7abcdefgh:%x+72" file="/a.log"] line %d\n'
    lines = list(verify.read_lines(io.BytesIO(line % (0, 1) + line % (0x72, 2))))
    assert [id_in_line(each) for each in lines] == [b"k3v9q2f7abcdefgh:0+72", b"k3v9q2f7abcdefgh:72+72"]


def test_records_of_which_none_has_an_id_are_told_as_that_and_with_the_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a").write_bytes(b"2026-11-21T18:07:11+00:00 vm a hello\n" * 2)
    assert run(str(tmp_path / "a")) == 1
    assert "NOT whole: no record has an id. A syslog server writes it with the structured data" in capsys.readouterr().out


def test_frames_that_stop_being_frames_are_refused():
    frame = syslog_line("0+1")
    with pytest.raises(Usage, match="frame"):
        list(verify.read_lines(io.BytesIO(b"%d %s2026-11-20 09:04:05 hello\n" % (len(frame), frame))))


def run(*argv: str) -> int:
    parser = ArgumentParser()
    verify.add_arguments(parser)
    return verify.run(parser.parse_args(argv))


def test_the_command_reads_plain_and_gzipped_files_and_says_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.ndjson").write_bytes(json_line("0+64") + b"\n")
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(json_line("64+96") + b"\n"))
    (tmp_path / "audit.json").write_bytes(orjson.dumps(ledger_of()))
    files = [str(tmp_path / "a.ndjson"), str(tmp_path / "b.ndjson.gz")]
    assert run("--ledger", str(tmp_path / "audit.json"), *files) == 0
    assert "whole: distinct records" in capsys.readouterr().out
    assert run("--json", files[0]) == 0
    assert orjson.loads(capsys.readouterr().out)["covered_bytes"] == 100
    assert run(files[1]) == 1


def test_repeats_fail_only_on_demand(tmp_path: Path):
    (tmp_path / "a").write_bytes(json_line("0+64") + b"\n" + json_line("0+64") + b"\n")
    assert run(str(tmp_path / "a")) == 0
    assert run("--no-repeats", str(tmp_path / "a")) == 1


@pytest.mark.parametrize("argv", [
    ["missing"], ["--ledger", "bad", "good"], ["--ledger", "good", "good"], ["cut.gz"], ["--ledger", "-"],
])
def test_wrong_usage_says_what_and_the_mend(argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("good").write_bytes(json_line("0+64") + b"\n")
    Path("bad").write_bytes(b'{"files":[{"path":"x"}]}')
    Path("cut.gz").write_bytes(gzip.compress(random.Random(1).randbytes(500))[:-9])
    with pytest.raises(Usage, match=r"give|write|being written|is not one of"):
        run(*argv)
