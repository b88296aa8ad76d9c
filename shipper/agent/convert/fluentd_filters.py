"""fluentd's <filter> plug-ins, and the <match> plug-ins that only pass records on, as keys of our sources. Pure."""
from __future__ import annotations

import re

from .draft import Draft, Item
from .fluentd_redact import masks, replaces
from .fluentd_sources import GLOG, note
from .fluentd_values import ACCESS_LOGS, python_regex
from .syntax import Element

_MESSAGE = ("log", "message", "msg", "MESSAGE", "$.log", "$.message")
_NEUTRAL = {
    "prometheus": "the agent counts by itself: /metrics",
    "add_insert_ids": "each record has an id that says what it is made of; Cloud Logging's insertId is made of it",
    "kubernetes_metadata": "pod names come from the path, labels and annotations from the API server (docs/metadata.md)",
    "geoip": "", "dedot": "", "systemd_entry": "", "stdout": "",
}
_PARSER_NOTES = ("reserve_data", "reserve_time", "suppress_parse_error_log", "emit_invalid_record_to_error",
                 "remove_key_name_field",
                 "replace_invalid_sequence", "ignore_key_not_exist", "time_format", "time_key", "keep_time_key",
                 "hash_value_field",
                 "inject_key_prefix", "time_parse", "time_type")


def apply(element: Element, item: Item, draft: Draft) -> None:
    """What the filter does to the records of `item`."""
    kind = element.type
    draft.note(element, "@id", "a name")
    draft.note(element, "@log_level", "see log.level")
    if kind == "parser":
        _parser(element, item, draft)
    elif kind == "grep":
        _grep(element, item, draft)
    elif kind in ("record_transformer", "record_modifier", "record_reformer"):
        _records(element, item, draft)
    elif kind == "detect_exceptions":
        exceptions(element, item, draft)
    elif kind == "concat":
        _concat(element, item, draft)
    elif _NEUTRAL.get(kind):
        if not element.closed:
            draft.note_element(element, _NEUTRAL[kind])
    else:
        draft.refuse(element, f"no filter {kind} here; see docs/processing for parse, keep, drop, redact, limit and multiline")


def _parser(element: Element, item: Item, draft: Draft) -> None:
    parse = element.child("parse")
    where = parse if parse is not None else element
    kind = (parse.type if parse is not None else element.take("format")) or ""
    key = element.take("key_name") or "log"
    if key not in _MESSAGE:
        draft.refuse(element, f"only the message is parsed, not the field {key}; parse it where the records go")
        return
    expression = where.take("expression") or (kind if kind.startswith("/") else "")
    patterns = [c for c in where.children if c.name == "pattern"]
    before = f"parse: {item.keys['parse']}" if "parse" in item.keys else ""
    if kind == "json":
        before = parse_as(item, "json")
    elif kind in ("logfmt", "syslog"):
        if not before:
            item.set("parse", kind)
    elif GLOG.search(expression):
        before = parse_as(item, "klog")
    elif kind in ACCESS_LOGS:
        if not before:
            item.set("parse", dict(ACCESS_LOGS[kind]), f"fluentd's parser {kind}")
    elif expression:
        if not before:
            item.set("parse", {"regex": python_regex(expression)})
    elif patterns and all((p.take("format") or p.type) in ("json", "none") for p in patterns):
        before = parse_as(item, "json")
        where.close()
    else:
        draft.refuse(element, f"no parser {kind or 'named'} here; write parse: {{regex: '(?P<name>...)'}}")
        return
    if before:
        draft.refuse(element, f"the source has {before} already; one parser a source, rules in process: for others")
        return
    for name in _PARSER_NOTES:
        for each in {id(element): element, id(where): where}.values():
            note(each, name, "what is parsed stands under fields; what does not parse stays as it was, and is counted",
                 item, draft)
    if types := where.params.get("types"):
        from .fluentd_sources import _types

        _types(types.value, where, item, draft)


