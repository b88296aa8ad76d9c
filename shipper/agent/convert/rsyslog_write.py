"""What was found of imfile and omfwd as sources and sinks. Pure.

    files of one ruleset, and of one multiline   ─►   a source, `files` or `files-RULESET`
    a forward                                    ─►   a sink, with `when` where there is more than one ruleset

Invariants: R2 of rsyslog.py.
"""
from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .draft import Draft, Item

_SHELL = re.compile(r"(?<![\w$])\$(?:\{(\w+)\}|(?=[A-Z])([A-Z][A-Z0-9_]*))|`echo \$(\w+)`")
_AGAIN = "imfile's positions are not taken over: what is there comes again; start_at: end leaves it out"
_NUMBERED = {str(number): name for number, name in enumerate(
    ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"))} | {
        str(16 + n): f"local{n}" for n in range(8)}
_FACILITIES = frozenset(_NUMBERED.values())
_LEVELS = {str(number): name for number, name in enumerate(
    ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"))}
_SEVERITIES = {name: name for name in _LEVELS.values()} | {
    "error": "err", "warn": "warning", "panic": "emerg"}


@dataclass(slots=True)
class Input:
    """One imfile, in line `line` of `file`; facility and severity are its own defaults. `start`: startmsg.regex."""

    file: str
    line: int
    path: str
    tag: str = ""
    facility: str = "local0"
    severity: str = "notice"
    ruleset: str = ""
    start: str = ""

    @property
    def of_containers(self) -> bool:
        return self.path.startswith(("/var/log/containers/", "/var/log/pods/"))

    @property
    def priority(self) -> str:
        return f"{self.facility.lower()}.{_SEVERITIES.get(self.severity.lower(), self.severity)}"


@dataclass(frozen=True, slots=True)
class Forward:
    """One omfwd. `ruleset`: the one it stands in, "" for the default one. `facilities`: those of its selector; none: all."""

    file: str
    line: int
    host: str
    port: str
    protocol: str
    template: str
    framing: str
    ruleset: str
    tls: bool
    facilities: frozenset[str] = frozenset()


def write(
    files: list[Input], forwards: list[Forward], draft: Draft, shown: str, *, calls: set[tuple[str, str]], from_end: bool,
    ca_file: str, container_template: bool,
) -> None:
    """Into `draft`. `calls`: (ruleset, the one whose forwards get what it gets, too)."""
    files = [one for one in files if one.path]
    if not files:
        draft.problems.append((shown, 1, "nothing reads a file; say what to read under sources"))
    for one in files:
        one.facility = _NUMBERED.get(one.facility, one.facility)
        one.severity = _LEVELS.get(one.severity, one.severity)
    chosen = any(forward.facilities for forward in forwards)
    groups: dict[tuple[bool, str, str, str], list[Input]] = {}
    for one in files:
        facility = one.facility.lower() if chosen else ""
        groups.setdefault((not one.of_containers, one.ruleset, facility, one.start), []).append(one)
    fed: dict[str, list[Item]] = {}
    of_source: dict[str, list[Input]] = {}
    for (_, ruleset, _, start), inputs in sorted(groups.items(), key=lambda pair: (pair[0][0], pair[1][0].line)):
        item = _source(inputs, ruleset, start, draft, container_template)
        of_source[item.name] = inputs
        if from_end:
            item.set("start_at", "end", "freshStartTail")
        for each in _with_called(ruleset, calls):
            fed.setdefault(each, []).append(item)
    reached: set[str] = set()
    for forward in forwards:
        sources = [item.name for item in fed.get(forward.ruleset, [])
                   if not forward.facilities or of_source[item.name][0].facility.lower() in forward.facilities]
        reached.update(sources)
        if not sources and files:
            draft.problems.append((forward.file, forward.line, (
                f"{f'ruleset {forward.ruleset}: ' if forward.ruleset else ''}no file that is read goes there; the receiver "
                f"{forward.host}:{forward.port} is left out")))
            continue
        item = _sink(forward, [one for name in sources for one in of_source[name]], draft, ca_file, container_template)
        if set(sources) != draft.sources.keys() and files:
            item.set("when", {"source": sources})
    for name in draft.sources.keys() - reached:
        draft.problems.append((shown, 1, f"source {name}: nothing forwards what is read there; add a sink for it"))


def _with_called(ruleset: str, calls: set[tuple[str, str]]) -> set[str]:
    found, more = set[str](), {ruleset}
    while more:
        found |= more
        more = {called for caller, called in calls if caller in found} - found
    return found


def _source(inputs: list[Input], ruleset: str, start: str, draft: Draft, container_template: bool) -> Item:
    kind = "containers" if inputs[0].of_containers else "files"
    item = Item(draft.named(f"{kind}-{ruleset}" if ruleset else kind, kind), kind,
                comments=[*(f"{one.file}:{one.line} imfile" for one in inputs), _AGAIN])
    item.set("include", [one.path for one in inputs])
    if kind == "containers":
        item.set("format", "raw", "the line as the runtime wrote it, its header included, as rsyslog forwards it")
        draft.notes += [f'{one.file}:{one.line} input imfile tag="{one.tag}": the name comes from the path'
                        for one in inputs if one.tag]
    else:
        item.set("format", "raw" if container_template else "plain")
    if start:
        item.set("multiline", {"start": start}, "startmsg.regex")
    draft.sources[item.name] = item
    return item


def _sink(forward: Forward, files: Iterable[Input], draft: Draft, ca_file: str, container_template: bool) -> Item:
    containers = container_template or "containers" in draft.sources
    if any(one.of_containers for one in files) and not container_template:
        template = f"template {forward.template}" if forward.template else "no template"
        draft.problems.append((forward.file, forward.line, (
            f"{template}: rsyslog sent its own header and tag before each line; container-logs sends the name from the path. "
            "format: rfc3164 is there too")))
    item = Item(draft.named("rsyslog", "sink"), "syslog", comments=[f"{forward.file}:{forward.line} omfwd"])
    item.set("address", f"{_variables(forward.host)}:{_variables(forward.port)}")
    protocol = _protocol(forward, draft)
    item.set("protocol", protocol)
    item.set("format", "container-logs" if containers else "rfc5424",
             "newline framing over tcp, a datagram a line over udp" if containers else "")
    if protocol in ("tcp", "tls") and (forward.framing or not containers):
        item.set("framing", "octet-counted" if forward.framing == "octet-counted" else "newline", "as omfwd")
    if protocol == "tls" and ca_file:
        item.set("tls", {"ca": ca_file})
    if not containers:
        _priority(item, list(files), draft)
    item.set("start_at", "oldest", "a new sink begins with what the buffer holds")
    draft.sinks[item.name] = item
    return item


def _protocol(forward: Forward, draft: Draft) -> str:
    protocol = _variables(forward.protocol) if "$" in forward.protocol else forward.protocol.lower()
    if protocol not in ("tcp", "udp") and not protocol.startswith("$"):
        draft.problems.append((forward.file, forward.line,
                               f"protocol {protocol}: tcp, tls, udp and relp are there; tcp is written"))
        protocol = "tcp"
    return "tls" if forward.tls and protocol != "udp" else protocol


def _priority(item: Item, files: list[Input], draft: Draft) -> None:
    """PRI and APP-NAME: what the rules of a receiver ask for."""
    if not files:
        return
    said = {problem[:2] for problem in draft.problems if "tag=" in problem[2]}
    for one in files:
        name = posixpath.basename(one.path).removesuffix(".log")      # as encode.syslog.app_name
        if one.tag and (one.file, one.line) not in said and one.tag.rstrip(":") != name:
            draft.problems.append((one.file, one.line, (
                f'input imfile tag="{one.tag}": APP-NAME is the file\'s name here, {name}; see what asks for the tag')))
    most = Counter(one.priority for one in files).most_common(1)[0][0]
    facility, _, severity = most.partition(".")
    if facility in _FACILITIES:
        item.set("facility", facility, "as imfile")
    if severity in _SEVERITIES:
        item.set("severity", {"": severity}, "as imfile, where a line says none")
    for one in files:
        found = (one.file, one.line, f"{one.path}: {one.priority}, and now {most}: a sink has one facility; make a sink of its "
                                     "own for it, by when:")
        if one.priority != most and found not in draft.problems:
            draft.problems.append(found)


def _variables(text: str) -> str:
    """$NAME, ${NAME} and `echo $NAME` as ${NAME}."""
    return _SHELL.sub(lambda found: f"${{{found[1] or found[2] or found[3]}}}", text)
