"""What the agent does now, as JSON (/status) and as text (`shipper status`).

Invariants (tests/agent/test_status.py):
  U1  no record content and no secret: the config comes in redacted (config/secrets.py, P9)
  U2  the JSON's keys are part of the interface (docs/monitoring.md): they are added to, not renamed
Plane: pure.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from .text import duration, printable, size, table
from .verdict import mend_of

if TYPE_CHECKING:
    from .reload import ReloadResult


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One log file. `size_bytes` and `position_bytes` count uncompressed bytes; `lag_s`: age of the oldest unread byte
    as far as known, 0 when read to its end. `state`: reading | idle | rotated | deleted | closed | refused | ..."""

    key: str
    path: str
    source: str
    size_bytes: int
    position_bytes: int
    lag_s: float
    state: str

    @property
    def lag_bytes(self) -> int:
        return max(0, self.size_bytes - self.position_bytes)

    def to_json(self) -> dict[str, Any]:
        """Its row of /status. (By dataclasses.asdict 5,000 of them held the loop for 0.1 s.)"""
        return {
            "key": self.key, "path": self.path, "source": self.source, "size_bytes": self.size_bytes,
            "position_bytes": self.position_bytes, "lag_s": round(self.lag_s, 3), "state": self.state,
            "lag_bytes": self.lag_bytes,
        }


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What the pipeline knows. Of a sink these keys are shown where they are there: type, state, backlog_bytes,
    oldest_s, delivered_records, last_error, guarantee; of the buffer: bytes, limit_bytes, full, first_seq, last_seq."""

    files: Sequence[FileFacts] = ()
    sinks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    buffer: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFacts:
    """What the shell knows. `degraded`: reason -> (since, monotonic seconds; why). `refusals`: reason -> how often since the
    start a log file was not opened; one that may be read later counts again with each try."""

    version: str
    node: str
    pid: int
    started_s: float
    uptime_s: float
    now_s: float
    ready: bool
    problems: Sequence[str] = ()
    degraded: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    last_reload: ReloadResult | None = None


def assemble(agent: AgentFacts, pipeline: StatusFacts) -> dict[str, Any]:
    """The JSON of /status (U2)."""
    files = [f.to_json() for f in pipeline.files]
    return {
        "running": True,
        "version": agent.version,
        "node": agent.node,
        "pid": agent.pid,
        "started_s": round(agent.started_s, 3),
        "uptime_s": round(agent.uptime_s, 3),
        "ready": agent.ready,
        "healthy": not agent.problems,
        "problems": list(agent.problems),
        "degraded": [
            {"reason": reason, "why": why, "for_s": round(agent.now_s - since_s, 3)}
            for reason, (since_s, why) in sorted(agent.degraded.items())
        ],
        "lag_bytes": sum(f.lag_bytes for f in pipeline.files),
        "files": files,
        "refusals": dict(agent.refusals),
        "sinks": {name: dict(facts) for name, facts in pipeline.sinks.items()},
        "buffer": dict(pipeline.buffer),
        "metadata": dict(pipeline.metadata),
        "last_reload": asdict(agent.last_reload) if agent.last_reload else None,
        "config": dict(agent.config),
    }


def offline(pipeline: StatusFacts, state_dir: str) -> dict[str, Any]:
    """The same shape from a state directory without an agent: what the positions and cursors on disk say."""
    files = [f.to_json() for f in pipeline.files]
    return {
        "running": False, "state_dir": state_dir, "ready": False, "lag_bytes": sum(f.lag_bytes for f in pipeline.files),
        "files": files, "sinks": {name: dict(facts) for name, facts in pipeline.sinks.items()},
        "buffer": dict(pipeline.buffer),
    }


# ---------------------------------------------------------------- as text

SHOWN_FILES = 20


def human(status: Mapping[str, Any], all_files: bool = False) -> str:
    """`shipper status`: the files that lag most first, at most SHOWN_FILES of them unless `all_files`."""
    lines = [_headline(status)]
    lines += [f"PROBLEM   {problem}" for problem in status.get("problems", ())]
    for each in status.get("degraded", ()):
        lines.append(f"DEGRADED  {each['reason']} for {duration(each['for_s'])}{_because(each['why'])}")
        lines += [f"          {mend}" for mend in [mend_of(each, status["sinks"])] if mend]
    said = [each["why"] for each in status.get("degraded", ())]
    lines += ["", *_sinks(status["sinks"]), *_last_errors(status["sinks"], said), *_undelivered(status["sinks"])]
    lines += ["", _buffer(status["buffer"])]
    lines += [*_metadata(status.get("metadata") or {}), "", *_files(status["files"], all_files)]
    refusals = status.get("refusals") or {}
    if not status["files"]:
        lines.append("no files are read" if refusals else "no files: nothing matches the sources' `include` (yet)"
                     if status["running"] else "no files are known")
    if refusals:
        reasons = ", ".join(sorted(refusals))
        lines.append(f"NOT READ  files were refused ({reasons}): `file_refused` in the agent's log has the mend")
    if reload := status.get("last_reload"):
        lines += ["", f"last reload: {reload['outcome']} ({reload['cause']}){_because(reload['why'] or reload['summary'])}"]
        if reload["needs_restart"]:
            lines.append(f"restart the agent to apply: {', '.join(reload['needs_restart'])}")
    return "\n".join(lines)


def _headline(status: Mapping[str, Any]) -> str:
    if not status["running"]:
        return f"not running; what {status['state_dir']} holds:"
    words = ["healthy" if status["healthy"] else "STUCK", "ready" if status["ready"] else "not ready yet"]
    return (f"shipper {status['version']} on {status['node']}, pid {status['pid']}, "
            f"up {duration(status['uptime_s'])}, {', '.join(words)}")


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _sinks(sinks: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    rows = [
        (name, str(facts.get("type") or "-"), _state(facts), size(facts.get("backlog_bytes")),
         duration(facts.get("oldest_s")))
        for name, facts in sorted(sinks.items())
    ]
    return table(("SINK", "TYPE", "STATE", "BACKLOG", "OLDEST"), rows) if rows else ["no sink has a position on disk yet"]


def _undelivered(sinks: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """A line for each sink that refused records for good, or that records were dropped for."""
    for name, facts in sorted(sinks.items()):
        reasons = ", ".join(f"{reason} {count}" for reason, count in (facts.get("dead_by_reason") or {}).items())
        if facts.get("dead_records"):
            yield f"{printable(name)}: {facts['dead_records']} records became dead letters ({reasons}): shipper dead-letters list"
        if facts.get("dropped_records"):
            yield f"{printable(name)}: {facts['dropped_records']} records were dropped: shipper audit says why"


def _last_errors(sinks: Mapping[str, Mapping[str, Any]], said: Sequence[str]) -> Iterable[str]:
    """A line for each sink whose last error is not `said` above: in the table it would be wider than a terminal."""
    for name, facts in sorted(sinks.items()):
        error = str(facts.get("last_error") or "")
        if error and not any(error in why for why in said):
            over = " (over)" if facts.get("state") == "ok" else ""
            yield f"{printable(name)}: last error{over}: {printable(error)}"


def _state(facts: Mapping[str, Any]) -> str:
    """A sink's state, and when it is tried again."""
    next_try_s = facts.get("next_try_s")
    return str(facts.get("state", "")) + (f", again in {duration(next_try_s)}" if next_try_s is not None else "")


