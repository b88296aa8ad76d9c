"""Samples to medians, a table for people and JSON for the record. Pure but for `save`."""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .bench import Sample
from .budgets import budget_for

OURS = "shipper"


def medians(samples: Sequence[Sample]) -> dict[tuple[str, str], dict[str, dict[str, float]]]:
    """(scenario, case) -> metric -> contender -> median over rounds, in the order in which they came."""
    found: dict[tuple[str, str], dict[str, dict[str, list[float]]]] = {}
    for sample in samples:
        metrics = found.setdefault((sample.scenario, sample.case), {})
        for metric, value in sample.values.items():
            metrics.setdefault(metric, {}).setdefault(sample.contender, []).append(value)
    return {
        place: {metric: {who: median(values) for who, values in by.items()} for metric, by in metrics.items()}
        for place, metrics in found.items()
    }


def table(samples: Sequence[Sample]) -> str:
    """A row per metric: each contender, the ratio of ours to the others, the budget and whether it was met."""
    names = list(dict.fromkeys(sample.contender for sample in samples))
    others = [name for name in names if name != OURS]
    head = ["", *names, *(f"{OURS}/{name}" for name in others), "budget", ""]
    rows: list[list[str]] = []
    for (scenario, case), metrics in medians(samples).items():
        rows.append([f"{scenario}: {case}"])
        for metric, by in metrics.items():
            budget = budget_for(scenario, case, metric)
            mine = by.get(OURS)
            rows.append([
                f"  {metric}", *(_number(by.get(name)) for name in names), *(_ratio(mine, by.get(name)) for name in others),
                budget.text() if budget else "", budget.verdict(mine) if budget and mine is not None else "",
            ])
    widths = [max(len(row[i]) for row in [head, *rows] if i < len(row) and len(row) > 1) for i in range(len(head))]
    widths[0] = max(len(row[0]) for row in rows)
    words = {0, len(head) - 2, len(head) - 1}
    return "\n".join(
        "  ".join(cell.ljust(widths[i]) if i in words else cell.rjust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in [head, *rows]
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def _ratio(mine: float | None, other: float | None) -> str:
    return f"{mine / other:.2f}x" if mine is not None and other else ""


def to_json(samples: Sequence[Sample], about: dict[str, Any]) -> dict[str, Any]:
    """`about`: commit, date, machine. Medians beside the samples that they are of."""
    return about | {
        "medians": [
            {"scenario": scenario, "case": case, "metric": metric, **by}
            for (scenario, case), metrics in medians(samples).items() for metric, by in metrics.items()
        ],
        "samples": [sample._asdict() for sample in samples],
    }


def save(samples: Sequence[Sample], about: dict[str, Any], directory: Path) -> Path:
    """results/<date>-<commit>.json"""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{about['date'].replace(':', '')}-{about['commit'][:10]}.json"
    path.write_text(json.dumps(to_json(samples, about), indent=1) + "\n")
    return path
