"""Where other agents write down how far they are: fluentd's pos_file, Fluent Bit's SQLite data base. Driver: reads them.

    fluentd     path TAB offset TAB inode, both as 16 hex digits; offset ffffffffffffffff: not watched any more
    fluent-bit  table in_tail_files: name, offset, inode (plugins/in_tail/tail_sql.h)
    fluentd-journal   fluent-plugin-systemd's cursor of the last entry that it emitted, bare (pos_file) or in JSON (<storage>)

Invariants:
  A1  nothing is written, not even a lock or a journal beside a data base: it is copied first, with its write-ahead log, or the
      journal of a change that was under way when Fluent Bit died
  A2  a line that is none is said, with its number, and never guessed at
"""
from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable

from ..errors import Usage
from .takeover import Entry

_CURSOR = re.compile(r"s=[0-9a-f]{32};i=[0-9a-f]+(?:;[a-z]=[0-9a-f]+)*")
MOST_BYTES = 256 * 1024 * 1024
_LINE = re.compile(r"([^\t].*)\t([0-9a-fA-F]{16})\t([0-9a-fA-F]{8,16})")
_UNWATCHED = 0xFFFFFFFFFFFFFFFF
_BESIDE = ("-wal", "-journal")


def read_entries(agent: str, path: str) -> tuple[list[Entry], list[str]]:
    """(positions, what could not be read). `agent`: a key of READERS. Usage where there is no such file, or it is another."""
    try:
        if os.stat(path).st_size > MOST_BYTES:
            raise Usage(f"{path}: larger than {MOST_BYTES} bytes; it is no positions file")
        return READERS[agent](path)
    except OSError as error:
        raise Usage(_unreadable(path, error, f"name the file that {agent} keeps its positions in")) from error


def written_ns(path: str) -> int:
    """When the positions were written for the last time; 0 where the file is gone."""
    times = [os.stat(path + beside).st_mtime_ns for beside in ("", *_BESIDE) if os.path.exists(path + beside)]
    return max(times, default=0)


def read_cursor(path: str) -> str:
    """The journal's cursor in fluentd's file. Usage where there is none."""
    try:
        with open(path, "rb") as file:
            text = file.read(65536).decode("utf-8", "replace")
    except OSError as error:
        raise Usage(_unreadable(path, error, "name the file in which fluentd keeps the cursor")) from error
    found = _CURSOR.search(text)
    if found is None:
        raise Usage(f"{path}: no cursor of a journal in it (s=...;i=...); is it the pos_file or storage of a systemd source?")
    return found[0]


def _unreadable(path: str, error: OSError, mend: str) -> str:
    mend = "run this as root (sudo), or as who may read it" if isinstance(error, PermissionError) else mend
    return f"{path}: cannot be read: {error.strerror}; {mend}"


def parse_pos_file(text: str, path: str) -> tuple[list[Entry], list[str]]:
    """Pure. Of two lines for one file (path and inode) the last counts, as in fluentd."""
    found: dict[tuple[str, int], Entry] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            if line.strip("\0 \r"):
                problems.append(f"{path}:{number}: not a position (path, offset and inode between tabs); left out")
            continue
        offset, inode = int(match[2], 16), int(match[3], 16)
        found[match[1], inode] = Entry(match[1], inode, None if offset == _UNWATCHED else offset)
    return list(found.values()), problems


def _fluentd(path: str) -> tuple[list[Entry], list[str]]:
    with open(path, "rb") as file:
        data = file.read()
    entries, problems = parse_pos_file(data.decode("utf-8", "surrogateescape"), path)
    if problems and not entries:
        raise Usage(f"{path}: no line of it is a position; is it fluentd's pos_file?")
    return entries, problems


def _fluent_bit(path: str) -> tuple[list[Entry], list[str]]:
    with tempfile.TemporaryDirectory(prefix="shipper-import-") as directory:        # A1
        copy = os.path.join(directory, "db")
        shutil.copyfile(path, copy)
        for beside in _BESIDE:
            if os.path.exists(path + beside):
                shutil.copyfile(path + beside, copy + beside)
        try:
            return _rows(copy), []
        except sqlite3.Error as error:
            raise Usage(f"{path}: {error}; is it the DB of Fluent Bit's tail input?") from error


def _rows(path: str) -> list[Entry]:
    base = sqlite3.connect(path)
    try:
        rows = base.execute("SELECT name, inode, offset FROM in_tail_files ORDER BY id").fetchall()
    finally:
        base.close()
    return [Entry(str(name), inode, offset) for name, inode, offset in rows
            if isinstance(inode, int) and isinstance(offset, int) and offset >= 0]


READERS: dict[str, Callable[[str], tuple[list[Entry], list[str]]]] = {"fluentd": _fluentd, "fluent-bit": _fluent_bit}