def _buffer(buffer: Mapping[str, Any]) -> str:
    limit = f" of {size(buffer['limit_bytes'])}" if buffer.get("limit_bytes") else ""
    return f"buffer: {size(buffer.get('bytes'))}{limit}{', FULL' if buffer.get('full') else ''}"


def _metadata(metadata: Mapping[str, Any]) -> Iterable[str]:
    """Nothing where no pods are asked for."""
    if "address" in metadata:
        waiting = metadata.get("waiting_files")
        yield (f"pods: {metadata['pods']} known from {metadata['source']} {metadata['address']}"
               f"{f', {waiting} files wait for their labels' if waiting else ''}")


def _files(files: Sequence[Mapping[str, Any]], all_files: bool) -> list[str]:
    if not files:
        return []
    ordered = sorted(files, key=lambda f: (-f["lag_bytes"], f["path"]))
    shown = ordered if all_files else ordered[:SHOWN_FILES]
    lines = files_table(shown)
    if len(shown) < len(ordered):
        lines.append(f"... and {len(ordered) - len(shown)} more files; --all shows them")
    return lines


def files_table(files: Iterable[Mapping[str, Any]]) -> list[str]:
    """Position, size, lag, state and path of files, as text; the path last: those of pods are wider than a terminal."""
    rows = [
        (str(f["position_bytes"]), str(f["size_bytes"]), size(f["lag_bytes"]), duration(f["lag_s"]), f["state"], _shown_path(f))
        for f in files
    ]
    return table(("POSITION", "SIZE", "LAG", "BEHIND", "STATE", "PATH"), rows)


def _shown_path(file: Mapping[str, Any]) -> str:
    """Of a journal with its source: all that read one directory have one path."""
    return f"{file['path']} ({file['source']})" if str(file["path"]).startswith("journal:") else str(file["path"])
