"""fluentd's <source> plug-ins as our sources. Pure."""
from __future__ import annotations

import json
import re
from typing import Any

from .draft import Draft, Item
from .fluentd_values import ACCESS_LOGS, known_time, python_regex, size
from .syntax import Element, assumed, truth

GLOG = re.compile(r"\(\?<severity>\\w\)\(\?<time>\\d\{4\}")
_DOCKERD = re.compile(r"^/?\^?time=\"\(\?<time>")
_CRI = re.compile(r"\(\?<stream>stdout\|stderr\)")
_TYPES = {"string": "string", "integer": "integer", "int": "integer", "float": "number", "bool": "boolean", "boolean": "boolean"}
EACH = "\0"
"""Stands in a tag for what `*` of the path is in each file's: no pattern has it."""

_BY_ITSELF = "shipper does this by itself"
_TAIL_NOTES = {
    "refresh_interval": "directories are watched", "rotate_wait": "rotation is followed, whatever it takes",
    "enable_watch_timer": _BY_ITSELF, "enable_stat_watcher": _BY_ITSELF, "skip_refresh_on_startup": _BY_ITSELF,
    "read_lines_limit": "reads are bounded by bytes", "follow_inodes": _BY_ITSELF, "open_on_every_update": _BY_ITSELF,
    "ignore_repeated_permission_error": "said once", "multiline_flush_interval": "a record ends after 1 s of silence",
    "path_key": "each record of a host file has its path in `file`", "limit_recently_modified": "positions tell what is new",
    "pos_file_compaction_interval": "positions are in the buffer's frames", "tag": "records are routed by source (`when`)",
    "keep_time_key": "the time is the record's own", "time_key": "the time is found by its usual names", "@id": "a name",
    "@log_level": "see log.level", "time_format": "the usual times are known (docs/processing/parse.md)", "types": "",
    "time_type": "the usual times are known", "localtime": "host files: local time", "utc": "containers: UTC",
}


def source(element: Element, draft: Draft) -> Item | None:
    """What it becomes, in `draft`; None where it becomes none, and that was said."""
    kind = element.type
    if kind in ("tail", "tail_ex"):
        return _tail(element, draft)
    if kind == "systemd":
        return _systemd(element, draft)
    if kind in ("monitor_agent", "prometheus", "prometheus_monitor", "prometheus_tail_monitor", "prometheus_output_monitor",
                "debug_agent",
                "gc_stat", "object_space"):
        draft.note_element(element, "the agent's own port has /metrics, /healthz and /status (admin.listen)")
    else:
        draft.refuse(element, f"shipper has no source like {kind or 'this'}: it reads log files, the journal and /dev/kmsg; keep "
                              "fluentd for it, or let the program write a log file")
    return None


# ------------------------------------------------------------ tail


def _tail(element: Element, draft: Draft) -> Item | None:
    text = element.take("path") or ""
    paths = [text.strip()] if text and "," not in text and not text.startswith("[") else _list(assumed(text))
    if not paths:
        draft.refuse(element, "no path; name the files under include")
        return None
    containers = all(re.match(r"/var/log/(containers|pods)/|/var/lib/docker/containers/", assumed(path)) for path in paths)
    include = [re.sub(r"%[A-Za-z]", "*", path) for path in paths]
    tag = assumed(element.params["tag"].value if "tag" in element.params else "file")
    name = "containers" if containers else tag.strip(".*").replace(".", "-") or "files"
    item = Item(draft.named(name, "files"), "containers" if containers else "files")
    item.comments.append(f"{element.place} {element.title}")
    item.set("include", include, "" if include == paths else "% of a date became *")
    if exclude := _list(element.take("exclude_path") or ""):
        item.set("exclude", exclude)
    item.tag_of_each_file = "*" in tag
    item.tag = tag.replace("*", assumed(paths[0]).replace("*", EACH).strip("/").replace("/", "."))
    item.label = element.take("@label") or ""
    _start(element, item)
    _position(element, item, draft)
    if limit := element.take("max_line_size"):
        if size(limit) is None:
            draft.problem(element, "is not a size that is known here; write max_line: 1MiB", "max_line_size")
        item.set("max_line", size(limit) or "1MiB", "longer lines are cut and marked, not dropped")
    if (encoding := element.params.get("encoding")) is not None and encoding.value.lower() in ("utf-8", "utf8", "ascii-8bit"):
        draft.note(element, "encoding", "bytes stay as they are")
    _formats(element, item, draft)
    for key, why in _TAIL_NOTES.items():
        note(element, key, why, item, draft)
    draft.note(element, "emit_unmatched_lines", "what does not parse is shipped as it stands, and counted")
    if any(re.match(r"/var/lib/docker", path) for path in include):
        draft.note(element, "path", "the pod's names come from the links in /var/log/containers; without them records have none")
    draft.sources[item.name] = item
    return item


