"""Open records: P pieces that wait for their F, and the end of a line over max_line. Pure. Per piece, not per line.

    line P ──► hold ──► line P ──► hold ──► line F ──► one record, its id naming every piece
                 │ over max_record or MAX_PIECES, or its time is up while caught up: closed early, marked "partial"

Invariants:
  O1  what is open is known by file ranges alone (`state`); its bytes are held only within the budget, else read again
  O2  source bytes of open and of finished records never overlap and never leave a hole (P11)
  O3  where a record ends depends on the bytes alone, but for time-outs
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..model import Open, Piece

# As many as 2 MiB in the kubelet's pieces of 16 KiB. Pieces that follow each other count as one, so only two streams in turn
# get there; what is open is in each section's state (30 bytes a piece).
MAX_PIECES = 128
Reread = Callable[[Piece], bytes]
"""Gives the source bytes of a piece again, b"" or fewer where they are gone."""


@dataclass(slots=True)
class Budget:
    """How many bytes of open records all decoders together may hold (P7)."""

    limit_bytes: int = 4 * 1024 * 1024
    held_bytes: int = 0

    def take(self, size_bytes: int) -> bool:
        if self.held_bytes + size_bytes > self.limit_bytes:
            return False
        self.held_bytes += size_bytes
        return True


@dataclass(slots=True)
class Pending:
    """One open record. `parts` is None where its bytes are not held (O1)."""

    pieces: list[Piece]
    time: bytes
    parts: list[bytes] | None
    source_bytes: int
    since_s: float
    held_bytes: int = 0

    def add(self, key: str, start: int, length: int, content: bytes, budget: Budget) -> None:
        last = self.pieces[-1]
        if last.key == key and last.start + last.length == start:
            self.pieces[-1] = Piece(key, last.start, last.length + length)
        else:
            self.pieces.append(Piece(key, start, length))
        self.source_bytes += length
        if self.parts is None:
            return
        if budget.take(len(content)):
            self.held_bytes += len(content)
            self.parts.append(content)
        else:
            self.release(budget)
            self.parts = None

    def release(self, budget: Budget) -> None:
        budget.held_bytes -= self.held_bytes
        self.held_bytes = 0

    def item(self, key: str) -> bytes:
        """The id item relative to `key` (model M3): this file's bytes first, then those of other files."""
        own = [p for p in self.pieces if p.key == key]
        start = own[0].start if own else 0
        item = b"%x+%x" % (start, sum(p.length for p in own))
        seen = {key}
        for piece in self.pieces:
            if piece.key not in seen:
                seen.add(piece.key)
                length = sum(p.length for p in self.pieces if p.key == piece.key)
                item += b",%b:%x+%x" % (piece.key.encode(), piece.start, length)
        return item


@dataclass(slots=True)
class Opened:
    """All open records of one lineage, by stream."""

    budget: Budget = field(default_factory=Budget)
    by_stream: dict[bytes, Pending] = field(default_factory=dict)
    skipping: Piece | None = None
    lines: list[tuple[Open, float]] = field(default_factory=list)
    """Whole lines that the process stage had open when it was last asked to join them, and is not any more (the config
    changed), with the time of their return. They are closed by time as a record each."""

    def state(self) -> tuple[Open, ...]:
        """What a frame says about them (O1)."""
        if not self.by_stream and self.skipping is None and not self.lines:
            return ()
        found = [Open(s.decode(), "partial", tuple(p.pieces)) for s, p in self.by_stream.items()]
        if self.skipping is not None:
            found.append(Open("", "skipping", (self.skipping,)))
        return (*found, *[item for item, _ in self.lines])

    def restore(self, state: tuple[Open, ...], now_s: float) -> None:
        """Back to what a frame said; bytes are read again when they are needed."""
        for pending in self.by_stream.values():
            pending.release(self.budget)
        self.by_stream, self.skipping, self.lines = {}, None, []
        for item in state:
            if item.kind == "skipping":
                self.skipping = item.pieces[0]
            elif item.kind == "lines":
                self.lines.append((item, now_s))
            elif item.pieces:
                self.by_stream[item.stream.encode()] = Pending(
                    list(item.pieces), b"", None, sum(p.length for p in item.pieces), now_s
                )

    def begin(self, stream: bytes, key: str, start: int, length: int, time: bytes, content: bytes, now_s: float) -> None:
        held = self.budget.take(len(content))
        self.by_stream[stream] = Pending(
            [Piece(key, start, length)], time, [content] if held else None, length, now_s, len(content) if held else 0
        )

    def take(self, stream: bytes) -> Pending | None:
        """The open record of `stream`, no longer open and no longer counted as held."""
        pending = self.by_stream.pop(stream, None)
        if pending is not None:
            pending.release(self.budget)
        return pending
