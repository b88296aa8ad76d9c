"""Several lines that are one record: joined with their newlines, per stream. Pure but for `reread`. Hot: once per batch.

    batch ──► find: is anything near? ──no──► the batch as it is (the last lines of each stream looked at)
                 │ yes
                 └──► walk that stream: first line ──► trace ──► line that does not belong ──► one record
                                                         │ end of the batch: the trace stays open (state in the frames)

Invariants (tests/process/test_multiline.py, test_any_input.py):
  J1  per stream, records are the same and in the same order however the lines are portioned; every source byte is in one
      record or in one open trace (P11)
  J2  what is open is known by file ranges alone (`state`); bytes are held within the budget, else read again. A trace that
      was restored is read again and goes through the automaton once more, which ends where it was (multiline_machines.MM1)
  J3  a record has at most MAX_LINES lines, MAX_BYTES bytes and MAX_PIECES separate pieces; the line behind that begins anew
  J4  a line that carries a mark (partial, truncated, malformed) is never joined and ends what is open in its stream
  J5  a record made of one line is that line: same id, same bytes
Costs: 200 ns a line where nothing is found (1.15 times the agent: tests/bench, `processing`), 10 us for each line of a trace,
5 us a line with a pattern of the config.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..model import Batch, Open, Piece, Source
from .multiline_batch import Changes, Record, applied, item_of, merged, pieces_of
from .multiline_machines import Machine
from .multiline_rules import END, LOOK_BACK, MAX_MAYBE_BYTES

MAX_LINES = 1000
MAX_BYTES = 512 * 1024
MAX_PIECES = 256
"""Lines that follow each other in the file are one piece, so only two streams in turn get there; a piece is 30 bytes in the
state of each section while the trace is open."""

IDLE_S = 1.0
Reread = Callable[[Piece], bytes]


class BytesBudget(Protocol):
    """decode.Budget: what all open records together may hold."""

    held_bytes: int

    def take(self, size_bytes: int) -> bool: ...


class LineReader(Protocol):
    """A decoder of the lineage's format, for lines that are read again. `finished`: see decode.Decoder."""

    form: str
    finished: dict[bytes, tuple[Piece, ...]] | None

    def decode(self, key: str, start: int, lines: list[bytes], *, read_ns: int, now_s: float, reread: Reread) -> Batch | None: ...


class Line(NamedTuple):
    """A line near a trace. `row`: where it stands in the batch, -1: it came with an earlier one."""

    time: bytes
    message: bytes
    pieces: tuple[Piece, ...]
    row: int


@dataclass(slots=True)
class Trace:
    """What is open in one stream. `parts` is None where its messages are not held, `state` "" where it was restored (J2).

    maybe  lines that belong to it only if another one follows (multiline_rules.MAYBE)
    first  index of its first line in this batch, -1 in an earlier one
    """

    state: str
    time: bytes
    pieces: list[Piece]
    parts: list[bytes] | None
    since_s: float
    first: int
    lines: int = 1
    size_bytes: int = 0
    held_bytes: int = 0
    maybe: list[Line] = field(default_factory=list)

    def all_pieces(self) -> list[Piece]:
        return merged([*self.pieces, *(piece for line in self.maybe for piece in line.pieces)])


