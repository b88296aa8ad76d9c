"""fluentd's config format, v1, as a tree of elements. Pure.

    <match a.** b>            Element("match", "a.** b")
      @type copy              parameter, with its line
      <store> ... </store>    child
    </match>

Known: quoted strings over several lines, JSON values over several lines, comments, "#{ENV['X']}" (becomes ${X}).
Not known: conditions by ruby; they come out as they stand.

Invariants (tests/agent/convert/test_syntax.py):
  Y1  each line of the text is a comment, blank, or in exactly one element; else Usage names file and line
  Y2  a parameter that was not `take`n, of an element that was not `close`d, is in `left`
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ...errors import Usage

_OPEN = re.compile(r"<([A-Za-z_][\w.-]*)(?:\s+([^>]*?))?\s*>\s*(?:#.*)?")
_CLOSE = re.compile(r"</([A-Za-z_][\w.-]*)>\s*(?:#.*)?")
_PARAM = re.compile(r"(\"(?:[^\"\\]|\\.)*\"|[^\s\"<]\S*)(?:[ \t]+(.*))?", re.DOTALL)
_ENV = re.compile(r"#\{\s*ENV(?:\[\s*[\"']([A-Za-z_]\w*)[\"']\s*\]|"
                  r"\.fetch\(\s*[\"']([A-Za-z_]\w*)[\"']\s*(?:,\s*[\"']?([^\"')]*)[\"']?\s*)?\))"
                  r"(?:\s*\|\|\s*(?:[\"']([^\"'}]*)[\"']|(true|false|\d+)|nil))?\s*\}")
_UNLESS = re.compile(r"[\"']?#\{\s*ENV\[\s*[\"']([A-Za-z_]\w*)[\"']\s*\]\s*\|\|\s*(?:use_default|use_nil|nil)\s*\}[\"']?")
_ASSUMED = re.compile(r"\$\{[A-Za-z_]\w*:-([^}]*)\}")
_COMMENT = re.compile(r"\s+#(?!\{)")
_EXPRESSION = re.compile(r"/.*[\^$(\[\\].*/[imx]*")
_JSON_COMMENT = re.compile(r"((?:[^\"#]|\"(?:[^\"\\]|\\.)*\")*)#.*")
MOST_INCLUDES = 20
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "b": "\b", "0": "\0"}


@dataclass(frozen=True, slots=True)
class Param:
    """`unless`: the variable that gives it a value where it is set (`|| use_default`); `value` is "" then."""

    value: str
    line: int
    unless: str = ""


@dataclass(slots=True, eq=False)
class Element:
    """`file`, `line`: where it begins."""

    name: str
    arg: str
    file: str
    line: int
    params: dict[str, Param] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    closed: bool = False
    repeated: list[tuple[str, Param]] = field(default_factory=list)

    @property
    def type(self) -> str:
        """Of its plug-in; also without the @, as before v0.14."""
        for key in ("@type", "type"):
            if key in self.params:
                self.taken.add(key)
                return assumed(self.params[key].value)
        return ""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def title(self) -> str:
        kind = next((self.params[key].value for key in ("@type", "type") if key in self.params), "")
        return f"<{self.name}{f' {self.arg}' if self.arg else ''}>{f' @type {kind}' if kind else ''}"

    def take(self, key: str) -> str | None:
        """Its value, which counts as carried over from now on; None where it is not said."""
        found = self.params.get(key)
        if found is None:
            return None
        self.taken.add(key)
        return None if found.unless else found.value

    def child(self, name: str) -> Element | None:
        return next((c for c in self.children if c.name == name), None)

    def close(self) -> None:
        """It, and all in it, was dealt with."""
        self.closed = True

    def walk(self) -> Iterator[Element]:
        """It and all in it that no one closed."""
        if not self.closed:
            yield self
            for child in self.children:
                yield from child.walk()

    def left(self) -> Iterator[tuple[Element, str, Param]]:
        """Y2; an element nobody looked at comes as a whole, with the key ""."""
        if self.closed:
            return
        if not self.taken and self.name != "ROOT" and (self.params or not self.children):
            yield self, "", Param("", self.line)
            return
        for key, param in [*self.params.items(), *self.repeated]:
            if key not in self.taken or (key, param) in self.repeated:
                yield self, key, param
        for child in self.children:
            yield from child.left()


Include = Callable[[str, str], list[tuple[str, str]] | None]
"""(what @include names, the file that says so) -> (name, text) of each file; None where that is not to be had."""


def parse(text: str, file: str, include: Include = lambda target, file: None, depth: int = 0) -> Element:
    """The root element, named ROOT; what `include` has stands in the place of its @include. Usage where the text is no fluentd
    config (Y1)."""
    return _Parser(text, file, include, depth).parse()


def truth(value: str | None, default: bool = False) -> bool:
    """fluentd's booleans; a key without a value is true."""
    return default if value is None else assumed(value).strip().lower() in ("true", "yes", "")


