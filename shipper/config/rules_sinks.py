"""Rules about where records go. Pure, apart from `SinkSpec.check` (certificates are read)."""
from __future__ import annotations

import fnmatch
from typing import Any

from .draft import NAME, Draft, Findings, duration, size
from .patterns import intersect, output_glob
from .types import SinkEntry, SourceSettings
from .when import when_problems

RATE_BYTES_S = 1_000_000
"""The read rate that the warning about a filling buffer reckons with, and says."""


def _sink_checks(draft: Draft, say: Findings) -> None:
    for name, sink in draft.sinks.items():
        for key, text in sink.spec.check(sink.config):
            say.error(("sinks", name, *key.split(".")) if key else ("sinks", name), text)
        for key, text in sink.spec.warn(sink.config):
            say.warn(("sinks", name, *key.split(".")) if key else ("sinks", name), text)
        if sink.spec.concurrency is not None and sink.common.concurrency != sink.spec.concurrency \
                and ("sinks", name, "concurrency") in draft.given:
            say.warn(("sinks", name, "concurrency"), f"has no effect: {sink.type} works with {sink.spec.concurrency}; remove it")


def _targets(draft: Draft, say: Findings) -> None:
    owners: dict[str, str] = {}
    for name, sink in draft.sinks.items():
        for target in sink.spec.targets(sink.config):
            first = owners.setdefault(target, name)
            if first != name:
                say.error(("sinks", name), f"writes to {target}, and so does sink {first}: their records would be mixed or cut; "
                                           "give it another target, or put both rules into one sink")
        _meetings(name, sink, draft, say)


def _meetings(name: str, sink: SinkEntry, draft: Draft, say: Findings) -> None:
    """Templates that differ and may still give one path: a warning, since nobody knows the names beforehand."""
    earlier = list(draft.sinks.items())[:list(draft.sinks).index(name)]
    for target in sink.spec.targets(sink.config):
        for other_name, other in earlier:
            for second in other.spec.targets(other.config):
                a, b = output_glob(target), output_glob(second)
                if target != second and a is not None and b is not None and intersect(a, b):
                    say.warn(("sinks", name), f"can write to the same file as sink {other_name} ({a} and {b}): their records "
                                              "would be mixed or cut; give them directories of their own")


def _raw(draft: Draft, say: Findings) -> None:
    for name, sink in draft.sinks.items():
        if not sink.spec.needs_raw(sink.config):
            continue
        for source_name, source in draft.sources.items():
            whole = source.format in ("raw", "plain")
            if (whole and not _parsed(draft, source)) or not _routed(sink.common.when, source_name, source):
                continue
            if whole:
                say.error(("sinks", name), f"this sink forwards lines as they stand, and `parse` takes those of source "
                          f"{source_name} apart; leave parse out, or route other sources here with when: {{source: [...]}}")
                continue
            place = ("sinks", name, "format")
            say.error(place if place in draft.given else ("sinks", name),
                      f"this sink forwards lines as they stand, and source {source_name} takes them apart (format: "
                      f"{source.format}); set sources.{source_name}.format: raw, or "
                      "route other sources here with when: {source: [...]}")


def _parsed(draft: Draft, source: SourceSettings) -> bool:
    """Does this source, or a rule that is for everything, take messages apart?"""
    layers = [source, *(rule for rule in draft.process or () if not rule.when)]
    return any(layer.parse not in (None, "off") for layer in layers)


def _routed(when: dict[str, Any], source_name: str, source: SourceSettings) -> bool:
    """Could a record of this source match? Only `source` and `kind` can be told beforehand."""
    for key, value in (("source", source_name), ("kind", source.type)):
        globs = when.get(key)
        if isinstance(globs, list) and not any(isinstance(g, str) and fnmatch.fnmatchcase(value, g) for g in globs):
            return False
    return True


def _when(draft: Draft, say: Findings) -> None:
    for name, common in draft.commons.items():
        for key, text in when_problems(common.when, draft.source_names):
            say.error(("sinks", name, "when", *key), text)


def _previously(draft: Draft, say: Findings) -> None:
    heirs: dict[str, str] = {}
    for name, common in draft.commons.items():
        old, path = common.previously, ("sinks", name, "previously")
        if old is None:
            continue
        if not NAME.fullmatch(old):
            say.error(path, f"{old!r} cannot be the name of a sink; write the name that this sink had before")
        elif old in draft.sink_names:
            say.error(path, f"{old} is a sink of this config and keeps its own cursor; remove that sink, or this line")
        elif heirs.setdefault(old, name) != name:
            say.error(path, f"sink {heirs[old]} inherits the cursor of {old} already; remove this line")


def _dead_sink(draft: Draft, say: Findings) -> None:
    """Design: one dead sink stops no other, up to the buffer's limits. This says where that limit lies."""
    buffer = draft.buffer
    if buffer is None:
        return
    blocking = []
    for name, common in draft.commons.items():
        if common.max_backlog is not None and common.max_backlog >= buffer.max_size:
            say.warn(("sinks", name, "max_backlog"), f"has no effect: the buffer ({size(buffer.max_size)}) is full before; "
                     "lower it")
        elif common.when_full == "block" and not (common.max_backlog or common.max_backlog_age or common.give_up_after):
            blocking.append(name)
    if blocking and len(draft.sink_names) > 1:
        first, *rest = blocking
        others = f" (or {' or '.join(rest)})" if rest else ""
        fills = f"{size(buffer.max_size)}, at 1 MB/s in {duration(buffer.max_size / RATE_BYTES_S)}"
        say.warn(("sinks", first, "when_full"),
                 f"block: while this sink{others} is down the buffer fills ({fills}), and then reading stops for the other sinks "
                 "too; raise buffer.max_size, or set when_full: drop_oldest or max_backlog here")


SINK_RULES = (_sink_checks, _targets, _raw, _when, _previously, _dead_sink)