def note(element: Element, key: str, why: str, item: Item, draft: Draft) -> None:
    """`draft.note`, but of a time_format that is not known here."""
    own = {item.keys.get("format"), str(item.keys.get("parse"))} & {"klog", "syslog", "docker-daemon", "auto"}
    form = element.params.get(key) if key == "time_format" and item.type != "containers" and not own else None
    if form is None or known_time(form.value):
        draft.note(element, key, why)
    else:
        draft.problem(element, "times of this form are not known: records have the time of reading, and the text stays a field; "
                               "let the program write RFC 3339", key)


def _start(element: Element, item: Item) -> None:
    head = truth(element.take("read_from_head"))
    item.set("start_at", "beginning" if head else "end",
             "read_from_head" if head else "as without read_from_head: what is there at the first start is passed over, and "
                                           "counted")


def _position(element: Element, item: Item, draft: Draft) -> None:
    path = element.take("pos_file")
    if path:
        item.comments.append(f"before the first start: shipper positions import --from fluentd {path} -c THIS_FILE")
    elif item.type != "journal":
        draft.note(element, "pos_file", "positions are kept in state_dir")


def _list(text: str) -> list[str]:
    text = text.strip()
    if text.startswith("["):
        try:
            return [str(each) for each in json.loads(text)]
        except ValueError:
            return [part.strip(" \"'") for part in text.strip("[]").split(",") if part.strip(" \"'")]
    return [part.strip() for part in text.split(",") if part.strip()]


def _formats(element: Element, item: Item, draft: Draft) -> None:
    """`format X` of old, or <parse>."""
    parse = element.child("parse")
    where = parse if parse is not None else element
    kind = (parse.type if parse is not None else element.take("format")) or "none"
    if item.type == "containers":
        _container_format(kind, where, item, draft)
    else:
        _file_format(kind, where, item, draft)
    if parse is not None:
        for key, why in _TAIL_NOTES.items():
            if key != "types":
                note(parse, key, why, item, draft)
        for key in ("keep_time_key", "estimate_current_event", "timeout", "null_empty_string", "null_value_pattern"):
            draft.note(parse, key, "not needed: a line is never dropped for its time or an empty value")
    if types := where.params.get("types"):
        _types(types.value, where, item, draft)


def _container_format(kind: str, where: Element, item: Item, draft: Draft) -> None:
    expression = where.params["expression"].value if "expression" in where.params else kind
    patterns = [c for c in where.children if c.name == "pattern"]
    if kind == "multi_format" and patterns:
        for pattern in patterns:
            form = (pattern.take("format") or pattern.type) or ""
            expression = pattern.take("expression") or form
            if form in ("json", "cri", "none") or _CRI.search(expression):
                draft.note_element(pattern, "format: auto knows CRI and docker's json-file, and ships what is neither")
            else:
                draft.problem(pattern, f"format: auto knows CRI and docker's json-file, not {form}; look at such a line with "
                                       "`shipper test -c FILE --line ...`")
        where.taken.add("@type")
        item.set("format", "auto", "CRI or docker, told by the file's first line")
    elif kind in ("json", "cri") or _CRI.search(expression):
        where.taken.add("expression")
        draft.note(where, "merge_cri_fields", "stream and time are the record's own, the line is its message")
        item.set("format", "auto", "CRI or docker, told by the file's first line")
    elif kind == "none":
        item.set("format", "raw", "format none: the line as the runtime wrote it, its header included")
    else:
        item.set("format", "auto")
        draft.problem(where, f"{kind} is no format of container logs; shipper takes CRI and docker's json-file (format: auto)",
                      "@type")