def parse_as(item: Item, kind: str) -> str:
    """json and klog together are `auto`. What stands in the way of it, "" where nothing does: a source has one parser."""
    if item.keys.get("format") in ("syslog", "docker-daemon", "raw") and item.keys["format"] != kind:
        return f"format: {item.keys['format']}"           # a parser of its own, or lines as they stand
    before = item.keys.get("parse", item.keys.get("format") if item.keys.get("format") in ("klog", "json") else None)
    if before in (None, kind):
        if item.keys.get("format") != kind:
            item.set("parse", kind)
    elif isinstance(before, str) and {before, kind} <= {"json", "klog", "auto"}:
        item.set("parse", "auto", "JSON objects and glog lines")
    else:
        return f"parse: {before}"
    return ""


def _grep(element: Element, item: Item, draft: Draft) -> None:
    keeps: list[dict[str, str]] = []
    drops: list[dict[str, str]] = []
    for child in element.children:
        inside = [child] if child.name in ("regexp", "exclude") else child.children
        if (child.name == "and" and len(inside) > 1) or child.name not in ("and", "or", "regexp", "exclude"):
            draft.refuse(child, "conditions that must all hold, on several fields, are not there; write one regular expression")
            continue
        for each in inside:
            (keeps if each.name == "regexp" else drops).append(_condition(each.take("key"), each.take("pattern")))
    for key in [k for k in element.params if re.fullmatch(r"(regexp|exclude)\d+", k)]:
        name, _, pattern = (element.take(key) or "").partition(" ")
        (keeps if key.startswith("regexp") else drops).append(_condition(name, pattern.strip()))
    keeps = [c for c in keeps if not _of_the_pod(c, "keep", item, element, draft)]
    drops = [c for c in drops if not _of_the_pod(c, "drop", item, element, draft)]
    if ("keep" in item.keys and keeps) or len(keeps) > 1:
        draft.problem(element, "all of its <regexp> had to hold, of the conditions in keep one is enough; write one of them as "
                               "a drop")
        keeps = keeps[:1] if "keep" not in item.keys else []
    for name, found in (("keep", keeps), ("drop", drops)):
        if found:
            item.set(name, [*item.keys.get(name, []), *found])


def _condition(key: str | None, pattern: str | None) -> dict[str, str]:
    match = python_regex(pattern or "")
    if key is None or key in _MESSAGE:
        return {"match": match}
    return {"field": re.sub(r"\[['\"]|['\"]\]", ".", key.removeprefix("$")).replace("..", ".").strip("."), "match": match}


def _of_the_pod(condition: dict[str, str], kind: str, item: Item, element: Element, draft: Draft) -> bool:
    """Whether it asks for the pod, and not for the message. Namespaces choose files; other things are said."""
    name = condition.get("field", "")
    if not name.startswith("kubernetes.") and name not in ("stream", "tag"):
        return False
    globs = _of_namespaces(condition["match"]) if name == "kubernetes.namespace_name" and item.type == "containers" else []
    include = item.keys.get("include", [])
    if globs and kind == "drop":
        item.set("exclude", [*item.keys.get("exclude", []), *globs])
    elif globs and all(path.endswith("/*.log") for path in include):
        item.set("include", [path.removesuffix("*.log") + f"{glob}.log" for path in include for glob in globs])
    else:
        draft.problem(element, f"{name} =~ {condition['match']}: not a field of the message; choose pods with exclude: of the "
                               "source, or with when: {namespace: [...], pod: [...], labels: {...}} in a sink or rule")
        return True
    key = "exclude" if kind == "drop" else "include"
    draft.notes.append(f"{element.place} {element.title}: {name}: {key} of source {item.name}")
    return True


def _of_namespaces(match: str) -> list[str]:
    """Globs for the names <pod>_<namespace>_<container>-<id>.log; no name of Kubernetes has a _ in it. [] where it is not that
    simple."""
    found = re.fullmatch(r"(\^?)(?:\(((?:[a-z0-9-]+\|)*[a-z0-9-]+)\)|([a-z0-9-]+))(\$?)", match)
    if found is None:
        return []
    before, behind = "*_" if found[1] else "*_*", "_*" if found[4] else "*_*"
    return [f"{before}{name}{behind}" for name in (found[2] or found[3]).split("|")]


