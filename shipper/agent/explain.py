"""What a config promises, route by route: what "delivered" means, what repeats, what can be lost, and which limit bites first.

Invariants (tests/agent/test_explain.py):
  X1  what is said of a sink comes from its own declarations (SinkSpec) and the config; nothing here knows a sink by its name
  X2  equal configs and questions give equal answers: no clock, no disk, no network is looked at
  X3  the bytes that a line takes in the buffer are those that the buffer's own encoder makes of such lines
Plane: pure.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from ..buffer.segment import Definitions, encode_frame
from ..config.rules_sinks import _routed
from ..config.types import Config, SinkEntry, SourceSettings
from ..deliver.dead_letters import MAX_AGE_S, MAX_BYTES
from ..model import Batch, FileRef, Section, Source
from .text import duration, printable, size

HOUR_S = 3600.0
_CRI_HEAD = b"2026-11-20T09:04:05.123456789Z stdout F "
_SAMPLE_LINES = 500
WIDTH = 118


@dataclass(frozen=True, slots=True)
class Question:
    """How much comes: lines a second, bytes a line (source bytes, its newline included), in how many containers; and what
    the kubelet keeps of each container's log (containerLogMaxSize, containerLogMaxFiles)."""

    rate: float = 10_000.0
    line_bytes: int = 238
    containers: int = 50
    log_max_bytes: int = 10 * 1024 * 1024
    log_max_files: int = 5

    @property
    def bytes_s(self) -> float:
        """Source bytes a second."""
        return self.rate * self.line_bytes


def explain(config: Config, name: str, question: Question) -> dict[str, Any]:
    """The whole answer, as `--json` gives it. `name`: what the config is called."""
    stored_s = question.rate * stored_bytes(question.line_bytes)
    kept_s = _kept_by_kubelet_s(question)
    return {
        "config": name,
        "asked": {
            "lines_s": question.rate, "line_bytes": question.line_bytes, "bytes_s": question.bytes_s,
            "containers": question.containers, "container_log_max_size_bytes": question.log_max_bytes,
            "container_log_max_files": question.log_max_files,
        },
        "routes": [
            _route(config, source_name, source, sink, stored_s, kept_s, question)
            for source_name, source in config.sources.items() for sink in config.sinks.values()
            if _routed(sink.common.when, source_name, source)
        ],
        "unrouted": [
            source_name for source_name, source in config.sources.items()
            if not any(_routed(sink.common.when, source_name, source) for sink in config.sinks.values())
        ],
        "outage": {
            "disk_bytes_per_hour": int(stored_s * HOUR_S), "buffer_max_bytes": int(config.buffer.max_size),
            "buffer_holds_s": config.buffer.max_size / stored_s, "logs_hold_s": kept_s,
        },
        "node": _node(config, question),
    }


def stored_bytes(line_bytes: int) -> float:
    """What a CRI line of that length takes in the buffer (X3)."""
    message = b"x" * max(line_bytes - len(_CRI_HEAD) - 1, 0)
    rows = _SAMPLE_LINES
    source = Source("containers", "c", "/var/log/containers/web-0_default_web.log", "/var/log/pods/p/web/0.log", "node",
                    "default", "web-0", "uid", "web", "id")
    batch = Batch(
        source, "k3v9q2f7abcdefgh", [_CRI_HEAD.split()[0]] * rows, [b"stdout"] * rows,
        [b"%x+%x" % ((1 << 20) + i * line_bytes, line_bytes) for i in range(rows)], [message] * rows, None, 0, False, True,
    )
    section = Section(FileRef("k3v9q2f7abcdefgh", source, "/p", 1, 1, 1024, "0" * 16), 0, rows * line_bytes, "0" * 16, batch)
    return sum(map(len, encode_frame(1, [section], 1 << 30, 0, Definitions(), 0))) / rows


def _kept_by_kubelet_s(question: Question) -> float:
    """How long a line stays in a container's log and its rotated siblings, where the lines come evenly from all containers."""
    return question.log_max_bytes * question.log_max_files * question.containers / question.bytes_s


# ---------------------------------------------------------------- one route

