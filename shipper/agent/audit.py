"""The proof that every source byte is accounted for (P1). Facts in, sums out.

    source bytes of all frames ever  ==  bytes read of the known files  +  bytes of files that were forgotten (retired)
                                     ==  per sink: delivered + dead letters + dropped + unrouted + before_start + held

Invariants (tests/agent/test_audit.py):
  A1  a sum that is off is named with both sides and the difference, and makes the exit code 1
  A2  of a file: read_bytes (its position) = framed_bytes + skipped_bytes + lost_bytes; gaps with an end lie in front of it
  A3  the JSON form is what `shipper verify --ledger` reads
Plane: pure.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import GapReason
from ..model import Gap
from .text import printable, size, table

NEVER_READ = frozenset(map(str, GapReason))


@dataclass(frozen=True, slots=True)
class FileAudit:
    """One file of the positions.

    size_bytes   when it was last seen, uncompressed
    read_bytes   how far frames cover it: its position
    framed_bytes how much of that is in frames (source bytes)
    skipped_bytes, lost_bytes  the rest: jumped over by a gap; in a damaged frame, to be read again
    gaps         `end` < 0: at least `at_least` bytes behind the position, or in files that are gone, were never read
    dropped      bytes in front of the position that are in no record and have no known place, by reason
    open_bytes   bytes of records that have begun and are not whole: read, in no record yet
    """

    key: str
    path: str
    size_bytes: int
    read_bytes: int
    framed_bytes: int
    gaps: Sequence[Gap] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    open_bytes: int = 0
    skipped_bytes: int = 0
    lost_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SinkAudit:
    """One sink, in source bytes of whole sections. `dropped`: by DropReason, dead letters apart.

    unrouted      `when` does not want them; before_start: they were in the buffer before the sink was first configured
    held          between the cursor and the end of the buffer
    dead_files, dropped_files, unrouted_files  source bytes per file key ("" stands for the rest, where there are too many files)
    """

    delivered_bytes: int
    held_bytes: int
    dead_bytes: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    unrouted_bytes: int = 0
    before_start_bytes: int = 0
    dead_files: Mapping[str, int] = field(default_factory=dict)
    dropped_files: Mapping[str, int] = field(default_factory=dict)
    unrouted_files: Mapping[str, int] = field(default_factory=dict)

    @property
    def accounted_bytes(self) -> int:
        return (self.delivered_bytes + self.held_bytes + self.dead_bytes + sum(self.dropped.values())
                + self.unrouted_bytes + self.before_start_bytes)


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """`total_bytes`: source bytes of all frames ever; `retired_bytes`: of files that the positions have forgotten."""

    files: Sequence[FileAudit]
    sinks: Mapping[str, SinkAudit]
    total_bytes: int
    retired_bytes: int = 0


def problems(facts: AuditFacts) -> list[str]:
    """Every sum that is off, one sentence each (A1); [] is the proof."""
    found = []
    framed = sum(f.framed_bytes for f in facts.files) + facts.retired_bytes
    if framed != facts.total_bytes:
        found.append(_off("files", "read + retired", framed, facts.total_bytes))
    for name, sink in sorted(facts.sinks.items()):
        if sink.accounted_bytes != facts.total_bytes:
            found.append(_off(f"sink {name}", "delivered + dead + dropped + unrouted + before_start + held",
                              sink.accounted_bytes, facts.total_bytes))
    for file in facts.files:
        found += _file_problems(file)
    return found


def _file_problems(file: FileAudit) -> list[str]:
    found, name = [], f"file {printable(file.path)} ({file.key})"
    explained = file.framed_bytes + file.skipped_bytes + file.lost_bytes
    if explained != file.read_bytes:
        found.append(f"{name}: framed + skipped + lost = {explained} bytes, but it is read up to {file.read_bytes}")
    found += [f"{name}: gap {gap.start}..{gap.end} lies outside what was read (0..{file.read_bytes})"
              for gap in file.gaps if gap.start < 0 or gap.end > file.read_bytes]
    return found


def _off(what: str, terms: str, got_bytes: int, want_bytes: int) -> str:
    difference = got_bytes - want_bytes
    word = "more" if difference > 0 else "less"
    return f"{what}: {terms} = {got_bytes} bytes, which is {abs(difference)} {word} than the buffer's total of {want_bytes}"


def to_json(facts: AuditFacts) -> dict[str, Any]:
    """What /audit answers (A3); `shipper audit --json` prints `ledger_for` of it."""
    found = problems(facts)
    return {
        "files": [_file(f) for f in facts.files],
        "totals": {
            "total_bytes": facts.total_bytes,
            "read_bytes": sum(f.framed_bytes for f in facts.files),
            "retired_bytes": facts.retired_bytes,
            "unread_bytes": sum(_unread(f) for f in facts.files),
            "open_bytes": sum(f.open_bytes for f in facts.files),
            "gap_bytes": _by_reason(facts),
            "balanced": not found,
            "problems": found,
        },
        "sinks": {name: _sink(s) for name, s in sorted(facts.sinks.items())},
    }


def _file(file: FileAudit) -> dict[str, Any]:
    return {
        "key": file.key, "path": file.path, "size": file.size_bytes, "read_bytes": file.read_bytes,
        "framed_bytes": file.framed_bytes, "unread_bytes": _unread(file),
        "gaps": [{"start": g.start, "end": g.end, "reason": g.reason, "at_least": g.at_least} for g in file.gaps],
        "dropped": dict(file.dropped), "open_bytes": file.open_bytes,
    }


def _sink(sink: SinkAudit) -> dict[str, Any]:
    return {
        "delivered_bytes": sink.delivered_bytes, "held_bytes": sink.held_bytes, "dead_bytes": sink.dead_bytes,
        "dropped": dict(sink.dropped), "unrouted_bytes": sink.unrouted_bytes,
        "before_start_bytes": sink.before_start_bytes, "accounted_bytes": sink.accounted_bytes,
        "dead_files": dict(sink.dead_files), "dropped_files": dict(sink.dropped_files),
        "unrouted_files": dict(sink.unrouted_files),
    }


def ledger_for(audit: Mapping[str, Any], sink: str) -> dict[str, Any]:
    """The JSON form with what this sink dead-lettered and dropped, and what its `when` leaves out, counted in each file's
    `dropped`: what one sink's data are held against (A3). KeyError where there is no such sink."""
    facts = audit["sinks"][sink]
    files = []
    for file in audit["files"]:
        own = {"dead_letters": facts["dead_files"].get(file["key"]), "sink_dropped": facts["dropped_files"].get(file["key"])}
        dropped = {**file["dropped"], **{reason: count for reason, count in own.items() if count}}
        unrouted = min(facts.get("unrouted_files", {}).get(file["key"], 0), _in_records(file) - sum(dropped.values()))
        files.append({**file, "dropped": {**dropped, "unrouted": unrouted} if unrouted > 0 else dropped})
    return {**audit, "files": files, "sink": sink}


