"""From config to steps, in the one order: parse, redact, filter, limit. Pure; once per lineage.

Invariant: a module is imported only where its key is set, so that a source without processing costs nothing at start either.
"""
from __future__ import annotations

from ..config.processing import Processing as Settings
from ..model import Source
from .chain import Step


def steps_for(settings: Settings, source: Source) -> list[Step]:
    """The steps that `settings` ask for; [] where nothing is to be done."""
    steps: list[Step] = []
    return steps
