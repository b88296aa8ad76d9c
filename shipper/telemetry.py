"""The one place where a fact becomes a log line and a metric.

Invariants:
  T1  every metric is declared in METRICS, with its labels; counting an undeclared one is a KeyError
  T2  label values come from enums and the config's names, never from log files (bounded series, P7)
  T3  a repeated event is one line per 30 s, with the number of those left out
  T4  no record content and no secret reaches a log line (P9, P10)
Plane: plain integers; called once per batch or event, never per line.
"""
from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

REPEAT_AFTER_S = 30.0
HIDDEN = "***"
_URL_CREDENTIALS = re.compile(r"(://)[^/@\s]*@")


class Metric(NamedTuple):
    kind: str                  # counter | gauge
    help: str
    labels: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "shipper_read_bytes_total": Metric("counter", "Source bytes read and framed.", ("source",)),
    "shipper_read_records_total": Metric("counter", "Records decoded.", ("source",)),
    "shipper_malformed_records_total": Metric("counter", "Lines shipped whole because they did not decode.", ("source",)),
    "shipper_unparsed_records_total": Metric("counter", "Records that `parse` left as they were.", ("source",)),
    "shipper_truncated_records_total": Metric("counter", "Lines cut at max_line.", ("source",)),
    "shipper_partial_records_total": Metric("counter", "Records closed before their end was seen.", ("source",)),
    "shipper_dropped_records_total": Metric("counter", "Records dropped before the buffer, on purpose.", ("source", "reason")),
    "shipper_gaps_total": Metric("counter", "Ranges of a log file that no record holds.", ("reason",)),
    "shipper_gap_bytes_total": Metric("counter", "Bytes of such ranges (where unknown: at least).", ("reason",)),
    "shipper_rotations_total": Metric("counter", "Rotations followed.", ("kind",)),
    "shipper_refused_files_total": Metric("counter", "Files not opened.", ("reason",)),
    "shipper_files": Metric("gauge", "Files known.", ("state",)),
    "shipper_lag_bytes": Metric("gauge", "Bytes in log files that are not yet read.", ()),
    "shipper_held_deleted_bytes": Metric("gauge", "Unread bytes of deleted files that are held open.", ()),
    "shipper_inotify_overflows_total": Metric("counter", "Times the kernel dropped directory events.", ()),
    "shipper_buffer_bytes": Metric("gauge", "Bytes of the state directory, by use.", ("use",)),
    "shipper_buffer_limit_bytes": Metric("gauge", "What the buffer may use at present.", ()),
    "shipper_buffer_frames_total": Metric("counter", "Frames appended.", ()),
    "shipper_buffer_appended_bytes_total": Metric("counter", "Bytes appended to segments.", ()),
    "shipper_buffer_syncs_total": Metric("counter", "Group commits.", ()),
    "shipper_buffer_errors_total": Metric("counter", "Failed writes and syncs.", ("operation",)),
    "shipper_buffer_damaged_frames_total": Metric("counter", "Frames that failed their checksum.", ()),
    "shipper_sink_delivered_records_total": Metric("counter", "Records confirmed.", ("sink",)),
    "shipper_sink_delivered_bytes_total": Metric("counter", "Source bytes confirmed.", ("sink",)),
    "shipper_sink_sent_bytes_total": Metric("counter", "Payload bytes handed over, repeats included.", ("sink",)),
    "shipper_sink_repeated_records_total": Metric("counter", "Records sent again.", ("sink",)),
    "shipper_sink_connections_total": Metric("counter", "Connections opened.", ("sink",)),
    "shipper_sink_barriers_total": Metric(
        "counter", "Half-closes that asked a receiver for proof, by outcome.", ("sink", "result")
    ),
    "shipper_sink_retries_total": Metric("counter", "Failed requests that are tried again.", ("sink",)),
    "shipper_sink_dropped_records_total": Metric("counter", "Records that left unsent.", ("sink", "reason")),
    "shipper_sink_dead_letters_total": Metric("counter", "Records written to the dead letters.", ("sink", "reason")),
    "shipper_sink_backlog_bytes": Metric("gauge", "Source bytes between cursor and end of buffer.", ("sink",)),
    "shipper_sink_oldest_seconds": Metric("gauge", "Age of the oldest undelivered record.", ("sink",)),
    "shipper_sink_state": Metric("gauge", "1 for the state the sink is in.", ("sink", "state")),
    "shipper_metadata_pods": Metric("gauge", "Pods of this node that are known.", ()),
    "shipper_metadata_waiting_files": Metric("gauge", "Log files that wait for labels a rule asks for.", ()),
    "shipper_metadata_lists_total": Metric("counter", "Whole lists of pods that were had.", ()),
    "shipper_metadata_watches_total": Metric("counter", "Watches of pods that were begun.", ()),
    "shipper_metadata_errors_total": Metric("counter", "Answers of API server or kubelet that were none.", ("reason",)),
    "shipper_routed_without_metadata_total": Metric(
        "counter", "Log files read on without the labels that a rule asks for.", ("source",)
    ),
    "shipper_bad_annotations_total": Metric("counter", "Pods whose shipper.io/ annotation is ignored.", ("annotation",)),
    "shipper_degraded": Metric("gauge", "1 while something outside stops a part of the agent.", ("reason",)),
    "shipper_reloads_total": Metric("counter", "Reloads of the config.", ("result",)),
    "shipper_log_lines_dropped_total": Metric("counter", "Own log lines left out because nobody read stderr.", ()),
    "shipper_errors_total": Metric("counter", "Unexpected errors that a task survived.", ("task",)),
}


