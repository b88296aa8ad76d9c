"""rsyslog's imfile and omfwd as ours: the template for container logs, in the legacy form ($InputFileName, *.* @@host:port)
and in RainerScript (input(...), action(...)). Pure.

A config that forwards /var/log/containers becomes `format: raw` and `format: container-logs`: the same lines at the same
receiver.

Invariants (tests/agent/convert/test_rsyslog.py):
  R1  each statement is carried over, noted or reported, with its line
  R2  a file's lines go to the receivers of its ruleset, and to no other
"""
from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...errors import Usage
from .draft import Draft
from .rsyslog_statements import ACTION, statements
from .rsyslog_write import Forward, Input, write
from .syntax import Include

_STATEMENT = re.compile(r"(module|input|action|global|template|main_queue|ruleset|if|property|parser|timezone|lookup_table"
                        r"|set|unset|call|stop)\b",
                        re.IGNORECASE)
_PAIR = re.compile(r"([\w.]+)\s*=\s*\"((?:[^\"\\]|\\.)*)\"")
_LEGACY_FORWARD = re.compile(r"(?P<at>@{1,2})(?:\((?P<how>[^)]*)\))?"
                             r"(?P<host>\[[^\]]+\]|[^:;\s]+)(?::(?P<port>[^;\s]+))?(?:;(?P<template>\S+))?")
_WITH_SELECTOR = re.compile(r"(?P<what>:.*?\"\s*|[^\s\"]+)\s+(?=action\s*\(|@)(?P<then>.*)", re.DOTALL)
_FACILITIES = re.compile(r"([a-z0-9,]+|\*)\.\*", re.IGNORECASE)
_OWN_OUTPUT = re.compile(r"[^\s\"]+\s+(?:-?/\S*|:omusrmsg:\S*|\|\S+|\*)")
_INCLUDE = re.compile(r"(?:\$IncludeConfig\s+(\S+)|include\s*\(.*?\bfile\s*=\s*\"([^\"]+)\")", re.IGNORECASE | re.DOTALL)
MOST_FILES = 200
_STOP = re.compile(r"(?:&\s*)?(?:stop|~)")
_SYSTEM = {"imuxsock": "the system's own messages", "imklog": "the kernel's messages", "imjournal": "the journal's entries"}
_NOTED = {
    "$workdirectory": "see state_dir",
    "$inputfilestatefile": "positions are in state_dir", "$inputrunfilemonitor": "", "$inputfilepollinterval": "inotify",
    "$actionqueuetype": "the buffer is on disk", "$actionqueuefilename": "the buffer is on disk",
    "$actionresumeretrycount": "tried for ever", "$actionqueuesaveonshutdown": "always", "$actionqueuemaxdiskspace": None,
    "$maxmessagesize": "lines up to max_line (1MiB) are whole", "$privdroptouser": "see docs/systemd.md",
    "$privdroptogroup": "see docs/systemd.md", "$filecreatemode": "no files are written", "$umask": "no files are written",
    "$repeatedmsgreduction": "no line is left out", "$actionfiledefaulttemplate": "see the template",
    "$fileowner": "no files are written", "$filegroup": "no files are written", "$dircreatemode": "no files are written",
    "$inputfilepersiststateinterval": "positions are in the buffer's frames", "$defaultnetstreamdriver": "see tls",
}
_IMFILE = {
    "addmetadata": "records have their file", "statefile": "positions are in state_dir",
    "reopenontruncate": "rotation is followed, whatever it takes",
    "persiststateinterval": "positions are in the buffer's frames", "freshstarttail": "see start_at",
}
_MODULES = ("imfile", "omfwd", "immark", "mmjsonparse", "lmnet", "lmnsd_gtls", "builtin:omfwd", "builtin:omfile")
_OF_INPUT = {"$inputfiletag": "tag", "$inputfilefacility": "facility", "$inputfileseverity": "severity",
             "$inputfilebindruleset": "ruleset"}


