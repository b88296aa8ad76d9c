"""Exactly once into files: write, undo, sync, recover. Everything here runs on one thread, and nothing waits for the loop.

    write(n) ─► bytes behind each output's length       journal: (path, length, inode) before the first write to a file
    sync()   ─► fsync all; state of generation g+1      given to delivery with number n
    durable(n)─► that state is on disk                  marks of older generations go, due files rotate
    rewound(n)─► what was written behind n is cut off   it will come again
    crash    ─► recover(state): cut every file back to what the state and the journal's marks say

Invariants (tests/sinks/test_file_crash.py):
  FE1  after `recover(state)` the outputs hold exactly the records up to that state's cursor
  FE2  a request that fails is undone as a whole before the error is raised; where the cut fails too, nothing is written until
       it succeeded
  FE3  after a failed fsync nothing is synced or written until `rewound`: the kernel forgets such an error once it was told
  FE4  only bytes of requests behind the last durable one are ever cut off, and only from a file with the inode that we wrote
  FE5  at most `max_open_files` descriptors, and one of the journal
"""
from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import Retryable
from ._file_disk import Disk
from ._file_journal import Journal, Mark
from ._file_rotate import Rotation
from ._file_table import Output, length_to_keep, outputs_of, state_of, was_rotated

Parts = Sequence[tuple[str, list[bytes]]]


class Notice(NamedTuple):
    """A log line to be written by the loop."""

    level: str
    event: str
    about: str
    why: str


@dataclass(slots=True)
class Written:
    """For undoing request `number`: outputs with their lengths before, in the order of writing."""

    number: int
    before: list[tuple[Output, int]]


class Given(NamedTuple):
    """A state that was given out for a request number."""

    number: int
    generation: int
    state: dict[str, Any]