def _in_records(file: Mapping[str, Any]) -> int:
    """Bytes of a file that records hold or held: sections that are not routed are counted with all that is in them."""
    gaps = sum(int(gap["end"]) - int(gap["start"]) for gap in file["gaps"] if gap["end"] >= 0)
    return int(file["read_bytes"]) - int(file["open_bytes"]) - gaps


def _unread(file: FileAudit) -> int:
    gone = sum(gap.at_least for gap in file.gaps if gap.end < 0)
    return max(0, file.size_bytes - file.read_bytes - gone) + file.lost_bytes


def gap_bytes(gap: Gap) -> int:
    """How many bytes a gap stands for; where its end is unknown, this is a lower bound."""
    return gap.end - gap.start if gap.end >= 0 else gap.at_least


def _by_reason(facts: AuditFacts) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in facts.files:
        for gap in file.gaps:
            found[gap.reason] = found.get(gap.reason, 0) + gap_bytes(gap)
        for reason, count in file.dropped.items():
            found[reason] = found.get(reason, 0) + count
    return dict(sorted(found.items()))


# ---------------------------------------------------------------- as text

def human(audit: Mapping[str, Any], all_files: bool = False) -> str:
    """`shipper audit`, from its JSON form. Files that are read whole and have no gap are only counted."""
    totals = audit["totals"]
    lines = [*_files_text(audit["files"], all_files), "", *_sinks_text(audit["sinks"]), ""]
    lines.append(f"read {totals['read_bytes']} + retired {totals['retired_bytes']} = {totals['total_bytes']} bytes in all; "
                 f"unread {totals['unread_bytes']}, open {totals['open_bytes']}")
    unknown = {gap["reason"] for file in audit["files"] for gap in file["gaps"] if gap["end"] < 0}
    dropped: Counter[str] = Counter()
    for file in audit["files"]:                        # what was jumped over inside a file stands there too, and was never read
        dropped.update({reason: count for reason, count in file["dropped"].items() if reason not in NEVER_READ})
    lines += [f"never read, {reason}: {'at least ' if reason in unknown else ''}{count - dropped[reason]} bytes"
              for reason, count in totals["gap_bytes"].items() if count > dropped[reason] or reason not in dropped]
    lines += [f"read and dropped in front of the buffer, {reason}: {count} bytes (in DELIVERED, with the records around them)"
              for reason, count in sorted(dropped.items()) if count]
    if totals["balanced"]:
        lines.append("BALANCED: every byte read is accounted for in every sink")
    else:
        lines += [f"NOT BALANCED: {problem}" for problem in totals["problems"]]
    return "\n".join(lines)


def _files_text(files: Sequence[Mapping[str, Any]], all_files: bool) -> list[str]:
    noted = [f for f in files if all_files or f["gaps"] or f["dropped"] or f["unread_bytes"] or f["open_bytes"]]
    rows = [
        (str(f["size"]), str(f["read_bytes"]), str(f["unread_bytes"]), f["key"], _gaps_text(f), f["path"]) for f in noted
    ]
    lines = table(("SIZE", "READ", "UNREAD", "KEY", "NOT DELIVERED", "FILE"), rows) if rows else []
    quiet = len(files) - len(noted)
    if quiet:
        which = f"{quiet} {'other ' if rows else ''}{'file is' if quiet == 1 else 'files are'}"
        lines.append(f"{which} read to the end, without a gap")
    return lines or ["no files"]


def _gaps_text(file: Mapping[str, Any]) -> str:
    parts = [
        f"{g['reason']} {g['start']}..{g['end']}" if g["end"] >= 0 else f"{g['reason']} at least {g['at_least']} B"
        for g in file["gaps"][:3]
    ]
    if len(file["gaps"]) > 3:
        parts.append(f"{len(file['gaps']) - 3} more gaps")
    parts += [f"dropped ({reason}) {size(count)}" for reason, count in file["dropped"].items()]
    return ", ".join(parts)


def _sinks_text(sinks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        (name, *(str(s[f"{term}_bytes"]) for term in ("delivered", "held", "dead")), str(sum(s["dropped"].values())),
         str(s["unrouted_bytes"]), str(s["before_start_bytes"]),
         ", ".join(f"{reason} {count}" for reason, count in s["dropped"].items()))
        for name, s in sinks.items()
    ]
    head = ("SINK", "DELIVERED", "HELD", "DEAD", "DROPPED", "UNROUTED", "BEFORE START", "DROPPED BY")
    return table(head, rows) if rows else ["no sink has a position on disk yet"]
