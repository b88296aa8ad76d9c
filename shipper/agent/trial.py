"""What given lines become: source, decode, join, each step, sinks. Nothing is read but the lines, nothing is sent.

    lines of a path ─► source and rules ─► decode, join ─► parse ─► redact ─► filter ─► limit ─► sinks that want them ─► bytes

Plane: cold; `shipper test` shows it and compares it with the `tests:` of the config.
"""
from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from .. import decode
from ..config.types import Config, ContainersSource, LogFiles, SinkEntry
from ..deliver.route import Route
from ..discover.globs import compile_pattern, excluder
from ..discover.names import source_of
from ..encode import record_json
from ..errors import Usage
from ..model import Batch, Source
from ..process.build import joiner_for, steps_for
from ..process.chain import Processing, Work
from ..sinks import SinkContext
from ..telemetry import Telemetry
from .formats import Rules, line_form

KEY = "k" * 16


class Stage(NamedTuple):
    """One step and what it left: by id item the record's (message, time, severity, fields)."""

    name: str
    records: dict[bytes, tuple[bytes, bytes, bytes, bytes]]
    drops: dict[str, int]


@dataclass
class Trial:
    """`batches`: what the buffer would get. `stages`: decode, then each step."""

    source_name: str
    form: str
    source: Source
    stages: list[Stage] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)

    def objects(self) -> list[dict[str, Any]]:
        """The records as the JSON that sinks write."""
        return [orjson.loads(line) for batch in self.batches for line in record_json.lines(batch)]


def source_for(config: Config, path: str) -> tuple[str, LogFiles]:
    """The source that would read `path`: the first whose patterns match, or, of a container's own path, the first one whose
    allowed roots it lies in. Usage where none would."""
    files = {name: source for name, source in config.sources.items() if isinstance(source, LogFiles)}
    for name, source in files.items():
        if any(compile_pattern(glob).matches(path) for glob in source.include) and not excluder(tuple(source.exclude))(path):
            return name, source
    for name, source in files.items():
        if isinstance(source, ContainersSource) and any(path.startswith(root.rstrip("/") + "/") for root in source.allowed_roots):
            return name, source
    raise Usage(f"{path}: no source of the config would read this path; name one with --as, such as {example_path(config)}")


def example_path(config: Config) -> str:
    """A path that the first source would read."""
    source = next((each for each in config.sources.values() if isinstance(each, LogFiles)), None)
    if source is None:
        return "/var/log/app.log, of a source of type files"
    if isinstance(source, ContainersSource):
        return "/var/log/pods/default_web-0_00000000-0000-4000-8000-000000000000/web/0.log"
    return source.include[0].replace("**", "a").replace("*", "a").replace("?", "a")


def run_trial(config: Config, path: str, lines: Sequence[bytes], read_ns: int | None = None) -> Trial:
    """What `lines` of the file at `path` become."""
    name, settings = source_for(config, path)
    source = source_of(settings.type, name, config.node, [path], path)
    form = line_form(settings)
    if form == "auto":
        form = decode.sniff(lines[0]) if lines else "cri"
        form = "cri" if form == "raw" else form
    trial = Trial(name, form, source)
    read_ns = time.time_ns() if read_ns is None else read_ns
    wanted = Rules(config.process).wanted(settings, source)
    for batch in _decoded(settings, "raw" if form == "plain" else form, source, wanted, lines, read_ns):
        trial.batches.append(_stepped(trial, batch, steps_for(wanted, source) if wanted is not None else []))
    trial.batches = [batch for batch in trial.batches if len(batch)]
    return trial


