"""Every sink in `available()`: its docs page loads and names every key, its encoding is pure, its promise is said."""
from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from shipper import sinks
from shipper.config.convert import struct_type
from shipper.config.loader import load_text
from shipper.errors import Usage
from shipper.sinks import SinkContext
from shipper.telemetry import Telemetry

from .syslog_kit import batch

DOCS = Path(__file__).parents[2] / "docs" / "sinks"
SHARED_KEYS = DOCS / "http.md"
SMALLEST = {"syslog": [{"type": "syslog", "address": "far:514"}]}       # its page's first example needs a certificate
_ABSENT_FILE = re.compile(r"cannot read /|has no permission|does not exist|is not usable")


def examples(type_name: str) -> list[dict[str, object]]:
    """The sinks of that type in the page's YAML blocks."""
    text = (DOCS / f"{type_name}.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
    found = [s for block in blocks if isinstance(block, dict) for s in (block.get("sinks") or {}).values()]
    return [sink for sink in found if isinstance(sink, dict) and sink.get("type") == type_name]


def keys_of(struct: object) -> list[str]:
    return [f.encode_name for f in struct_type(struct).fields]  # type: ignore[arg-type]


@pytest.mark.parametrize("type_name", sinks.available())
def test_the_yaml_of_each_docs_page_loads(type_name):
    """Files that an example names (certificates, tokens) are not there: that alone may be said of it."""
    found = examples(type_name)
    assert found, f"docs/sinks/{type_name}.md has no example"
    for example in found:
        config = {"node": "n1", "sources": {"c": {"type": "containers", "format": "raw"}}, "sinks": {"far": example}}
        try:
            load_text(yaml.safe_dump(config), "docs", {"NODE_NAME": "n1"})
        except Usage as error:
            wrong = [line for line in str(error).splitlines() if not _ABSENT_FILE.search(line)]
            assert wrong == [], wrong


@pytest.mark.parametrize("type_name", sinks.available())
def test_each_docs_page_names_every_key(type_name):
    page = (DOCS / f"{type_name}.md").read_text()
    if "http.md" in page:
        page += SHARED_KEYS.read_text()
    missing = [key for key in keys_of(sinks.find(type_name).config) if f"`{key}" not in page and f"{key}:" not in page]
    assert missing == [], f"docs/sinks/{type_name}.md says nothing of {missing}"


@pytest.mark.parametrize("type_name", sinks.available())
def test_equal_batches_give_equal_payloads_and_the_promise_is_said(type_name, tmp_path):
    """S1: two sinks of one config make the same of equal batches."""
    entry = None
    for example in [*examples(type_name), *SMALLEST.get(type_name, [])]:
        config = {"node": "n1", "sources": {"c": {"type": "containers", "format": "raw"}}, "sinks": {"far": example}}
        try:
            entry = load_text(yaml.safe_dump(config), "docs", {}).config.sinks["far"]
        except Usage:
            continue
    assert entry is not None, "no example of the page can be used as it stands"
    payloads = []
    for _ in range(2):
        context = SinkContext("far", "n1", str(tmp_path), Telemetry())
        payload = entry.spec.build(entry.config, context).encode([batch([b"one", b"two"]), batch([b"three"], first=9)])
        payloads.append((getattr(payload, "pieces", payload), getattr(payload, "headers", None)))
    assert payloads[0] == payloads[1]
    promise = entry.spec.guarantee(entry.config)
    assert promise.delivered_means and promise.can_repeat and promise.can_lose
