"""docs/dependencies.md and pyproject.toml name the same packages; what an agent brings along stands there as it is locked."""
from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dependencies.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def named(requirement: str) -> str:
    return normal(re.split(r"[\[<>=;! ]", requirement)[0])


def rows() -> dict[str, list[str]]:
    """The cells of each package's row; `a, b` in the first cell is two packages, what stands in brackets there is their extra."""
    found = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) > 4 and cells[1] != "licence":
            found |= {normal(name): cells for name in re.sub(r" \(.*\)", "", cells[0]).split(", ")}
    return found


def wanted() -> dict[str, str]:
    """Package -> the extra in which it stands first ("" for what is always installed)."""
    found = {named(each): "build" for each in PYPROJECT["build-system"]["requires"]}
    for extra, requirements in [*EXTRAS.items(), ("", PYPROJECT["project"]["dependencies"])]:
        found |= {named(each): extra for each in requirements if named(each) not in found or not extra}
    found.pop("shipper")
    return found


def test_every_dependency_has_its_row_and_no_row_is_of_one_that_is_gone() -> None:
    assert rows().keys() == wanted().keys()


def test_every_row_says_licence_release_size_and_what_it_is_for() -> None:
    whole = {name for name, cells in rows().items() if all(cells) and re.search(r"\d", cells[2]) and "MB" in cells[3]}
    assert rows().keys() - whole == set()


def test_what_needs_an_extra_says_which() -> None:
    extras = {name: extra for name, extra in wanted().items() if extra not in ("", "dev")}
    assert {name for name, extra in extras.items() if f"extra `{extra}`" not in rows()[name][0] and extra != "build"} == set()


def test_the_releases_are_those_that_the_image_brings() -> None:
    locked = {normal(name): version for name, version in re.findall(r"^([\w.\-]+)==([\w.]+)",
                                                                    (ROOT / "packaging/requirements.lock").read_text(), re.M)}
    both = rows().keys() & locked.keys()
    assert len(both) >= 10
    assert {name: rows()[name][2] for name in both if not rows()[name][2].startswith(locked[name])} == {}


def test_what_is_said_to_be_imported_always_is_and_the_rest_is_not(tmp_path: Path) -> None:
    """A run from a file to a file, with the log as JSON."""
    (tmp_path / "app.log").write_text("hello\n")
    (tmp_path / "c.yaml").write_text(
        f"state_dir: {tmp_path}/state\nadmin: {{listen: null}}\nsources: {{app: {{type: files, include: [{tmp_path}/*.log]}}}}\n"
        f"sinks: {{out: {{type: file, path: {tmp_path}/out.ndjson, start_at: oldest}}}}\n")
    command = [sys.executable, "-X", "importtime", "-m", "shipper", "run", "-c", str(tmp_path / "c.yaml"), "--once"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    imported = set(re.findall(r"^import time:.*\| +(\w+)$", ended.stderr, re.M))
    module = {"pyyaml": "yaml", "google-re2": "re2", "google-crc32c": "google_crc32c", "grpcio": "grpc"}
    used = {name: module.get(name, name.replace("-", "_")) for name, cells in rows().items() if len(cells) == 7}
    assert len(used) > 12
    always = {name for name in used if rows()[name][6].startswith(("always", "with a sink"))}
    assert {name for name, its in used.items() if its in imported} == always
