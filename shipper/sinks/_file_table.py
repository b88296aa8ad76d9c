"""The output files that the sink knows: identity, length, what of it is in which state. Pure shapes and decisions.

    state (stored with the cursor)   {"version":1, "generation":g, "files":{path: [length, inode, born_s]}}

Of a file `length` is the truth: what stands behind it was never confirmed and is cut off.

Invariants:
  FT1  an output is in the journal before its first write, and in every state from then until a state that holds its last
       write is durable; only then may it be left out (and is named in the journal before it is written again)
  FT2  `length` of an output counts exactly the bytes of the requests that were written and not undone
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ._file_disk import Seen
from ._file_journal import Mark

VERSION = 1


@dataclass(slots=True, eq=False)
class Output:
    """One file that is written to.

    generation  of the state that holds its last write; None: written (or cut) since
    announced   a durable state or the journal says how long it was before the first write
    uncut       there may be bytes behind `length`
    lost        somebody else moved, removed or cut it: it is not ours to cut any more
    """

    path: str
    inode: int
    length: int
    born_s: float
    descriptor: int = -1
    generation: int | None = None
    announced: bool = False
    uncut: bool = False
    lost: bool = False

    def is_clean(self, durable_generation: int) -> bool:
        """All that was written to it is in a durable state."""
        return self.generation is not None and self.generation <= durable_generation


def state_of(generation: int, outputs: Iterable[Output]) -> dict[str, Any]:
    """What is stored with the cursor."""
    files = {output.path: [output.length, output.inode, int(output.born_s)] for output in outputs}
    return {"version": VERSION, "generation": generation, "files": files}


def outputs_of(state: Any) -> tuple[int, dict[str, Output]]:
    """Generation and outputs of a stored state; (0, {}) for none. ValueError where it is not one that this release reads."""
    if state is None:
        return 0, {}
    if not isinstance(state, Mapping) or state.get("version") != VERSION:
        raise ValueError("the state stored with this sink's cursor is of another sink type or of a newer release")
    generation = int(state["generation"])
    outputs = {
        path: Output(path, int(inode), int(length), float(born_s), generation=generation, announced=True)
        for path, (length, inode, born_s) in state["files"].items()
    }
    return generation, outputs


def length_to_keep(seen: Seen, stored: Output | None, marks: Iterable[Mark], generation: int) -> int | None:
    """How long the file at a path was when the state of `generation` was true; None where that is not known of this file.

    The last mark made since then counts more than the state. They differ only where somebody else changed the file meanwhile,
    or where the inode came again with another file; then what stood there when we found out is not ours to cut. Inodes
    decide whether it is the same file.
    """
    since = [m.length for m in marks if m.generation >= generation and m.inode == seen.inode and not m.rotated_to]
    if since:
        return since[-1]
    if stored is not None and stored.inode == seen.inode:
        return stored.length
    return None


def was_rotated(path: str, inode: int, marks: Iterable[Mark]) -> bool:
    """Whether we ourselves renamed that file."""
    return any(mark.path == path and mark.inode == inode and bool(mark.rotated_to) for mark in marks)
