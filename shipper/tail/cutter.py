"""Bytes of one file become sections: whole lines to the decoder, long ones skipped, the rest left for the next read.

Pure but for `reread`. Hot: once per chunk.

    data behind the offset ──┬─ whole lines ──────────────────────► decode ──► section
                             ├─ no newline yet, <= max_line ──────► wait (scanned remembers what was looked through)
                             └─ no newline yet, over max_line ────► skip: zero-record sections, state "skipping",
                                                                     until its newline; then one record, cut and marked

Invariants:
  L1  every byte behind the offset is looked at once for newlines, however a long line arrives (linear, P10)
  L2  sections of a file are contiguous: each starts where the last one ended
  L3  memory for a line that never ends is one chunk
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..model import Batch, FileRef, Open, Piece, Section
from .file import TailFile
from .identity import digest

# 128 KiB of lines and what is made of them stay in a core's second-level cache: 13 % less CPU in catch-up than 256 KiB.
CHUNK_BYTES = 128 * 1024
LONG_LINE_BYTES = 64 * 1024
Reread = Callable[[Piece], bytes]


class LineDecoder(Protocol):
    """What the cutter asks of decode.Decoder."""

    max_line: int
    form: str
    skipping: Piece | None
    hold_until_s: float                 # not read before then: a rate limit, metadata that have not come; the file is the buffer

    def decode(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> Batch | None: ...
    def oversized(
        self, key: str, start: int, total: int, head: bytes, *, read_ns: int, now_s: float, reread: Reread
    ) -> Batch | None: ...
    def unterminated(
        self, key: str, start: int, rest: bytes, *, read_ns: int, now_s: float, reread: Reread
    ) -> Batch | None: ...
    def flush(self, *, before_s: float, read_ns: int, reread: Reread) -> list[tuple[str, Batch]]: ...
    def state(self) -> tuple[Open, ...]: ...
    def take_drops(self, key: str = "") -> dict[str, int] | None: ...   # since the last call, for a section of file `key`
    def restore(self, state: tuple[Open, ...], now_s: float) -> None: ...
    def oldest_open_s(self) -> float | None: ...
    def newest_ns(self, batch: Batch) -> int: ...
    @property
    def look_back_bytes(self) -> int: ...                   # a range read again: so far in front of it may a record begin
    def look_back(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> None: ...
    def end_with_next(self) -> None: ...                  # and with its last lines every record of whole lines ends


class Cutter:
    """One read's worth of facts: which decoder, when. Made per lineage; `read_ns` and `now_s` are set per round."""

    __slots__ = ("decoder", "now_s", "read_ns", "reread")

    def __init__(self, decoder: LineDecoder, reread: Reread) -> None:
        self.decoder, self.reread = decoder, reread
        self.now_s, self.read_ns = 0.0, 0

    def cut(self, file: TailFile, ref: FileRef, data: bytes) -> list[Section]:
        """Sections of what is complete in `data`, which stands `file.scanned` bytes behind the offset. Advances `file`."""
        sections: list[Section] = []
        at = 0
        self._leave_line_of_another(ref)
        if file.scanned or self.decoder.skipping is not None:
            at = self._long_line(file, ref, data, sections)
        while at < len(data):
            end = self._window(data, at)
            if end <= at:
                break
            chunk = data if end - at == len(data) else data[at:end]
            sections += self._whole_lines(file, ref, chunk)
            at = end
        rest_bytes = len(data) - at
        if rest_bytes > LONG_LINE_BYTES and not file.scanned:
            file.scanned = rest_bytes
            self._maybe_skip(file, ref, data, sections)
        file.rest_bytes = file.scanned or rest_bytes
        return sections

    @staticmethod
    def _window(data: bytes, at: int) -> int:
        if len(data) - at <= CHUNK_BYTES:
            return data.rfind(b"\n", at) + 1
        return data.rfind(b"\n", at, at + CHUNK_BYTES) + 1 or data.find(b"\n", at) + 1

    def _whole_lines(self, file: TailFile, ref: FileRef, chunk: bytes) -> list[Section]:
        lines = chunk.split(b"\n")
        lines.pop()                                     # what stands behind the last newline: nothing
        limit = self.decoder.max_line
        if len(chunk) > limit and max(map(len, lines)) > limit:
            return [self._one(file, ref, line) for line in lines]
        batch = self.decoder.decode(
            ref.key, file.offset, lines, read_ns=self.read_ns, now_s=self.now_s, reread=self.reread
        )
        return [self._section(file, ref, chunk, len(chunk), batch)]

    def _one(self, file: TailFile, ref: FileRef, line: bytes) -> Section:
        args = {"read_ns": self.read_ns, "now_s": self.now_s, "reread": self.reread}
        if len(line) > self.decoder.max_line:
            head = line[: self.decoder.max_line]
            batch = self.decoder.oversized(ref.key, file.offset, len(line) + 1, head, **args)  # type: ignore[arg-type]
        else:
            batch = self.decoder.decode(ref.key, file.offset, [line], **args)  # type: ignore[arg-type]
        return self._section(file, ref, line + b"\n", len(line) + 1, batch)

    def _section(self, file: TailFile, ref: FileRef, used: bytes, used_bytes: int, batch: Batch | None) -> Section:
        start = file.offset
        file.advance(used, used_bytes)
        last_ns = self.decoder.newest_ns(batch) if batch is not None else 0
        return Section(
            ref, start, file.offset, digest(file.guard or b""), batch, self.decoder.state(), self.decoder.take_drops(ref.key),
            size=max(file.size, file.offset), last_ns=last_ns,
        )

    # -------------------------------------------------------- long lines

    def _leave_line_of_another(self, ref: FileRef) -> None:
        """A long line whose file was gone before its end came (that is reported) ends there, not in the next file."""
        skipping = self.decoder.skipping
        if skipping is not None and skipping.key != ref.key:
            self.decoder.skipping = None

    def _long_line(self, file: TailFile, ref: FileRef, data: bytes, sections: list[Section]) -> int:
        """Go on with a line whose beginning was looked through before; how many bytes of `data` it took."""
        end = data.find(b"\n") + 1
        if not end:
            file.scanned += len(data)
            self._maybe_skip(file, ref, data, sections)
            return len(data)
        skipping, decoder = self.decoder.skipping, self.decoder
        first = skipping.start if skipping is not None else file.offset
        scanned, file.scanned = file.scanned, 0
        used_bytes = scanned + end
        total = file.offset + used_bytes - first
        args = {"read_ns": self.read_ns, "now_s": self.now_s, "reread": self.reread}
        tail = data[:end] if end >= 64 else (file.pread(used_bytes, file.offset))[-64:]
        decoder.skipping = None
        if total - 1 > decoder.max_line:
            head = self.reread(Piece(ref.key, first, decoder.max_line))
            batch = decoder.oversized(ref.key, first, total, head, **args)  # type: ignore[arg-type]
        else:
            line = file.pread(total - 1, first)
            batch = decoder.decode(ref.key, first, [line], **args)  # type: ignore[arg-type]
        sections.append(self._section(file, ref, tail, used_bytes, batch))
        return end

    def _maybe_skip(self, file: TailFile, ref: FileRef, data: bytes, sections: list[Section]) -> None:
        skipping = self.decoder.skipping
        if skipping is None and file.scanned <= self.decoder.max_line:
            return
        start = skipping.start if skipping is not None else file.offset
        used_bytes, file.scanned = file.scanned, 0
        self.decoder.skipping = Piece(ref.key, start, file.offset + used_bytes - start)
        tail = data if len(data) >= 64 else file.pread(used_bytes, file.offset)[-64:]
        sections.append(self._section(file, ref, tail, used_bytes, None))

    # -------------------------------------------------------- what does not end by itself

    def abandoned(self, key: str, *, readable: bool) -> Batch | None:
        """The line of file `key` that is being skipped has no end that anybody will see: what was read of it, as a record,
        cut and marked. Without it the ledger had bytes that are in no record. `readable`: its head may be read again."""
        skipping = self.decoder.skipping
        if skipping is None or skipping.key != key:
            return None
        self.decoder.skipping = None
        head = self.reread(Piece(key, skipping.start, self.decoder.max_line)) if readable else b""
        return self.decoder.oversized(
            key, skipping.start, skipping.length, head, read_ns=self.read_ns, now_s=self.now_s, reread=self.reread
        )

    def finish(self, file: TailFile, ref: FileRef, rest: bytes) -> list[Section]:
        """The end of a file that goes on nowhere: its unfinished last line as a record, then `closed`."""
        self._leave_line_of_another(ref)
        skipping, batch = self.decoder.skipping, None
        args = {"read_ns": self.read_ns, "now_s": self.now_s, "reread": self.reread}
        if skipping is not None:
            total = file.offset + len(rest) - skipping.start
            head = self.reread(Piece(ref.key, skipping.start, self.decoder.max_line))
            self.decoder.skipping = None
            batch = self.decoder.oversized(ref.key, skipping.start, total, head, **args)  # type: ignore[arg-type]
        elif len(rest) > self.decoder.max_line:
            head = rest[: self.decoder.max_line]
            batch = self.decoder.oversized(ref.key, file.offset, len(rest), head, **args)  # type: ignore[arg-type]
        elif rest:
            batch = self.decoder.unterminated(ref.key, file.offset, rest, **args)  # type: ignore[arg-type]
        file.scanned = file.rest_bytes = 0
        section = self._section(file, ref, rest, len(rest), batch)
        section.closed = True
        return [section]
