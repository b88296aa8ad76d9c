"""What the shell asks of the pipeline: the one seam between app.py, admin.py, the commands and the wiring in run.py.

    start ──► run_until(stop) ──► shutdown(grace_s)
        └───► once(timeout_s)  ──► shutdown(grace_s)

Invariants (tests/agent/test_run.py, test_app.py):
  L1  all methods are called in the loop, by one task; *_facts() may be called between any two awaits after start(),
      cost time linear in files and sinks, await nothing and change nothing
  L2  facts hold names, numbers and reasons; never a record's content, never a secret
  L3  after `apply` raised, the old config is still what runs (P8)
Plane: pure; shapes only.
"""
from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..config.types import Config
    from .audit import AuditFacts
    from .health import StageFacts
    from .reload import Changes
    from .status import StatusFacts


class Pipeline(Protocol):
    """Built by `Pipeline(config, telemetry)`; touches nothing until `start`."""

    @property
    def ready(self) -> bool:
        """True once the first scan of the log files is done (/readyz)."""

    async def start(self) -> None:
        """Open the buffer (recovery), the sinks and the reader. Raises Usage or Fatal; then nothing is left running."""

    async def run_until(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises Fatal where the agent cannot go on."""

    async def once(self, timeout_s: float | None) -> int:
        """Deliver what the log files hold now and return when it is confirmed: 0; 1 after `timeout_s` seconds, or
        where a log was not read (refused, unreadable)."""

    async def shutdown(self, grace_s: float, held: dict[str, Mapping[str, Any]]) -> None:
        """Last sweep, sync, drain for up to `grace_s` seconds, close all. Called once, also after a start() that was cancelled.
        `held` gets, as soon as it is known, what stays in the buffer: per sink that has a backlog {"bytes": source bytes, ...}.
        Raises Fatal where the buffer cannot be closed; all else is closed then."""

    async def apply(self, config: Config, changes: Changes) -> None:
        """Go over to `config`; `changes` says what differs. Raises Usage or Fatal and leaves all as it was (L3)."""

    async def order(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carry out an order about dead letters (dead_letter_desk.py). Usage where it cannot be. The one method that is
        called by other tasks than the one of L1."""

    def status_facts(self, files: bool = True) -> StatusFacts:
        """Without `files` the cost does not grow with their number."""

    def audit_facts(self) -> AuditFacts: ...

    def levels(self) -> Iterable[tuple[str, str, float]]:
        """(kind, name, bytes): `lag` of each source, `backlog` of each sink, and the `buffer` (no name). Cheap: each 10 s."""

    def stage_facts(self) -> Sequence[StageFacts]: ...