@dataclass(slots=True)
class _State:
    """`order`: the files that were read, `shown` the one at hand. `pending`: a file of the legacy form that is still being
    described. `ruleset`, `facilities`: of the statement at hand; `selected`: the last selector's, which `&` means again. `calls`:
    which ruleset calls which, "" for the default one."""

    draft: Draft
    shown: str
    files: list[Input] = field(default_factory=list)
    pending: Input | None = None
    container_template: bool = False
    forwards: list[Forward] = field(default_factory=list)
    from_end: bool = False
    order: list[str] = field(default_factory=list)
    ruleset: str = ""
    calls: set[tuple[str, str]] = field(default_factory=set)
    facilities: frozenset[str] = frozenset()
    selected: frozenset[str] = frozenset()
    tls_mode: bool = False
    ca_file: str = ""

    def problem(self, line: int, why: str) -> None:
        self.draft.problems.append((self.shown, line, why))

    def note(self, line: int, why: str) -> None:
        self.draft.notes.append(f"{self.shown}:{line} {why}")


def convert(text: str, shown: str, include: Include = lambda target, file: None) -> Draft:
    """`include`: what $IncludeConfig and include() name. Usage where nothing in it all reads a file and nothing forwards."""
    draft = Draft(header=[f"From {shown}, by shipper convert rsyslog. Look at the comments, then: shipper check -c FILE"])
    state = _State(draft, shown)
    _read(text, shown, state, include)
    _ready(state)
    if not state.files and not state.forwards:
        read = f" and the {len(state.order) - 1} files that it includes" if len(state.order) > 1 else ""
        raise Usage(f"{shown}: nothing in it{read} reads a file (imfile) or forwards (omfwd); is this the rsyslog config?")
    write(state.files, state.forwards, draft, shown, calls=state.calls, from_end=state.from_end, ca_file=state.ca_file,
          container_template=state.container_template)
    draft.problems.sort(key=lambda each: (state.order.index(each[0]), each[1]))
    return draft


def _read(text: str, shown: str, state: _State, include: Include) -> None:
    """A file, and those that it includes where it names them."""
    if shown not in state.order:
        state.order.append(shown)
    for line, statement in statements(text):
        state.shown = shown
        found = _INCLUDE.match(statement)
        if found is None:
            _statement(statement, line, state)
            continue
        inside = include(found[1] or found[2], shown)
        if inside is None or len(state.order) > MOST_FILES:
            state.problem(line, f"{statement}: not read, no such file is here; convert that file too")
        else:
            state.note(line, f"{statement}: converted with it")
            for name, more in inside if inside else ():
                if name not in state.order:
                    _read(more, name, state, include)
    state.shown = shown


def _statement(statement: str, line: int, state: _State) -> None:
    if statement.startswith("$"):
        _legacy(statement, line, state)
    elif (found := _STATEMENT.match(statement)) is not None and ("(" in statement or found[1].lower() in ("if", "stop",
                                                                                                          "set", "call")):
        _script(found[1].lower(), statement, line, state)
    elif _STOP.fullmatch(statement):
        state.note(line, f"{statement}: a record goes to each sink that takes it")
    elif _OWN_OUTPUT.fullmatch(statement):
        _select(statement.split()[0], state)
        state.note(line, f"{re.sub(r'[^!-~]+', ' ', statement)}: rsyslog's own files and users; it may go on writing them")
    elif (selected := _WITH_SELECTOR.fullmatch(statement)) is not None:
        _selected(selected["what"].strip(), selected["then"], line, state)
    else:
        state.problem(line, f"{statement[:60]}: not known here; see docs/sinks/syslog.md")


def _select(what: str, state: _State) -> bool:
    """Whether a selector chooses by facilities alone, or not at all; `&` is the one before."""
    chosen = _FACILITIES.fullmatch(what)
    if what != "&":
        state.selected = frozenset(chosen[1].lower().split(",")) if chosen and chosen[1] != "*" else frozenset()
    return what == "&" or chosen is not None


