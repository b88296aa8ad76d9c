"""From config to steps, in the one order: parse, redact, filter, limit. Pure; once per lineage.

Invariant: a module is imported only where its key is set, so that a source without processing costs nothing at start either.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config.processing import Processing as Settings
from ..model import Source
from .chain import Step

if TYPE_CHECKING:
    from .limits import Limits
    from .multiline import BytesBudget, Joiner, LineReader


def steps_for(settings: Settings, source: Source, limits: Limits | None = None) -> list[Step]:
    """The steps that `settings` ask for; [] where nothing is to be done. `limits`: the agent's buckets."""
    steps: list[Step] = []
    if settings.parse is not None:
        from .parse import parse_step

        parse = parse_step(settings.parse, source)
        if parse is not None:
            steps.append(parse)
    redactor = None
    if settings.redact:
        from .redact_rules import redactor_for

        redactor = redactor_for(settings)
        steps.append(redactor)
    if settings.keep or settings.drop:
        from .filter import Filter

        steps.append(Filter(settings.keep, settings.drop))
    if settings.limit is not None and limits is not None:
        from .limit import Limiter

        steps.append(Limiter(settings.limit, source, limits, redactor.text if redactor is not None else None))
    return steps


def joiner_for(
    settings: Settings, source: Source, *, budget: BytesBudget, line_reader: Callable[[], LineReader], patience_s: float
) -> Joiner | None:
    """What makes one record of several lines; None where that is not asked for. See multiline.Joiner."""
    wanted = settings.multiline
    if wanted is None or wanted == "off":
        return None
    from .multiline import Joiner
    from .multiline_machines import machine_for

    return Joiner(source, machine_for(wanted), budget, line_reader, patience_s)
