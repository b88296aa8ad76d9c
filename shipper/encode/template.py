"""Templates in configs: `/var/log/archive/{namespace}/{pod}-{container}.ndjson`, `logs-{time:%Y.%m.%d}`, `{labels.app|none}`.

    {field}            node source kind namespace pod pod_uid container container_id restart file
    {labels.NAME}      a pod label; {annotations.NAME} likewise. The name may hold anything but } and |
    {field|default}    the default stands where the value is empty; without one an empty value is "_" in paths
    {time:%Y/%m/%d}    the batch's read time in UTC; %Y %m %d %H %M %S %j %y %s %F %T and %%; {time} alone is RFC 3339
    {{ }}              a brace
A template says what is the same for a whole batch: severity and parsed fields are of a record, and no part of one.

Values come from pods, so each use says what may stay (`Use`): whatever a pod is called, its value stays one path component,
one header value, one syslog field. What may not stay is written %XX (as is % itself), so two names never become one.

Invariants:
  N1  a rendered path never leaves the directory that its static text names: a value holds no '/' and no NUL, begins with no
      dot and is never empty; static text that makes a component "", "." or ".." behind the first field is refused
  N2  different values give different components, also when they had to be cut (16 hex digits of their hash stand in)
  N3  no component is longer than MAX_COMPONENT_BYTES; what file sinks append (rotation stamp, .gz, .tmp) fits behind it
  N4  wrong templates fail when they are compiled, with the column and what is known; rendering never fails
Pure. Hot: once per batch; a template without {time} is rendered once per source.
"""
from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ..model import Batch, Source

Use = Literal["path", "header", "syslog", "text"]

MAX_COMPONENT_BYTES = 255 - 32      # a file name may have 255 bytes; 32 are kept for ".20261120T090405Z_999.gz.tmp" (N3)
_FIELDS: dict[str, Callable[[Source], str]] = {
    "node": lambda s: s.node, "source": lambda s: s.name, "kind": lambda s: s.kind, "namespace": lambda s: s.namespace,
    "pod": lambda s: s.pod, "pod_uid": lambda s: s.pod_uid, "container": lambda s: s.container,
    "container_id": lambda s: s.container_id, "restart": lambda s: str(s.restart), "file": lambda s: os.path.basename(s.path),
}
_MAPS: dict[str, Callable[[Source], object]] = {"labels": lambda s: s.labels, "annotations": lambda s: s.annotations}
_KNOWN = ", ".join([*_FIELDS, "labels.NAME", "annotations.NAME", "time", "time:%Y-%m-%d"])
_OF_A_RECORD = ("severity", "fields", "message", "stream", "id")
_TIME_CODES = "YmdHMSjysFT%"
# Bytes that stay as they are, per use. A path keeps what names of Kubernetes objects have; NUL, /, % and controls never stay.
_KEEP: dict[str, frozenset[int]] = {
    "path": frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+=@:,"),
    "header": frozenset(range(0x20, 0x7F)) - frozenset(b"%"),
    "syslog": frozenset(range(0x21, 0x7F)) - frozenset(b'%"]\\='),
}


@dataclass(frozen=True, slots=True)
class _Field:
    read: Callable[[Source], str]
    default: str | None


@dataclass(frozen=True, slots=True)
class _Time:
    codes: str          # "" for RFC 3339


