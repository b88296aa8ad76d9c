"""The defaults in the tables of docs/ are those of the config's types."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.config.journal import JournalSource, KmsgSource
from shipper.config.kubernetes import Kubernetes
from shipper.config.types import Admin, BufferSettings, Config, ContainersSource, Log, SinkCommon
from shipper.sinks import available, find

DOCS = Path(__file__).parents[2] / "docs"
DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
TYPES: list[tuple[str, str, type[msgspec.Struct]]] = [
    ("configuration.md", "Top level", Config), ("configuration.md", "Sources", ContainersSource),
    ("configuration.md", "Buffer", BufferSettings), ("configuration.md", "Sinks", SinkCommon),
    ("configuration.md", "Kubernetes", Kubernetes), ("configuration.md", "Admin", Admin), ("configuration.md", "Log", Log),
    ("sources/journal.md", "journal and kmsg: what is in no file", JournalSource),
    ("sources/journal.md", "type: kmsg", KmsgSource),
    *((f"sinks/{name}.md", "", find(name).config) for name in available()),
]


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one of its level or above; the whole page without one."""
    text = (DOCS / page).read_text()
    if not heading:
        return text
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^##? |\Z)", text, re.M | re.S)
    assert found, f"{page}: no heading {heading!r}"
    return found[2]


def defaults(text: str) -> dict[str, str]:
    """Key -> what stands in backticks in the second column of its row; "" where that says it in words."""
    found = {}
    for line in text.splitlines():
        cells = re.split(r" ?(?<!\\)\| ?", line.strip().strip("|"))
        keys = re.findall(r"`(\w+)`", cells[0])
        if line.startswith("| `") and len(cells) > 2 and keys:
            given = re.findall(r"`([^`]*)`", cells[1])
            for number, key in enumerate(keys):
                whole = len(given) == len(keys) and not re.sub(r"`[^`]*`|, ", "", cells[1]).strip()
                found.setdefault(key, given[number].replace("\\|", "|") if whole else "")
    return found


def value(text: str) -> Any:
    """As YAML and our units would have it."""
    number = re.fullmatch(r"(\d+)([A-Za-z]*)", text)
    if number and number[2] in {**DURATIONS, **SIZES, "": 1}:
        return int(number[1]) * {**DURATIONS, **SIZES, "": 1}[number[2]]
    return {"true": True, "false": False}.get(text, text.strip('"'))


@pytest.mark.parametrize(("page", "heading", "kind"), TYPES, ids=[f"{page} {heading}" for page, heading, _ in TYPES])
def test_a_default_in_a_table_is_that_of_the_code(page: str, heading: str, kind: type[msgspec.Struct]) -> None:
    shown = defaults(section(page, heading))
    scalars = {f.encode_name: f.default for f in msgspec.structs.fields(kind) if isinstance(f.default, str | int | float)}
    wrong = {key: (shown[key], real) for key, real in scalars.items() if shown.get(key) and value(shown[key]) != real}
    assert wrong == {}


def test_the_tables_are_read() -> None:
    assert value(defaults(section("configuration.md", "Buffer"))["sync_interval"]) == 0.5
    assert defaults((DOCS / "sinks/gcs.md").read_text())["prefix"].startswith("{cluster|no-cluster}/")
    assert sum(bool(text) for page, heading, _ in TYPES for text in defaults(section(page, heading)).values()) > 90