def _selected(what: str, then: str, line: int, state: _State) -> None:
    """`*.* @@host:port` and `*.* action(...)`."""
    known = _select(what, state)
    state.facilities = state.selected
    if not known:
        kind = "conditions do" if what.startswith(":") else "facilities and severities do"
        state.problem(line, f"{what}: {kind} not choose here; all is forwarded")
    if not then.startswith("@"):
        _script("action", then, line, state)
    elif (forward := _LEGACY_FORWARD.fullmatch(then)) is None:
        state.problem(line, f"{then[:60]}: not known here; see docs/sinks/syslog.md")
    else:
        protocol = "tcp" if forward["at"] == "@@" else "udp"
        if forward["how"] and forward["how"] != "o":
            state.problem(line, f"({forward['how']}): no compression over syslog; (o) would be octet-counted framing")
        framing = "octet-counted" if forward["how"] == "o" and protocol == "tcp" else ""
        state.forwards.append(Forward(
            state.shown, line, forward["host"], forward["port"] or "514", protocol, forward["template"] or "", framing,
            state.ruleset, state.tls_mode and protocol == "tcp", state.facilities))
    state.facilities = frozenset()


def _ready(state: _State) -> None:
    if state.pending is not None:
        state.files.append(state.pending)
    state.pending = None


def _module(module: str, line: int, state: _State) -> None:
    if module in _SYSTEM:
        state.problem(line, f"module {module}: {_SYSTEM[module]} were forwarded too, and no source here reads them; add a source "
                            "`system: {type: journal}`" + (", or `kernel: {type: kmsg}`" if module == "imklog" else ""))
    elif module in _MODULES:
        state.note(line, f"module {module}: shipper needs no modules")
    else:
        state.problem(line, f"module {module}: no counterpart here; see docs/sources and docs/sinks")


def _legacy(statement: str, line: int, state: _State) -> None:
    key, _, value = statement.partition(" ")
    name = key.lower()
    value = value.strip()
    if name == "$inputfilename":
        _ready(state)
        state.pending = Input(state.shown, line, value)
    elif name in _OF_INPUT and state.pending is not None:
        setattr(state.pending, _OF_INPUT[name], value)
    elif name == "$template":
        _template(value, line, state)
    elif name == "$inputrunfilemonitor":
        _ready(state)
    elif name == "$modload":
        _module(re.sub(r"\s.*|\.so$", "", value).removesuffix(".so").lower(), line, state)
    elif name == "$actionsendstreamdrivermode":
        state.tls_mode = value == "1"
    elif name == "$defaultnetstreamdrivercafile":
        state.ca_file = value
    elif name == "$ruleset":
        state.ruleset = value if value.lower() != "rsyslog_defaultruleset" else ""
        state.note(line, f"{statement}: when of the sinks behind it")
    elif name == "$actionforwarddefaulttemplate" or name == "$defaultruleset":
        state.note(line, f"{statement}: see the template")
    elif _NOTED.get(name):
        state.note(line, f"{statement}: {_NOTED[name]}")
    else:
        state.problem(line, f"{statement}: not carried over; see docs/configuration.md whether a key does the same")


def _script(kind: str, statement: str, line: int, state: _State) -> None:
    values = {key.lower(): value for key, value in _PAIR.findall(statement)}
    module = values.pop("type", values.pop("load", "")).lower()
    if kind == "module":
        _module(module, line, state)
    elif kind == "input" and module == "imfile":
        _imfile(values, line, state)
    elif kind == "action" and module == "omfwd":
        _omfwd(values, line, state)
    elif kind == "template":
        _template(statement, line, state)
    elif kind in ("global", "main_queue"):
        state.ca_file = values.get("defaultnetstreamdrivercafile", state.ca_file)
        state.note(line, f"{statement[:80]}: see state_dir, buffer, log and tls")
    elif kind == "ruleset":
        _ruleset(statement, line, state)
    elif kind == "call":
        state.calls.add((state.ruleset, statement.split()[-1]))
        state.note(line, f"{statement}: its receivers get what comes there")
    elif kind == "if" and "omfwd" in statement:
        _conditional(statement, line, state)
    elif kind == "stop":
        state.note(line, "stop: a record goes to each sink that takes it")
    else:
        state.problem(line, f"{statement[:60]}: no counterpart here; see docs/sinks and docs/processing")


