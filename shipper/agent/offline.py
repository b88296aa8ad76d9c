"""What a state directory says when no agent runs on it: for status, positions and audit. Driver.

Invariants (tests/agent/test_offline.py):
  F1  nothing in the directory is changed but the lock file's content; the lock is held while it is read
  F2  sizes are those of the log files now, where path and inode still are the ones that were read; else what was last seen
"""
from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..buffer.lock import Lock, holder
from ..buffer.positions import FilePosition
from ..buffer.view import View, inspect
from ..errors import Fatal
from . import SOCKET_NAME
from .accounts import audit_facts as audit_of
from .accounts import file_facts
from .audit import AuditFacts
from .status import StatusFacts


def status_facts(state_dir: str) -> StatusFacts:
    """Files from the positions, sinks from their cursors. Usage where the directory is no state directory."""
    view = _view(state_dir)
    return StatusFacts(
        files=file_facts(view.positions, time.time(), _sizes(view)),
        sinks={name: _sink(view, name) for name in view.cursors},
        buffer={"bytes": _stored_bytes(state_dir), "first_seq": view.first_seq, "last_seq": view.last_seq},
    )


def audit_facts(state_dir: str) -> AuditFacts:
    """The facts of `shipper audit`, from what is durable."""
    view = _view(state_dir)
    return audit_of(view.positions, {name: cursor.counters for name, cursor in view.cursors.items()}, _sizes(view))


def _view(state_dir: str) -> View:
    with locked(state_dir):
        return inspect(state_dir)


@contextmanager
def locked(state_dir: str) -> Iterator[None]:
    """The state lock is held. Fatal where somebody else has it."""
    lock = Lock.try_take(state_dir)
    if lock is None:
        raise Fatal(f"{holder(os.path.join(state_dir, 'lock'))} holds {state_dir} and answers no questions yet "
                    f"(no {SOCKET_NAME}); it is starting or stopping: ask again")
    try:
        yield
    finally:
        lock.release()


def _sink(view: View, name: str) -> dict[str, Any]:
    cursor = view.cursors[name]
    return {
        "state": "removed" if cursor.removed_s else "stopped",
        "backlog_bytes": view.positions.total_bytes - cursor.total_bytes,
        "delivered_records": cursor.counters.get("delivered_records", 0),
    }


def _sizes(view: View) -> dict[str, int]:
    """F2; compressed files keep the size that was seen: theirs is another one."""
    found = {}
    for key, position in view.positions.files.items():
        size = _size(position)
        if size is not None:
            found[key] = size
    return found


def _size(position: FilePosition) -> int | None:
    file = position.file
    if file.path.endswith(".gz"):
        return None
    try:
        seen = os.stat(file.path)
    except OSError:
        return None
    same = (seen.st_dev, seen.st_ino) == (file.device, file.inode) and seen.st_size >= position.offset
    return seen.st_size if same else None


def _stored_bytes(state_dir: str) -> int:
    total = 0
    for directory, _, names in os.walk(os.path.join(state_dir, "buffer")):
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name)).st_size
            except FileNotFoundError:           # unlinked since it was listed
                continue
    return total
