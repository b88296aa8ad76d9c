"""A source with a position of its own (the journal): its cursor lies in the frames as a file's range does."""
from __future__ import annotations

from dataclasses import replace

from shipper.buffer.framing import scan, segment_head
from shipper.buffer.positions import Positions
from shipper.buffer.positions_json import Snapshot, decode, encode
from shipper.buffer.segment import Definitions, encode_frame, parse_header
from shipper.exact_json import dumps, loads
from shipper.model import Section
from tests.buffer.nouns import file_of, section, source

FILE = file_of(source("j"))


def with_cursor(start: int, cursor: str) -> Section:
    return replace(section(FILE, start, 1), cursor=cursor)


def test_the_newest_cursor_is_the_position_and_a_section_without_one_leaves_it() -> None:
    positions = Positions()
    first = with_cursor(0, "s=a;i=1")
    positions.commit(positions.plan(1, [first], 1))
    positions.commit(positions.plan(2, [with_cursor(first.end, "s=a;i=2")], 2))
    position = positions.files[FILE.key]
    assert position.cursor == "s=a;i=2"
    positions.commit(positions.plan(3, [with_cursor(position.offset, "")], 3))
    assert positions.files[FILE.key].cursor == "s=a;i=2"


def test_positions_json_keeps_it_and_one_of_an_older_release_has_none() -> None:
    positions = Positions()
    positions.commit(positions.plan(1, [with_cursor(0, "s=a;i=1")], 1))
    data = encode(Snapshot(positions, bytes(16)), 0.0)
    assert decode(data, "p").positions.files[FILE.key].cursor == "s=a;i=1"
    old = loads(data)
    del old["files"][FILE.key]["cursor"]
    assert decode(dumps(old), "p").positions.files[FILE.key].cursor == ""


def test_a_frame_keeps_it_and_one_of_an_older_release_has_none() -> None:
    sections = [with_cursor(0, "s=a;i=1"), section(FILE, 20, 1)]
    data = segment_head(7, bytes(16)) + b"".join(encode_frame(1, sections, 100, 1, Definitions(), 7))
    frame = parse_header(scan(data).frames[0], Definitions())
    assert [each.cursor for each in frame.sections] == ["s=a;i=1", ""]