def _route(
    config: Config, source_name: str, source: SourceSettings, sink: SinkEntry, stored_s: float, kept_s: float, question: Question,
) -> dict[str, Any]:
    guarantee = sink.spec.guarantee(sink.config)
    limits = sorted(_limits(config, source, sink, stored_s, kept_s, question), key=lambda limit: limit["after_s"])
    return {
        "source": source_name, "source_type": source.type, "sink": sink.name, "sink_type": sink.type,
        "sink_summary": sink.spec.summary, "when": dict(sink.common.when),
        "delivered_means": guarantee.delivered_means, "can_repeat": guarantee.can_repeat, "can_lose": guarantee.can_lose,
        "order": _order(sink), "refused": _refused(sink), "before": _before(source),
        "while_down": limits, "first_limit": limits[0]["limit"],
    }


def _order(sink: SinkEntry) -> str:
    together = 1 if sink.spec.confirms == "later" else max(1, sink.spec.concurrency or sink.common.concurrency)
    if together == 1:
        return "lines of one log arrive in their order; a repeat comes behind what it repeats"
    return (f"up to {together} requests are under way at once, so that lines of one log can arrive out of order; "
            "concurrency: 1 keeps it")


def _refused(sink: SinkEntry) -> str:
    kept = f"{size(MAX_BYTES)} and {duration(MAX_AGE_S)}"
    text = f"a record that it refuses for good becomes a dead letter (at most {kept} are kept), and the others go on"
    if sink.common.give_up_after is not None:
        return text + f"; so does what failed for {duration(sink.common.give_up_after)} (give_up_after)"
    return text + "; what merely fails is tried for ever"


def _before(source: SourceSettings) -> list[str]:
    """What happens to lines in front of the buffer."""
    found = [f"a line over {size(source.max_line)} is cut there, marked, and its length said (max_line)"]
    if source.start_at == "end":
        found.append("what the files hold when this source first appears is not shipped, and counted (start_at: end)")
    if source.exclude:
        found.append("files that match `exclude` are not read")
    return found


def _limits(
    config: Config, source: SourceSettings, sink: SinkEntry, stored_s: float, kept_s: float, question: Question,
) -> Iterable[dict[str, Any]]:
    """What happens while the sink takes nothing, and when: {"limit", "after_s", "then"}."""
    common, full_s = sink.common, config.buffer.max_size / stored_s
    dropped = "its oldest records are dropped, counted as"
    full = "the buffer is full (or the file system at 90 %):"
    own = []
    if common.give_up_after is not None:
        own.append(_limit("give_up_after", common.give_up_after, "requests that failed for so long become dead letters; "
                          f"the oldest of those go at {size(MAX_BYTES)}, counted as dead_letter_evicted"))
    if common.max_backlog_age is not None:
        own.append(_limit("max_backlog_age", common.max_backlog_age, f"{dropped} max_backlog"))
    if common.max_backlog is not None:
        own.append(_limit("max_backlog", common.max_backlog / question.bytes_s, f"{dropped} max_backlog"))
    yield from own
    if any(limit["after_s"] < full_s for limit in own):
        return                                   # this sink alone does not fill the buffer
    if common.when_full == "drop_oldest":
        yield _limit("buffer.max_size", full_s, f"{full} {dropped} drop_oldest, and reading goes on")
        return
    yield _limit("buffer.max_size", full_s, f"{full} reading stops for all sinks, and the log files are the next buffer")
    if source.type == "containers":
        yield _limit("containerLogMaxSize x containerLogMaxFiles", full_s + kept_s, "the kubelet removes rotated logs that were "
                     "not read: lost, and reported as rotated_away")
    elif source.type == "journal":
        yield {"limit": "SystemMaxUse", "after_s": full_s, "then": "from then on journald's own limits (SystemMaxUse, "
               "MaxRetentionSec) decide how long entries wait: what it vacuums unread is lost, and reported as vacuumed"}
    elif source.type == "kmsg":
        yield {"limit": "the kernel's ring", "after_s": full_s, "then": "what the kernel overwrites unread is lost, and reported "
               "as overwritten"}
    else:
        yield {"limit": "logrotate", "after_s": full_s, "then": "from then on whatever rotates these files decides how long they "
               "wait: what it removes unread is lost, and reported as rotated_away"}


def _limit(name: str, after_s: float, then: str) -> dict[str, Any]:
    return {"limit": name, "after_s": float(after_s), "then": then}


