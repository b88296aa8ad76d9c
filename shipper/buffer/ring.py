"""The newest frames in memory, so that a sink that keeps up costs no read, no parse and no copy. Pure. Hot.

Invariants (tests/buffer/test_ring.py):
  H1  at most `limit_bytes` of stored bytes, but always the newest frame
  H2  frames come back as the very objects that were appended, in order
  H3  what every cursor has passed, or every sink has taken, is let go
"""
from __future__ import annotations

from collections import deque

from ..model import Frame

LIMIT_BYTES = 4 * 1024 * 1024


class Ring:
    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes, self.bytes = limit_bytes, 0
        self._frames: deque[Frame] = deque()

    def first_seq(self, otherwise: int) -> int:
        """The oldest frame here, `otherwise` where there is none."""
        return self._frames[0].seq if self._frames else otherwise

    def add(self, frame: Frame) -> None:
        self._frames.append(frame)
        self.bytes += frame.stored_bytes
        while self.bytes > self._limit_bytes and len(self._frames) > 1:
            self.bytes -= self._frames.popleft().stored_bytes

    def trim(self, seq: int) -> None:
        """Let go of the frames before `seq` (H3)."""
        while self._frames and self._frames[0].seq < seq:
            self.bytes -= self._frames.popleft().stored_bytes

    def cut(self, seq: int) -> None:
        """Forget the frames behind `seq`: they were abandoned."""
        while self._frames and self._frames[-1].seq > seq:
            self.bytes -= self._frames.pop().stored_bytes

    def forget(self, key: object) -> None:
        """Nobody will ask any more for what was encoded early under `key`."""
        for frame in self._frames:
            for section in frame.sections:
                if section.batch is not None and section.batch.encoded:
                    section.batch.encoded.pop(key, None)

    def read(self, seq: int, max_bytes: int) -> list[Frame] | None:
        """Frames from `seq` on, about `max_bytes` of them and at least one; [] behind the newest; None where `seq` lies
        before the oldest one here."""
        frames = self._frames
        if not frames or seq < frames[0].seq:
            return None
        low = min(seq - frames[0].seq, len(frames))
        while low and frames[low - 1].seq >= seq:
            low -= 1  # numbers of abandoned frames are missing
        out: list[Frame] = []
        size = 0
        for place in range(low, len(frames)):
            size += frames[place].stored_bytes
            if out and size > max_bytes:
                break
            out.append(frames[place])
        return out
