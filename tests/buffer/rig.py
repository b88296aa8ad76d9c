"""An Engine on a faulty filesystem with the loop's part played in a few lines: submit, hear, read."""
from __future__ import annotations

from shipper.buffer.cursors import CursorPosition
from shipper.buffer.engine import Engine
from shipper.buffer.jobs import Job, Outcome
from shipper.buffer.positions import Positions, check
from shipper.buffer.recovery import Recovered, recover
from shipper.config.types import BufferSettings
from shipper.config.units import Bytes, Seconds
from shipper.model import FileRef, Frame, Section
from tests.buffer.nouns import section
from tests.support.faults import FaultyFiles

ROOT = "/state"


def settings(max_size: int = 1 << 30, segment_size: int = 1 << 20) -> BufferSettings:
    return BufferSettings(max_size=Bytes(max_size), segment_size=Bytes(segment_size), sync_interval=Seconds(0.5))


class Rig:
    def __init__(self, files: FaultyFiles | None = None, given: BufferSettings | None = None) -> None:
        self.files, self.settings = files or FaultyFiles(), given or settings()
        self.now_s = 1_000.0
        self.wall_s = 1_000_000.0
        self.start()

    def start(self) -> Recovered:
        self.found = recover(self.files, ROOT, bytes(range(16)))
        self.engine = Engine(self.files, ROOT, self.settings, self.found, lambda: self.wall_s)
        self.live: Positions = self.found.positions.copy()
        self.next_seq, self.epoch = self.found.last_seq + 1, 0
        self.degraded: dict[str, str] = {}
        self.out = self.hear(self.engine.step((), self.now_s))
        return self.found

    def hear(self, out: Outcome) -> Outcome:
        if out.lost is not None:
            self.live.go_back(out.lost[0])
            self.epoch += 1
        self.degraded = out.degraded
        self.out = out
        check(self.live)
        return out

    def job(self, *sections: Section) -> Job:
        delta = self.live.plan(self.next_seq, sections, 1_000)
        self.live.commit(delta)
        self.next_seq += 1
        return Job(delta, Frame(self.next_seq - 1, list(sections), self.live.total_bytes, 1_000), epoch=self.epoch)

    def append(self, file: FileRef, *counts: int) -> Outcome:
        """One frame of one section for each count of records."""
        return self.hear(self.engine.step([self.job(section(file, self.offset(file), n)) for n in counts], self.now_s))

    def frame(self, *sections: Section) -> Outcome:
        return self.hear(self.engine.step([self.job(*sections)], self.now_s))

    def tick(self, seconds: float = 0.6) -> Outcome:
        self.now_s += seconds
        return self.hear(self.engine.step((), self.now_s))

    def close(self) -> Outcome:
        return self.hear(self.engine.close(self.now_s))

    def offset(self, file: FileRef) -> int:
        found = self.live.files.get(file.key)
        return found.offset if found else 0

    def cursor(self, name: str, seq: int, index: int = 0) -> None:
        self.engine.cursors.set(CursorPosition(name, seq, index))

    def seqs(self) -> list[int]:
        """The frames that can be read."""
        log, seq, out = self.engine.log, self.engine.log.first_seq, []
        while found := log.read(seq, log.appended_seq, 1)[0]:
            out.append(found[0].seq)
            seq = found[0].seq + 1
        return out

    def lost(self) -> list[tuple[str, int, int]]:
        return [(entry.file.key, entry.start, entry.end) for entry in self.live.lost]

    def place_of(self, seq: int) -> tuple[str, int, int]:
        """(path, start, end) of a frame on disk."""
        for segment in self.engine.log.segments:
            index = segment.index
            if index is not None and seq in index.seqs:
                at = index.seqs.index(seq)
                return segment.path, index.starts[at], index.ends[at]
        raise KeyError(seq)

    def rot_header(self, seq: int) -> None:
        path, start, _ = self.place_of(seq)
        self.files.rot(path, start + 9)

    def rot_body(self, seq: int) -> None:
        path, _, end = self.place_of(seq)
        self.files.rot(path, end - 3)

    def notes(self) -> list[str]:
        return [note[1] for note in self.found.notes]
