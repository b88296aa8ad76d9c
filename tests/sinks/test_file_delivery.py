"""The file sink under the real delivery: cancelled, rewound, started anew, on a disk that fails; exactly once all the same."""
from __future__ import annotations

import asyncio
import copy
import errno
import random
from typing import Any

from shipper.config.types import SinkCommon
from shipper.config.units import Bytes
from shipper.deliver.driver import Delivery
from shipper.sinks import SinkContext
from shipper.sinks import file as file_module
from shipper.sinks._file_config import FileConfig, RotateConfig
from shipper.sinks.file import SINK, FileSink
from shipper.telemetry import Telemetry
from tests.deliver.support import FakeBuffer, MemoryLetters, TurnedClock, source

from .file_world import FaultyDisk

FAULTS = {"append": errno.ENOSPC, "sync": errno.EIO, "truncate": errno.EIO, "open": errno.EACCES}


class Node:
    """A buffer that outlives the processes that deliver from it; `rng` decides what goes wrong."""

    def __init__(self, directory: Any, seed: int) -> None:
        self.directory, self.rng = directory, random.Random(seed)
        self.clock = TurnedClock()
        self.buffer = FakeBuffer(self.clock)
        self.pods = [source(f"p{number}") for number in range(3)]
        self.disk = FaultyDisk(self.rng)
        self.expected: dict[str, bytes] = {}
        self.count = 0

    def write(self) -> None:
        pod = self.rng.choice(self.pods)
        messages = [b"record %d" % (self.count + i) for i in range(self.rng.randint(1, 5))]
        self.count += len(messages)
        self.buffer.write(pod, *messages)
        self.expected[pod.pod] = self.expected.get(pod.pod, b"") + b"".join(message + b"\n" for message in messages)

    def process(self) -> tuple[Delivery, FileSink]:
        rotate = RotateConfig(max_size=Bytes(200)) if self.rng.random() < 0.5 else None
        config = FileConfig(path=f"{self.directory}/out/{{pod}}.log", format="raw", max_open_files=2, rotate=rotate)
        telemetry = Telemetry()
        context = SinkContext("archive", "n1", f"{self.directory}/state", telemetry)
        sink = FileSink(config, context, self.disk, self.clock.now_s)
        common = SinkCommon(max_request_bytes=Bytes(60), concurrency=1)
        letters: Any = MemoryLetters()
        return Delivery("archive", common, SINK, sink, self.buffer, context, telemetry, self.clock, dead_letters=letters), sink

    async def live(self) -> None:
        """One process: it delivers a while, then it ends in an orderly way, or its news of the cursor are lost."""
        delivery, sink = self.process()
        task = asyncio.create_task(delivery.run())
        for _ in range(self.rng.randint(5, 40)):
            if self.rng.random() < 0.4:
                self.write()
            if self.rng.random() < 0.2:
                name = self.rng.choice(list(FAULTS))
                self.disk.fail = {name: OSError(FAULTS[name], "injected")}
            elif self.rng.random() < 0.5:
                self.disk.fail = {}
            if self.rng.random() < 0.3:
                self.buffer.sync()
            if self.rng.random() < 0.1:
                sink._context.resend(RuntimeError("injected"))
            await asyncio.sleep(self.rng.choice([0, 0, 0.001]))
            self.clock.turn()
        self.disk.fail = {}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self.rng.random() < 0.5:
            self.buffer.cursors = copy.deepcopy(self.buffer.durable)

    async def end(self) -> None:
        delivery, _ = self.process()
        task = asyncio.create_task(delivery.run())
        reached = asyncio.create_task(delivery.caught_up(self.buffer.appended_seq))
        while not reached.done():
            self.clock.turn()
            self.buffer.sync()
            await asyncio.sleep(0.001)
        await reached
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def content(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for path in sorted((self.directory / "out").iterdir(), key=lambda path: (path.name.endswith(".log"), path.name)):
            pod = path.name.split(".")[0]
            found[pod] = found.get(pod, b"") + path.read_bytes()
        return {pod: data for pod, data in found.items() if data}


async def test_whatever_delivery_and_the_disk_do_each_record_is_there_exactly_once(tmp_path, monkeypatch):
    monkeypatch.setattr(file_module, "SYNC_INTERVAL_S", 0.002)
    monkeypatch.setattr(file_module, "ROTATE_WAIT_S", 0.02)
    for seed in range(25):
        directory = tmp_path / str(seed)
        directory.mkdir()
        node = Node(directory, seed)
        for _ in range(4):
            await node.live()
        await node.end()
        assert node.content() == node.expected, f"seed {seed}"