def _ruleset(statement: str, line: int, state: _State) -> None:
    head, _, inside = statement.partition("{")
    name = re.search(r"\bname\s*=\s*\"([^\"]*)\"", head, re.IGNORECASE)
    state.ruleset = name[1] if name else ""
    if re.search(r"\bif\b", inside):
        _conditional(statement, line, state)
    else:
        for inner_line, inner in statements(inside[: inside.rfind("}")]):
            _statement(inner, line + head.count("\n") + inner_line - 1, state)
    state.ruleset = ""


def _conditional(statement: str, line: int, state: _State) -> None:
    """All that it forwards."""
    head, brace, inside = statement.partition("{")
    state.problem(line, f"{' '.join(head.split())[:60]}: conditions are not carried over, what it forwards is; use when: and "
                        "exclude:")
    inside = inside if brace else statement
    for call in ACTION.findall(inside):
        _script("action", call, line, state)
    for each in inside.splitlines():
        selected = _WITH_SELECTOR.fullmatch(each.strip())
        if selected is not None and selected["then"].startswith("@"):
            _selected(selected["what"].strip(), selected["then"].strip(), line, state)


def _imfile(values: dict[str, str], line: int, state: _State) -> None:
    found = Input(state.shown, line, values.pop("file", ""))
    state.from_end = state.from_end or values.get("freshstarttail", "").lower() == "on"
    for key, value in values.items():
        if key in ("tag", "facility", "severity", "ruleset"):
            setattr(found, key, value)
        elif key == "startmsg.regex":
            found.start = value.replace("\\\\", "\\")
        elif why := _IMFILE.get(key):
            state.note(line, f"input imfile {key}=\"{value}\": {why}")
        else:
            state.problem(line, f"input imfile {key}=\"{value}\": not carried over; see multiline, start_at and "
                                f"max_line")
    state.files.append(found)


def _omfwd(values: dict[str, str], line: int, state: _State) -> None:
    tls = values.get("streamdrivermode", "") == "1"
    for key, value in values.items():
        if key.startswith("queue.") or key in ("action.resumeretrycount", "action.resumeinterval", "keepalive", "name",
                                               "rebindinterval"):
            state.note(line, f"action omfwd {key}=\"{value}\": the buffer is on disk, requests are tried for ever")
        elif key in ("streamdriver", "streamdrivermode", "streamdriver.name", "streamdriver.mode"):
            if not tls:
                state.problem(line, f"action omfwd {key}=\"{value}\": tls only with streamdrivermode=\"1\"; see tls in "
                                    "docs/sinks/syslog.md")
        elif key == "streamdriverpermittedpeers":
            state.problem(line, f"action omfwd {key}=\"{value}\": the certificate has to be for the host, or for tls.server_name")
        elif key == "streamdriverauthmode" and tls and value.startswith("x509"):
            state.note(line, f"action omfwd {key}=\"{value}\": the certificate is always verified")
        elif key not in ("target", "port", "protocol", "template", "tcp_framing"):
            state.problem(line, f"action omfwd {key}=\"{value}\": not carried over; see tls in docs/sinks/syslog.md")
    framing = values.get("tcp_framing", "")
    if framing not in ("", "octet-counted", "traditional"):
        state.problem(line, f"action omfwd tcp_framing=\"{framing}\": octet-counted and newline are there")
    state.forwards.append(Forward(
        state.shown, line, values.get("target", ""), values.get("port", "514"), values.get("protocol", "udp"),
        values.get("template", ""), framing, state.ruleset, tls, state.facilities))


def _template(text: str, line: int, state: _State) -> None:
    if re.search(r"\$!metadata!filename|metadata!filename|a-zA-Z0-9_-\]\*\)-", text):
        state.container_template = True
        state.note(line, "template: format: container-logs writes these lines (time of reading, name from the path, the line)")
    else:
        state.problem(line, f"{text[:60]}: templates are not carried over; RFC 5424 is sent (format: rfc3164 is there too)")
