"""The whole buffer against a model, on a filesystem that forgets, tears, fills and fails.

The machine plays the loop's part of driver.Buffer around a real Engine: it plans positions, numbers frames, hears of
losses and delivers to two sinks. What it proves after every step is named in the invariants; at the end everything is
healed, what is lost is read again, and both sinks must have had every byte of every file (P1, P3 of the design).
"""
from __future__ import annotations

import errno
import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shipper.buffer.cursors import CursorPosition, decode, file_name
from shipper.buffer.engine import Engine
from shipper.buffer.jobs import Job, Outcome
from shipper.buffer.positions import Positions, check
from shipper.buffer.positions_json import decode as decode_positions
from shipper.buffer.recovery import recover
from shipper.config.types import BufferSettings
from shipper.config.units import Bytes, Seconds
from shipper.model import Frame, Section
from tests.buffer.nouns import RECORD_BYTES, file_of, message, section, source
from tests.support.faults import FaultyFiles

ROOT = "/state"
SINKS = ("fast", "slow")
SETTINGS = BufferSettings(max_size=Bytes(1 << 30), segment_size=Bytes(4096), sync_interval=Seconds(0.5))
SOURCES = [source(name) for name in "abc"]
FILES = [file_of(owner, number) for owner in SOURCES for number in range(2)]


class Delivered:
    """What one sink has had: byte ranges per file, and content by id."""

    def __init__(self) -> None:
        self.have: dict[str, set[int]] = {}
        self.content: dict[tuple[str, bytes], bytes] = {}

    def take(self, found: Section) -> None:
        batch = found.batch
        if batch is None:
            return
        assert batch.key == found.file.key
        for item, text in zip(batch.ids, batch.messages, strict=True):
            start = int(item.split(b"+")[0], 16)
            assert text == message(batch.key, start), "a record's content belongs to its id"
            self.have.setdefault(batch.key, set()).add(start)


class BufferMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.files = FaultyFiles(1)
        self.now_s = 1000.0
        self.written_bytes = {file.key: 0 for file in FILES}  # how long the log files are: the reader's truth
        self.sinks = {name: Delivered() for name in SINKS}
        self.unknown = False
        self.rotten = False
        self.start()

    # ------------------------------------------------------------ the loop's part

    def start(self) -> None:
        found = recover(self.files, ROOT, bytes(16))
        self.unknown |= any(note[1] == "damaged_ranges_unknown" for note in found.notes)
        if not self.rotten:
            assert not found.damaged_frames or all(n[1] != "cursor_damaged" for n in found.notes)
        self.live: Positions = found.positions.copy()
        self.engine = Engine(self.files, ROOT, SETTINGS, found, lambda: 1e9)
        self.next_seq = found.last_seq + 1
        self.epoch = 0
        self.synced_seq = found.last_seq
        self.seen_damage: set[tuple[int, int]] = set(found.damaged)
        self.frames: dict[int, list[Section]] = {}  # appended in this life, by seq
        for name in SINKS:
            if name not in self.engine.cursors.now:
                self.engine.cursors.set(CursorPosition(name, self.engine.log.first_seq))
        self.hear(self.engine.step((), self.now_s))
        self.check_once_in_order()

    def check_once_in_order(self) -> None:
        """L3, P2: what a sink still needs is in the buffer once, each section where its file's last one ended. What all have
        passed is unlinked, and after a power cut any of these segments may be back without those behind it."""
        if self.rotten:
            return
        log, ends = self.engine.log, {}
        seq = max(log.first_seq, min(cursor.seq for cursor in self.engine.cursors.now.values()))
        while frames := log.read(seq, log.appended_seq, 1 << 20)[0]:
            for frame in frames:
                assert frame.seq >= seq
                seq = frame.seq + 1
                for found in frame.sections:
                    key = found.file.key
                    assert found.start == ends.get(key, found.start), f"frame {frame.seq} repeats or skips bytes of {key}"
                    ends[key] = found.end
        for key, end in ends.items():
            assert end == self.offset(key)

    def hear(self, out: Outcome) -> None:
        for frame in out.written:
            self.frames[frame.seq] = frame.sections
        self.synced_seq = max(self.synced_seq, out.synced_seq)
        if out.lost is not None:
            self.live.go_back(out.lost[0])
            self.epoch += 1
            self.frames = {seq: s for seq, s in self.frames.items() if seq <= out.synced_seq}
        if out.lost_ranges:
            self.live.commit(self.live.plan_lost(out.lost_ranges))

    def submit(self, sections: list[Section]) -> Job:
        seq = self.next_seq
        delta = self.live.plan(seq, sections, 1_000)
        self.live.commit(delta)
        self.next_seq += 1
        return Job(delta, Frame(seq, sections, self.live.total_bytes, 1_000), epoch=self.epoch)

    def offset(self, key: str) -> int:
        found = self.live.files.get(key)
        return found.offset if found else 0

    def read(self, seq: int) -> list[Frame]:
        log = self.engine.log
        frames, damage = log.read(seq, log.appended_seq, 3_000)
        for damaged in damage:
            place = damaged.first_seq, damaged.bad.start
            if place in self.seen_damage:
                continue
            assert self.rotten, f"damage that nobody did: {damaged}"
            self.seen_damage.add(place)
            lost, unknown_bytes, unknown_frames = log.lost_in(damaged, self.live, self.engine.cursors.held_from())
            self.unknown |= bool(unknown_bytes or unknown_frames)
            delta = self.live.plan_lost(lost)
            self.live.commit(delta)
            self.hear(self.engine.step([Job(delta, lost=tuple(lost), damaged=(damaged,), epoch=self.epoch)], self.now_s))
        return frames

    # ------------------------------------------------------------ what happens

    @rule(parts=st.lists(st.tuples(st.integers(0, len(FILES) - 1), st.integers(0, 25)), min_size=1, max_size=4),
          frames=st.integers(1, 3))
    def append(self, parts: list[tuple[int, int]], frames: int) -> None:
        jobs = []
        for _ in range(frames):
            sections = []
            for place, records in parts:
                file = FILES[place]
                if any(s.file is file for s in sections):
                    continue
                sections.append(section(file, self.offset(file.key), records))
            jobs.append(self.submit(sections))
        for file in FILES:
            self.written_bytes[file.key] = max(self.written_bytes[file.key], self.offset(file.key))
        self.hear(self.engine.step(jobs, self.now_s))

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.5, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.hear(self.engine.step((), self.now_s))

    @rule(name=st.sampled_from(SINKS), count=st.integers(1, 4), part=st.booleans())
    def deliver(self, name: str, count: int, part: bool) -> None:
        cursors = self.engine.cursors
        for _ in range(count):
            cursor = cursors.now[name]
            frames = self.read(cursor.seq)
            if not frames:
                return
            frame = frames[0]
            for found in frame.sections:
                self.sinks[name].take(found)
            if part and frame.records > 1 and frame.seq > cursor.seq:
                cursors.set(CursorPosition(name, frame.seq, 1, {"file": 7}))
                return
            cursors.set(CursorPosition(name, frame.seq + 1, 0, {"file": 8}, total_bytes=frame.total_bytes))

    @rule()
    def reader_reads_what_was_lost(self) -> None:
        for entry in self.live.lost[:2]:
            records = (entry.end - entry.start) // RECORD_BYTES
            self.hear(self.engine.step([self.submit([section(entry.file, entry.start, records)])], self.now_s))

    @rule(parts=st.lists(st.integers(1, 9), min_size=2, max_size=3))
    def frames_are_submitted_while_a_write_fails(self, parts: list[int]) -> None:
        """The loop hears of a loss one step late: what it planned meanwhile is void."""
        jobs = [self.submit([section(FILES[0], self.offset(FILES[0].key), records)]) for records in parts]
        self.written_bytes[FILES[0].key] = max(self.written_bytes[FILES[0].key], self.offset(FILES[0].key))
        self.files.fail("append")
        for out in [self.engine.step([job], self.now_s) for job in jobs]:
            self.hear(out)

    @rule()
    def sync_fails_when_all_is_delivered(self) -> None:
        """The sinks had frames that are abandoned then: their cursors must not reach the disk, nor the frames come back."""
        self.append(parts=[(0, 2)], frames=1)
        self.time_passes(0.6)
        self.append(parts=[(0, 7), (1, 3)], frames=1)
        self.deliver("fast", 10, False)
        self.files.fail("sync")
        self.time_passes(0.6)
        self.append(parts=[(0, 3)], frames=1)
        self.time_passes(6)

    @rule()
    def power_fails(self) -> None:
        durable = self.engine.durable.copy()
        cursors = {name: c.place for name, c in self.engine.cursors.durable.items()}
        self.files.crash()
        self.check_disk()
        self.start()
        if not self.rotten:
            for key, found in durable.files.items():
                assert self.offset(key) >= found.offset, f"a power cut took synced bytes of {key} back"
            for name, place in cursors.items():
                assert self.engine.cursors.now[name].place >= place, f"a power cut took the durable cursor of {name} back"

    @rule()
    def process_is_killed(self) -> None:
        appended = max(self.frames, default=0) if not self.engine._broken else 0
        expected = self.engine.durable
        self.files.kill()
        self.start()
        if not self.rotten:
            assert self.engine.log.appended_seq >= appended, "kill -9 lost a frame that was in the page cache"
            assert self.live.total_bytes >= expected.total_bytes

    @rule()
    def closed_and_opened_again(self) -> None:
        self.files.heal()
        out = self.engine.close(self.now_s)
        self.hear(out)
        assert not self.engine.log.dirty_bytes and not self.engine._queue, out
        total = self.live.total_bytes
        self.start()
        if not self.rotten:
            assert self.live.total_bytes == total, f"a clean end loses nothing: {out}"

    @rule(operation=st.sampled_from(["append", "sync", "truncate", "create", "replace", "rename", "delete"]),
          times=st.integers(1, 2))
    def disk_has_an_error(self, operation: str, times: int) -> None:
        self.files.fail(operation, errno.EIO, times)

    @rule(room=st.sampled_from([0, 100, 1_000, 10_000, 30_000]))
    def disk_gets_full(self, room: int) -> None:
        self.files.room = room

    @rule()
    def disk_is_mended(self) -> None:
        self.files.heal()

    # ------------------------------------------------------------ what must hold

    @invariant()
    def positions_sum_up(self) -> None:
        """positions.P3, P4, for what the reader sees and for what is durable."""
        check(self.live)
        check(self.engine.durable)

    @invariant()
    def the_disk_never_says_more_than_synced_frames_prove(self) -> None:
        """B1, cursors.C3."""
        for name in SINKS:
            data = self.files.durable.get(os.path.join(ROOT, "cursors", file_name(name)))
            if data is not None:
                assert decode(name, data, "").needs <= self.engine.log.synced_seq
        data = self.files.durable.get(os.path.join(ROOT, "positions.json"))
        if data is not None:
            assert decode_positions(data, "").positions.seq <= self.engine.log.synced_seq

    @invariant()
    def what_a_durable_cursor_needs_is_still_there(self) -> None:
        """keeper.N2: no segment goes before every cursor and positions.json are beyond it."""
        held = [c.seq for c in self.engine.cursors.durable.values()]
        segments = self.engine.log.segments
        if held and segments:
            for seq in self.frames:
                if min(held) <= seq <= self.synced_seq:
                    assert any(s.first_seq <= seq <= s.last_seq for s in segments), f"frame {seq} is gone"

    @invariant()
    def live_positions_are_the_fold_of_what_was_appended(self) -> None:
        """P1 of positions: offsets never pass what the log files hold."""
        for file in FILES:
            assert self.offset(file.key) <= self.written_bytes[file.key]

    def check_disk(self) -> None:
        """After a power cut: a durable cursor and the durable positions never passed what survives."""
        if self.rotten:
            return
        found = recover(self.files, ROOT, bytes(16), change=False)
        assert not [n for n in found.notes if n[1] in ("cursor_clamped", "positions_damaged", "cursor_damaged")]

    def teardown(self) -> None:
        self.files.heal()
        for _ in range(4):
            self.now_s += 10
            self.hear(self.engine.step((), self.now_s))
        assert not self.engine.wait_s(self.now_s) or not self.engine._queue
        for _ in range(50):
            self.deliver_all()
            if not self.live.lost:
                break
            self.reader_reads_what_was_lost()
        self.catch_up()
        self.deliver_all()
        if not self.unknown:
            for name, sink in self.sinks.items():
                for file in FILES:
                    missing = set(range(0, self.written_bytes[file.key], RECORD_BYTES)) - sink.have.get(file.key, set())
                    assert not missing, f"{name} never got {file.key} {sorted(missing)}"
        self.hear(self.engine.close(self.now_s))

    def catch_up(self) -> None:
        """The reader reads every log file to its end (where a crash took frames back)."""
        for file in FILES:
            records = (self.written_bytes[file.key] - self.offset(file.key)) // RECORD_BYTES
            if records:
                self.hear(self.engine.step([self.submit([section(file, self.offset(file.key), records)])], self.now_s))

    def deliver_all(self) -> None:
        for name in SINKS:
            for _ in range(1_000):
                before = self.engine.cursors.now[name]
                self.deliver(name, 5, False)
                if self.engine.cursors.now[name] == before:
                    break