@dataclass(slots=True)
class Telemetry:
    """Counts and says. One per agent; tests read `values` and `lines`."""

    write: Callable[[str, str, dict[str, Any]], None] | None = None
    now_s: Callable[[], float] = time.monotonic
    values: dict[tuple[str, tuple[str, ...]], float] = field(default_factory=dict)
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    gauges: dict[str, Callable[[], Iterator[tuple[tuple[str, ...], float]]]] = field(default_factory=dict)
    degraded_since: dict[str, tuple[float, str]] = field(default_factory=dict)
    _said: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _secrets: list[str] = field(default_factory=list)

    def count(self, name: str, amount: float = 1, *labels: str) -> None:
        """Add to a counter. `labels` in the order of METRICS."""
        metric = METRICS[name]
        if len(labels) != len(metric.labels):
            raise KeyError(f"{name} takes the labels {metric.labels}")
        key = (name, labels)
        self.values[key] = self.values.get(key, 0) + amount

    def value(self, name: str, *labels: str) -> float:
        """What a counter stands at."""
        return self.values.get((name, labels), 0)

    def gauge(self, name: str, read: Callable[[], Iterator[tuple[tuple[str, ...], float]]]) -> None:
        """Register how a gauge is read at scrape time: an iterator of (label values, value)."""
        if METRICS[name].kind != "gauge":
            raise KeyError(name)
        self.gauges[name] = read

    def keep_secret(self, value: str) -> None:
        """From now on `scrub` masks it: a server may quote what it was shown. Under 4 characters nothing is a secret."""
        if len(value) >= 4 and value not in self._secrets:
            self._secrets = sorted([*self._secrets, value], key=len, reverse=True)

    def forget_secret(self, value: str) -> None:
        """It is worth nothing any more (a token that has expired): what lives for years must not add them up."""
        self._secrets = [kept for kept in self._secrets if kept != value]

    def scrub(self, text: str) -> str:
        """`text` without kept secrets and without credentials in URLs (T4). For what goes to logs, /status, dead letters."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return _URL_CREDENTIALS.sub(rf"\1{HIDDEN}@", text)

    def say(self, level: str, event: str, /, *, about: str = "", **fields: Any) -> None:
        """One log line. The same (event, about) again within 30 s is counted, not written (T3)."""
        now = self.now_s()
        said = self._said.get((event, about))
        if level not in ("debug", "info") and said is not None and now - said[0] < REPEAT_AFTER_S:
            said[1] += 1
            return
        if said is not None and said[1]:
            fields["repeated"] = int(said[1])
        if level not in ("debug", "info"):
            if len(self._said) > 10_000:
                self._said.clear()
            self._said[event, about] = [now, 0]
        if about:
            fields["about"] = about
        fields = {name: self.scrub(value) if isinstance(value, str) else value for name, value in fields.items()}
        if self.write is not None:
            self.write(level, event, fields)
        else:
            self.lines.append((level, event, fields))

    def degraded(self, reason: str, why: str = "") -> None:
        """Something outside stops a part of the agent. Said once; shown until `recovered`, with the `why` that was given last."""
        why = self.scrub(why)
        found = self.degraded_since.get(reason)
        if found is None:
            self.say("warning", "degraded", about=reason, why=why)
        self.degraded_since[reason] = (self.now_s() if found is None else found[0], why)

    def recovered(self, reason: str, *, said: bool = True) -> None:
        """The end of `degraded(reason)`, without a line where not `said`. Nothing where it was not degraded."""
        found = self.degraded_since.pop(reason, None)
        if found is not None:
            if said:
                self.say("info", "recovered", about=reason, after_s=round(self.now_s() - found[0], 3))
            self._said.pop(("degraded", reason), None)