class Joiner:
    """Stateful over one lineage. `line_reader()` makes a fresh decoder; `patience_s`: see oldest_open_s."""

    look_back_bytes = 2 * MAX_BYTES

    def __init__(
        self, source: Source, machine: Machine, budget: BytesBudget, line_reader: Callable[[], LineReader], patience_s: float,
    ) -> None:
        self._source, self._machine, self._budget, self._line_reader = source, machine, budget, line_reader
        self._shift_s = min(0.0, IDLE_S - patience_s)
        self.open: dict[bytes, Trace] = {}
        self._restored = False
        self.ending = False
        """True: with the next batch everything ends (a damaged range that is read again)."""
        self.finished: dict[bytes, tuple[Piece, ...]] = {}
        """Pieces of records that the inner decoder put together, by id item; it writes, `join` empties."""

    # -------------------------------------------------------- state

    def state(self) -> tuple[Open, ...]:
        """What is open, for the frame (J2)."""
        return tuple([Open(stream.decode(), "lines", tuple(trace.all_pieces())) for stream, trace in self.open.items()])

    def restore(self, state: Iterable[Open], now_s: float) -> None:
        """Go on where a frame left off; the lines are read again when the next one comes."""
        for trace in self.open.values():
            self._budget.held_bytes -= trace.held_bytes
        self.open = {
            item.stream.encode(): Trace("", b"", list(item.pieces), None, now_s, -1) for item in state if item.pieces
        }
        self._restored = bool(self.open)

    def oldest_open_s(self) -> float | None:
        """Since when the longest quiet trace is quiet, so much earlier that the reader's patience for half records is IDLE_S
        (or that patience where it is shorter)."""
        return min([trace.since_s for trace in self.open.values()]) + self._shift_s if self.open else None

    # -------------------------------------------------------- batches

    def join(self, batch: Batch, form: str, now_s: float, reread: Reread) -> Batch | None:
        """`batch` with traces as one record each; None where all of it is open now."""
        changes = Changes(now_s)
        if self._restored:
            self._warm_up(form, changes, reread)
        hits = self._machine.find(batch.messages, batch.newlines)
        for stream, rows in _rows_by_stream(batch.streams):
            wanted = _wanted(rows, hits)
            if wanted or stream in self.open:
                self._walk(stream, rows, wanted, batch, changes, form, reread)
        if self.ending:
            for stream in list(self.open):
                self._end(stream, self.open.pop(stream), changes, form, reread)
        self.finished.clear()
        return applied(batch, changes) if changes.front or changes.at or changes.gone else batch

    def _walk(
        self, stream: bytes, rows: Sequence[int], wanted: Sequence[int], batch: Batch, changes: Changes, form: str,
        reread: Reread,
    ) -> None:
        """One stream of a batch through the automaton. `wanted`: rows at which something may begin."""
        trace = self.open.pop(stream, None)
        queue: list[Line] = []                            # lines that were MAYBE and are looked at once more
        at, count = 0, len(rows)
        marks = batch.marks or ()
        while True:
            if queue:
                line = queue.pop(0)
            else:
                if trace is None:
                    at = self._next_start(rows, at, wanted, batch.messages)
                if at >= count:
                    break
                line = self._line(batch, rows[at])
                at += 1
            trace = self._take(stream, trace, line, line.row in marks, changes, queue, form, reread)
        if trace is not None and self.ending:
            self._end(stream, trace, changes, form, reread)
        elif trace is not None:
            trace.first = -1
            trace.maybe = [held._replace(row=-1) for held in trace.maybe]
            self.open[stream] = trace

    def _next_start(self, rows: Sequence[int], at: int, wanted: Sequence[int], messages: Sequence[bytes]) -> int:
        """Where in `rows`, from `at` on, the next record of several lines may begin; their number where nowhere."""
        count, begin = len(rows), self._machine.begin
        if at < count:
            for index in range(bisect_left(wanted, rows[at]), len(wanted)):
                if begin(messages[wanted[index]]):
                    return bisect_left(rows, wanted[index])
        return count

    def _line(self, batch: Batch, index: int) -> Line:
        item = batch.ids[index]
        pieces = self.finished.get(item) or pieces_of(batch.key, item)
        return Line(batch.times[index], batch.messages[index], pieces, index)

    def _take(
        self, stream: bytes, trace: Trace | None, line: Line, marked: bool, changes: Changes, queue: list[Line], form: str,
        reread: Reread,
    ) -> Trace | None:
        """One line: into the trace, or behind its end and perhaps the first of the next one. Returns what is open."""
        if trace is not None:
            found = None if marked or self._is_full(trace, line) else self._machine.step(trace.state, line.message)
            if found is not None and not (found[1] is False and len(line.message) > MAX_MAYBE_BYTES):
                changes.gone.add(line.row)
                return self._belongs(stream, trace, line, found, changes, form, reread)
            queue[:0] = [*trace.maybe, line]
            changes.gone.difference_update([held.row for held in trace.maybe])
            trace.maybe = []
            self._close(stream, trace, changes, form, reread)
            return None
        state = "" if marked or len(line.message) > MAX_BYTES else self._machine.begin(line.message)
        if not state:
            if line.row < 0:
                changes.front.append((stream, Record(line.time, line.message, list(line.pieces))))
            return None
        changes.gone.add(line.row)
        trace = Trace(state, line.time, list(line.pieces), [], changes.now_s, line.row)
        self._hold(trace, line.message)
        return trace

    @staticmethod
    def _is_full(trace: Trace, line: Line) -> bool:
        maybe_bytes = sum([len(held.message) + 1 for held in trace.maybe])
        size_bytes = trace.size_bytes + maybe_bytes + len(line.message) + 1
        pieces = len(trace.pieces) + sum([len(held.pieces) for held in trace.maybe])
        return trace.lines + len(trace.maybe) >= MAX_LINES or size_bytes > MAX_BYTES or pieces >= MAX_PIECES

    def _belongs(
        self, stream: bytes, trace: Trace, line: Line, found: tuple[str, bool], changes: Changes, form: str, reread: Reread,
    ) -> Trace | None:
        trace.state, sure = found
        trace.since_s = changes.now_s
        if not sure:
            trace.maybe.append(line)
            return trace
        for held in (*trace.maybe, line):
            trace.pieces = merged([*trace.pieces[-1:], *held.pieces]) if len(trace.pieces) < 2 else [
                *trace.pieces[:-1], *merged([trace.pieces[-1], *held.pieces])]
            trace.lines += 1
            self._hold(trace, held.message)
        trace.maybe = []
        if trace.state == END:
            self._close(stream, trace, changes, form, reread)
            return None
        return trace

    def _hold(self, trace: Trace, message: bytes) -> None:
        trace.size_bytes += len(message) + 1
        if trace.parts is None:
            return
        if self._budget.take(len(message) + 64):
            trace.held_bytes += len(message) + 64
            trace.parts.append(message)
        else:
            self._let_go(trace)
            trace.parts = None

    def _let_go(self, trace: Trace) -> None:
        self._budget.held_bytes -= trace.held_bytes
        trace.held_bytes = 0

    def _close(self, stream: bytes, trace: Trace, changes: Changes, form: str, reread: Reread) -> None:
        """The trace becomes a record where its first line stood."""
        self._let_go(trace)
        if trace.first >= 0 and trace.lines == 1:
            changes.gone.discard(trace.first)
            return                                        # J5: the line itself
        record = self._record(stream, trace, form, reread)
        if trace.first >= 0:
            changes.gone.discard(trace.first)
            changes.at[trace.first] = record
        else:
            changes.front.append((stream, record))

    def _record(self, stream: bytes, trace: Trace, form: str, reread: Reread) -> Record:
        if trace.parts is not None:
            return Record(trace.time, b"\n".join(trace.parts), trace.pieces)
        lines, lost_bytes = self._again(stream, trace.pieces, form, reread)
        time = trace.time or (lines[0].time if lines else b"")
        mark = {"partial": True, "lost": lost_bytes} if lost_bytes else None
        return Record(time, b"\n".join([line.message for line in lines]), trace.pieces, mark)

    # -------------------------------------------------------- reading again

    def _again(self, stream: bytes, pieces: Iterable[Piece], form: str, reread: Reread) -> tuple[list[Line], int]:
        """The lines of these pieces, and how many bytes of them are gone."""
        reader = self._line_reader()
        reader.form, reader.finished = form, {}
        found: list[Line] = []
        lost_bytes = 0
        for piece in pieces:
            data = reread(piece)
            lost_bytes += piece.length - len(data)
            lines = data.split(b"\n")
            if not lines[-1]:
                lines.pop()
            batch = reader.decode(piece.key, piece.start, lines, read_ns=0, now_s=0.0, reread=reread) if lines else None
            if batch is None:
                continue
            for index, item in enumerate(batch.ids):
                if batch.streams[index] == stream:
                    whole = reader.finished.get(item) or pieces_of(piece.key, item)
                    found.append(Line(batch.times[index], batch.messages[index], whole, -1))
        return found, lost_bytes

    def _warm_up(self, form: str, changes: Changes, reread: Reread) -> None:
        """After a restart: restored traces once more through the automaton."""
        self._restored = False
        for stream in [stream for stream, trace in self.open.items() if not trace.state]:
            trace = self._warm(stream, self.open.pop(stream), changes, form, reread)
            if trace is not None:
                self.open[stream] = trace

    def _warm(self, stream: bytes, cold: Trace, changes: Changes, form: str, reread: Reread) -> Trace | None:
        """A restored trace as it was. Where bytes of it are gone, what is left is a record that says so."""
        lines, lost_bytes = self._again(stream, cold.pieces, form, reread)
        if not lost_bytes and lines:
            return self._feed(stream, None, lines, changes, form, reread)
        message = b"\n".join([line.message for line in lines])
        mark = {"partial": True, "lost": lost_bytes}
        changes.front.append((stream, Record(lines[0].time if lines else b"", message, cold.pieces, mark)))
        return None

    def _feed(
        self, stream: bytes, trace: Trace | None, queue: list[Line], changes: Changes, form: str, reread: Reread
    ) -> Trace | None:
        """Lines that are in no batch."""
        while queue:
            trace = self._take(stream, trace, queue.pop(0), False, changes, queue, form, reread)
        return trace

    def _end(self, stream: bytes, trace: Trace | None, changes: Changes, form: str, reread: Reread) -> None:
        """Close it, and whatever its MAYBE lines begin."""
        while trace is not None:
            queue, trace.maybe = trace.maybe, []
            changes.gone.difference_update([line.row for line in queue])
            self._close(stream, trace, changes, form, reread)
            trace = self._feed(stream, None, queue, changes, form, reread)

    # -------------------------------------------------------- by time

    def flush(self, *, before_s: float, read_ns: int, form: str, reread: Reread) -> list[tuple[str, Batch]]:
        """Close what has been quiet since before `before_s` (on the clock of `oldest_open_s`): a batch per record, with the key
        of its last piece, whose file takes the section. Not marked: that a program was silent is no sign of a part."""
        found: list[tuple[str, Batch]] = []
        for stream in [s for s, trace in self.open.items() if trace.since_s + self._shift_s <= before_s]:
            trace: Trace | None = self.open.pop(stream)
            assert trace is not None
            changes = Changes(trace.since_s)
            if not trace.state:
                trace = self._warm(stream, trace, changes, form, reread)
            self._end(stream, trace, changes, form, reread)
            found += [self._alone(stream, record, read_ns) for stream, record in changes.front]
        return found

    def _alone(self, stream: bytes, record: Record, read_ns: int) -> tuple[str, Batch]:
        key = record.pieces[-1].key
        return key, Batch(
            self._source, key, [record.time], [stream], [item_of(key, record.pieces)], [record.message],
            {0: record.mark} if record.mark else None, read_ns,
        )


def _rows_by_stream(streams: Sequence[bytes]) -> list[tuple[bytes, Sequence[int]]]:
    first = streams[0]
    if streams[-1] == first and streams.count(first) == len(streams):
        return [(first, range(len(streams)))]
    return [(stream, [i for i, x in enumerate(streams) if x == stream]) for stream in set(streams)]


def _wanted(rows: Sequence[int], hits: list[int] | None) -> Sequence[int]:
    """Rows of one stream at which a record of several lines may begin: those up to LOOK_BACK in front of a hit, and the last
    ones, which may go on in the next batch."""
    if hits is None:
        return rows
    last = rows[-LOOK_BACK:]
    if not hits:
        return last
    count = len(rows)
    near: set[int] = set(last)
    for hit in hits:
        at = bisect_left(rows, hit)
        if at < count and rows[at] == hit:
            near.update(rows[max(0, at - LOOK_BACK) : at + 1])
    return sorted(near)
