"""One module per scenario, each with one constant SCENARIO (bench.Scenario)."""
from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ..bench import Scenario


def scenarios() -> dict[str, Scenario]:
    """All that are here, by name, in the order of their modules."""
    found = [import_module(f"{__name__}.{module.name}").SCENARIO for module in iter_modules(__path__)]
    return {scenario.name: scenario for scenario in found}
