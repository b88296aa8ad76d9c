"""Rules across fields, each with its reason in its message. Pure, apart from `SinkSpec.check` (certificates are read).

A rule takes the draft (what could be converted) and says errors and warnings at key paths; the loader adds the places.
A new rule is a function and its name in one of the three tuples.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .draft import NAME, Draft, Findings, size
from .rules_kubernetes import KUBERNETES_RULES
from .rules_process import PROCESS_RULES
from .rules_redact import REDACT_RULES
from .rules_sinks import SINK_RULES
from .rules_sources import SOURCE_RULES
from .tree import Path
from .types import MIB

_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_NODE = re.compile(r"[!-~]{1,255}")
_LOOPBACK = re.compile(r"127\.|localhost:|\[::1\]:")


def judge(draft: Draft) -> Findings:
    """All that RULES say about the draft."""
    found = Findings()
    for rule in RULES:
        rule(draft, found)
    return found


def _names(draft: Draft, say: Findings) -> None:
    if not draft.source_names:
        say.error(("sources",), "no source, so nothing would be read; add one, for example containers: {type: containers}")
    if not draft.sink_names:
        say.error(("sinks",), "no sink, so nothing would be delivered; add one, for example out: {type: stdout}")
    for section, names in (("sources", draft.source_names), ("sinks", draft.sink_names)):
        for name in names:
            if "${" in name:
                say.error((section, name), "a variable stands in the name, and they are put into values only; write the name out")
            elif not NAME.fullmatch(name):
                say.error((section, name), "names are metric labels and file names; use 1 to 63 of A-Z a-z 0-9 _ . -, "
                                           "beginning with a letter or digit")


def _node(draft: Draft, say: Findings) -> None:
    if draft.node and not _NODE.fullmatch(draft.node):
        say.error(("node",), "the node's name goes into every record and syslog header; use 1 to 255 visible ASCII characters")


def _state_dir(draft: Draft, say: Findings) -> None:
    if draft.state_dir is not None and (not draft.state_dir.startswith("/") or not draft.state_dir.strip("/")):
        say.error(("state_dir",), "must be an absolute path below /: the agent's working directory differs between shell, "
                                  "systemd and pod; write for example /var/lib/shipper")


def _ranges(draft: Draft, say: Findings) -> None:
    for section, things in (("sources", draft.sources), ("sinks", draft.commons)):
        for name, thing in things.items():
            _range_of(say, (section, name), thing)
    _range_of(say, ("buffer",), draft.buffer)
    _range_of(say, ("kubernetes",), draft.kubernetes)
    _range_of(say, (), draft)


def _range_of(say: Findings, path: Path, thing: Any) -> None:
    for key, (low, high, low_text, high_text, reason) in _RANGES.items():
        value = getattr(thing, key, None)
        if value is not None and not low <= value <= high:
            say.error((*path, key), f"must be from {low_text} to {high_text}: {reason}")


_RANGES: dict[str, tuple[float, float, str, str, str]] = {
    "max_line": (256, 16 * MIB, "256B", "16MiB", "a line is held in memory whole"),
    "max_record": (256, 16 * MIB, "256B", "16MiB", "a record is held in memory whole"),
    "partial_timeout": (0.01, 3600, "10ms", "1h", "open records must end some day"),
    "max_size": (8 * MIB, 2**53, "8MiB", "8192TiB", "less holds no segments beside the 4 MiB that are kept for a full disk"),
    "segment_size": (64 * 1024, 1024 * MIB, "64KiB", "1GiB", "segments are deleted whole"),
    "sync_interval": (0.01, 60, "10ms", "60s", "a power cut repeats at most this much"),
    "concurrency": (1, 64, "1", "64", "each request in flight holds memory and a connection; 1 keeps the order"),
    "max_backlog": (64 * 1024, 2**53, "64KiB", "8192TiB", "less would drop records while the sink is well"),
    "max_backlog_age": (1, 10**10, "1s", "100 years", "less would drop records while the sink is well"),
    "give_up_after": (1, 10**10, "1s", "100 years", "less would give up before the second try"),
    "max_request_bytes": (1024, 64 * MIB, "1KiB", "64MiB", "requests are held in memory whole"),
    "max_request_records": (1, 1_000_000, "1", "1000000", "requests are held in memory whole"),
    "linger": (0, 60, "0s", "60s", "it delays every record that comes alone"),
    "shutdown_grace": (0, 3600, "0s", "1h", "after it the agent is killed by whoever stops it"),
    "metadata_timeout": (0, 86_400, "0s", "24h", "the log files are the buffer meanwhile, and they rotate"),
    "lock_wait": (0, 3600, "0s", "1h", "it is how long a second agent waits for the first one to end"),
}


def _segments(draft: Draft, say: Findings) -> None:
    buffer = draft.buffer
    given = ("buffer", "segment_size") in draft.given          # where it is not, the buffer takes smaller ones by itself
    if buffer is not None and given and buffer.segment_size * 4 > buffer.max_size:
        say.error(("buffer", "segment_size"), f"segment_size ({size(buffer.segment_size)}) must be at most a quarter of max_size "
                  f"({size(buffer.max_size)}): room is freed by whole segments; lower segment_size or raise max_size")


def _listen(draft: Draft, say: Findings) -> None:
    if draft.admin is None or draft.admin.listen is None:
        return
    found = _LISTEN.fullmatch(draft.admin.listen)
    if found is None or int(found[2]) > 65535:
        say.error(("admin", "listen"), f"{draft.admin.listen!r} is not address:port; write for example 127.0.0.1:3903, "
                                       "0.0.0.0:3903 or [::1]:3903, or null to switch it off")
    elif draft.admin.expose_status and not _LOOPBACK.match(draft.admin.listen):
        say.warn(("admin", "expose_status"), "whoever reaches this address can read file paths, pod names and sink errors; "
                                             "leave it out unless the network is trusted")


RULES: tuple[Callable[[Draft, Findings], None], ...] = (
    _names, _node, _state_dir, _ranges, _segments, _listen, *SOURCE_RULES, *SINK_RULES, *PROCESS_RULES, *REDACT_RULES,
    *KUBERNETES_RULES,
)