def _file_format(kind: str, where: Element, item: Item, draft: Draft) -> None:
    expression = where.take("expression") or (kind if kind.startswith("/") else "")
    if kind in ("none", "text"):
        item.set("format", "plain")
        draft.note(where, "message_key", "the line is the record's message")
    elif kind in ("json", "syslog"):
        item.set("format", kind)
        for key in ("message_format", "with_priority", "support_colonless_ident", "parser_engine", "json_parser", "parser_type"):
            draft.note(where, key, "RFC 3164 and 5424 are told apart by the line" if kind == "syslog" else "one parser")
    elif kind in ("kubernetes", "multiline_kubernetes"):
        item.set("format", "klog", "severity, time, pid, source and message of glog lines")
        item.set("multiline", {"start": r"^\w\d{4}"})
    elif kind == "multiline":
        _multiline(where, item, draft)
    elif kind == "multi_format":
        _several(where, item, draft)
    elif kind in ("regexp", "regex") or kind.startswith("/"):
        _regexp(expression, item)
    elif kind in ACCESS_LOGS:
        item.set("format", "plain")
        item.set("parse", dict(ACCESS_LOGS[kind]), f"fluentd's parser {kind}")
    elif kind == "ltsv" or kind == "logfmt":
        item.set("format", "plain")
        if kind == "logfmt":
            item.set("parse", "logfmt")
        else:
            draft.problem(where, "no parser for LTSV; the line is shipped whole. Write it as parse: {regex: ...}", "@type")
    else:
        item.set("format", "plain")
        key = "format" if "format" in where.params else "@type"
        draft.problem(where, f"no parser named {kind}; the line is shipped whole. Write it as parse: {{regex: '(?P<name>...)'}}",
                      key)


def _multiline(where: Element, item: Item, draft: Draft) -> None:
    first = where.take("format_firstline")
    parts = [where.take(key) or "" for key in sorted(
        (k for k in where.params if re.fullmatch(r"format\d+", k)), key=lambda k: int(k[6:]))]
    if first:
        item.set("multiline", {"start": python_regex(first)})
    else:
        draft.problem(where, "multiline without format_firstline: say where a record begins, multiline: {start: '...'}", "@type")
    if len(parts) == 1:
        _regexp(parts[0], item)
        if isinstance(how := item.keys.get("parse"), dict):
            how["regex"] = _over_lines(how["regex"])
    elif parts:
        joined = "".join(re.sub(r"^\(\?[isx]+\)", "", python_regex(part)) for part in parts)
        item.set("format", "plain")
        item.set("parse", {"regex": _over_lines(joined)}, f"format1 to format{len(parts)}, one behind the other")


def _over_lines(expression: str) -> str:
    """As fluentd's multiline reads it: a point is a newline too; `^` and `$` in the middle are the ends of lines."""
    flags = re.match(r"\(\?([a-z]+)\)", expression)
    bare = expression[flags.end() if flags else 0:]
    by_line = "m" if re.search(r"[^\\\[]\^|[^\\]\$(?!$)", bare) else ""
    return f"(?{''.join(sorted({*(flags[1] if flags else ''), 's', *by_line}))}){bare}"


def _several(where: Element, item: Item, draft: Draft) -> None:
    """multi_format: one parser a source; a line that it does not find is shipped whole, as with `none` at the end."""
    patterns = [c for c in where.children if c.name == "pattern"]
    forms = [(p.take("format") or p.type) or "" for p in patterns]
    parsers = [(p.take("expression") or form) for p, form in zip(patterns, forms, strict=True) if form not in ("none", "text")]
    for pattern in patterns:
        pattern.close()
    where.taken.add("@type")
    where.taken.add("format")
    if parsers == ["json"]:
        item.set("format", "json")
    elif len(parsers) == 1 and parsers[0].startswith("/"):
        _regexp(parsers[0], item)
    else:
        item.set("format", "plain")
        draft.problem(where, f"{', '.join(parsers) or 'nothing'}: one parser a source; the line is shipped whole. Write "
                             "parse: auto (JSON and glog), or parse: {regex: ...} with what is in all of them")