def _records(element: Element, item: Item, draft: Draft) -> None:
    for key in ("enable_ruby", "auto_typecast", "renew_record", "keep_keys"):
        if key in element.params and key not in ("renew_record", "keep_keys"):
            draft.note(element, key, "no ruby here")
    if removed := element.take("remove_keys"):
        if set(re.split(r"[,\s]+", removed)) <= {"stream", "log", "time", "docker", "tag", "kubernetes.pod_id"}:
            draft.note(element, "remove_keys", "the record's keys are fixed (docs/sinks/file.md)")
        else:
            draft.problem(element, "fields are not removed here; do it where the records go, or redact them", "remove_keys")
    replaces(element, item, draft)
    for record in [c for c in element.children if c.name == "record"]:
        for key in list(record.params):
            _field(record, key, record.params[key].value, item, draft)
        record.taken.add("")


def _field(record: Element, key: str, value: str, item: Item, draft: Draft) -> None:
    if key.endswith("local_resource_id"):
        draft.note(record, key, "type: cloud_logging makes the monitored resource of the pod's names, the node's for other logs")
    elif key == "message" and re.fullmatch(r"\$\{record\[['\"](log|message)['\"]\]\}", value):
        draft.note(record, key, "the line is the record's message")
    elif key in ("message", "log") and "[Trimmed]" in value:
        draft.note(record, key, "a longer record comes in marked pieces, all of it: max_record of the source")
    elif masks(record, key, value, item, draft):
        return
    elif key == "severity" and "stderr" in value:
        draft.note(record, key, "a record without a severity of its own has its stream's: stderr ERROR, stdout INFO")
    elif re.search(r"hostname|NODE_NAME|Socket", value):
        draft.note(record, key, "each record has its node")
    elif "tag" in key and "${tag" in value:
        draft.note(record, key, "records have their source, file and pod")
    else:
        masked = "; what it masks is shipped as it stands: write redact" if re.search(r"sub!?\(", value) else ""
        draft.problem(record, "adds or computes a field; records have the fields that were parsed. Fixed ones can be set in some "
                              f"sinks (labels of loki, tags of datadog){masked}", key)


def _join(element: Element, item: Item, draft: Draft, how: str | dict[str, str], why: str = "") -> None:
    if item.type == "journal":
        draft.notes.append(f"{element.place} {element.title}: an entry of the journal (source {item.name}) is whole already")
    else:
        item.set("multiline", how, why)


def exceptions(element: Element, item: Item, draft: Draft) -> None:
    """detect_exceptions."""
    _join(element, item, draft, "auto", "stack traces are one record")
    languages = element.take("languages")
    if languages and languages.strip("[]\"' ") not in ("all", ""):
        draft.note(element, "languages", "auto knows all of its languages at once")
    for key, why in (("message", "the line is the message"), ("stream", "streams are kept apart"), ("remove_tag_prefix",
                                                                                                    "no tags"),
                     ("multiline_flush_interval", "a trace ends after 1 s of silence"), ("max_bytes", "512 KiB"),
                     ("max_lines", "1,000 lines"), ("@id", "a name"), ("force_line_breaks", "lines are joined with newlines")):
        draft.note(element, key, why)


def _concat(element: Element, item: Item, draft: Draft) -> None:
    start = element.take("multiline_start_regexp")
    if start and start not in ("/^{/",):
        _join(element, item, draft, {"start": python_regex(start)})
    goes_on = element.take("continuous_line_regexp")
    if goes_on and not start:
        _join(element, item, draft, {"continue": python_regex(goes_on)})
    elif goes_on:
        draft.problem(element, "beside multiline_start_regexp: a record goes on until the next one begins, whatever its lines "
                               "are like", "continuous_line_regexp")
    if (end := element.params.get("multiline_end_regexp")) and re.fullmatch(r"/?(\\*n|\n)\$?/?", end.value):
        draft.note(element, "multiline_end_regexp", "docker's pieces of a line are put together")
    elif end:
        draft.problem(element, "a record's end is found by the next one's beginning; write multiline: {start: ...}",
                      "multiline_end_regexp")
    for key in ("key", "separator", "stream_identity_key", "flush_interval", "timeout_label", "use_first_timestamp",
                "use_partial_metadata", "use_partial_cri_logtag", "partial_key", "partial_value", "partial_cri_logtag_key",
                "partial_cri_stream_key", "n_lines", "use_partial_metadata_format", "keep_partial_key", "keep_partial_metadata"):
        draft.note(element, key, "pieces of a line are put together; lines are joined with newlines, per stream")
