"""Names of logs in Cloud Logging: what a google_cloud output called them, as `log_name` where ours would have others. Pure.

    fluentd   the tag; of containers under the old resource (gke_container), which it told by the tag, the container's name
    ours      stdout or stderr of containers, else the source's name

Filters, metrics and alerts ask for these names. Sources of one output with names of their own become sinks of their own.
"""
from __future__ import annotations

import re
from dataclasses import replace

from .draft import Draft, Item
from .fluentd_sources import EACH

_OF_GOOGLE = {"json": "gcp-json", "auto": "gcp"}
_LITERAL = re.compile(r"[A-Za-z0-9/_.-]+")


def keep_log_names(draft: Draft) -> None:
    """`log_name` in the sinks that need one; what cannot be kept is among the problems. Sources that feed these sinks alone are
    parsed by the names that google_cloud knows: `level`, `msg` and `ts` stay where filters and dashboards look for them."""
    for source in draft.sources.values():
        takers = {sink.type for sink in draft.sinks.values() if source.name in sink.fed_by}
        if takers == {"cloud_logging"} and (name := _OF_GOOGLE.get(str(source.keys.get("parse")))):
            source.set("parse", name, source.beside.get("parse", ""))
    for sink in list(draft.sinks.values()):
        if sink.type != "cloud_logging":
            continue
        groups: dict[str, list[str]] = {}
        for name in sink.fed_by:
            groups.setdefault(_wanted(draft.sources[name], sink, draft), []).append(name)
        others = {name: sources for name, sources in groups.items() if name}
        if len(groups) == len(others) and others:           # none has ours: the first one's stays here
            first = next(iter(others))
            sink.set("log_name", first, "as it was")
            del others[first]
        for log_name, sources in others.items():
            _split_off(sink, log_name, sources, draft)


def _split_off(sink: Item, log_name: str, sources: list[str], draft: Draft) -> None:
    name = draft.named(f"{sink.name}-{log_name}".replace("{", "").replace("}", ""), "sink")
    made = replace(sink, name=name, keys=dict(sink.keys), comments=[*sink.comments], beside=dict(sink.beside), fed_by=sources)
    made.set("log_name", log_name, "as it was; the same name cannot be given to two sources")
    draft.sinks[name] = made
    sink.fed_by = [each for each in sink.fed_by if each not in sources]


def _wanted(source: Item, sink: Item, draft: Draft) -> str:
    """The template of the log's name; "" where ours is the same."""
    tags = list(dict.fromkeys(sink.tags.get(source.name, [])))
    of_each_file = any("${" in tag or EACH in tag or (tag == source.tag and source.tag_of_each_file) for tag in tags)
    if source.type == "containers":
        if set(tags) <= {"stdout", "stderr"}:
            return ""
        if of_each_file:
            _say(sink, "its entries of containers had the resource gke_container, or none of the pod's; now it is k8s_container. "
                 "Their logs keep the container's name by log_name: '{container}'; look at filters, metrics and alerts that ask "
                 "for the resource", draft)
            return "{container}"
    elif of_each_file:
        _say(sink, f"the logs of source {source.name} were named by the path of each file; now it is the source's name. Look at "
             "what asks for them", draft)
        return ""
    if len(tags) == 1 and _LITERAL.fullmatch(tags[0]):
        return "" if source.type != "containers" and tags[0] == source.name else tags[0]
    if tags:
        _say(sink, f"the logs of source {source.name} were named {', '.join(tags)}; now they have the name of the stream or "
             "source. Look at what asks for them, or set log_name", draft)
    return ""


def _say(sink: Item, why: str, draft: Draft) -> None:
    file, line, title = sink.place
    draft.problems.append((file, line, f"{title}: {why}"))