def _regexp(expression: str, item: Item) -> None:
    if GLOG.search(expression):
        item.set("format", "klog", "severity, time, pid, source and message of glog lines")
    elif _DOCKERD.search(expression):
        item.set("format", "docker-daemon", 'time= level= msg="..." and what stands behind')
    else:
        item.set("format", "plain")
        item.set("parse", {"regex": python_regex(expression)})


def _json(text: str) -> Any:
    """None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _types(text: str, where: Element, item: Item, draft: Draft) -> None:
    parse = item.keys.get("parse")
    wanted: dict[str, str] = {}
    if text.startswith("{"):
        said = _json(text)
        wanted = {str(k): str(v) for k, v in said.items()} if isinstance(said, dict) else {text: ""}
    else:
        wanted = dict(pair.split(":", 1) for pair in text.replace(" ", "").split(",") if ":" in pair)
    known = {name: _TYPES[kind.split(":")[0]] for name, kind in wanted.items() if kind.split(":")[0] in _TYPES}
    if isinstance(parse, dict):
        where.taken.add("types")
        parse["types"] = {n: t for n, t in known.items() if f"(?P<{n}>" in parse["regex"]}
    if not isinstance(parse, dict) or len(known) < len(wanted):
        draft.problem(where, "types are for fields of parse: {regex: ...}: string, integer, number, boolean", "types")


# ------------------------------------------------------------ journal


def _systemd(element: Element, draft: Draft) -> Item:
    tag = assumed(element.take("tag") or "journal")
    item = Item(draft.named(tag.replace(".", "-"), "journal"), "journal", tag=tag)
    item.comments.append(f"{element.place} {element.title}")
    item.label = element.take("@label") or ""
    for key in ("filters", "matches"):
        _matches(element, key, item, draft)
    path = element.take("path")
    item.set("directory", path or "/var/log/journal", "" if path else "where fluentd looks by itself; in a pod it has to be said")
    _start(element, item)
    cursor = element.take("pos_file") or (s.take("path") if (s := element.child("storage")) is not None else None)
    if storage := element.child("storage"):
        draft.note_element(storage, "positions are in the buffer's frames")
    if cursor:
        item.comments.append("before the first start: shipper positions import --from fluentd-journal "
                             f"{cursor} --source {item.name} -c THIS_FILE")
    if entry := element.child("entry"):
        draft.refuse(entry, "fields keep journald's names; choose them with fields: [...]")
    for key, why in (("@id", "a name"), ("tag", "records are routed by source"), ("@log_level", "see log.level")):
        draft.note(element, key, why)
    draft.sources[item.name] = item
    return item


def _matches(element: Element, key: str, item: Item, draft: Draft) -> None:
    text = element.take(key)
    if text is None:
        return
    found = _json(text)
    if not isinstance(found, list) or not all(isinstance(match, dict) for match in found):
        draft.problem(element, "is no JSON list of matches; write units: [...] or identifiers: [...]", key)
        return
    for match in found:
        known = {"_SYSTEMD_UNIT": "units", "SYSLOG_IDENTIFIER": "identifiers"}
        if match.get("_TRANSPORT") == "kernel" and len(match) == 1:
            match = {"SYSLOG_IDENTIFIER": "kernel"}
        if len(match) != 1 or not match.keys() <= known.keys():
            draft.problem(element, f"only one of {', '.join(known)} a match; take the rest with keep: "
                                   f"[{{field: ..., match: ...}}]", key)
            continue
        field, value = next(iter(match.items()))
        values = [str(v) for v in value] if isinstance(value, list) else [str(value)]
        if any("{{" in v for v in values):
            draft.problem(element, "holds a placeholder {{...}} that is filled in elsewhere; write its value into units", key)
        item.set(known[field], [*item.keys.get(known[field], []), *values])
    if {"units", "identifiers"} <= item.keys.keys():
        draft.problem(element, "any of them was enough, units and identifiers must both hold here; make two sources of them", key)
