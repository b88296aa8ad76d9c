"""README, CHANGELOG, docs/: links lead somewhere, what is named is there, options that are shown exist, YAML is read."""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from shipper.agent.cli import COMMANDS, OneLineParser
from shipper.config.loader import load_text
from shipper.deliver.trouble import SinkState
from shipper.errors import DropReason, GapReason, RefusedReason, Usage
from shipper.telemetry import METRICS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_ABSENT = re.compile(r"cannot read /|cannot be read|has no permission|does not exist|is not usable|environment variable")
REST = {"sources": "sources: {containers: {type: containers}}", "sinks": "sinks: {out: {type: stdout}}", "node": "node: n1"}
"""What an example leaves out."""
PARSERS: dict[str, OneLineParser] = {}
for each in COMMANDS:
    PARSERS[each.name] = OneLineParser(prog=each.name)
    import_module(f"shipper.agent.{each.module}").add_arguments(PARSERS[each.name])


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL):
        if language in languages:
            yield block


def anchors(page: Path) -> set[str]:
    """Of each heading, as the forges make them."""
    heads = re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", head).lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(there):
            wrong.append(f"{target}: no such heading; there are {sorted(anchors(there))}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_file_of_ours_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"(?<![\w/.\-])((?:docs|config|packaging|tests|systemd)/[\w./\-]+[\w])", page.read_text())
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / "shipper" / path).exists()] == []


def test_the_list_of_pages_has_every_page() -> None:
    index, runbooks = ROOT / "docs/README.md", ROOT / "docs/runbooks/README.md"
    links = [(page, path) for page in (index, runbooks) for path in re.findall(r"\]\(([^)#]+)", page.read_text())]
    listed = {(page.parent / path).resolve() for page, path in links}
    assert {str(page.relative_to(ROOT)) for page in PAGES if page.resolve() not in listed} <= {"CHANGELOG.md", "docs/README.md"}


def test_the_tests_that_a_module_names_for_its_invariants_are_there() -> None:
    named = {(path, name) for path in ROOT.glob("shipper/**/*.py")
             for name in re.findall(r"\btests/[\w/]+\.py\b", path.read_text())}
    assert len(named) > 100
    assert not sorted((str(path.relative_to(ROOT)), name) for path, name in named if not (ROOT / name).exists())


def test_every_module_that_is_named_is_there() -> None:
    """Below shipper/, or beside a module that the same line names with its directory (`sinks/_a.py`, `_b.py`), or a sink's."""
    wrong = []
    for page in PAGES:
        for line in page.read_text().splitlines():
            paths = re.findall(r"(?<![\w/])((?:\w+/)*\w+\.py)\b", line)
            beside = {ROOT / "shipper" / Path(path).parent for path in paths} | {ROOT / "shipper/sinks"}
            near = {ROOT, ROOT / "shipper", *beside}
            wrong += [f"{page.name}: {path}" for path in paths if not any((place / path).exists() for place in near)]
    assert wrong == []
    directories = re.findall(r"`((?:\w+/)+)`", (ROOT / "docs/architecture.md").read_text())
    assert [path for path in directories if not (ROOT / path).is_dir() and not (ROOT / "shipper" / path).is_dir()] == []


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """`shipper COMMAND ...` of its blocks and of its prose, with the options that are shown."""
    shown = [line for block in blocks(page, "", "sh") for line in block.replace("\\\n", " ").splitlines()]
    shown += [text.replace("\n", " ") for text in re.findall(r"`(shipper [a-z][^`]*)`", prose(page))]
    for line in shown:
        for name, rest in re.findall(r"(?<![\w/])(?:\.venv/bin/)?shipper ([a-z\-]+)((?: [^#|;&`>]*)?)", line):
            if name in PARSERS:
                yield name, re.findall(r"(?<![\w\-])(--?[a-z][a-z\-]*)", rest)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_that_is_shown_takes_the_options_that_are_shown(page: Path) -> None:
    unknown = [f"shipper {name} {option}" for name, options in commands(page) for option in options
               if option not in PARSERS[name]._option_string_actions]
    assert unknown == []


def test_commands_are_found_in_the_pages() -> None:
    found = {name for page in PAGES for name, _ in commands(page)}
    assert found == set(PARSERS), "of every command some page shows how it is used"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_metric_that_is_named_is_one_of_ours(page: Path) -> None:
    named = set(re.findall(r"\b(shipper_[a-z_]+)\b", prose(page)))
    assert {name for name in named if name not in {*METRICS, "shipper_build_info"} and not name.endswith("_")} == set()


@pytest.mark.parametrize("reasons", [GapReason, DropReason, RefusedReason, SinkState], ids=lambda kind: kind.__name__)
def test_every_reason_that_a_metric_can_have_is_explained(reasons: type[StrEnum]) -> None:
    table = (ROOT / "docs/monitoring.md").read_text().partition("### Values of labels")[2].partition("\n## ")[0]
    assert set(reasons) - set(re.findall(r"`(\w+)`", table)) == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_whole_config_that_is_shown_loads(page: Path) -> None:
    for block in blocks(page, "yaml"):
        shown = yaml.safe_load(block)
        if not isinstance(shown, dict) or not ({"sources", "sinks", "process"} & shown.keys()):
            continue
        if any(not isinstance(shown.get(key, {}), dict) for key in ("sources", "sinks")):
            continue
        rest = [text for key, text in REST.items() if key not in shown]
        try:
            load_text("\n".join([dedent(block), *rest]), page.name, {})
        except Usage as error:
            wrong = [line for line in str(error).splitlines() if not _ABSENT.search(line)]
            assert wrong == [], block


def test_a_command_line_of_the_readme_can_be_split() -> None:
    for block in blocks(ROOT / "README.md", "sh"):
        for line in block.splitlines():
            shlex.split(line, comments=True)
