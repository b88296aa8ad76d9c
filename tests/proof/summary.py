"""`python -m tests.proof.summary`: tests/results/README.md from the results beside it, the newest run of each event.

The cells of the rotation matrix (event x state x runtime) become one row per event; what the short suite left is no result.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
HEAD = """# What the proofs measured

One row per event: how often it was made to happen to the real process, how many lines were lost that still existed, how many
came twice, and the commit it ran on. Made by `python -m tests.proof.summary` from the files beside this page, which
`make test-long` writes. Plain syslog repeats what a dead receiver may not have read, with equal ids; nothing else repeats.

| event | tries | lost | repeated | commit | |
|---|---:|---:|---:|---|---|
"""


def rows_of(directory: Path) -> dict[str, dict[str, Any]]:
    """Event -> tries, lost, repeated, commit, notes; a later run replaces an earlier one of the same event."""
    found: dict[str, dict[str, Any]] = {}
    runs = sorted((json.loads(path.read_text()) for path in directory.glob("20*.json")), key=lambda run: str(run["date"]))
    for run in runs:
        one: dict[str, dict[str, Any]] = {}
        for row in run["rows"]:
            if "(short)" not in row["event"]:
                _add(one, row, run["commit"] + ("+" if run["dirty"] else ""))
        found |= one
    events = directory / "hostile_events.json"
    for event, row in (json.loads(events.read_text()) if events.exists() else {}).items():
        figures = {name: value for name, value in row.items() if name not in ("tries", "lost", "repeated", "commit")}
        _add(found, {**row, "event": event, "notes": figures}, row.get("commit", ""))
    return found


def _add(rows: dict[str, dict[str, Any]], row: dict[str, Any], commit: str) -> None:
    event, *cell = row["event"].split(" x ")
    name = f"rotation: {event} (x state x runtime)" if len(cell) == 2 else row["event"]
    into = rows.setdefault(name, {"tries": 0, "lost": 0, "repeated": 0, "commit": commit, "notes": {}})
    for key in ("tries", "lost", "repeated"):
        into[key] += row[key]
    for key, value in row["notes"].items():
        into["notes"][key] = into["notes"].get(key, 0) + value if isinstance(value, int | float) else value


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = []
    for event, row in sorted(rows.items()):
        notes = ", ".join(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
                          for name, value in row["notes"].items())
        lines.append(f"| {event} | {row['tries']:,} | {row['lost']:,} | {row['repeated']:,} | {row['commit']} | {notes} |\n")
    return HEAD + "".join(lines)


if __name__ == "__main__":
    (RESULTS / "README.md").write_text(table(rows_of(RESULTS)))
