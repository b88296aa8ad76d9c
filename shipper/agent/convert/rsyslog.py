"""rsyslog's imfile and omfwd as ours: the template for container logs, in the legacy form ($InputFileName, *.* @@host:port)
and in RainerScript (input(...), action(...)). Pure.

A config that forwards /var/log/containers becomes `format: raw` and `format: container-logs`: the same lines at the same
receiver.

Invariants (tests/agent/convert/test_rsyslog.py):
  R1  each statement is carried over, noted or reported, with its line
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...errors import Usage
from .draft import Draft, Item

_STATEMENT = re.compile(r"(module|input|action|global|template|main_queue|ruleset|if|property|parser|timezone|lookup_table"
                        r"|set|unset|call|stop)\b",
                        re.IGNORECASE)
_PAIR = re.compile(r"([\w.]+)\s*=\s*\"((?:[^\"\\]|\\.)*)\"")
_LEGACY_FORWARD = re.compile(r"(?P<what>\S+)\s+(?P<at>@{1,2})(?:\((?P<how>[^)]*)\))?"
                             r"(?P<host>\[[^\]]+\]|[^:;\s]+)(?::(?P<port>[^;\s]+))?(?:;(?P<template>\S+))?")
_SHELL = re.compile(r"(?<![\w$])\$(?:\{(\w+)\}|(?=[A-Z])([A-Z][A-Z0-9_]*))|`echo \$(\w+)`")
_NOTED = {
    "$modload": "shipper needs no modules", "$workdirectory": "see state_dir", "$inputfiletag": "the name comes from the path",
    "$inputfilestatefile": "positions are in state_dir", "$inputfileseverity": "container-logs sends no PRI",
    "$inputfilefacility": "container-logs sends no PRI", "$inputrunfilemonitor": "", "$inputfilepollinterval": "inotify",
    "$includeconfig": None, "$actionqueuetype": "the buffer is on disk", "$actionqueuefilename": "the buffer is on disk",
    "$actionresumeretrycount": "tried for ever", "$actionqueuesaveonshutdown": "always", "$actionqueuemaxdiskspace": None,
    "$maxmessagesize": "lines up to max_line (1MiB) are whole", "$privdroptouser": "see docs/systemd.md",
    "$privdroptogroup": "see docs/systemd.md", "$filecreatemode": "no files are written", "$umask": "no files are written",
    "$repeatedmsgreduction": "no line is left out", "$actionfiledefaulttemplate": "see the template",
}
_IMFILE = {
    "tag": "the name comes from the path", "severity": "a file's records have the severity that is parsed, or the sink's default",
    "facility": "see facility of the syslog sink", "addmetadata": "records have their file",
    "statefile": "positions are in state_dir",
    "ruleset": "each sink gets what its when: takes", "reopenontruncate": "rotation is followed, whatever it takes",
    "persiststateinterval": "positions are in the buffer's frames", "freshstarttail": "see start_at",
}
_MODULES = ("imfile", "omfwd", "imuxsock", "imklog", "immark", "mmjsonparse", "lmnet")


@dataclass(slots=True)
class _State:
    draft: Draft
    shown: str
    files: list[tuple[int, str]] = field(default_factory=list)
    pending: tuple[int, str] | None = None
    container_template: bool = False
    forwards: list[tuple[int, str, str, str, str, str]] = field(default_factory=list)
    from_end: bool = False

    def problem(self, line: int, why: str) -> None:
        self.draft.problems.append((self.shown, line, why))

    def note(self, line: int, why: str) -> None:
        self.draft.notes.append(f"{self.shown}:{line} {why}")


def convert(text: str, shown: str) -> Draft:
    """Usage where nothing in it reads a file and nothing forwards."""
    draft = Draft(header=[f"From {shown}, by shipper convert rsyslog. Look at the comments, then: shipper check -c FILE"])
    state = _State(draft, shown)
    for line, statement in _statements(text):
        if statement.startswith("$"):
            _legacy(statement, line, state)
        elif (found := _STATEMENT.match(statement)) is not None and ("(" in statement or found[1].lower() in ("if", "stop",
                                                                                                              "set", "call")):
            _script(found[1].lower(), statement, line, state)
        elif (forward := _LEGACY_FORWARD.fullmatch(statement)) is not None:
            protocol = "tcp" if forward["at"] == "@@" else "udp"
            if forward["what"] not in ("*.*", "&"):
                state.problem(line, f"{forward['what']}: facilities and severities do not choose here; all is forwarded")
            if forward["how"] and forward["how"] != "o":
                state.problem(line, f"({forward['how']}): no compression over syslog; (o) would be octet-counted framing")
            framing = "octet-counted" if forward["how"] == "o" and protocol == "tcp" else ""
            state.forwards.append((line, forward["host"], forward["port"] or "514", protocol, forward["template"] or "", framing))
        else:
            state.problem(line, f"{statement[:60]}: not known here; see docs/sinks/syslog.md")
    if state.pending is not None:
        state.files.append(state.pending)
    if not state.files and not state.forwards:
        raise Usage(f"{shown}: nothing in it reads a file (imfile) or forwards (omfwd); is this the rsyslog config?")
    _write(state)
    draft.problems.sort(key=lambda each: each[1])
    return draft


def _statements(text: str) -> list[tuple[int, str]]:
    """(line, statement); what is in open brackets goes on."""
    found: list[tuple[int, str]] = []
    gathered, begun, depth = "", 0, 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip() if gathered or not raw.lstrip().startswith("#") else ""
        if gathered and line.startswith("#"):
            continue
        line = re.sub(r"\s+#\s.*$", "", line)
        if not line:
            continue
        begun = begun if gathered else number
        gathered = f"{gathered} {line}".strip()
        plain = re.sub(r"\"(?:[^\"\\]|\\.)*\"", "", line)
        depth += plain.count("(") + plain.count("{") - plain.count(")") - plain.count("}")
        if depth <= 0:
            found.append((begun, gathered))
            gathered, depth = "", 0
    if gathered:
        found.append((begun, gathered))
    return found


def _legacy(statement: str, line: int, state: _State) -> None:
    key, _, value = statement.partition(" ")
    name = key.lower()
    if name == "$inputfilename":
        if state.pending is not None:
            state.files.append(state.pending)
        state.pending = (line, value.strip())
    elif name == "$template":
        _template(value, line, state)
    elif name == "$inputrunfilemonitor":
        if state.pending is not None:
            state.files.append(state.pending)
        state.pending = None
    elif name == "$actionforwarddefaulttemplate" or name == "$defaultruleset":
        state.note(line, f"{statement}: see the template")
    elif _NOTED.get(name):
        state.note(line, f"{statement}: {_NOTED[name]}")
    else:
        mend = "convert that file too" if name == "$includeconfig" else "see docs/configuration.md whether a key does the same"
        state.problem(line, f"{statement}: not carried over; {mend}")


def _script(kind: str, statement: str, line: int, state: _State) -> None:
    values = {key.lower(): value for key, value in _PAIR.findall(statement)}
    module = values.pop("type", values.pop("load", "")).lower()
    if kind == "module" and module in _MODULES:
        state.note(line, f"module {module}: shipper needs no modules")
    elif kind == "input" and module == "imfile":
        state.files.append((line, values.pop("file", "")))
        state.from_end = state.from_end or values.get("freshstarttail", "").lower() == "on"
        for key, value in values.items():
            if why := _IMFILE.get(key):
                state.note(line, f"input imfile {key}=\"{value}\": {why}")
            else:
                state.problem(line, f"input imfile {key}=\"{value}\": not carried over; see multiline, start_at and "
                                    f"max_line")
    elif kind == "action" and module == "omfwd":
        for key in values:
            if key.startswith("queue.") or key in ("action.resumeretrycount", "action.resumeinterval", "keepalive", "name",
                                                   "rebindinterval"):
                state.note(line, f"action omfwd {key}=\"{values[key]}\": the buffer is on disk, requests are tried for ever")
            elif key not in ("target", "port", "protocol", "template", "tcp_framing"):
                state.problem(line, f"action omfwd {key}=\"{values[key]}\": not carried over; see tls in docs/sinks/syslog.md")
        framing = values.get("tcp_framing", "")
        if framing not in ("", "octet-counted", "traditional"):
            state.problem(line, f"action omfwd tcp_framing=\"{framing}\": octet-counted and newline are there")
        state.forwards.append((line, values.get("target", ""), values.get("port", "514"), values.get("protocol", "udp"),
                               values.get("template", ""), framing))
    elif kind == "template":
        _template(statement, line, state)
    elif kind in ("global", "main_queue"):
        state.note(line, f"{statement[:80]}: see state_dir, buffer and log")
    elif kind == "ruleset" or (kind == "if" and "omfwd" in statement):
        braces = "{" in statement
        inside = statement[statement.find("{") + 1 : statement.rfind("}")] if braces else statement[statement.find("action"):]
        state.problem(line, f"{statement.split('{')[0].strip()[:60]}: conditions are not carried over, what it forwards is; use "
                            "when: and exclude:")
        for call in re.findall(r"action\s*\((?:\"(?:[^\"\\]|\\.)*\"|[^)])*\)", inside):
            _script("action", call, line, state)
    elif kind == "stop":
        state.note(line, "stop: a record goes to each sink that takes it")
    else:
        state.problem(line, f"{statement[:60]}: no counterpart here; see docs/sinks and docs/processing")


def _template(text: str, line: int, state: _State) -> None:
    if re.search(r"\$!metadata!filename|metadata!filename|a-zA-Z0-9_-\]\*\)-", text):
        state.container_template = True
        state.note(line, "template: format: container-logs writes these lines (time of reading, name from the path, the line)")
    else:
        state.problem(line, f"{text[:60]}: templates are not carried over; RFC 5424 is sent (format: rfc3164 is there too)")


def _variables(text: str) -> str:
    """$NAME, ${NAME} and `echo $NAME` as ${NAME}."""
    return _SHELL.sub(lambda found: f"${{{found[1] or found[2] or found[3]}}}", text)


def _write(state: _State) -> None:
    draft = state.draft
    logs = [(line, path) for line, path in state.files if path.startswith(("/var/log/containers/", "/var/log/pods/"))]
    hosts = [(line, path) for line, path in state.files if (line, path) not in logs and path]
    if logs:
        item = Item("containers", "containers", comments=[f"{state.shown}:{line} imfile" for line, _ in logs])
        item.set("include", [path for _, path in logs])
        item.set("format", "raw", "the line as the runtime wrote it, its header included, as rsyslog forwards it")
        draft.sources["containers"] = item
    if hosts:
        item = Item("files", "files", comments=[f"{state.shown}:{line} imfile" for line, _ in hosts])
        item.set("include", [path for _, path in hosts])
        item.set("format", "raw" if state.container_template else "plain")
        draft.sources["files"] = item
    if not state.files:
        state.problem(1, "nothing reads a file; say what to read under sources")
    if state.from_end:
        for item in draft.sources.values():
            item.set("start_at", "end", "freshStartTail")
    for line, host, port, protocol, template, framing in state.forwards:
        if logs and not state.container_template:
            state.problem(line, f"{'template ' + template if template else 'no template'}: rsyslog sent its own header and tag "
                                "before each line; container-logs sends the name from the path. format: rfc3164 is there too")
        _forward(line, host, port, protocol, framing, state)


def _forward(line: int, host: str, port: str, protocol: str, framing: str, state: _State) -> None:
    name = state.draft.named("rsyslog", "sink")
    item = Item(name, "syslog", comments=[f"{state.shown}:{line} omfwd"])
    item.set("address", f"{_variables(host)}:{_variables(port)}")
    protocol = _variables(protocol) if "$" in protocol else protocol.lower()
    if protocol not in ("tcp", "udp") and not protocol.startswith("$"):
        state.problem(line, f"protocol {protocol}: tcp, tls, udp and relp are there; tcp is written")
        protocol = "tcp"
    item.set("protocol", protocol)
    containers = state.container_template or "containers" in state.draft.sources
    item.set("format", "container-logs" if containers else "rfc5424",
             "newline framing over tcp, a datagram a line over udp" if containers else "")
    if protocol == "tcp" and (framing or not containers):
        item.set("framing", "octet-counted" if framing == "octet-counted" else "newline", "as omfwd")
    item.set("start_at", "oldest", "a new sink begins with what the buffer holds")
    state.draft.sinks[name] = item