_Part = str | _Field | _Time


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template. `static_prefix`: the text in front of the first field."""

    text: str
    use: Use
    parts: tuple[_Part, ...]

    @property
    def static_prefix(self) -> str:
        return self.parts[0] if self.parts and isinstance(self.parts[0], str) else ""

    @property
    def has_time(self) -> bool:
        return any(isinstance(part, _Time) for part in self.parts)

    def render(self, batch: Batch) -> str:
        """What the template gives for this batch. Cost: a dict look-up; with {time} about 3 us."""
        if not self.has_time:
            return self.render_source(batch.source)
        return self._render(batch.source, batch.read_ns // 1_000_000_000)

    def render_source(self, source: Source) -> str:
        """`render` for a template without {time}; cached on the source."""
        made: str = source.cached(("template", self.use, self.text), lambda s: self._render(s, 0))
        return made

    def _render(self, source: Source, time_s: int) -> str:
        values = [part if isinstance(part, str) else self._value(part, source, time_s) for part in self.parts]
        text = "".join(values)
        return "/".join(map(_component, text.split("/"))) if self.use == "path" else text

    def _value(self, part: _Field | _Time, source: Source, time_s: int) -> str:
        if isinstance(part, _Time):
            return _format_time(part.codes, time_s)
        value = part.read(source)
        if not value and part.default is not None:
            return part.default
        return sanitise(value, self.use)


def sanitise(value: str, use: Use) -> str:
    """`value` as it may stand in a path component, a header or a syslog field; the rest as %XX (N2). "text" keeps all.

    An empty value is "_" in paths, and a value that is "_" is "%5F" there. A path value that begins with a dot has that dot
    escaped, so that no value alone is "." or ".." or hides a file.
    """
    if use == "text":
        return value
    if not value or value == "_":
        return ("%5F" if value else "_") if use == "path" else value
    raw = _raw(value)
    keep = _KEEP[use]
    kept = "".join([chr(byte) if byte in keep else f"%{byte:02X}" for byte in raw])
    if use == "path" and kept[0] == ".":
        kept = "%2E" + kept[1:]
    return kept


def compile_template(text: str, use: Use = "text") -> Template:
    """ValueError, naming the column and what is known, where `text` is not a template (N4)."""
    parts: list[_Part] = []
    at = 0
    for found in re.finditer(r"\{\{|\}\}|\{([^{}]*)\}|[{}]", text):
        _append_text(parts, text[at:found.start()])
        at = found.end()
        if found[0] in ("{{", "}}"):
            _append_text(parts, found[0][0])
        elif found[1] is None:
            raise ValueError(f"column {found.start() + 1}: a single {found[0]!r}; write {found[0] * 2} for a brace itself")
        else:
            parts.append(_compile_field(found[1], found.start() + 1, use))
    _append_text(parts, text[at:])
    template = Template(text, use, tuple(parts))
    if use == "path":
        _check_path(template)
    return template


def lasting_problems(templates: Mapping[str, str], made: str = "value") -> list[tuple[str, str]]:
    """(key, what is wrong) of templates whose values have to last: those that are none, and those with {time}. made: what a
    new value would make at the far side."""
    found = []
    for key, text in templates.items():
        try:
            if compile_template(text).has_time:
                found.append((key, f"{{time}} would make a new {made} all the time; leave it out"))
        except ValueError as error:
            found.append((key, str(error)))
    return found


def _check_path(template: Template) -> None:
    """Static text and time codes that would give a component which names no file of its own (N1)."""
    if "\0" in template.text:
        raise ValueError("column 1: a NUL cannot stand in a path")
    sample = "".join([_sample(part) for part in template.parts])
    for component in sample[len(template.static_prefix.rpartition("/")[0]) :].lstrip("/").split("/"):
        if component in ("", ".", ".."):
            raise ValueError(f"column 1: {template.text!r} has an empty, '.' or '..' component behind its first field, or no "
                             "file name; write a plain path such as /var/log/archive/{namespace}/{pod}.ndjson")


def _sample(part: _Part) -> str:
    if isinstance(part, _Time):
        return _format_time(part.codes, 0)
    return part if isinstance(part, str) else "x"


def _append_text(parts: list[_Part], text: str) -> None:
    if text and parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)


def _compile_field(inside: str, column: int, use: Use) -> _Field | _Time:
    name, bar, default = inside.partition("|")
    if name == "time" or name.startswith("time:"):
        return _compile_time(name[5:], column, bool(bar))
    if bar and use != "text" and sanitise(default, use) != default:
        raise ValueError(f"column {column}: the default {default!r} cannot stand in a {use}; use letters, digits, '_' and '-'")
    kept_default = default if bar else None
    if name in _FIELDS:
        return _Field(_FIELDS[name], kept_default)
    group, dot, key = name.partition(".")
    if group in _MAPS and dot and key:
        read = _MAPS[group]
        return _Field(lambda source: _look_up(read(source), key), kept_default)
    if group in _OF_A_RECORD:
        raise ValueError(f"column {column}: {{{name}}} is of a record, and a template of what is the same for all of a batch; "
                         f"give the records a sink of their own by `when` (severity, namespace, ...); known are {_KNOWN}")
    raise ValueError(f"column {column}: unknown field {{{name}}}; known are {_KNOWN}")


def _look_up(values: object, key: str) -> str:
    return str(values.get(key, "")) if isinstance(values, Mapping) else ""


def _compile_time(codes: str, column: int, has_default: bool) -> _Time:
    if has_default:
        raise ValueError(f"column {column}: {{time}} is never empty; leave out the default")
    for code in re.findall(r"%(.?)", codes):
        if not code or code not in _TIME_CODES:
            raise ValueError(f"column {column}: unknown time code %{code}; known are " + " ".join("%" + c for c in _TIME_CODES))
    return _Time(codes)


def _format_time(codes: str, time_s: int) -> str:
    when = datetime.fromtimestamp(time_s, UTC)
    return when.strftime(re.sub("%(.)", lambda m: str(time_s) if m[1] == "s" else m[0], codes) or "%Y-%m-%dT%H:%M:%SZ")


def _component(name: str) -> str:
    """One component of a rendered path within MAX_COMPONENT_BYTES: the middle of a long one gives way to its hash between
    two tildes, which no value holds (N2); its end stays, because that is where `.ndjson` stands."""
    raw = _raw(name)
    if len(raw) <= MAX_COMPONENT_BYTES:
        return name
    digest = hashlib.blake2b(raw, digest_size=8).hexdigest()
    end = raw[-16:].decode("utf-8", "ignore")
    return raw[: MAX_COMPONENT_BYTES - 16 - 2 - 16].decode("utf-8", "ignore") + "~" + digest + "~" + end


def _raw(value: str) -> bytes:
    """The bytes of a name: those of the file system where it was not UTF-8."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