def _node(config: Config, question: Question) -> list[dict[str, str]]:
    """What happens to what is not delivered when the node goes. docs/node-removal.md has the whole of it."""
    grace, sync, state = duration(config.shutdown_grace), duration(config.buffer.sync_interval), config.state_dir
    lag = f"{size(question.bytes_s)} for each second that a sink is behind"
    events = {
        "restart, update, kill -9 of the agent": f"nothing is lost: it is in {state}, or still in the log files",
        "power cut": f"what was buffered within {sync} (buffer.sync_interval) is read again from the log files, same ids",
        "reboot": f"kept where {state} is on a disk; on a tmpfs it is a new node",
        "scale-down, node deleted": f"after {grace} (shutdown_grace) what is not delivered goes with the disk: {lag}",
        "spot or preemptible eviction": f"the same; keep shutdown_grace ({grace}) below the warning that the platform gives",
    }
    return [{"event": event, "then": then} for event, then in events.items()]


# ---------------------------------------------------------------- as text

def human(found: Mapping[str, Any], width: int = WIDTH) -> str:
    """`shipper explain`, wrapped at `width` columns."""
    asked, outage = found["asked"], found["outage"]
    containers = any(route["source_type"] == "containers" for route in found["routes"])
    lines = [
        f"{found['config']} at {asked['lines_s']:g} lines/s of {asked['line_bytes']} bytes ({size(asked['bytes_s'])}/s) "
        f"from {asked['containers']} containers" if containers else
        f"{found['config']} at {asked['lines_s']:g} lines/s of {asked['line_bytes']} bytes ({size(asked['bytes_s'])}/s)", "",
    ]
    for alike in _alike(found["routes"]):
        lines += [*_route_lines(alike, width), ""]
    lines += [f"WARNING: no sink takes what source {name} reads" for name in found["unrouted"]]
    lines += _said(width, "disk", f"an hour of outage takes {size(outage['disk_bytes_per_hour'])} of the buffer; buffer.max_size "
                   f"is {size(outage['buffer_max_bytes'])} and holds {duration(outage['buffer_holds_s'])}")
    kept = f"{size(asked['container_log_max_size_bytes'])} x {asked['container_log_max_files']}"
    if containers:
        lines += _said(width, "logs", f"of each container the kubelet keeps containerLogMaxSize x containerLogMaxFiles = {kept}: "
                       f"unread lines wait there for {duration(outage['logs_hold_s'])} more, where they come evenly from all "
                       "containers; the busiest has less")
    lines += ["", "when the node goes"]
    for each in found["node"]:
        lines += _said(width, each["event"], each["then"], 40)
    return "\n".join(map(printable, lines))


def _alike(routes: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Routes of which the same is to be said, together: a node's log files have a dozen sources."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for route in routes:
        found.setdefault(repr(sorted({**route, "source": ""}.items())), []).append(route)
    return list(found.values())


def _route_lines(alike: list[Mapping[str, Any]], width: int) -> list[str]:
    route, names = alike[0], ", ".join(each["source"] for each in alike)
    lines = wrap(f"{names} ({route['source_type']}) -> {route['sink']} ({route['sink_type']})", width,
                 break_on_hyphens=False, break_long_words=False)
    if route["when"]:
        lines += _said(width, "only", "; ".join(_in_words(route["when"])))
    for title, key in (("delivered", "delivered_means"), ("repeats", "can_repeat"), ("can be lost", "can_lose"),
                       ("order", "order"), ("refused", "refused")):
        lines += _said(width, title, route[key])
    for text in route["before"]:
        lines += _said(width, "before", text)
    lines.append("  while it is down")
    for limit in route["while_down"]:
        lines += _said(width, f"  after {duration(limit['after_s'])}", f"{limit['limit']}: {limit['then']}")
    lines += _said(width, "first limit", route["first_limit"])
    return lines


def _in_words(when: Mapping[str, Any]) -> Iterable[str]:
    """`namespace: a or b`; of a mapping (labels, annotations) each of its keys."""
    for key, wanted in when.items():
        if isinstance(wanted, Mapping):
            yield from _in_words({f"{key} {name}": values for name, values in wanted.items()})
        else:
            yield f"{key}: {wanted if isinstance(wanted, str) else ' or '.join(map(str, wanted))}"


def _said(width: int, title: str, text: str, indent: int = 18) -> list[str]:
    first, *rest = wrap(text, width - indent) or [""]
    return [f"  {title}".ljust(indent) + first, *(" " * indent + line for line in rest)]
