"""Which descriptors stay open. Driver: closes files.

Invariants:
  H1  a file with unread bytes is closed only over the limits of held deleted bytes and time, and that is reported (P7)
  H2  a file that is done stays open until its last frame is synced: a failed sync reads it again
  H3  a file quiet for CLOSE_QUIET_AFTER_S is closed; its one-shot watch stays (it is on the inode)
"""
from __future__ import annotations

from asyncio import Future
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import takewhile

from ..errors import GapReason
from ..model import FileRef, Gap, Section
from .file import TailFile
from .lineage import Lineage
from .losses import closing

CLOSE_QUIET_AFTER_S = 300.0
HELD_DELETED_BYTES = 2 * 1024 * 1024 * 1024
HELD_DELETED_S = 600.0


class Handles:
    """`quiet` (attention.py): lineage name -> quiet since, longest first; it loses the names that are closed here."""

    def __init__(self, lineages: Mapping[str, Lineage], quiet: dict[str, float], max_open_files: int) -> None:
        self._lineages, self.quiet, self._max_open = lineages, quiet, max_open_files
        self._retired: deque[tuple[Future[int], Lineage, TailFile]] = deque()
        self._spare, self._uncounted = max_open_files, 0

    # -------------------------------------------------------- quiet ones

    def make_room(self) -> bool:
        """For one more. At the limit an eighth is closed, those that have been quiet longest, else any that are read to
        their end. False: every open file has unread bytes (H1)."""
        if self._spare <= 0:
            self._count()
        if self._spare <= 0:
            eighth = max(1, self._max_open // 8)
            for name in list(self.quiet)[:eighth]:
                self._close(name)
            self._count()
            if self._spare < eighth:
                self._close_read(eighth - self._spare)
        self._spare -= 1
        return self._spare >= 0

    def room_to_look(self) -> bool:
        """May what a look opens stay open? Closes nothing, and counts only now and then: a scan looks at thousands."""
        if self._spare <= 0:
            self._uncounted -= 1
            if self._uncounted <= 0:
                self._uncounted = self._max_open // 8
                self._count()
        self._spare -= 1
        return self._spare >= 0

    @staticmethod
    def close_new(lineage: Lineage, held: set[tuple[int, int]]) -> None:
        """Close what a look has opened; `held` was open before."""
        for file in lineage.files:
            if file.handle is not None and file.node_id not in held and not file.unlinked:
                file.close()

    def _count(self) -> None:
        opened = sum(f.handle is not None for x in self._lineages.values() for f in [*x.files, *x.done])
        self._spare = self._max_open - opened

    def _close_read(self, wanted: int) -> None:
        for lineage in self._lineages.values():
            for file in lineage.files:
                if _is_read(file):
                    file.close()
                    self._spare += 1
            if self._spare >= wanted:
                return

    def close_quiet(self, now: float) -> None:
        """Each second: it looks at those alone whose time has come (a list of 5,000 was a third of what they cost at rest)."""
        due = takewhile(lambda item: now - item[1] >= CLOSE_QUIET_AFTER_S, self.quiet.items())
        for name in [name for name, _ in due]:
            self._close(name)

    def _close(self, name: str) -> None:
        del self.quiet[name]
        lineage = self._lineages[name]
        for file in [*lineage.files, *lineage.done]:
            if _is_read(file):
                file.close()

    # -------------------------------------------------------- deleted ones

    def over_limit(self, names: dict[str, None], now: float) -> Iterable[tuple[Lineage, TailFile, int]]:
        """Deleted files that may not be held any longer, with their unread bytes (H1). `names`: the lineages that have any;
        loses those that have none any more."""
        held = 0
        for name in list(names):
            lineage = self._lineages.get(name)
            if lineage is None or not any(file.deleted_since_s is not None for file in lineage.files):
                del names[name]
                continue
            for file in list(lineage.files):
                if file.deleted_since_s is None or file.handle is None:
                    continue
                file.deleted_since_s = file.deleted_since_s or now
                unread = max(0, file.stat_size() - file.offset)          # it may be emptied by now: its next read finds that
                held += unread
                if unread and (held > HELD_DELETED_BYTES or now - file.deleted_since_s > HELD_DELETED_S):
                    held -= unread
                    yield lineage, file, unread

    @staticmethod
    def let_go(lineage: Lineage, file: TailFile, ref: FileRef | None, unread: int) -> list[Section]:
        """Close it; what it still held becomes a gap."""
        sections = []
        if ref is not None:
            gap = Gap(file.offset, file.offset + unread, GapReason.HELD_TOO_LONG, unread, lineage.last_ns, 0)
            sections.append(closing(lineage, ref, file.offset, file.guard_digest, gap, file.size, readable=True))
        lineage.files.remove(file)
        file.close()
        return sections

    # -------------------------------------------------------- done ones

    def retire(self, future: Future[int], lineage: Lineage, file: TailFile) -> None:
        """Done with the frame that `future` stands for (H2)."""
        self._retired.append((future, lineage, file))

    def release(self, synced_seq: int) -> None:
        """Close the done files whose last frame is synced."""
        while self._retired and self._retired[0][0].done():
            future, lineage, file = self._retired[0]
            failed = future.cancelled() or future.exception() is not None
            if not failed and future.result() > synced_seq:
                return
            self._retired.popleft()
            if file not in lineage.files:
                file.close()

    def take_back(self) -> Iterable[tuple[Lineage, TailFile]]:
        """All that were done and not yet safe."""
        retired, self._retired = self._retired, deque()
        return [(lineage, file) for _, lineage, file in retired if file.handle is not None]

    def close_all(self) -> None:
        for lineage in self._lineages.values():
            for file in [*lineage.files, *lineage.done]:
                file.close()
        for _, _, file in self._retired:
            file.close()


def _is_read(file: TailFile) -> bool:
    """Open, to its end read, and still to be had by its name."""
    return file.handle is not None and not file.unlinked and file.stat_size() <= file.offset + file.rest_bytes
