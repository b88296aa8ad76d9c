"""Which records a refusal of Loki's is about. Pure. Only on the way of errors.

Loki answers 400 for a push of which it took a part: what was refused is said in text, of at most ten entries, and of several
streams perhaps only the last. So nothing but the named records is taken for dead, and all others go again: Loki knows an entry
that it has (same stream, time, line) and drops the repeat, and its next answer names the next ones.

    ... has timestamp too old: .., oldest acceptable timestamp is: T       all records before T
    entry with timestamp .. ignored, reason: '.. oldest acceptable timestamp is: T' for stream: {..}
                                                                           those of that stream before T
    Max entry size 'N' bytes exceeded ..                                   all records whose line is longer than N
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from ..encode import epoch
from ..encode.loki import LokiEncoder
from ..model import Batch

_TOO_OLD = re.compile(r"timestamp too old: [^,\n]{1,60}, oldest acceptable timestamp is: (\S{1,40}?)[,;'\s]*(?:\s|$)")
_BEHIND = re.compile(
    r"reason: 'entry too far behind[^'\n]{0,200}oldest acceptable timestamp is: ([^'\s]{1,40})'"
    r" for stream: (\{[^\n]{0,20000}?\}),?(?:\n|$)")
_TOO_LONG = re.compile(r"Max entry size '(\d{1,12})' bytes exceeded")


def named(text: str, batches: Sequence[Batch], encoder: LokiEncoder) -> list[int]:
    """Indexes of the request's records that the answer is about; [] where it does not say."""
    oldest_ns = max(map(_ns, _TOO_OLD.findall(text)), default=0)
    behind = [(_ns(time), stream) for time, stream in _BEHIND.findall(text)]
    longest = min(map(int, _TOO_LONG.findall(text)), default=None)
    found: set[int] = set()
    first = 0
    for batch in batches:
        labels = encoder.labels(batch.source)
        limit_ns = max([oldest_ns, *(at_ns for at_ns, stream in behind if at_ns and _is(stream, labels))])
        if limit_ns:
            found |= {first + row for row, ns in enumerate(epoch.nanoseconds(batch)) if int(ns) < limit_ns}
        first += len(batch)
    if longest is not None:
        found |= set(encoder.too_long(batches, longest))
    return sorted(found)


def _is(stream: str, labels: Mapping[str, str]) -> bool:
    """Whether the stream that Loki names is ours; it may have put labels of its own to it."""
    return all(f'{name}="{_quoted(value)}"' in stream for name, value in labels.items())


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _ns(time: str) -> int:
    """An RFC 3339 time, cut to whole seconds (what is refused a moment later is refused again); 0 for none."""
    try:
        return int(datetime.fromisoformat(time).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        return 0
