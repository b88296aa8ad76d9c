"""Every YAML block of the docs, as it stands there: `check` takes it, once what it leaves out is put beside it."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from shipper.config.convert import struct_type
from shipper.config.loader import load_text
from shipper.config.types import Config
from shipper.errors import Usage

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "packaging").rglob("*.md"))]
TOP = {f.encode_name for f in struct_type(Config).fields}
SOURCES = "sources:\n  containers: {type: containers}\n"
SINKS = "sinks:\n  central: {type: syslog, address: 'logs.example.com:6514'}\n  archive: {type: stdout}\n"
ENVIRONMENT = {"NODE_NAME": "n1", "SYSLOG_ADDRESS": "logs.example.com:6514"}
OF_A_SINK = "sinks:\n  screen:\n    type: stdout\n"
OF_KUBERNETES = {"apiVersion", "livenessProbe", "bases"}
"""A block whose first key is one of these; so is one that begins with an item of a list."""
_ABSENT_FILE = re.compile(r"cannot read /|has no permission|does not exist|is not usable|cannot be read")


def blocks() -> list[tuple[str, str]]:
    """(page:line, text) of each."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(r"^( *)```ya?ml\n(.*?)^\1```", text, re.S | re.M):
            line = text.count("\n", 0, block.start()) + 2
            found.append((f"{page.relative_to(ROOT)}:{line}", "\n".join(x.removeprefix(block[1]) for x in block[2].split("\n"))))
    return found


def whole(text: str) -> str:
    """The block with what it leaves out; "" where it is no config."""
    keys = re.findall(r"^([\w@.-]+):", text, re.M)
    if not keys or keys[0] in OF_KUBERNETES:
        return ""
    if set(keys) <= TOP:
        return text + ("" if "sources" in keys else SOURCES) + ("" if "sinks" in keys else SINKS)
    return SOURCES + OF_A_SINK + "".join(f"    {line}\n" for line in text.splitlines())


CONFIGS = [(place, whole(text)) for place, text in blocks() if whole(text)]


def test_the_blocks_are_found():
    assert len(CONFIGS) > 30 and len(blocks()) - len(CONFIGS) < 6


@pytest.mark.parametrize(("place", "text"), CONFIGS, ids=[place for place, _ in CONFIGS])
def test_a_config_in_the_docs_may_be_copied_as_it_stands(place: str, text: str):
    """Files that an example names (certificates, tokens) are not there: that alone may be said of it."""
    try:
        load_text(text, place, ENVIRONMENT)
    except Usage as error:
        wrong = [line for line in str(error).splitlines() if not _ABSENT_FILE.search(line)]
        assert wrong == [], f"{wrong}\n{text}"