def assumed(text: str) -> str:
    """With the defaults in place of ${X:-default}: what decides where a value has to be known."""
    return _ASSUMED.sub(r"\1", text)


def environment(text: str) -> str:
    """Embedded ruby that reads the environment, as ${X} or ${X:-default}."""
    def put(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        default = next((found[n] for n in (3, 4, 5) if found[n] is not None), "" if "nil" in found[0] else None)
        return f"${{{name}}}" if default is None else f"${{{name}:-{default}}}"

    return _ENV.sub(put, text)


class _Parser:
    def __init__(self, text: str, file: str, include: Include, depth: int) -> None:
        self._lines, self._file, self._at = text.splitlines(), file, 0
        self._include, self._depth = include, depth

    def _wrong(self, line: int, why: str) -> Usage:
        return Usage(f"{self._file}:{line}: {why}")

    def parse(self) -> Element:
        root = Element("ROOT", "", self._file, 1)
        stack = [root]
        while self._at < len(self._lines):
            number, line = self._at + 1, self._lines[self._at].strip()
            self._at += 1
            if not line or line.startswith("#"):
                continue
            if opened := _OPEN.fullmatch(line):
                child = Element(opened[1], environment((opened[2] or "").strip()), self._file, number)
                stack[-1].children.append(child)
                stack.append(child)
            elif closed := _CLOSE.fullmatch(line):
                if len(stack) == 1 or stack[-1].name != closed[1]:
                    raise self._wrong(number, f"{line} closes nothing that is open; is this a fluentd config?")
                stack.pop()
            else:
                self._param(stack[-1], line, number)
        if len(stack) > 1:
            raise self._wrong(stack[-1].line, f"<{stack[-1].name}> is never closed")
        return root

    def _param(self, element: Element, line: str, number: int) -> None:
        found = _PARAM.fullmatch(line)
        if found is None:
            raise self._wrong(number, "neither a directive nor a parameter; is this a fluentd config?")
        key = _unquote(found[1]) if found[1].startswith('"') else found[1]
        unless = _UNLESS.fullmatch((found[2] or "").strip())
        param = Param("", number, unless[1]) if unless else Param(self._value(found[2] or "", number), number)
        if key in ("@include", "include") and self._included(element, param):
            return
        if key in ("@include", "include") or key in element.params:
            element.repeated.append((key, param))
        else:
            element.params[key] = param

    def _included(self, element: Element, param: Param) -> bool:
        found = self._include(assumed(param.value), self._file)
        if found is None:
            return False
        if self._depth >= MOST_INCLUDES:
            raise self._wrong(param.line, f"@include {param.value}: over {MOST_INCLUDES} files deep; does it include itself?")
        for name, text in found:
            root = parse(text, name, self._include, self._depth + 1)
            element.children += root.children
            element.params = root.params | element.params
            element.repeated += root.repeated
        return True

    def _value(self, text: str, number: int) -> str:
        text = text.strip()
        if text[:1] in ('"', "'"):
            return self._quoted(text, number)
        if text[:1] in ("[", "{") and not text.startswith("{{"):
            return self._json(text, number)
        return environment(_without_comment(text))

    def _quoted(self, text: str, number: int) -> str:
        quote, end = text[0], None
        while (end := _end_of_string(text, quote)) is None:
            if self._at >= len(self._lines):
                raise self._wrong(number, "a string that is never closed")
            text += "\n" + self._lines[self._at]
            self._at += 1
        inside = text[1:end]
        return environment(_unquote(f'"{inside}"') if quote == '"' else inside.replace("\\'", "'"))

    def _json(self, text: str, number: int) -> str:
        """Until it is whole; what never is (a regular expression in brackets, a template) stays the line that it was."""
        first, at = _without_comment(text), self._at
        text = _without_json_comment(text)
        while at <= len(self._lines):
            try:
                json.JSONDecoder().raw_decode(text)
                self._at = at
                return environment(text)
            except ValueError:
                if at == len(self._lines):
                    break
                text += "\n" + _without_json_comment(self._lines[at])
                at += 1
        return environment(first)


def _without_comment(text: str) -> str:
    """As fluentd: a # with a blank in front of it begins a comment. But a whole expression with both in it stays one."""
    cut = _COMMENT.split(text, maxsplit=1)[0].rstrip()
    return text if _EXPRESSION.fullmatch(text) and not _EXPRESSION.fullmatch(cut) else cut


def _without_json_comment(line: str) -> str:
    found = _JSON_COMMENT.fullmatch(line)
    return line if found is None else found[1].rstrip()


def _end_of_string(text: str, quote: str) -> int | None:
    """Index of the closing quote; quotes inside #{...} are ruby's."""
    at, depth = 1, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif quote == '"' and text.startswith("#{", at):
            depth, at = depth + 1, at + 1
        elif depth and text[at] == "}":
            depth -= 1
        elif text[at] == quote and not depth:
            return at
        at += 1
    return None


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1], flags=re.DOTALL)
