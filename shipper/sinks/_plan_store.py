"""Plans on disk: manifests and the files they name, in state_dir/spool/<sink>/. Driver; called on the sink's thread.

    <number>-<file>.part       spool files: what is sent, byte by byte
    <number>.plan.json         the manifest: what is sent, whereto, and delivery's receipt; never changed once it is there
    <number>.progress.json     what of it is done (upload sessions); may be lost at any time
    kept.json                  what a sink has to know when no plan is left (keep, kept)

Invariants (tests/sinks/test_plan_store.py):
  PS1  a manifest is there only when all files that it names are whole on disk: files fsynced, then the directory, then the
       manifest (temporary file, fsync, rename, fsync of the directory)
  PS2  the manifest goes first, then its files: what no manifest names is scratch, and is removed at the start
  PS3  all of it is 0600 in a directory 0700: it holds records
  PS4  plans are given up newest first: one that stayed behind another that is gone would stand for the records of both. So who
       is asked to help gives up all of them
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from ..durable import sync_directory

Manifests = list[tuple[int, dict[str, Any]]]
Files = Callable[[Mapping[str, Any]], Sequence[tuple[int, int]]]
"""Size and checksum of each file that a manifest names."""
_MANIFEST = re.compile(r"(\d{10})\.plan\.json")
_KEPT = "kept.json"
_OF_PLAN = re.compile(r"(\d{10})[-.].*")


class PlanStore:
    """One sink's. OSError goes to the caller."""

    def __init__(self, state_dir: str, sink: str) -> None:
        self.directory = os.path.join(state_dir, "spool", quote(sink, safe=""))
        self._last = 0

    def open(self) -> Manifests:
        """The manifests, oldest first; all else that is there is removed (PS2). ValueError naming a manifest that is none."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        found = []
        names = os.listdir(self.directory)
        for name in sorted(names):
            if match := _MANIFEST.fullmatch(name):
                found.append((int(match[1]), self._read(name)))
        numbers = {number for number, _ in found}
        for name in set(names) - {_KEPT}:
            match = _OF_PLAN.fullmatch(name)
            if match is None or int(match[1]) not in numbers or name.endswith(".tmp"):
                os.unlink(os.path.join(self.directory, name))
        self._last = max(numbers, default=0)
        return found

    def new_number(self) -> int:
        """Rises over everything that is there."""
        self._last += 1
        return self._last

    def rise_over(self, number: int) -> None:
        """Plans up to `number` were carried out by earlier processes; new ones have higher numbers."""
        self._last = max(self._last, number)

    def keep(self, value: Mapping[str, Any]) -> None:
        """Durable when it returns, in one step."""
        self._replace(_KEPT, orjson.dumps(value))

    def kept(self) -> dict[str, Any]:
        """What was kept last; {} where nothing was. ValueError where that is damaged."""
        return self._read(_KEPT) if os.path.exists(os.path.join(self.directory, _KEPT)) else {}

    def path(self, number: int, file: int) -> str:
        return os.path.join(self.directory, f"{number:010d}-{file}.part")

    def create(self, path: str) -> int:
        """A descriptor of a new spool file (PS3)."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def reopen(self, path: str) -> int:
        """A descriptor that appends to a spool file that is there."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)

    def write(self, number: int, manifest: Mapping[str, Any]) -> None:
        """PS1. The files are fsynced already; again and again until it succeeds."""
        sync_directory(self.directory)
        self._replace(f"{number:010d}.plan.json", orjson.dumps(manifest))

    def progress(self, number: int) -> dict[str, Any]:
        """What was stored with `note`; {} where that is gone or damaged."""
        try:
            with open(os.path.join(self.directory, f"{number:010d}.progress.json"), "rb") as file:
                found = orjson.loads(file.read())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, number: int, progress: Mapping[str, Any]) -> None:
        """Durable when it returns."""
        self._replace(f"{number:010d}.progress.json", orjson.dumps(progress))

    def remove(self, number: int, files: int) -> None:
        """The plan is carried out (PS2)."""
        self._unlink(f"{number:010d}.plan.json")
        sync_directory(self.directory)
        self.discard(number, files)

    def discard(self, number: int, files: int) -> None:
        """The files of a plan that has no manifest."""
        self._unlink(f"{number:010d}.progress.json")
        for file in range(files):
            self._unlink(os.path.basename(self.path(number, file)))

    # ------------------------------------------------------------ plans whose files were changed

    def damaged(self, found: Manifests, files: Files, measure: Callable[[str], tuple[int, int]]) -> tuple[int, str]:
        """The index of the first plan whose files are not what it says, and the path of the file; (len(found), "") for none."""
        for index, (number, manifest) in enumerate(found):
            for file, expected in enumerate(files(manifest)):
                if measure(path := self.path(number, file)) != expected:
                    return index, path
        return len(found), ""

    def give_up(self, given: Manifests, files: Files) -> None:
        """PS4. What they planned is sent again from the buffer."""
        for number, manifest in reversed(given):
            self.remove(number, len(files(manifest)))

    # ------------------------------------------------------------ files

    def _read(self, name: str) -> dict[str, Any]:
        path = os.path.join(self.directory, name)
        with open(path, "rb") as file:
            try:
                found = orjson.loads(file.read())
            except ValueError:
                found = None
        if not isinstance(found, dict):
            raise ValueError(                   # it alone would not do (PS4)
                f"{path} is damaged; move {self.directory} away: what was planned is sent again from the buffer, some of it "
                "perhaps twice")
        return found

    def _replace(self, name: str, data: bytes) -> None:
        temporary = os.path.join(self.directory, f"{name}.tmp")
        descriptor = self.create(temporary)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if os.stat(temporary).st_size != len(data):
            raise OSError(28, "no space left on the device", temporary)
        os.rename(temporary, os.path.join(self.directory, name))
        sync_directory(self.directory)

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(os.path.join(self.directory, name))
        except FileNotFoundError:
            return
