"""Another agent's config that was given to this one: whose it is, so that the message can say where the way leads. Pure.

Asked only when a config was refused: a wrong guess costs a misleading line, never a config that works.
"""
from __future__ import annotations

import re

PAGE = "docs/coming-from.md"

_CONVERTED = {"fluentd": "fluentd", "rsyslog": "rsyslog"}

_MARKS = (
    ("Fluent Bit", r"^\s*\[(?i:INPUT|OUTPUT|SERVICE|FILTER|PARSER|MULTILINE_PARSER)\]|^pipeline:\s*$"),
    ("Vector", r"^\s*\[(sources|transforms|sinks)\.|^transforms:"),
    ("fluentd", r"^\s*<(source|match|filter|label|system)\b"),
    ("rsyslog", r"^\s*((module|input|action|ruleset)\(|\$ModLoad\b|\$Include[Cc]onfig\b|[\w*,.;=!]+\.[\w*=!]+\s+[@/-])"),
    ("Filebeat", r"^(filebeat|output)\.\w+:|^filebeat:"),
    ("the OpenTelemetry collector", r"^(receivers|exporters):"),
)


SOURCES = {
    "tail": "files", "filelog": "files", "filestream": "files", "imfile": "files", "log": "files",
    "kubernetes_logs": "containers", "kubernetes": "containers", "docker": "containers", "docker_logs": "containers",
    "journald": "journal", "systemd": "journal", "imjournal": "journal",
}
"""What other agents call a type of source: ours."""


def whose(text: str) -> str:
    """A sentence that says whose config `text` looks like, and the mend; empty where it looks like nobody's."""
    for agent, mark in _MARKS:
        if re.search(mark, text, re.MULTILINE):
            return f"this looks like a config of {agent}, and shipper has one of its own; {_mend(agent)}"
    return ""


def _mend(agent: str) -> str:
    said = f"{PAGE} says what each part is called here"
    return f"shipper convert {_CONVERTED[agent]} FILE > shipper.yaml makes it, and {said}" if agent in _CONVERTED else said
