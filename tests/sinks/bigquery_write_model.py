"""What is around the sink of BigQuery's Storage Write API, in memory: disk, server, connection, delivery's desk. For
bigquery_write_schedules.py, which decides at each Step what comes of it."""
from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson

from shipper.encode.bigquery_proto import split_rows
from shipper.errors import Retryable
from shipper.sinks._bigquery_write_range import Block
from shipper.sinks._bigquery_write_wire import Answer
from shipper.sinks._plan_store import Manifests, PlanStore

ROW_BYTES, ID_BYTES = 6, 6


class Killed(BaseException):
    """The process is no more."""


class Step:
    """What a life waits for. what: of Schedule's `_on_` methods."""

    __slots__ = ("args", "what")

    def __init__(self, what: str, *args: Any) -> None:
        self.what, self.args = what, args

    def __await__(self) -> Generator[Step, Any, Any]:
        return (yield self)


def write_rows(path: Path, rows: int) -> None:
    """The spool file of all plans of all schedules: blocks are slices of it."""
    data = b"".join([b"\x0a\x04%04d" % row for row in range(rows)])
    path.write_bytes(data + b"".join([b"k:%03d\n" % row for row in range(rows)]))


def block_of(first: int, count: int, rows: int) -> Block:
    return Block(first * ROW_BYTES, count * ROW_BYTES, rows * ROW_BYTES + first * ID_BYTES, count * ID_BYTES, count)


class Disk:
    """What outlives a process. power: how many more writes it makes before the end; None: as many as are asked for."""

    def __init__(self) -> None:
        self.manifests: dict[int, bytes] = {}
        self.kept, self.cursor_row = b"{}", 0
        self.power: int | None = None
        self.fails: Callable[[], bool] = lambda: False

    def spend(self) -> None:
        if self.fails():
            raise OSError(28, "no space left on the device")
        if self.power is not None:
            if self.power <= 0:
                raise Killed
            self.power -= 1


class MemoryStore(PlanStore):
    """Of one life. All plans share one spool file."""

    def __init__(self, disk: Disk, path: Path) -> None:
        super().__init__(str(path.parent), "far")
        self._disk, self._path = disk, str(path)

    def open(self) -> Manifests:
        self._last = max(self._disk.manifests, default=0)
        return [(number, orjson.loads(data)) for number, data in sorted(self._disk.manifests.items())]

    def path(self, number: int, file: int) -> str:
        return self._path

    def keep(self, value: Mapping[str, Any]) -> None:
        self._disk.spend()
        self._disk.kept = orjson.dumps(value)

    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self._disk.kept)
        return found

    def write(self, number: int, manifest: Mapping[str, Any]) -> None:
        self._disk.spend()
        self._disk.manifests[number] = orjson.dumps(manifest)

    def remove(self, number: int, files: int) -> None:
        self._disk.spend()
        self._disk.manifests.pop(number, None)


class Stream:
    """Committed: what it has is in its table."""

    def __init__(self, table: str) -> None:
        self.table, self.rows, self.finalised = table, list[int](), False


class Server:
    """refused: rows that it names as errors; poison: rows that make a request INVALID_ARGUMENT; moody: whether it takes them this
    time. stale: what it says of a stream that is finalised."""

    def __init__(
        self, refused: set[int], poison: set[int], stale: Answer, offset_first: bool, moody: Callable[[], bool],
    ) -> None:
        self.refused, self.poison, self.stale, self.moody, self.offset_first = refused, poison, stale, moody, offset_first
        self.streams: dict[str, Stream] = {}

    def create(self, table: str) -> str:
        name = f"{table}/s{len(self.streams)}"
        self.streams[name] = Stream(table)
        return name

    def finalise(self, name: str) -> int:
        self.streams[name].finalised = True
        return len(self.streams[name].rows)

    def take(self, name: str, offset: int, data: bytes) -> Answer:
        stream, rows = self.streams[name], [int(row[2:]) for row in split_rows(data)]
        assert rows, "an append without rows"
        if stream.finalised and not (self.offset_first and offset < len(stream.rows)):
            return self.stale
        if offset < len(stream.rows):
            return Answer(6, "exists", 8)
        if offset > len(stream.rows):
            return Answer(11, "beyond", 9)
        if self.poison.intersection(rows) and not self.moody():
            return Answer(3, "malformed")
        if self.refused.intersection(rows) and not self.moody():
            return Answer(3, "rows", 0, tuple((index, "bad") for index, row in enumerate(rows) if row in self.refused))
        stream.rows += rows
        return Answer(offset=offset)


Request = tuple[str, int, bytes]


class World(Protocol):
    """Of bigquery_write_schedules.Schedule."""

    server: Server
    disk: Disk
    limbo: list[deque[Request]]
    line: Line | None


class Line:
    """A connection. inbox: sent, and not looked at by the server yet; answers: on their way back."""

    def __init__(self, world: World, stream: str) -> None:
        self._world, self.stream = world, stream
        self.inbox: deque[Request] = deque()
        self.answers: deque[Answer] = deque()

    async def append(self, offset: int, rows: bytes, descriptor: bytes) -> None:
        await Step("append", self, (self.stream, offset, rows))

    async def answer(self) -> Answer:
        found: Answer = await Step("answer", self)
        return found

    def serve(self) -> None:
        if self.inbox:
            self.answers.append(self._world.server.take(*self.inbox.popleft()))

    def cancel(self) -> None:
        if self.inbox:
            self._world.limbo.append(self.inbox)
        self.inbox, self.answers = deque(), deque()


class Wire:
    """In the place of WriteChannel."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def create_stream(self, table: str) -> str:
        name: str = await Step("call", lambda: self._world.server.create(table))
        return name

    async def finalize(self, stream: str) -> int:
        rows: int = await Step("call", lambda: self._world.server.finalise(stream))
        return rows

    async def connect(self, stream: str) -> Line:
        self._world.line = Line(self._world, stream)
        return self._world.line

    def refused(self) -> None:
        raise AssertionError("no token was refused")


class Target:
    """Of StorageWriteSink; nothing is asked of it."""

    steady = False


class Desk:
    """Plans of one life. A receipt is the row behind the plan."""

    buffer_id, sent_bytes = "b", 0

    def __init__(self, world: World) -> None:
        self._world, self._numbers, self.ends = world, 0, dict[int, int]()
        self.formed_row = world.disk.cursor_row

    def launch(self, end_row: int) -> int:
        self._numbers += 1
        self.ends[self._numbers], self.formed_row = end_row, end_row
        return self._numbers

    def resume(self, receipts: Sequence[Mapping[str, Any]]) -> list[int]:
        return [self.launch(one["end"]) if one["end"] > self._world.disk.cursor_row else 0 for one in receipts]

    async def bury(self, number: int, receipt: Mapping[str, Any], dead: Mapping[str, str]) -> dict[str, Any]:
        await Step("bury", [int(name[2:]) for name in dead])
        return dict(receipt)

    async def persist(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await work()
            except Retryable:
                continue
