"""A fluentd config, or a ConfigMap of them, as ours: follows each source's records through filters and outputs. Pure.

    <source> tag ─► the first <match> for it, the <filter>s in front of that one ─► a sink, or again with another tag

Invariants (tests/agent/convert/test_fluentd.py):
  F1  every directive is in the YAML, in its "not needed" list, or among the problems
  F2  a source whose records no output takes is kept, and that is said
"""
from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from .draft import Draft, Item
from .fluentd_filters import apply, exceptions
from .fluentd_log_names import keep_log_names
from .fluentd_outputs import feed, sink
from .fluentd_severity import ask_for_severities
from .fluentd_sources import EACH, source
from .fluentd_tags import globs_of, matches, takes_some
from .syntax import Element, Include, assumed, parse

MOST_HOPS = 20


def convert(files: dict[str, str], shown: str, include: Include = lambda target, file: None) -> Draft:
    """`files`: name -> text, in the order in which they are read; `include`: what @include names beside them. Usage where one is
    no fluentd config."""
    draft = Draft(header=[f"From {shown}, by shipper convert fluentd. Look at the comments, then: shipper check -c FILE"])
    roots = [parse(text, name, include) for name, text in files.items()]
    whole = Element("ROOT", "", shown, 1)
    for root in roots:
        whole.children += root.children
        whole.params |= root.params
        for key, param in root.repeated:
            _include(key, param.value, param.line, root.file, files, draft)
    _Routes(whole, draft).follow()
    keep_log_names(draft)
    ask_for_severities(draft)
    for item in draft.sinks.values():
        if set(item.fed_by) != set(draft.sources):
            item.set("when", {"source": item.fed_by})
    draft.leftovers(whole)
    draft.unread(whole)
    if not draft.sources:
        draft.problems.append((shown, 1, "no source was found; nothing would be read"))
    draft.problems = sorted(set(draft.problems), key=lambda each: (list(files).index(each[0]) if each[0] in files else -1,
                                                                   each[1:]))
    return draft


def _include(key: str, target: str, line: int, file: str, files: dict[str, str], draft: Draft) -> None:
    if not key.endswith("include"):
        draft.problems.append((file, line, f"{key} {target}: stands twice, or outside of a section; the first one counts"))
        return
    pattern = re.escape(posixpath.basename(target)).replace(r"\*", ".*")
    if any(re.fullmatch(pattern, posixpath.basename(name)) for name in files if name != file):
        draft.notes.append(f"{file}:{line} {key} {target}: converted with it")
    else:
        draft.problems.append((file, line, f"{key} {target}: not read; convert that file too (a ConfigMap is converted whole)"))


