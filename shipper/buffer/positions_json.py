"""positions.json: the positions as text that a human reads and a later release still takes. Pure.

    {"version": 1, "buffer": uuid, "seq": n, "total_bytes": n, "retired_bytes": n, "written_s": wall clock,
     "sources": [source...], "files": {key: {...}}, "lineages": {name: {...}}, "lost": [{key, start, end}...],
     "damaged": [[first seq of the segment, byte]...]}          one source, file and lineage a line

Invariants (tests/buffer/test_positions.py):
  J1  what was written comes back equal, sources shared as they were
  J2  any other bytes are a ValueError, a version from the future a Fatal that names the mend; nothing is guessed
  J3  the sums of positions.P3 and P4 are proven on load
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from typing import Any

import orjson

from .. import exact_json
from ..errors import Fatal
from ..model import FileRef, Lost, Open, Piece, Source
from .positions import FilePosition, LineagePosition, Positions, check

VERSION = 1


@dataclass(slots=True)
class Snapshot:
    """What positions.json holds. `damaged`: (segment, byte) of damage that `positions.lost` accounts for already."""

    positions: Positions
    uuid: bytes
    damaged: frozenset[tuple[int, int]] = field(default_factory=frozenset)


def encode(snapshot: Snapshot, written_s: float) -> bytes:
    """The file's bytes. About 5 us per file, and no second copy: with 5,000 files their rows and joins were 20 MB for 6."""
    positions = snapshot.positions
    sources = _Sources()
    for source in chain((found.file.source for found in positions.files.values()),
                        (found.source for found in positions.lineages.values()), (e.file.source for e in positions.lost)):
        sources.place(source)
    head = exact_json.dumps({
        "version": VERSION, "buffer": snapshot.uuid.hex(), "written_s": round(written_s, 3), "seq": positions.seq,
        "total_bytes": positions.total_bytes, "retired_bytes": positions.retired_bytes,
        "damaged": sorted(snapshot.damaged),
    })
    out = BytesIO()
    out.write(head[:-1])
    _rows(out, b',\n"sources":[\n', (exact_json.dumps(source.to_json()) for source in sources.all))
    _rows(out, b'\n],\n"files":{\n', (_pair(key, _file(found, sources)) for key, found in positions.files.items()))
    _rows(out, b'\n},\n"lineages":{\n', (_pair(name, _lineage(found, sources)) for name, found in positions.lineages.items()))
    _rows(out, b'\n},\n"lost":[\n', (
        exact_json.dumps({"start": e.start, "end": e.end, **_ref(e.file, sources)}) for e in positions.lost))
    out.write(b"\n]}\n")
    return out.getvalue()


def _rows(out: BytesIO, before: bytes, rows: Iterable[bytes]) -> None:
    for row in rows:
        out.write(before)
        out.write(row)
        before = b",\n"
    if before != b",\n":
        out.write(before)


def decode(data: bytes, path: str) -> Snapshot:
    """What `encode` wrote. ValueError for damaged bytes, Fatal for a later version's."""
    try:
        found = exact_json.loads(data)
        version = int(found["version"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a positions file: {error}") from error
    if version > VERSION:
        raise Fatal(f"{path}: written by a later release (version {version}, this one reads {VERSION}); "
                    "start that release again, or move the state directory away to begin anew")
    try:
        snapshot = _decode(found)
        check(snapshot.positions)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{path}: damaged: {type(error).__name__}: {error}") from error
    return snapshot


class _Sources:
    """Each source once; the files name it by its place."""

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self.all: list[Source] = []

    def place(self, source: Source) -> int:
        found = self._places.get(id(source))
        if found is None:
            found = self._places[id(source)] = len(self.all)
            self.all.append(source)
        return found


def _pair(name: str, value: Any) -> bytes:
    return exact_json.dumps(name) + b":" + exact_json.dumps(value)


def _ref(file: FileRef, sources: _Sources) -> dict[str, Any]:
    return {"key": file.key, "path": file.path, "device": file.device, "inode": file.inode,
            "head_bytes": file.head_bytes, "head_hash": file.head_hash, "source": sources.place(file.source)}


def _file(found: FilePosition, sources: _Sources) -> dict[str, Any]:
    return {
        "offset": found.offset, "size": found.size, "closed": found.closed, "last_ns": found.last_ns,
        "guard": found.guard, "read_bytes": found.read_bytes, "skipped_bytes": found.skipped_bytes,
        "gaps": dict(found.gaps), "drops": dict(found.drops), "seen_s": round(found.seen_s, 3), "seq": found.seq,
        **({"cursor": found.cursor} if found.cursor else {}), **_ref(found.file, sources),
    }


def _lineage(found: LineagePosition, sources: _Sources) -> dict[str, Any]:
    state = [(item.stream, item.kind, [tuple(piece) for piece in item.pieces]) for item in found.state]
    return {"source": sources.place(found.source), "last_ns": found.last_ns, "keys": found.keys, "state": state}


def _decode(data: dict[str, Any]) -> Snapshot:
    sources = [Source.from_json(source) for source in data["sources"]]
    files = {key: _to_file(key, value, sources) for key, value in data["files"].items()}
    lineages = {
        name: LineagePosition(sources[value["source"]], tuple(_open(entry) for entry in value["state"]),
                              value["last_ns"], tuple(value["keys"]))
        for name, value in data["lineages"].items()
    }
    lost = tuple(
        Lost(files[e["key"]].file if e["key"] in files else _to_ref(e["key"], e, sources), e["start"], e["end"])
        for e in data["lost"]
    )
    positions = Positions(data["seq"], data["total_bytes"], data["retired_bytes"], files, lineages, lost)
    return Snapshot(positions, bytes.fromhex(data["buffer"]), frozenset(_damaged(data["damaged"])))


def _damaged(pairs: Iterable[Any]) -> Iterable[tuple[int, int]]:
    return ((int(segment), int(byte)) for segment, byte in pairs)


def _to_ref(key: str, value: dict[str, Any], sources: list[Source]) -> FileRef:
    return FileRef(key, sources[value["source"]], value["path"], value["device"], value["inode"], value["head_bytes"],
                   value["head_hash"])


def _to_file(key: str, value: dict[str, Any], sources: list[Source]) -> FilePosition:
    return FilePosition(
        _to_ref(key, value, sources), value["offset"], value["guard"], value["size"], value["last_ns"],
        value["closed"], value["read_bytes"], value["skipped_bytes"], value["gaps"], value["drops"], value["seen_s"],
        value["seq"], value.get("cursor", ""),
    )


def _open(entry: list[Any]) -> Open:
    stream, kind, pieces = entry
    return Open(stream, kind, tuple(Piece(*piece) for piece in pieces))
