"""What the admin port and socket show of the agent: put together when somebody asks. Pure but for the clock.

Invariants (tests/agent/test_app.py, test_admin.py):
  VW1  whoever asks is answered at any time, while the agent waits for its lock or recovers too: then with what is known
  VW2  nothing is collected for the page at / where nobody can see it; metrics are set up with the first question for them
Plane: per question.
"""
from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import RefusedReason, ShipperError
from ..telemetry import Telemetry
from .admin import Views
from .health import Health
from .page_data import PageData
from .reload import Reloader
from .status import AgentFacts, StatusFacts, assemble

if TYPE_CHECKING:
    from .metrics import Exposition
    from .pipeline import Pipeline


class AgentViews:
    """Of one run of the agent. `started`: the pipeline is."""

    def __init__(self, pipeline: Pipeline, health: Health, reloader: Reloader, telemetry: Telemetry) -> None:
        self._pipeline, self._health, self._reloader, self._telemetry = pipeline, health, reloader, telemetry
        self.started = False
        self.page = PageData(telemetry, pipeline, lambda: reloader.config.sources)
        self._began_s, self._began_monotonic_s = time.time(), time.monotonic()
        self._exposition: Exposition | None = None

    @property
    def age_s(self) -> float:
        """How long the agent has been running."""
        return time.monotonic() - self._began_monotonic_s

    @property
    def ready(self) -> bool:
        """For /readyz: every log that is there has been found."""
        return self.started and self._pipeline.ready

    def served(self) -> Views:
        """Each of them, to be asked."""
        return Views(
            metrics=self.metrics, problems=lambda: self._health.problems(time.monotonic()), ready=lambda: self.ready,
            status=self.status, audit=self.audit, order=lambda what: self._pipeline.order(what),
            page=lambda asked: self.page.answer(self.status(files=False), asked),
        )

    def metrics(self) -> bytes:
        """The text of /metrics."""
        if self._exposition is None:
            from .metrics import Exposition

            self._exposition = Exposition(self._telemetry)
        body: bytes = self._exposition.render()
        return body

    def status(self, files: bool = True) -> Mapping[str, Any]:
        """/status. `files` False: without a row for each file."""
        from ..config.secrets import redacted

        now_s, config = time.monotonic(), self._reloader.config
        agent = AgentFacts(
            version=__version__, node=config.node, pid=os.getpid(), started_s=self._began_s, uptime_s=self.age_s, now_s=now_s,
            ready=self.ready, problems=self._health.problems(now_s), degraded=self._telemetry.degraded_since,
            refusals={reason: int(count) for reason in map(str, RefusedReason)
                      if (count := self._telemetry.value("shipper_refused_files_total", reason))},
            config=redacted(config), last_reload=self._reloader.last,
        )
        return assemble(agent, self._pipeline.status_facts(files) if self.started else StatusFacts())

    def audit(self) -> Mapping[str, Any]:
        """/audit. ShipperError before there is a buffer."""
        from .audit import to_json

        if not self.started:
            raise ShipperError("the buffer is not open yet; ask again when `shipper status` answers")
        return to_json(self._pipeline.audit_facts())
