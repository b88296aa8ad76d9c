"""Whole lines become columns. Pure. Hot: once per chunk.

A `Decoder` belongs to one lineage: what is open at the end of one file goes on in the next. Formats (lines.py) are told apart
per file.

Invariants:
  C1  the chunks may be cut at any line end: the records are the same
  C2  every source byte is in exactly one record or in one open record (P11)
  C3  a line that does not decode is shipped whole, marked "malformed"; nothing raises, whatever the bytes (P10)
  C4  on the straight path (every line a whole `F`) nothing is done per line but one split, one len and one id:
      170 ns a line at 238 bytes, ids included (tests/bench); anything else in a chunk takes the careful path for it
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import orjson

from ..model import Batch, Marks, Open, Piece, Source
from .lines import STREAM_BYTES, Cut, cut
from .records import MAX_PIECES, Budget, Opened, Pending, Reread
from .times import Shape, column, to_ns


@dataclass(slots=True)
class _Columns:
    """Columns under construction, on the careful path only."""

    times: list[bytes] = field(default_factory=list)
    streams: list[bytes] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    marks: Marks = field(default_factory=dict)

    def add(self, time: bytes, stream: bytes, item: bytes, message: bytes, mark: dict[str, Any] | None = None) -> None:
        if mark:
            self.marks[len(self.ids)] = mark
        self.times.append(time)
        self.streams.append(stream)
        self.ids.append(item)
        self.messages.append(message)


class Decoder:
    """Stateful over one lineage."""

    __slots__ = ("finished", "form", "hold_until_s", "max_line", "max_record", "opened", "source")

    def __init__(self, source: Source, form: str, *, max_line: int, max_record: int, budget: Budget) -> None:
        self.source, self.form = source, form
        self.max_line, self.max_record = max_line, max_record
        self.opened = Opened(budget)
        self.hold_until_s = 0.0
        self.finished: dict[bytes, tuple[Piece, ...]] | None = None
        """Where somebody asks for it: of records made of several pieces, where these stand, by id item."""

    # -------------------------------------------------------- state

    def state(self) -> tuple[Open, ...]:
        """What is open, for the frame (records.O1)."""
        return self.opened.state()

    def restore(self, state: tuple[Open, ...], now_s: float) -> None:
        """Go on where a frame left off."""
        self.opened.restore(state, now_s)

    @property
    def look_back_bytes(self) -> int:
        """How far in front of a range that is read again a record may begin that ends in it: pieces of one record, and as many
        of the other stream between them."""
        return 2 * self.max_record if self.form in ("cri", "docker") else 0

    def look_back(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> None:
        """What stands in front of a range that is read again: as `decode`, but what it completes is elsewhere already."""
        self.decode(key, start, lines, read_ns=read_ns, now_s=now_s, reread=reread)

    def end_with_next(self) -> None:
        """A decoder joins no lines (process.chain does)."""

    def take_drops(self, key: str = "") -> dict[str, int] | None:
        """A decoder drops nothing (process.chain does)."""
        return None

    @property
    def skipping(self) -> Piece | None:
        """The line over max_line whose end has not been seen."""
        return self.opened.skipping

    @skipping.setter
    def skipping(self, piece: Piece | None) -> None:
        self.opened.skipping = piece

    @staticmethod
    def newest_ns(batch: Batch) -> int:
        """The time of a batch's last record in ns, its read time where records have none."""
        return (to_ns(batch.times[-1]) if batch.times[-1] else 0) or batch.read_ns

    def oldest_open_s(self) -> float | None:
        """When the longest open record began to wait, or None."""
        waits = [p.since_s for p in self.opened.by_stream.values()] + [since_s for _, since_s in self.opened.lines]
        return min(waits) if waits else None

    # -------------------------------------------------------- decoding

    def decode(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> Batch | None:
        """`lines`: whole lines of file `key` from offset `start` on, without their newlines, none over max_line.

        The reader splits, so that a chunk is never copied. None where no record was completed.
        """
        if self.form == "cri":
            done, batch = self._cri(key, start, lines, read_ns, now_s, reread)
            if done:
                return batch
        elif self.form == "docker":
            batch = self._docker(key, start, lines, read_ns)
        else:
            none = [b""] * len(lines)
            batch = Batch(
                self.source, key, none, none, _ids(start, [len(x) + 1 for x in lines]), lines, None, read_ns, False
            )
        if batch is not None:
            return batch
        return self._careful(key, start, lines, read_ns, now_s, reread)

    def _cri(
        self, key: str, start: int, lines: list[bytes], read_ns: int, now_s: float, reread: Reread
    ) -> tuple[bool, Batch | None]:
        """(True, batch) where every line is a good CRI line, (False, None) where the careful path has to look."""
        fields: list[bytes] = []
        for line in lines:                              # and not zip(*...) over a list of lists: a third of the cost
            fields.extend(line.split(b" ", 3))
        count = len(lines)
        if len(fields) != 4 * count or not fields:      # a line with fewer than four fields; none has more
            return False, None
        # The messages as a tuple: model.Section.held_bytes.
        times, streams, tags, messages = fields[::4], fields[1::4], fields[2::4], tuple(fields[3::4])
        whole = tags.count(b"F")
        if whole != count and whole + tags.count(b"P") != count:
            return False, None
        if streams.count(b"stdout") + streams.count(b"stderr") != count:
            return False, None
        shape = column(times)
        if shape is Shape.BAD:
            return False, None
        utc = shape is Shape.UTC
        sizes = [len(line) + 1 for line in lines]
        if whole == count and not self.opened.by_stream:
            return True, Batch(self.source, key, times, streams, _ids(start, sizes), messages, None, read_ns, False, utc)
        # A record that is open already began in another batch, perhaps with a time of another shape.
        utc = utc and all(pending.time.endswith(b"Z") for pending in self.opened.by_stream.values())
        batch = self._cri_with_pieces(key, start, (times, streams, tags, messages), sizes, read_ns, now_s, reread)
        if batch is not None:
            batch.utc = utc
        return True, batch

    def _cri_with_pieces(
        self, key: str, start: int, columns: tuple[Any, Any, Any, Any], sizes: list[int], read_ns: int, now_s: float,
        reread: Reread,
    ) -> Batch | None:
        """Runs of whole lines go over as slices; line by line only while something is open."""
        times, streams, tags, messages = columns
        starts, ids = list(accumulate(sizes, initial=start)), _ids(start, sizes)
        out, at, count = _Columns(), 0, len(sizes)
        while at < count:
            if self.opened.by_stream or tags[at] == b"P":
                self._record(
                    out, key, starts[at], sizes[at], (times[at], streams[at], tags[at] == b"F", messages[at]), now_s, reread
                )
                at += 1
                continue
            try:
                until = tags.index(b"P", at)
            except ValueError:
                until = count
            out.times += times[at:until]
            out.streams += streams[at:until]
            out.ids += ids[at:until]
            out.messages += messages[at:until]
            at = until
        return self._batch(out, key, read_ns)

    def _docker(self, key: str, start: int, lines: list[bytes], read_ns: int) -> Batch | None:
        if self.opened.by_stream:
            return None
        try:
            entries = list(map(orjson.loads, lines))
            times = [entry["time"].encode() for entry in entries]
            streams = [STREAM_BYTES[entry["stream"]] for entry in entries]
            logs = [entry["log"] for entry in entries]
            # A list, not a generator: half the cost.
            if not all([log.endswith("\n") for log in logs]):
                return None
            messages = [log[:-1].encode() for log in logs]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeEncodeError):
            return None
        shape = column(times)
        if shape is Shape.BAD:
            return None
        ids = _ids(start, [len(x) + 1 for x in lines])
        return Batch(self.source, key, times, streams, ids, messages, None, read_ns, True, shape is Shape.UTC)

    def _careful(
        self, key: str, start: int, lines: Sequence[bytes], read_ns: int, now_s: float, reread: Reread
    ) -> Batch | None:
        out, at = _Columns(), start
        for line in lines:
            size = len(line) + 1
            self._line(out, key, at, size, line, now_s, reread)
            at += size
        return self._batch(out, key, read_ns)

    def _batch(self, out: _Columns, key: str, read_ns: int) -> Batch | None:
        if not out.ids:
            return None
        newlines = self.form == "docker"                # only JSON can carry one through the split into lines
        return Batch(self.source, key, out.times, out.streams, out.ids, out.messages, out.marks or None, read_ns, newlines)

    def _line(
        self, out: _Columns, key: str, at: int, size: int, line: bytes, now_s: float, reread: Reread,
        mark: dict[str, Any] | None = None,
    ) -> None:
        parts = cut(line, self.form)
        if parts is None:
            out.add(b"", b"", b"%x+%x" % (at, size), line, {**(mark or {}), "malformed": True})
            return
        self._record(out, key, at, size, parts, now_s, reread, mark)

    def _record(
        self, out: _Columns, key: str, at: int, size: int, parts: Cut, now_s: float, reread: Reread,
        mark: dict[str, Any] | None = None,
    ) -> None:
        time, stream, whole, content = parts
        whole = whole or mark is not None               # the rest of an oversized or last line is gone: it ends here
        opened = self.opened
        pending = opened.by_stream.get(stream)
        if pending is None:
            if whole:
                out.add(time, stream, b"%x+%x" % (at, size), content, mark)
            else:
                opened.begin(stream, key, at, size, time, content, now_s)
            return
        pending.add(key, at, size, content, opened.budget)
        if whole:
            self._finish(out, key, stream, reread, mark)
        elif pending.source_bytes >= self.max_record or len(pending.pieces) >= MAX_PIECES:
            self._finish(out, key, stream, reread, {"partial": True})

    def _finish(self, out: _Columns, key: str, stream: bytes, reread: Reread, mark: dict[str, Any] | None) -> None:
        pending = self.opened.take(stream)
        if pending is None:
            return
        if pending.parts is None:
            lost_bytes = pending.source_bytes - self._again(pending, stream, reread)
            if lost_bytes:                              # its file is gone: what is left is shipped, and said to be less
                mark = {**(mark or {}), "partial": True, "lost": lost_bytes}
        item = pending.item(key)
        if self.finished is not None:
            self.finished[item] = tuple(pending.pieces)
        out.add(pending.time, stream, item, b"".join(pending.parts or ()), mark)

    def _again(self, pending: Pending, stream: bytes, reread: Reread) -> int:
        """Time and contents of an open record whose bytes were not held, from its file ranges; how many bytes were there."""
        pending.time, pending.parts, found_bytes = b"", [], 0
        for piece in pending.pieces:
            data = reread(piece)
            found_bytes += len(data)
            for line in data.split(b"\n"):
                parts = cut(line, self.form)
                if parts is not None and parts[1] == stream:
                    pending.time = pending.time or parts[0]
                    pending.parts.append(parts[3])
        return found_bytes

    # -------------------------------------------------------- what does not end by itself

    def oversized(
        self, key: str, start: int, total: int, head: bytes, *, read_ns: int, now_s: float, reread: Reread
    ) -> Batch | None:
        """A line of `total` source bytes (its newline included) at `start`, over max_line: its first bytes, marked. Without
        `head` its file is gone: no message, and the mark says so."""
        out = _Columns()
        if not head:
            out.add(b"", b"", b"%x+%x" % (start, total), b"", {"truncated": total - 1, "lost": total})
            return self._batch(out, key, read_ns)
        self._line(out, key, start, total, head, now_s, reread, {"truncated": total - 1})
        return self._batch(out, key, read_ns)

    def unterminated(self, key: str, start: int, rest: bytes, *, read_ns: int, now_s: float, reread: Reread) -> Batch | None:
        """The end of a file that nobody will finish: its last bytes without a newline, as a record marked "partial"."""
        out = _Columns()
        if cut(rest, self.form) is None:
            out.add(b"", b"", b"%x+%x" % (start, len(rest)), rest, {"partial": True})
        else:
            self._line(out, key, start, len(rest), rest, now_s, reread, {"partial": True})
        return self._batch(out, key, read_ns)

    def flush(self, *, before_s: float, read_ns: int, reread: Reread) -> list[tuple[str, Batch]]:
        """Close what has been open since before `before_s`, marked "partial"; (file key, batch) per record.

        The key is that of the record's last piece, whose file takes the zero-length section.
        """
        found = []
        for stream in [s for s, p in self.opened.by_stream.items() if p.since_s <= before_s]:
            key = self.opened.by_stream[stream].pieces[-1].key
            out = _Columns()
            self._finish(out, key, stream, reread, {"partial": True})
            batch = self._batch(out, key, read_ns)
            if batch is not None:
                found.append((key, batch))
        due = [item for item, since_s in self.opened.lines if since_s <= before_s]
        self.opened.lines = [entry for entry in self.opened.lines if entry[1] > before_s]
        return found + [self._lines(item, read_ns, reread) for item in due]

    def _lines(self, item: Open, read_ns: int, reread: Reread) -> tuple[str, Batch]:
        """Lines that nobody joins any more, as the one record that they were to be."""
        stream, key = item.stream.encode(), item.pieces[-1].key
        pending = Pending(list(item.pieces), b"", None, sum(piece.length for piece in item.pieces), 0.0)
        lost_bytes = pending.source_bytes - self._again(pending, stream, reread)
        out = _Columns()
        mark = {"partial": True, "lost": lost_bytes} if lost_bytes else None
        out.add(pending.time, stream, pending.item(key), b"\n".join(pending.parts or ()), mark)
        batch = self._batch(out, key, read_ns)
        assert batch is not None
        batch.newlines = True
        return key, batch


def _ids(start: int, sizes: list[int]) -> list[bytes]:
    return [b"%x+%x" % (at, size) for at, size in zip(accumulate(sizes, initial=start), sizes)]

