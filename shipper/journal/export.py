"""systemd's journal export format, fed in pieces of any size. Pure. Hot: once per piece, a dict per entry.

    entry   = field... "\\n"
    field   = NAME "=" text "\\n"  |  NAME "\\n" length(u64 LE) bytes "\\n"        (systemd: JOURNAL_EXPORT_FORMATS)

Invariants (tests/journal/test_export.py):
  E1  where the input is cut changes nothing
  E2  linear: no byte is looked at more than a fixed number of times, whatever they are
  E3  bounded: of a value at most `most_bytes` are kept, of its size the truth is (`SIZE`); of names only those wanted, where
      values are long or binary
  E4  bytes that cannot be this format are a ValueError; nothing after it is taken
"""
from __future__ import annotations

import struct
from collections.abc import Collection

Entry = dict[bytes, bytes]
"""Field names to values, the first of each name. `SIZE` is there where MESSAGE was cut: its bytes, in decimal."""

SIZE = b"="
"""No field has this name: it would end in front of it."""
MESSAGE = b"MESSAGE"
MOST_FIELD_BYTES = 1 << 30
"""journald itself stores at most 768 MiB."""
MOST_NAME_BYTES = 256
_LENGTH = struct.Struct("<Q")
_LINE, _SIZE, _VALUE, _END = range(4)


class ExportParser:
    """One stream of entries. `wanted`: the names to keep where an entry has to be taken apart bit by bit."""

    def __init__(self, wanted: Collection[bytes], most_bytes: int) -> None:
        self._wanted, self._most_bytes = frozenset(wanted), most_bytes
        self._entry: Entry | None = None                  # None: between two entries
        self._is_empty = True                             # no field of it was seen
        self._state = _LINE
        self._kept = bytearray()                          # of the line, length or value that is being read
        self._seen_bytes = 0                              # how long that is so far
        self._left_bytes = 0                              # of the value
        self._name = b""

    @property
    def between(self) -> bool:
        """No entry has begun that is not whole."""
        return self._entry is None

    def feed(self, data: bytes) -> list[Entry]:
        """The entries that end in `data`. 1.5 us an entry of eight text fields."""
        out: list[Entry] = []
        at, size = 0, len(data)
        while at < size:
            if self._entry is None:
                # A whole entry of text fields is the rule. A binary field's name is a line without "=": then bit by bit.
                end = data.find(b"\n\n", at)
                if end >= 0:
                    try:
                        out.append(dict([line.split(b"=", 1) for line in data[at:end].split(b"\n")[::-1]]))
                        at = end + 2
                        continue
                    except ValueError:
                        pass
                self._entry = {}
            at = self._STEPS[self._state](self, data, at, out)
        return out

    def _line(self, data: bytes, at: int, out: list[Entry]) -> int:
        end = data.find(b"\n", at)
        self._keep(data, at, end if end >= 0 else len(data), self._most_bytes + MOST_NAME_BYTES)
        if end < 0:
            return len(data)
        line, total = self._taken()
        if not total:
            self._ended(out)
        elif b"=" in line:
            name, value = line.split(b"=", 1)
            self._add(name, value, total - len(name) - 1)
        elif total > MOST_NAME_BYTES:
            raise ValueError(f"a field's name of {total} bytes: this is not the journal export format")
        else:
            self._name, self._state = line, _SIZE
        return end + 1

    def _size(self, data: bytes, at: int, out: list[Entry]) -> int:
        end = min(len(data), at + _LENGTH.size - self._seen_bytes)
        self._keep(data, at, end, _LENGTH.size)
        if self._seen_bytes == _LENGTH.size:
            (self._left_bytes,) = _LENGTH.unpack(self._taken()[0])
            if self._left_bytes > MOST_FIELD_BYTES:
                raise ValueError(f"a field of {self._left_bytes} bytes: this is not the journal export format")
            self._state = _VALUE if self._left_bytes else _END
        return end

    def _value(self, data: bytes, at: int, out: list[Entry]) -> int:
        end = min(len(data), at + self._left_bytes)
        self._keep(data, at, end, self._most_bytes if self._name in self._wanted else 0)
        self._left_bytes -= end - at
        if not self._left_bytes:
            self._state = _END
        return end

    def _end(self, data: bytes, at: int, out: list[Entry]) -> int:
        if data[at] != 0x0A:
            raise ValueError("no newline behind a binary field: this is not the journal export format")
        self._add(self._name, *self._taken())
        self._state = _LINE
        return at + 1

    _STEPS = (_line, _size, _value, _end)

    def _keep(self, data: bytes, start: int, end: int, most_bytes: int) -> None:
        self._seen_bytes += end - start
        room = most_bytes - len(self._kept)
        if room > 0:
            self._kept += data[start : min(end, start + room)]

    def _taken(self) -> tuple[bytes, int]:
        kept, total = bytes(self._kept), self._seen_bytes
        self._kept, self._seen_bytes = bytearray(), 0
        return kept, total

    def _add(self, name: bytes, value: bytes, total: int) -> None:
        assert self._entry is not None
        self._is_empty = False
        if name not in self._wanted or name in self._entry:
            return
        self._entry[name] = value[: self._most_bytes]
        if name == MESSAGE and total > self._most_bytes:
            self._entry[SIZE] = b"%d" % total

    def _ended(self, out: list[Entry]) -> None:
        if self._entry is not None and not self._is_empty:
            out.append(self._entry)
        self._entry, self._is_empty = None, True
