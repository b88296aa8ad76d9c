"""A file system that stops, fails and forgets, and a delivery that goes on from what was durable."""
import gzip
import os
import random

from shipper.sinks._file_disk import Disk
from shipper.sinks._file_engine import Engine
from shipper.sinks._file_journal import Journal
from shipper.sinks._file_rotate import Rotation, Rules


class Crash(BaseException):
    """kill -9: nothing of ours runs after it."""


class FaultyDisk(Disk):
    """Counts what is done. `steps_left` 0: the next step is done half, or not at all, and then nothing any more.
    `fail`: {operation: OSError} to be raised; an append that fails has written a part."""

    def __init__(self, rng=None):
        super().__init__()
        self.rng, self.steps_left, self.fail, self.synced, self.paths = rng or random.Random(0), None, {}, {}, {}
        self.done = []

    def _step(self, name):
        self.done.append(name)
        if self.steps_left is not None:
            if self.steps_left <= 0:
                raise Crash
            self.steps_left -= 1
        if name in self.fail:
            raise self.fail[name]

    def open(self, root, path, *, make):
        self._step("open")
        descriptor = super().open(root, path, make=make)
        self.paths[os.fstat(descriptor).st_ino] = path
        return descriptor

    def append(self, descriptor, pieces):
        try:
            self._step("append")
        except (Crash, OSError):
            data = b"".join(pieces)
            if self.steps_left is None or self.steps_left == 0:
                self.steps_left = None if self.steps_left is None else -1
                os.write(descriptor, data[: self.rng.randint(0, len(data))])
            raise
        super().append(descriptor, pieces)

    def truncate(self, descriptor, size_bytes):
        self._step("truncate")
        super().truncate(descriptor, size_bytes)

    def sync(self, descriptor):
        self._step("sync")
        self.synced[os.fstat(descriptor).st_ino] = os.fstat(descriptor).st_size

    def rename(self, root, path, new_path):
        self._step("rename")
        super().rename(root, path, new_path)

    def unlink(self, root, path):
        self._step("unlink")
        super().unlink(root, path)

    def sync_names(self):
        self._step("sync_names")

    def power_cut(self, directory):
        """Of every file, keep what was synced and some of what was not."""
        for at, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(at, name)
                seen = os.stat(path)
                safe = min(self.synced.get(seen.st_ino, 0), seen.st_size)
                os.truncate(path, self.rng.randint(safe, seen.st_size))
        self.synced = {inode: size for inode, size in self.synced.items()}


class World:
    """What delivery does with one engine: requests by number, states with the cursor, and after a crash all over again from
    the durable one. `requests[i]` is sent as [(path, [bytes])]."""

    def __init__(self, directory, requests, seed=0, *, rules=None, max_open_files=64):
        self.root, self.journal_path = f"{directory}/out", f"{directory}/state/sink.json"
        self.rng = random.Random(seed)
        self.disk = FaultyDisk(self.rng)
        self.requests, self.rules, self.max_open_files = requests, rules or Rules(), max_open_files
        self.now_s, self.number = 1_700_000_000.0, 0
        self.passed = [(0, 0, None)]         # (request index, number, state): [0] durable, [-1] in memory
        self.jobs, self.failures, self.notices = [], [], []
        self.start()

    def start(self):
        self.jobs.clear()
        self.rotation = Rotation(self.root, self.disk, self.rules, self.jobs.append, lambda *what: self.failures.append(what))
        self.engine = Engine(self.root, self.disk, Journal(self.disk, self.journal_path), self.rotation, self.max_open_files,
                             lambda: self.now_s)
        self.engine.recover(self.passed[-1][2])
        self.notices += self.engine.notices
        self.sent = []                       # (request index behind it, number) of what is written and not passed
        self.next = self.passed[-1][0]
        self.passed = [(index, 0, state) for index, _, state in self.passed]      # numbers begin anew in each process
        self.number = 0

    # ------------------------------------------------------------ what delivery does

    def send(self, patient=True):
        if self.next >= len(self.requests):
            return False
        self.number += 1
        if not self.engine.write(self.number, self.requests[self.next], patient=patient):
            return False
        self.next += 1
        self.sent.append((self.next, self.number))
        return True

    def sync(self):
        number, state = self.engine.sync() or (0, None)
        if not number:
            return
        covered = [index for index, sent in self.sent if sent <= number]
        self.sent = [(index, sent) for index, sent in self.sent if sent > number]
        self.passed.append((covered[-1] if covered else self.passed[-1][0], number, state))

    def durable(self):
        """The newest state, or one before it, reaches the disk; the sink is told where it is one of its own."""
        del self.passed[: self.rng.randrange(len(self.passed))]
        if self.passed[0][1]:
            self.engine.durable(self.passed[0][1])

    def rewind(self):
        self.engine.rewound(self.passed[-1][1])
        self.sent, self.next = [], self.passed[-1][0]

    def cancel(self):
        """A send was cancelled; its write went through, and is taken back."""
        if self.send(patient=False):
            self.engine.undo(self.number - 1)
            self.sent.pop()
            self.next -= 1

    def reload(self):
        self.engine.close(self.passed[-1][1])
        self.start()

    def background(self):
        while self.jobs:
            self.jobs.pop(0)()

    # ------------------------------------------------------------ the end of a process

    def crash(self, *, power=False):
        """Nothing of the engine runs any more. The cursor on disk is the durable one, or a later one whose news got lost."""
        for output in self.engine._outputs.values():
            if output.descriptor >= 0:
                os.close(output.descriptor)
        if self.engine._journal._descriptor >= 0:
            os.close(self.engine._journal._descriptor)
        self.disk.steps_left = None
        self.disk.fail.clear()
        survivor = self.rng.choice(self.passed)
        self.passed = [survivor]
        if power:
            self.disk.power_cut(os.path.dirname(self.root))

    def finish(self):
        """All that is left is sent, synced and made durable."""
        while self.next < len(self.requests):
            self.send(patient=False)
        self.sync()
        del self.passed[:-1]
        self.engine.durable(self.passed[0][1])
        self.background()
        self.engine.close(self.passed[0][1])

    # ------------------------------------------------------------ what is there

    def expected(self):
        out = {}
        for parts in self.requests:
            for path, pieces in parts:
                out[path] = out.get(path, b"") + b"".join(pieces)
        return out

    def content(self):
        """Per output path: its rotated files in order, and the file itself."""
        found = {}
        for at, _, names in os.walk(self.root):
            for name in sorted(names, key=lambda name: (name.endswith(".log"), name)):
                with open(os.path.join(at, name), "rb") as file:
                    data = file.read()
                assert not name.endswith(".tmp"), name
                path = os.path.join(at, name[: name.index(".log") + 4])
                found[path] = found.get(path, b"") + (gzip.decompress(data) if name.endswith(".gz") else data)
        return {path: data for path, data in found.items() if data}


def requests_for(root, count, rng, paths=4):
    """Requests of whole, distinct lines to some of the paths."""
    requests, number = [], 0
    for _ in range(count):
        parts = []
        for path in rng.sample(range(paths), rng.randint(1, min(3, paths))):
            lines = []
            for _ in range(rng.randint(1, 4)):
                number += 1
                lines.append(b"record %d of %d %b\n" % (number, path, b"x" * rng.randint(0, 30)))
            parts.append((f"{root}/ns{path % 2}/p{path}.log", lines))
        requests.append(parts)
    return requests