class _Routes:
    def __init__(self, root: Element, draft: Draft) -> None:
        self._root, self._draft = root, draft
        self._sinks: dict[int, Item | None] = {}
        self._reached: set[int] = set()
        self._partly: dict[int, tuple[Element, list[str]]] = {}
        self._in_copies = 0
        self._applied: set[tuple[int, str]] = set()
        self._beside: list[str] = []        # tags that one source's records were given, by their stream
        self._reaches: dict[tuple[str, str, str], bool] = {}

    def follow(self) -> None:
        for element in [c for c in self._root.children if c.name == "source"]:
            if self._only_counts(element):
                continue
            item = source(element, self._draft)
            if item is None:
                continue
            item.place = (element.file, element.line, element.title)
            before = len(self._draft.problems)
            if not self._records(item, item.tag, item.label, 0) and len(self._draft.problems) == before:
                self._draft.problem(element, "no output takes its records; leave the source out, or it is read for nothing")
        self._say_partly()
        for element in self._root.children:
            if element.name == "system":
                self._draft.note_element(element, "see log, state_dir and admin")
            elif element.name == "match" and element.type == "null":
                self._draft.note_element(element, "what no sink's `when` takes goes nowhere, and is counted; shipper's own log "
                                                  "is on stderr")
            elif element.name == "label" and element.arg in ("@FLUENT_LOG", "@ERROR"):
                self._draft.note_element(element, "shipper's own log is on stderr; what is refused goes to the dead letters")
            elif element.name == "worker":
                self._draft.refuse(element, "one process reads all; move what is inside out of <worker>, and convert again")
            elif element.name == "match" and id(element) not in self._reached:
                self._draft.refuse(element, "no source that was converted sends records to it; if one should, see the other "
                                            "messages")

    def _only_counts(self, element: Element) -> bool:
        """A program whose output is a number for fluentd's own /metrics, and nothing else: fluentd-gcp's process_start."""
        tag = element.params["tag"].value if "tag" in element.params else ""
        on_its_way = [each for each in self._section("") if matches(each.arg, tag)]
        end = next((each for each in on_its_way if each.name == "match"), None)
        if element.type != "exec" or end is None or end.type != "prometheus":
            return False
        for each in (element, *(one for one in on_its_way if one.name == "filter" and one.arg == tag), end):
            self._draft.note_element(each, "a number of fluentd's own; the agent's are at /metrics")
        self._reached.add(id(end))
        return True

    def _section(self, label: str) -> list[Element]:
        if not label:
            return [c for c in self._root.children if c.name in ("filter", "match")]
        for found in self._root.children:
            if found.name == "label" and found.arg == label:
                found.taken.add("")
                return [c for c in found.children if c.name in ("filter", "match")]
        return []

    def _records(self, item: Item, tag: str, label: str, hops: int) -> bool:
        """Does any of the records with this tag reach an output? Each way is gone once: some lead back to themselves."""
        way = (item.name, tag, label)
        if hops > MOST_HOPS or way in self._reaches:
            return self._reaches.get(way, False)
        self._reaches[way] = False
        self._reaches[way] = self._follow(item, tag, label, hops)
        return self._reaches[way]

    def _follow(self, item: Item, tag: str, label: str, hops: int) -> bool:
        for element in self._section(label):
            if not matches(element.arg, tag):
                if EACH in tag and takes_some(element.arg, tag):
                    self._some_files(element, item, tag)
            elif element.name == "filter":
                self._reached.add(id(element))
                self._filter(element, item)
            else:
                return self._output(element, item, tag, label, hops)
        return False

    def _filter(self, element: Element, item: Item) -> None:
        """Ours stand in front of the buffer, and so of all of a source's sinks."""
        if (id(element), item.name) in self._applied:
            return                                        # on another way of the same records
        self._applied.add((id(element), item.name))
        of_some = self._in_copies or not all(matches(element.arg, tag) for tag in self._beside)
        if of_some and element.type == "grep":
            self._draft.refuse(element, "stands in front of one of several outputs or streams, and here conditions hold for all "
                                        "of them: this one gets what it left out, too. Filter where the records go, or by "
                                        "when: {severity: [...]} in the sink")
            return
        before = repr(item.keys)
        apply(element, item, self._draft)
        if of_some and repr(item.keys) != before:
            self._draft.problem(element, "stands in front of one of several outputs or streams, and here it holds for the "
                                         "source's other outputs, too")

    def _some_files(self, element: Element, item: Item, tag: str) -> None:
        """T1: it takes the records of some of the source's files, which go no further where it is a <match>."""
        globs: list[str] = []
        if element.name == "match" and self._throws_away(element):
            globs, exact = globs_of(element.arg, tag, item.keys["include"][0])
            if globs and exact and not self._in_copies:
                known = item.keys.get("exclude", [])
                item.set("exclude", [*known, *(each for each in globs if each not in known)])
                self._draft.note_element(element, f"exclude of source {item.name}: what it threw away is not read")
                self._reached.add(id(element))
                return
        _, said = self._partly.setdefault(id(element), (element, []))
        text = f"source {item.name}" + (f" (exclude: {globs})" if globs else "")
        if text not in said:
            said.append(text)

    def _throws_away(self, element: Element) -> bool:
        if element.type == "relabel":
            behind = self._section(element.params["@label"].value if "@label" in element.params else "")
            return bool(behind) and all(each.name == "match" and each.type == "null" for each in behind)
        return element.type == "null"

    def _say_partly(self) -> None:
        for element, sources in self._partly.values():
            of = f"is for some files of {', '.join(sources)} alone: their tags are their paths"
            if element.name == "filter":
                why = "not carried over; write a rule, process: [{when: {pod: [...]}, ...}]"
            elif self._throws_away(element):
                why = "what it threw away is shipped; write exclude: in the source, or when: in the sinks"
            else:
                why = "here they go where the source's others go; write when: {pod: [...]} in a sink for them"
            if id(element) in self._reached:
                self._draft.problem(element, f"{of}; {why}")
            else:
                self._draft.refuse(element, f"{of}; {why}")
                self._reached.add(id(element))

    def _output(self, element: Element, item: Item, tag: str, label: str, hops: int) -> bool:
        self._reached.add(id(element))
        kind = element.type
        target = element.take("@label") or label
        if kind == "relabel":
            return self._records(item, tag, target, hops + 1)
        if kind == "prometheus":
            self._draft.note_element(element, "the agent counts by itself: /metrics")
            return True
        if kind == "null":
            self._draft.note_element(element, "what no sink's `when` takes goes nowhere, and is counted")
            return True
        if kind == "copy":
            self._draft.note(element, "copy_mode", "sinks share nothing")
            stores = [child for child in element.children if child.name == "store"]
            several = sum(store.type not in ("null", "prometheus") for store in stores) > 1
            self._in_copies += several
            found = [self._output(store, item, tag, label, hops) for store in stores]
            self._in_copies -= several
            return any(found)
        if kind == "detect_exceptions":
            prefix = element.params["remove_tag_prefix"].value + "." if "remove_tag_prefix" in element.params else ""
            exceptions(element, item, self._draft)
            before, self._beside = self._beside, [each.removeprefix(prefix) for each in self._beside]
            found_one = self._records(item, tag.removeprefix(prefix), target, hops + 1)
            self._beside = before
            return found_one
        if kind in ("record_reformer", "record_modifier"):
            apply(element, item, self._draft)
            before, self._beside = self._beside, list(_new_tags(element, tag))
            each_found = [self._records(item, new, target, hops + 1) for new in self._beside]
            self._beside = before
            return any(each_found)
        if kind in ("rewrite_tag_filter", "route", "retag"):
            self._draft.refuse(element, "records are routed by source, pod, labels or severity: write when: in the sinks. "
                                        "Behind it "
                                        "nothing was followed")
            return False
        return self._sink(element, item, tag)

    def _sink(self, element: Element, item: Item, tag: str) -> bool:
        if id(element) not in self._sinks:
            self._sinks[id(element)] = sink(element, self._draft)
        found = self._sinks[id(element)]
        if found is not None:
            feed(found, element, item, tag, self._draft)
        return found is not None


def _new_tags(element: Element, tag: str) -> Iterator[str]:
    """Of a reformer: its literal tag, or each that its ruby can give."""
    text = element.take("tag")
    if text is None:
        yield tag
        return
    text = assumed(text)
    quoted = re.findall(r"(?:then|else|\?|:)\s*['\"]([\w.*-]+)['\"]", text)
    if quoted:
        yield from dict.fromkeys(quoted)
        return
    yield re.sub(r"\$\{tag_(?:suffix|prefix)\[\d+\]\}", tag, text).replace("${tag}", tag)
