"""positions.json: what goes in comes out, also what is open."""
from __future__ import annotations

from shipper.buffer.positions import Positions
from shipper.buffer.positions_json import Snapshot, decode, encode
from shipper.model import FileRef, Open, Piece, Section, Source

SOURCE = Source("containers", "c", "/l/0.log", "/l/0.log", "n1", "default", "web-0")
FILE = FileRef("k" * 16, SOURCE, "/l/0.log", 1, 2, 10, "aa")


def test_a_record_that_has_begun_is_in_the_snapshot_with_its_pieces():
    """The writer stopped at the first snapshot taken while a P waited for its F: orjson refuses named tuples."""
    positions = Positions()
    state = (Open("stdout", "partial", (Piece(FILE.key, 40, 60),)), Open("", "skipping", (Piece(FILE.key, 100, 5),)))
    positions.commit(positions.plan(1, [Section(FILE, 0, 105, "g", None, state, size=105)], 1_000))
    again = decode(encode(Snapshot(positions, b"u" * 16), 0.0), "positions.json").positions
    assert again.lineages[SOURCE.lineage].state == state
    assert again.files[FILE.key].offset == 105