class Engine:
    """See the module. `root`: the directory that all paths lie below. OSError and Retryable go to the caller."""

    def __init__(
        self, root: str, disk: Disk, journal: Journal, rotation: Rotation, max_open_files: int,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._root, self._disk, self._journal, self._rotation, self._now_s = root, disk, journal, rotation, now_s
        self._max_open_files = max_open_files
        self._outputs: OrderedDict[str, Output] = OrderedDict()      # least recently used first
        self._open_count = 0
        self._log: deque[Written] = deque()
        self._given: deque[Given] = deque([Given(0, 0, {})])        # the last durable one, and those behind it
        self._generation = self._durable_generation = self._last_number = 0
        self._broken = ""
        self.notices: deque[Notice] = deque()

    # ------------------------------------------------------------ requests

    def write(self, number: int, parts: Parts, *, patient: bool = True) -> bool:
        """Append the request (FE2). False, with nothing written: a file is due to be rotated and what it holds is not durable
        yet; with `patient=False` it is written all the same."""
        if self._broken:
            raise Retryable(f"going back after a failed sync: {self._broken}")
        if number <= self._last_number:
            self.undo(number - 1)
        self._cut_leftovers()
        outputs = [self._known(path) for path, _ in parts]
        for index, output in enumerate(outputs):
            if self._rotation.is_due(output.length, output.born_s, self._now_s()):
                if output.is_clean(self._durable_generation):
                    self._rotate(output)
                    outputs[index] = self._adopt(output.path)
                elif patient:
                    return False
        self._announce(outputs)
        written = Written(number, [])
        self._log.append(written)
        self._last_number = number
        try:
            for output, (_, pieces) in zip(outputs, parts, strict=True):
                self._append(output, pieces, written)
        except Exception:
            self.undo(number - 1)
            raise
        return True

    def undo(self, number: int) -> None:
        """Take back what was written for requests after `number`. What cannot be cut now is cut before the next write."""
        while len(self._given) > 1 and self._given[-1].number > number:
            self._given.pop()
        while self._log and self._log[-1].number > number:
            for output, length in reversed(self._log.pop().before):
                output.length, output.generation, output.uncut = length, None, True
        self._last_number = min(self._last_number, number)
        try:
            self._cut_leftovers()
        except OSError as error:
            self._note("warning", "output file not cut back yet", error.filename or self._root, str(error))

    def rewound(self, number: int) -> None:
        """Delivery will send again what came after `number`; states given out for later numbers are void."""
        self.undo(number)
        self._broken = ""

    def sync(self) -> tuple[int, dict[str, Any]] | None:
        """All bytes and names to the disk; (number, state) for `confirmed`, None before the first request. A number has one
        state, which is given again where nothing was written since: `durable` names only the number. OSError: see FE3; then
        everything has to be sent again."""
        if self._broken:
            raise Retryable(f"going back after a failed sync: {self._broken}")
        given = self._given[-1]
        if self._last_number <= given.number:
            return (given.number, given.state) if given.number else None
        try:
            self._cut_leftovers()
            changed = [output for output in self._outputs.values() if output.generation is None]
            for output in changed:
                if output.descriptor >= 0:
                    self._disk.sync(output.descriptor)
            self._disk.sync_names()
        except OSError as error:
            self._broken = str(error)
            raise
        self._generation += 1
        for output in changed:
            output.generation = self._generation
        state = state_of(self._generation, [output for output in self._outputs.values() if output.announced])
        self._given.append(Given(self._last_number, self._generation, state))
        return self._last_number, state

    def durable(self, number: int) -> None:
        """The state given out for `number`, or the newest one before it, is on disk with its cursor."""
        while len(self._given) > 1 and self._given[1].number <= number:
            self._given.popleft()
        self._durable_generation = self._given[0].generation
        while self._log and self._log[0].number <= number:
            self._log.popleft()
        needed = [mark for mark in self._journal.marks if self._is_needed(mark)]
        if len(needed) < len(self._journal.marks):
            self._journal.keep(needed)
        for output in list(self._outputs.values()):
            if output.is_clean(self._durable_generation):
                self._retire(output)

    def close(self, number: int) -> None:
        """Cut off what came after the confirmed `number`, and free everything. `recover` makes it usable again."""
        self.undo(number)
        self._forget()
        self._journal.close()

    # ------------------------------------------------------------ recovery

    def recover(self, state: Any) -> None:
        """FE1. May be repeated after an OSError. ValueError: not a state of ours."""
        generation, stored = outputs_of(state)
        self._journal.load()
        marks = self._journal.marks
        paths = dict.fromkeys([*stored, *[mark.path for mark in marks if mark.generation >= generation]])
        self._forget()
        self._given[0] = Given(0, generation, {})       # it may be in memory only as yet: the first `durable` tells
        self._generation = max([generation, *[mark.generation for mark in marks]])
        for path in paths:
            self._restore(path, stored.get(path), [mark for mark in marks if mark.path == path], generation)
        self._rotation.resume([mark for mark in marks if mark.rotated_to])

    def _forget(self) -> None:
        for output in self._outputs.values():
            self._shut(output)
        self._outputs.clear()
        self._log.clear()
        self._given = deque([Given(0, 0, {})])
        self._last_number, self._durable_generation, self._broken = 0, -1, ""

    def _restore(self, path: str, stored: Output | None, marks: list[Mark], generation: int) -> None:
        seen = self._disk.look(path)
        length = None
        if seen is not None and not self._came_again(seen.inode, marks):
            length = length_to_keep(seen, stored, marks, generation)
        if stored is not None and (seen is None or seen.inode != stored.inode) and not was_rotated(path, stored.inode, marks):
            self._note("warning", "output file was moved or removed", path, "somebody else did it while it was written; records "
                       "that were not confirmed may be there and come again; use this sink's own `rotate` instead")
        if seen is None or length is None:
            return
        if seen.size_bytes < length:
            self._note("warning", "output file was cut", path, f"{length - seen.size_bytes} confirmed bytes are gone; "
                       "somebody else cut it; going on at its present end")
        born_s = stored.born_s if stored is not None and stored.inode == seen.inode else seen.changed_s
        output = Output(path, seen.inode, min(length, seen.size_bytes), born_s, announced=True)
        self._outputs[path] = output
        if seen.size_bytes > length:
            output.uncut = True
            self._cut(output)
            self._disk.sync(output.descriptor)
        output.generation = generation
        self._shut(output)

    def _came_again(self, inode: int, marks: list[Mark]) -> bool:
        """Our file with this inode was renamed and compressed, and its inode given to another one, in which nothing of ours
        stands yet: the first write to it would have been announced."""
        last = next((mark for mark in reversed(marks) if mark.inode == inode), None)
        return last is not None and bool(last.rotated_to) and self._disk.look(last.rotated_to + ".gz") is not None

    # ------------------------------------------------------------ one output

    def _known(self, path: str) -> Output:
        """The output at `path`, checked to be still the file that we left there; a new one otherwise."""
        output = self._outputs.get(path)
        if output is not None:
            seen = self._disk.look(path)
            if seen is not None and (seen.inode, seen.size_bytes) == (output.inode, output.length):
                self._outputs.move_to_end(path)
                return output
            what = "was moved or removed" if seen is None or seen.inode != output.inode else (
                "was cut" if seen.size_bytes < output.length else "was written to")
            self._give_up(output, what)
        return self._adopt(path)

    def _give_up(self, output: Output, what: str) -> None:
        """Somebody else changed the file. Its bytes go to the disk where it is, and it is ours no more (FE4)."""
        self._note("warning", f"output file {what}", output.path, "somebody else did it; records may be missing there, and after "
                   "a crash come again; use this sink's own `rotate`, and let nothing else write there")
        if output.descriptor >= 0 and output.generation is None:
            self._disk.sync(output.descriptor)
        output.lost, output.uncut = True, False
        self._shut(output)
        del self._outputs[output.path]

    def _adopt(self, path: str) -> Output:
        self._make_room()
        descriptor = self._disk.open(self._root, path, make=True)
        seen = self._disk.look_at(descriptor)
        output = Output(path, seen.inode, seen.size_bytes, seen.changed_s if seen.size_bytes else self._now_s(), descriptor)
        self._open_count += 1
        self._outputs[path] = output
        return output

    def _announce(self, outputs: list[Output]) -> None:
        """FT1: how long they are becomes durable before the first write."""
        new = [output for output in outputs if not output.announced]
        self._journal.append([Mark(output.path, output.inode, self._generation, output.length) for output in new])
        for output in new:
            output.announced = True

    def _append(self, output: Output, pieces: list[bytes], written: Written) -> None:
        descriptor = self._opened(output)
        written.before.append((output, output.length))
        output.generation, output.uncut = None, True
        self._disk.append(descriptor, pieces)
        output.length += sum(map(len, pieces))
        output.uncut = False

    def _cut_leftovers(self) -> None:
        for output in [output for output in self._outputs.values() if output.uncut]:
            self._cut(output)

    def _cut(self, output: Output) -> None:
        try:
            descriptor = self._opened(output)
        except FileNotFoundError:
            self._give_up(output, "was moved or removed")
            return
        if self._disk.look_at(descriptor).size_bytes > output.length:
            self._disk.truncate(descriptor, output.length)
        output.uncut = False

    def _opened(self, output: Output) -> int:
        if output.descriptor >= 0:
            return output.descriptor
        self._make_room()
        root = self._root if output.path.startswith(self._root.rstrip("/") + "/") else output.path.rpartition("/")[0] or "/"
        descriptor = self._disk.open(root, output.path, make=False)
        if self._disk.look_at(descriptor).inode != output.inode:
            self._disk.close(descriptor)
            raise FileNotFoundError(2, "another file stands in its place", output.path)
        output.descriptor = descriptor
        self._open_count += 1
        return descriptor

    def _make_room(self) -> None:
        """FE5. What was written through a descriptor is synced before that is closed: its errors are told nowhere else."""
        if self._open_count < self._max_open_files:
            return
        oldest = next(output for output in self._outputs.values() if output.descriptor >= 0)
        if oldest.generation is None:
            self._disk.sync(oldest.descriptor)
        self._shut(oldest)

    def _shut(self, output: Output) -> None:
        if output.descriptor >= 0:
            self._disk.close(output.descriptor)
            output.descriptor = -1
            self._open_count -= 1

    # ------------------------------------------------------------ rotation and retirement

    def _retire(self, output: Output) -> None:
        """A clean output: rotated where that is due; forgotten where it is not open any more (FT1)."""
        if self._rotation.is_due(output.length, output.born_s, self._now_s()):
            self._rotate(output)
        elif output.descriptor < 0:
            del self._outputs[output.path]

    def _rotate(self, output: Output) -> None:
        """Rename a clean output; its successor is made by the next write."""
        new_path = self._rotation.free_name(output.path, self._now_s())
        mark = Mark(output.path, output.inode, self._generation, rotated_to=new_path)
        self._journal.append([mark])
        self._disk.rename(self._root, output.path, new_path)
        self._shut(output)
        del self._outputs[output.path]
        self._rotation.begin(mark)

    def _is_needed(self, mark: Mark) -> bool:
        return mark.generation >= self._durable_generation or self._rotation.is_pending(mark)

    def _note(self, level: str, event: str, about: str, why: str) -> None:
        self.notices.append(Notice(level, event, about, why))