def _decoded(
    settings: LogFiles, form: str, source: Source, wanted: Any, lines: Sequence[bytes], read_ns: int
) -> list[Batch]:
    """The records in front of the steps: decoded, joined, and what was open at the end closed."""
    budget = decode.Budget()
    data = b"".join(line + b"\n" for line in lines)

    def bare() -> decode.Decoder:
        return decode.Decoder(source, form, max_line=settings.max_line, max_record=settings.max_record, budget=budget)

    inner = bare()
    joiner = None if wanted is None else joiner_for(
        wanted, source, budget=budget, line_reader=bare, patience_s=settings.partial_timeout)
    if joiner is not None:
        inner.finished = joiner.finished
    chain = Processing(inner, [], joiner)

    def reread(piece: Any) -> bytes:
        return data[piece.start:piece.start + piece.length]

    found, at = [], 0
    for group in _groups(lines, settings.max_line):
        if len(group) == 1 and len(group[0]) > settings.max_line:
            total = len(group[0]) + 1
            batch = chain.oversized(KEY, at, total, group[0][:settings.max_line], read_ns=read_ns, now_s=0.0, reread=reread)
        else:
            batch = chain.decode(KEY, at, list(group), read_ns=read_ns, now_s=0.0, reread=reread)
        at += sum(map(len, group)) + len(group)
        found += [batch] if batch is not None else []
    return found + [batch for _, batch in chain.flush(before_s=math.inf, read_ns=read_ns, reread=reread)]


def _groups(lines: Sequence[bytes], max_line: int) -> Iterator[Sequence[bytes]]:
    """Lines together, but for each that is over max_line alone."""
    low = 0
    for at, line in enumerate(lines):
        if len(line) > max_line:
            if low < at:
                yield lines[low:at]
            yield lines[at:at + 1]
            low = at + 1
    if low < len(lines):
        yield lines[low:]


def _stepped(trial: Trial, batch: Batch, steps: Sequence[Any]) -> Batch:
    trial.stages.append(Stage("decode", _records(batch), {}))
    work = Work(batch, 0.0)
    for step in steps:
        before = dict(work.drops)
        step(work)
        drops = {reason: count - before.get(reason, 0) for reason, count in work.drops.items() if count != before.get(reason, 0)}
        trial.stages.append(Stage(type(step).__name__.lower(), _records(work.batch), drops))
        if not len(work.batch):
            break
    return work.batch


def _records(batch: Batch) -> dict[bytes, tuple[bytes, bytes, bytes, bytes]]:
    none = [b""] * len(batch)
    return dict(zip(batch.ids, zip(batch.messages, batch.times, batch.severities or none, batch.fields or none)))


# -------------------------------------------------------------------- sinks

def wanted_by(sink: SinkEntry, batches: Sequence[Batch]) -> list[Batch]:
    """The records that the sink takes."""
    route = Route(sink.common.when)
    found = []
    for batch in batches:
        if route(batch.source):
            flags = route.pick(batch)
            found += [batch] if flags is None else [batch.select(flags)] if any(flags) else []
    return found


def sinks_of(config: Config, batches: Sequence[Batch]) -> Mapping[bytes, list[str]]:
    """By id item, the names of the sinks that take the record."""
    found: dict[bytes, list[str]] = {item: [] for batch in batches for item in batch.ids}
    for name, sink in config.sinks.items():
        for batch in wanted_by(sink, batches):
            for item in batch.ids:
                found[item].append(name)
    return found


def encoded(config: Config, sink: SinkEntry, batches: Sequence[Batch]) -> list[tuple[str, bytes]]:
    """What the sink would send: (where, where it says; bytes). Nothing is connected or opened."""
    context = SinkContext(sink.name, config.node, config.state_dir, Telemetry())
    return list(_flat("", sink.spec.build(sink.config, context).encode(batches)))


def _flat(where: str, payload: Any) -> Iterator[tuple[str, bytes]]:
    """A payload is a sink's own affair; those there are, are bytes, pieces, or (path, pieces)."""
    if isinstance(payload, (bytes, bytearray)):
        yield where, bytes(payload)
    elif isinstance(payload, tuple) and len(payload) == 2 and isinstance(payload[0], str):
        yield from _flat(payload[0], payload[1])
    elif isinstance(payload, (list, tuple)) and all(isinstance(one, (bytes, bytearray)) for one in payload):
        yield where, b"".join(payload)
    elif isinstance(payload, (list, tuple)):
        for one in payload:
            yield from _flat(where, one)
    elif hasattr(payload, "pieces"):
        yield where, b"".join(payload.pieces)


__all__ = ["Stage", "Trial", "encoded", "run_trial", "sinks_of", "source_for", "wanted_by"]
