"""What another agent's positions mean for the files that are here. Pure.

    Entry (what it wrote down)  +  Candidate (what lies there)  ─► Take per file: passed | continue | begin | cut

Invariants (tests/agent/test_takeover.py):
  K1  a file goes on at the byte behind the last whole line that the other agent had taken: an offset in the middle of a line
      goes back to its start, because both fluentd and Fluent Bit ship a line when its newline is there, and not before
  K2  files of a lineage that are older than the newest one it had a position in are passed over, whole: it read in order
  K3  in doubt a line comes twice, never not at all: a file shorter than its position, or one whose inode is gone, and what
      lies beside it, is read from the beginning
Plane: per file, once in a node's life.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONTINUE, PASSED, BEGIN, CUT = "continue", "passed over", "from the beginning", "shorter than its position"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a pos_file, or one row of a data base. `offset` None: the other agent had given the file up."""

    path: str
    inode: int
    offset: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file of a lineage. `size`: bytes, uncompressed; 0 for a compressed one, which is measured when it is needed."""

    path: str
    inode: int
    size: int
    compressed: bool


@dataclass(frozen=True, slots=True)
class Take:
    """`offset` bytes of candidate number `index` were shipped by the other agent; None: all of it."""

    index: int
    what: str
    offset: int | None


def decide(entries: Mapping[int, Entry], files: Sequence[Candidate]) -> list[Take]:
    """The files of one lineage, oldest first, and the entries for it by inode. [] where none of them is here (K3)."""
    known = [i for i, file in enumerate(files) if not file.compressed and _offset(entries, file) is not None]
    if not known:
        return []
    takes = [_take(i, file, entries) for i, file in enumerate(files[: known[-1] + 1])]
    if any(take.what == CUT for take in takes):
        # Its content is in a copy beside it, or gone. Which of the copies nobody can tell: none is passed over (K3).
        return [take for take in takes if take.what == CUT]
    return takes


def _offset(entries: Mapping[int, Entry], file: Candidate) -> int | None:
    entry = entries.get(file.inode)
    return entry.offset if entry is not None else None


def _take(index: int, file: Candidate, entries: Mapping[int, Entry]) -> Take:
    offset = None if file.compressed else _offset(entries, file)
    if offset is None:
        return Take(index, PASSED, None)
    if offset > file.size:
        return Take(index, CUT, offset)
    return Take(index, CONTINUE if offset else BEGIN, offset)


def came_again(line_ns: int, born_ns: int, changed_ns: int, written_ns: int, inside_line: bool) -> str:
    """Why a file with the inode of a position is another file; "" where it is the one. Times are 0 where nobody knows them.

    line_ns      of the last line in front of the position
    born_ns      when the file was made; changed_ns: when it or its inode was changed for the last time
    written_ns   when the positions were written for the last time
    inside_line  the position is in the middle of a line
    """
    if line_ns:
        return "what it holds was written after the positions" if line_ns > written_ns else ""
    if born_ns:
        return "it was made after the positions were written" if born_ns > written_ns else ""
    if inside_line and changed_ns > written_ns:           # K3
        return "the position is in the middle of a line of it, and its file system does not say when it was made"
    return ""


def open_pieces(window: bytes) -> bool:
    """Whether the last CRI line of a stream in `window`, which ends with a whole line, is a piece (`P`): its record goes on."""
    last: dict[bytes, bytes] = {}
    for line in window.split(b"\n")[:-1]:
        parts = line.split(b" ", 3)
        if len(parts) >= 3 and parts[1] in (b"stdout", b"stderr"):
            last[parts[1]] = parts[2].split(b":", 1)[0]
    return b"P" in last.values()
