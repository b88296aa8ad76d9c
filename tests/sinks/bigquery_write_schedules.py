"""The sink of BigQuery's Storage Write API without clock, network, disk and event loop: one seed is one order of everything that
can happen. Hundreds of schedules a second, so that a test sees what a loaded machine shows once a week.

The sink's own code (taking up, appending, confirming, tidying) runs as coroutines that are stepped by hand. At each await the
scheduler decides: the answer comes, is lost, is late; the process dies, with any prefix of what its thread still had to write.

    life ─► await ─► Step ─► Schedule: goes on │ goes wrong │ kill -9 ─► the next life, on what is on disk
    what a dead connection had sent ─► limbo ─► taken by the server at any later moment, in its order, or never

The server is as strict as the real one: an append is taken whole at the end of its stream or not at all, and nothing is taken
once the stream is finalised. What the real one does not promise is drawn: whether it looks at the offset or at the state of the
stream first, how it says that a stream is finalised, whether it refuses the same rows each time.
"""
from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from shipper.encode.bigquery_proto import split_rows
from shipper.errors import Fatal, Retryable
from shipper.sinks import SinkContext
from shipper.sinks._bigquery_write import StorageWriteSink
from shipper.sinks._bigquery_write_chain import Plan, chains_from
from shipper.sinks._bigquery_write_range import measure
from shipper.sinks._bigquery_write_wire import Answer, Refused
from shipper.telemetry import Telemetry
from tests.sinks.bigquery_write_model import Desk, Disk, Killed, Line, MemoryStore, Request, Server, Step, Target, Wire, block_of

TABLES = ("t", "others")
MOST_STEPS = 5_000
UNAVAILABLE, DEADLINE = Answer(14, "the connection was ended"), Answer(4, "no answer in 5 s")
INVALID = Answer(3, "invalid")
LATER = (Answer(13, "internal"), Answer(10, "aborted"), Answer(8, "quota"))


