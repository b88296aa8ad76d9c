"""What a conversion makes: our config as YAML with comments, and what it could not carry over. Pure."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .syntax import Element

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./*-]*|[0-9]+(?:\.[0-9]+)?(?:[KMG]i?B|ms|s|m|h|d)")
_SECRET = re.compile(r"pass|token|secret|(?:shared|api|access|sec|private|json|account)_?key|cred|auth|header")
_NOT_TEXT = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


@dataclass(slots=True, eq=False)
class Item:
    """One source or sink. `comments`: what stands above it; `beside`: behind single keys. `fed_by`: a sink's sources; `tags`:
    with which tags their records came to it. `place`: of its directive (file, line, title)."""

    name: str
    type: str
    keys: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    beside: dict[str, str] = field(default_factory=dict)
    tag: str = ""
    tag_of_each_file: bool = False
    label: str = ""
    fed_by: list[str] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    place: tuple[str, int, str] = ("", 0, "")

    def set(self, key: str, value: Any, why: str = "") -> None:
        self.keys[key] = value
        if why:
            self.beside[key] = why


@dataclass(slots=True)
class Draft:
    """`notes`: directives that are not needed here, and why; `problems`: (place, text) that a person must look at."""

    sources: dict[str, Item] = field(default_factory=dict)
    sinks: dict[str, Item] = field(default_factory=dict)
    buffer: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[tuple[str, int, str]] = field(default_factory=list)
    header: list[str] = field(default_factory=list)

    def named(self, wanted: str, kind: str) -> str:
        """A name for a source or sink that is still free."""
        base = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-_")[:60] or kind
        taken = self.sources.keys() | self.sinks.keys()
        name, number = base, 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        return name

    def note(self, element: Element, key: str, why: str) -> None:
        """A directive that needs no counterpart: taken, and said in the YAML. Where it is not there, nothing is said."""
        param = element.params.get(key)
        if param is not None:
            element.taken.add(key)
            shown = "" if secret_key(key) else f" {_short(param.value)}"
            text = f"{element.file}:{param.line} {key}{shown}: {why}"
            if text not in self.notes:
                self.notes.append(text)

    def note_element(self, element: Element, why: str) -> None:
        """As `note`, for all of an element."""
        element.close()
        self.notes.append(f"{element.place} {element.title}: {why}")

    def problem(self, element: Element, why: str, key: str = "") -> None:
        """Something that was not carried over; `why` ends with what to do instead."""
        param = element.params.get(key)
        element.taken.add(key)
        shown = "" if param is None or secret_key(key) else f" {_short(param.value)}"
        what = element.title if param is None else f"{key}{shown} in {element.title}"
        found = (element.file, param.line if param else element.line, f"{what}: {why}")
        if found not in self.problems:
            self.problems.append(found)

    def refuse(self, element: Element, why: str) -> None:
        """All of an element."""
        self.problem(element, why)
        element.close()

    def leftovers(self, root: Element) -> None:
        """What nobody took."""
        for element, key, param in root.left():
            if not key:
                self.problem(element, "no record of a source here reaches it, or it is not known; see whether it is needed")
            elif param.unless:
                self.problems.append((element.file, param.line, _unset(key, param.unless, element)))
            else:
                shown = "" if secret_key(key) else f" {_short(param.value)}"
                self.problems.append((element.file, param.line, f"{key}{shown} in {element.title}: not known here; see docs/"
                                                               "configuration.md whether a key does the same"))

    def unread(self, root: Element) -> None:
        """Values that were carried over, and hold what is not known here: ruby, another tool's placeholders, or a variable with
        `use_default`."""
        said = {problem[:2] for problem in self.problems}
        written = "\n".join(line.partition("    # ")[0] for line in self.yaml().splitlines() if not line.lstrip().startswith("#"))
        for element in root.walk():
            for key, param in element.params.items():
                if param.unless and key in element.taken:
                    self.problems.append((element.file, param.line, _unset(key, param.unless, element)))
                elif "#{" in param.value and param.value.replace("'", "''") in written:
                    self.problems.append((element.file, param.line, f"{key} in {element.title}: ruby is not run; write in what "
                                                                    "it gives"))
                elif "{{" in param.value and _bare(param.value) in written and (element.file, param.line) not in said:
                    self.problems.append((element.file, param.line, f"{key} {_short(param.value)} in {element.title}: holds a "
                                          "placeholder {{...}} that is filled in elsewhere; write its value in"))

    def yaml(self) -> str:
        """The config."""
        out = [f"# {line}".rstrip() for line in self.header]
        if self.notes:
            out += ["#", "# Not needed here:", *(f"#   {_oneline(note)}" for note in self.notes)]
        sources = "sources:" if self.sources else "sources: {}    # none was found"
        out += ["", "node: ${NODE_NAME:-}", "state_dir: /var/lib/shipper", "", sources]
        for item in self.sources.values():
            out += _item(item)
        if self.buffer:
            out += ["", "buffer:", *(f"  {key}: {_value(value)}" for key, value in self.buffer.items())]
        out += ["", "sinks:" if self.sinks else "sinks: {}    # none was found"]
        for item in self.sinks.values():
            out += _item(item)
        if any(item.type == "containers" for item in self.sources.values()):
            out += ["", "admin:", "  listen: '[${POD_IP:-127.0.0.1}]:3903'    # probes and Prometheus come from outside a pod"]
        return "\n".join(out) + "\n"


def _bare(text: str) -> str:
    """What stands of a value in our YAML: quotes doubled, no slashes around an expression."""
    return text.strip().strip("/").replace("'", "''")


def _unset(key: str, variable: str, element: Element) -> str:
    return f"{key} in {element.title}: its default is taken; where ${variable} is set, write its value in"


def secret_key(key: str) -> bool:
    """May its value be one? Then it is never shown."""
    return _SECRET.search(key.lower()) is not None


def _oneline(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in re.sub(r"\s+", " ", text))


def _short(text: str) -> str:
    text = re.sub(r"://[^/@\s]*@", "://***@", _oneline(text))
    return text if len(text) <= 60 else text[:57] + "..."


def _item(item: Item) -> list[str]:
    out = [f"  # {_oneline(comment)}" for comment in item.comments] + [f"  {item.name}:", f"    type: {item.type}"]
    for key, value in item.keys.items():
        comment = f"    # {_oneline(item.beside[key])}" if key in item.beside else ""
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            out.append(f"    {key}:{comment}")
            out += [f"      - {_value(each)}" for each in value]
        else:
            out.append(f"    {key}: {_value(value)}{comment}")
    return out


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(key)}: {_value(each)}" for key, each in value.items()) + "}"
    text = str(value)
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT) or text == "off":
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    from json import dumps

    return dumps(text)
