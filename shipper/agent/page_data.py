"""Collects what the page at / shows: samples for its past, and the answer to /page.json. Driver.

Nothing is sampled where nobody can see the page (app.py). A sample of 5,000 files takes 1 ms each 10 s.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..telemetry import Telemetry
from .history import History, Series
from .pipeline import Pipeline
from .status import FileFacts

KEPT_S, KEPT_SHARE, MOST_KEPT_S = 0.5, 100, 10.0
"""Rows of files are kept for at least KEPT_S, and for KEPT_SHARE times what they took (5,000: 35 ms, so 3.5 s): they cost one
percent of a core, however many look."""

_COUNTERS = {
    "shipper_read_bytes_total": "read",
    "shipper_sink_delivered_bytes_total": "delivered",
    "shipper_sink_dead_letters_total": "dead",
    "shipper_sink_dropped_records_total": "dropped",
    "shipper_gap_bytes_total": "lost",
    "shipper_read_records_total": "records",
    "shipper_sink_delivered_records_total": "delivered_records",
}
NOT_LOST = ("start_at_end", "read_before", "zeros", "imported")


class PageData:
    """One per agent. `names`: the sources of the config that is in force."""

    def __init__(self, telemetry: Telemetry, pipeline: Pipeline, names: Callable[[], Iterable[str]]) -> None:
        self._telemetry, self._pipeline, self._names = telemetry, pipeline, names
        self._history = History()
        self._files: tuple[float, Sequence[FileFacts]] = (0.0, ())

    def sample(self) -> None:
        """Each EVERY_S."""
        levels = {Series(kind, name): float(value) for kind, name, value in self._pipeline.levels()}
        self._history.sample(time.monotonic(), self._counters(), levels)

    def answer(self, status: Mapping[str, Any], asked: Mapping[str, str]) -> dict[str, Any]:
        """/page.json. `status`: as in /status, files left out. Usage where what is asked makes no sense."""
        from .page_view import HELD, Past, page, parse_query, select, sources_of
        from .verdict import findings

        query = parse_query(asked)
        files, counters = self._files_now(), self._counters()
        held = any(each["reason"] in HELD for each in status["degraded"])
        sources = sources_of(files, self._names(), held)
        return page(status, sources, select(files, query), findings(status, sources, self._recent(counters)),
                    Past(self._history, counters, time.monotonic()))

    def _files_now(self) -> Sequence[FileFacts]:
        until_s, files = self._files
        began_s = time.monotonic()
        if began_s > until_s or not files:
            files = self._pipeline.status_facts().files
            now_s = time.monotonic()
            self._files = now_s + min(MOST_KEPT_S, max(KEPT_S, KEPT_SHARE * (now_s - began_s))), files
        return files

    def _counters(self) -> dict[Series, float]:
        found: dict[Series, float] = {Series("lost"): 0.0}
        for (metric, labels), value in self._telemetry.values.items():
            kind = _COUNTERS.get(metric)
            if kind is None or (kind == "lost" and labels[0] in NOT_LOST):
                continue
            series = Series(kind, "" if kind == "lost" else labels[0])
            found[series] = found.get(series, 0.0) + value
        return found

    def _recent(self, counters: Mapping[Series, float]) -> Any:
        from .verdict import Recent

        def rose(kind: str) -> frozenset[str]:
            return frozenset(x.name for x in counters if x.kind == kind and self._history.rose(x))

        lost = Series("lost")
        return Recent(counters[lost], self._history.rose(lost), rose("dead"), rose("dropped"))