class RottenMachine(BufferMachine):
    """The same on a disk whose bits turn over: what that costs is told, read again, and nothing else is missing."""

    @initialize()
    def bits_will_rot(self) -> None:
        self.rotten = True

    @precondition(lambda self: self.engine.log.segments)
    @rule(place=st.floats(0, 1), where=st.floats(0, 1))
    def a_bit_rots(self, place: float, where: float) -> None:
        segments = self.engine.log.segments
        segment = segments[int(place * (len(segments) - 1))]
        if segment.synced_size <= 32 or segment.path not in self.files.cache:
            return
        self.files.rot(segment.path, 32 + int(where * (segment.synced_size - 33)))


# A failure is told at once, as it was found; it is kept, and `BUFFER_SHRINK=1` makes it short, which takes minutes.
PHASES = [phase for phase in Phase if phase not in (Phase.shrink, Phase.explain) or os.environ.get("BUFFER_SHRINK")]

for machine in (BufferMachine, RottenMachine):
    machine.TestCase.settings = settings(
        max_examples=int(os.environ.get("BUFFER_EXAMPLES", "50")), stateful_step_count=40, deadline=None,
        phases=PHASES,
        suppress_health_check=list(HealthCheck),
    )
TestBuffer = BufferMachine.TestCase
TestBufferOnARottingDisk = RottenMachine.TestCase