class Schedule:
    """One seed. `run` ends when every row is somewhere, and what is late has come."""

    def __init__(self, seed: int, path: Path, rows: int) -> None:
        self.rng = rng = random.Random(seed)
        self.seed, self._path, self._rows = seed, path, rows
        self._size, self._crc32 = measure(str(path))
        self.disk, self.limbo = Disk(), list[deque[Request]]()
        self.line: Line | None = None
        share, malformed = rng.choice([0.0, 0.1, 0.4]), rng.choice([0.0, 0.3])
        bad = {row for row in range(1, rows, 3) if rng.random() < share}     # never two side by side (BA4)
        poison = {row for row in bad if rng.random() < malformed}
        stale = rng.choice([Answer(9, "finalised", 6), Answer(9, "finalised"), Answer(3, "finalised", 6), INVALID])
        mood = rng.choice([0.0, 0.0, 0.0, 0.3])
        self.server = Server(bad - poison, poison, stale, rng.random() < 0.3, lambda: bool(mood) and rng.random() < mood)
        self.moody = bool(mood)
        self.bad, self.dead = bad, Counter[int]()
        self._trouble, self._kills = rng.choice([0.02, 0.1, 0.3]), rng.choice([0.0, 0.02, 0.1])
        self._hostile = rng.choice([0.0, 0.0, 0.02])
        self._raised, self._moving = rng.random() < 0.3, rng.random() < 0.2
        self._lateness, self._damage = rng.choice([0.02, 0.2]), rng.choice([0.0, 0.0, 0.0, 0.1])
        self.twice_from = rows
        self._left = MOST_STEPS
        self.disk.fails = lambda: self._chance(self._trouble / 4)
        self.calm_after, self.trace = MOST_STEPS - rng.randint(20, 300), list[str]()
        self.happened: Counter[str] = Counter()

    # ------------------------------------------------------------ one life after the other

    def run(self) -> Counter[int]:
        """In how many rows each record is, all tables together."""
        while not self._live():
            self.happened["killed"] += 1
        while self.limbo:
            self._late()
        self.happened.update({"streams": len(self.server.streams), "dead": len(self.dead)})
        return Counter(row for stream in self.server.streams.values() for row in stream.rows)

    def _live(self) -> bool:
        """Whether it did everything; else it was killed."""
        work: Any = None
        try:
            self._begin()
            while True:
                self._meanwhile()
                if work is None:
                    if self.sink._appender.waiting is None:
                        if self._rest():
                            return True
                        continue
                    work, value = self.sink._appender.carry_out(), None
                try:
                    step = work.send(value) if not isinstance(value, BaseException) else work.throw(value)
                except StopIteration:
                    work = None
                except (Retryable, Fatal) as error:
                    self._note(repr(error))
                    work = None
                else:
                    self._note(step.what)
                    value = self._decide(step)
        except (Killed, OSError) as end:        # OSError: at the start, which is tried again
            self._note(repr(end))
            if work is not None:
                work.close()
            if self.line is not None:
                self.line.cancel()
            return False

    def _begin(self) -> None:
        """As StorageWriteSink.start does it."""
        context = SinkContext("far", "n1", str(self._path.parent), Telemetry(), confirmed=self._confirmed)
        self.desk = context.plans = Desk(self)  # type: ignore[assignment]
        self.sink = sink = StorageWriteSink(Target(), Wire(self), context, lambda: 0.0)  # type: ignore[arg-type]
        self.store = MemoryStore(self.disk, self._path)
        self.thread: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        sink._planner.store = sink._appender._world.store = self.store
        sink._appender._world.run = self._behind_all
        sink._planner.thread.submit = lambda job, *args: self.thread.append((job, args))  # type: ignore[method-assign]
        sink._ranges.table = self.rng.choice(TABLES) if self._moving else TABLES[0]
        self._confirmed_number = 0
        self.disk.power = self.rng.randint(0, 4) if self._chance(self._kills) else None
        self._damaged()
        try:
            found = self.store.open()
            sink._streams.chains = chains_from(self.store.kept())
            found, _ = sink._whole(found)
        finally:
            self.disk.power = None
        sink._take_up(found)

    def _damaged(self) -> None:
        """Somebody changed a spool file while nobody ran."""
        if self.disk.manifests and self._chance(self._damage):
            number = self.rng.choice(list(self.disk.manifests))
            manifest = orjson.loads(self.disk.manifests[number])
            self.disk.manifests[number] = orjson.dumps({**manifest, "crc32": 1})
            self.twice_from = min(self.twice_from, manifest["receipt"]["start"])
            self._note(f"damaged: {number}")
            self.happened["damaged"] += 1

    async def _behind_all(self, job: Callable[..., Any], *args: Any) -> Any:
        return await Step("job", job, args)

    def _confirmed(self, number: int, state: Any = None) -> None:
        self._confirmed_number = number

    def _rest(self) -> bool:
        """Nothing to send: more is planned, the cursor follows. Whether all is done."""
        if self.desk.formed_row < self._rows:
            self._plan()
        self._run_thread()
        self._durable()
        self._run_thread()
        assert self._left > 0, "it does not come to an end"
        if self.desk.formed_row >= self._rows and not self.sink._plans:
            if self.disk.manifests:
                raise Killed                # what could not be removed is for the next start
            return True
        return False

    def _plan(self) -> None:
        """What Planner does once a range is sealed."""
        first, blocks = self.desk.formed_row, []
        at = first
        for _ in range(self.rng.randint(1, 3)):
            count = min(self.rng.randint(1, 4), self._rows - at)
            if count:
                blocks.append(block_of(at, count, self._rows).to_json())
            at += count
        number = self.store.new_number()
        manifest = {"version": 1, "buffer": "b", "table": self.sink._ranges.table, "descriptor": "",
                    "receipt": {"start": first, "end": at}, "size": self._size, "crc32": self._crc32, "blocks": blocks}
        plan = Plan(number, manifest, self.desk.launch(at), written=False)
        self.sink._plans.append(plan)

        def write() -> None:
            try:
                self.store.write(number, manifest)
            except OSError:
                self.thread.append((write, ()))     # persist: again and again
            else:
                plan.written = True

        self.thread.append((write, ()))

    def _durable(self) -> None:
        if self._confirmed_number:
            self.disk.cursor_row = max(self.disk.cursor_row, self.desk.ends[self._confirmed_number])
            self.sink.durable(self._confirmed_number)

    def _run_thread(self) -> None:
        while self.thread:
            job, args = self.thread.popleft()
            try:
                job(*args)
            except OSError:
                continue                    # nobody waits for it

    # ------------------------------------------------------------ what happens

    def _chance(self, share: float) -> bool:
        return self._left > self.calm_after and self.rng.random() < share

    def _meanwhile(self) -> None:
        """Whatever needs nobody's leave."""
        self._left -= 1
        assert self._left > 0, "it does not come to an end"
        rng = self.rng
        if self.limbo and rng.random() < self._lateness:
            self._late()
        if self._chance(self._hostile):
            self._finalise(rng)
        if self.desk.formed_row < self._rows and len(self.sink._plans) < 4 and rng.random() < 0.3:
            self._plan()
        if rng.random() < 0.2:
            self._run_thread()
        if rng.random() < 0.1:
            self._durable()
        if self.line is not None and rng.random() < 0.2:
            self.line.serve()

    def _finalise(self, rng: random.Random) -> None:
        """Somebody does. Not one that is still empty where the server's answer would not tell it from a bad row (BA5)."""
        found = [name for name, stream in self.server.streams.items() if stream.rows or self.server.stale != INVALID]
        if found:
            self.server.finalise(rng.choice(found))
            self._note("finalised by somebody")
            self.happened["finalised by somebody"] += 1

    def _late(self) -> None:
        """What a dead connection sent reaches the server, or is lost with all behind it."""
        one = self.rng.choice(self.limbo)
        if self.rng.random() < 0.9:
            request = one.popleft()
            answer = self.server.take(*request)
            self._note(f"late {request[0]} {request[1]}: {answer.code}")
            self.happened["taken late"] += not answer.code
        else:
            one.clear()
        if not one:
            self.limbo.remove(one)

    def _decide(self, step: Step) -> Any:
        """What the life gets: a value, or an exception to throw into it. Killed where that is its end."""
        if self._chance(self._kills):
            self._kill(step)
        found = getattr(self, f"_on_{step.what}")(*step.args)
        if found is not None and step.what != "job":
            self._note(f"  = {found!r}")
        return found

    def _kill(self, step: Step) -> None:
        """With any prefix of what was being written; what goes to others may have got there."""
        self.disk.power, self.disk.fails = self.rng.randint(0, 4), lambda: False
        try:
            self._run_thread()
            if step.what == "job" or self.rng.random() < 0.5:
                self._on(step)
        except Killed:
            pass
        finally:
            self.disk.power, self.disk.fails = None, lambda: self._chance(self._trouble / 4)
        raise Killed

    def _on(self, step: Step) -> None:
        if step.what == "job":
            step.args[0](*step.args[1])
        elif step.what == "call":
            step.args[0]()
        elif step.what == "append":
            step.args[0].inbox.append(step.args[1])
        elif step.what == "bury":
            self._on_bury(*step.args)

    def _on_job(self, job: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        self._run_thread()
        try:
            return job(*args)
        except OSError as error:
            return Retryable(str(error))

    def _on_append(self, line: Line, request: Request) -> Any:
        self._note(f"  {request[0]} {request[1]} {[int(row[2:]) for row in split_rows(request[2])]}")
        if self._chance(self._trouble / 4):
            if self.rng.random() < 0.5:
                line.inbox.append(request)
            return Refused(UNAVAILABLE)
        line.inbox.append(request)
        return None

    def _on_answer(self, line: Line) -> Any:
        if self._chance(self._trouble):
            return self._answer_that_fails(line)
        if not line.answers:
            line.serve()
        answer = line.answers.popleft()
        if answer.code and not answer.row_errors and self._raised:
            return Refused(answer)
        return answer

    def _answer_that_fails(self, line: Line) -> Any:
        if self.rng.random() < 0.3 and not line.answers:
            line.inbox.popleft()                    # answered, and not taken
            return self.rng.choice(LATER)
        for _ in range(self.rng.randint(0, 2)):
            line.serve()
        return Refused(self.rng.choice((UNAVAILABLE, DEADLINE)))

    def _on_call(self, job: Callable[[], Any]) -> Any:
        if self._chance(self._trouble):
            if self.rng.random() < 0.5:
                job()
            return Refused(UNAVAILABLE)
        return job()

    def _on_bury(self, rows: Sequence[int]) -> None:
        for row in rows:
            self.dead[row] = 1                      # burial.UB2

    def _note(self, what: str) -> None:
        self.trace.append(what)

    # ------------------------------------------------------------ what is asserted

    def wrong(self, found: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        """Rows that are not exactly once in a table or the dead letters, and how often they are in each. From a damaged plan on
        they may be in a table again; what a moody table took after all may be a dead letter as well. Only bad rows are dead."""
        counts = {row: (found.get(row, 0), self.dead[row]) for row in range(self._rows)}
        return {row: pair for row, pair in counts.items() if sum(pair) != 1 and not self._may_be_twice(row, pair)} | {
            row: pair for row, pair in counts.items() if pair[1] and row not in self.bad}

    def _may_be_twice(self, row: int, pair: tuple[int, int]) -> bool:
        return sum(pair) > 1 and (row >= self.twice_from or (self.moody and pair == (1, 1)))
