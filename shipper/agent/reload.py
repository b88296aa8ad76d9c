"""A new config while the agent runs: what differs, what can be applied, what came of it.

    SIGHUP, or the file changed ──► load ──► changes(old, new) ──► pipeline.apply ──► ReloadResult

Invariants (tests/agent/test_reload.py):
  R1  a config that does not load, or that the pipeline refuses, changes nothing: the old one keeps running (P8)
  R2  keys that only a restart can change keep their old value and are named in the result and in /status
  R3  a reload never ends the agent: an unexpected error is said, counted, and the old config stays in force
Plane: `changes` is pure; Reloader is a driver.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..config.types import Config
from ..errors import ShipperError
from ..telemetry import Telemetry
from .logging import describe

if TYPE_CHECKING:
    from .pipeline import Pipeline

RESTART_KEYS = ("node", "state_dir", "buffer", "admin", "log.format", "kubernetes")
"""Sockets, locks and directories that are open, and what is written into every record."""

Outcome = Literal["applied", "unchanged", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Names that were added, removed or changed, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class Changes:
    """From the running config to a new one.

    settings       other keys that are applied at once (log.level, shutdown_grace, ...)
    needs_restart  keys that differ and keep their old value until the next start (R2)
    effective      the new config with the old values of those keys: what runs after `apply`
    """

    effective: Config
    sources: Difference = Difference()
    sinks: Difference = Difference()
    settings: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Is there anything to apply?"""
        return bool(self.sources or self.sinks or self.settings)


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What became of the last reload, for the log and /status. `time_s`: wall clock."""

    outcome: Outcome
    cause: str
    time_s: float
    why: str = ""
    summary: str = ""
    needs_restart: tuple[str, ...] = ()


def changes(old: Config, new: Config) -> Changes:
    """What differs between two checked configs."""
    restart = tuple(key for key in _differing(old, new) if _is_restart(key))
    return Changes(
        effective=_keep(old, new, restart),
        sources=_difference(old.sources, new.sources),
        sinks=_difference(old.sinks, new.sinks),
        settings=tuple(key for key in _differing(old, new) if not _is_restart(key)),
        needs_restart=restart,
    )


def summary(found: Changes) -> str:
    """One line for the log: `sinks: +archive ~central; sources: -host; log.level`."""
    parts = [f"{name}: {_signed(each)}" for name, each in (("sources", found.sources), ("sinks", found.sinks)) if each]
    return "; ".join([*parts, *found.settings])


def _signed(difference: Difference) -> str:
    marked = (("+", difference.added), ("-", difference.removed), ("~", difference.changed))
    return " ".join(mark + name for mark, names in marked for name in names)


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
    return Difference(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(name for name in old.keys() & new.keys() if old[name] != new[name])),
    )


def _differing(old: Any, new: Any, prefix: str = "") -> list[str]:
    """Key paths of scalar settings that differ; sources and sinks are told apart by name instead."""
    found: list[str] = []
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before == after or (not prefix and name in ("sources", "sinks")):
            continue
        if isinstance(before, msgspec.Struct):
            found += _differing(before, after, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def _is_restart(key: str) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in RESTART_KEYS)


def _keep(old: Config, new: Config, keys: tuple[str, ...]) -> Config:
    """`new`, with the values that `old` has at `keys` (one or two levels deep)."""
    for key in keys:
        outer, _, inner = key.partition(".")
        if inner:
            section = msgspec.structs.replace(getattr(new, outer), **{inner: getattr(getattr(old, outer), inner)})
            new = msgspec.structs.replace(new, **{outer: section})
        else:
            new = msgspec.structs.replace(new, **{outer: getattr(old, outer)})
    return new


class Reloader:
    """Loads, compares, applies, and remembers the last result. `config` is what runs now."""

    def __init__(
        self, config: Config, load: Callable[[], Config], pipeline: Pipeline, telemetry: Telemetry,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.last: ReloadResult | None = None
        self._reloads = 0
        self._load, self._pipeline, self._telemetry, self._now_s = load, pipeline, telemetry, now_s

    async def reload(self, cause: str) -> ReloadResult:
        """Never raises (R1, R3). `cause`: SIGHUP, or what changed."""
        result = await self._try(cause)
        self.last = result
        self._telemetry.count("shipper_reloads_total", 1, result.outcome)
        level = {"applied": "info", "unchanged": "info", "refused": "error", "failed": "error"}[result.outcome]
        fields = {"cause": cause, "why": result.why, "changes": result.summary, "needs_restart": list(result.needs_restart)}
        self._reloads += 1                                # each refusal is said, however soon it follows the last one
        self._telemetry.say(level, f"reload_{result.outcome}", about=f"reload {self._reloads}" if result.why else "",
                            **{name: value for name, value in fields.items() if value})
        return result

    async def _try(self, cause: str) -> ReloadResult:
        now_s = self._now_s()
        try:
            found = changes(self.config, self._load())
            if found:
                await self._pipeline.apply(found.effective, found)
        except ShipperError as error:
            return ReloadResult("refused", cause, now_s, why=str(error))
        except Exception as error:  # noqa: BLE001 - R3: the old config goes on
            self._telemetry.count("shipper_errors_total", 1, "reload")
            facts = describe(error)
            return ReloadResult("failed", cause, now_s, why=f"unexpected {facts['type']} in {facts.get('place', '?')}")
        self.config = found.effective
        outcome: Outcome = "applied" if found else "unchanged"
        return ReloadResult(outcome, cause, now_s, summary=summary(found), needs_restart=found.needs_restart)
