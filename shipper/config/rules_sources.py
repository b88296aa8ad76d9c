"""Rules about what is read: patterns, allowed roots, and the loop of an agent that reads what it writes. Pure."""
from __future__ import annotations

import re

from .draft import Draft, Findings
from .journal import JournalSource, KmsgSource
from .patterns import excluded, intersect, output_glob, static_prefix
from .tree import Path
from .types import ContainersSource, LogFiles

_FIELD = re.compile(r"[A-Z0-9_]{1,64}")
_ROTATED = ".????????T??????Z"
"""What the file sink adds to a rotated file's name."""


def _patterns(draft: Draft, say: Findings) -> None:
    for name, source in draft.sources.items():
        path = ("sources", name)
        if not source.include and isinstance(source, LogFiles):
            say.error((*path, "include"), "no pattern, so nothing would be read; add one, for example /var/log/*.log")
        for i, glob in enumerate(source.include):
            problem = _include_problem(glob)
            if problem:
                say.error((*path, "include", f"[{i}]"), problem)
        for i, glob in enumerate(source.exclude):
            if not glob or ("/" in glob and not glob.startswith(("/", "**/"))) or len(glob) > 1024:
                say.error((*path, "exclude", f"[{i}]"), "never matches a path; begin it with / or **/, or write a pattern for "
                                                        "the file name alone, without a slash")
        for i, root in enumerate(source.allowed_roots):
            if not root.startswith("/"):
                say.error((*path, "allowed_roots", f"[{i}]"), "must be an absolute directory; begin it with /")


def _include_problem(glob: str) -> str | None:
    if glob.startswith(("~", "$")):
        return "must be an absolute path; for a home directory write ${HOME}/..."
    if not glob.startswith("/"):
        return "must be an absolute path: the agent's working directory differs between shell, systemd and pod; begin it with /"
    if glob.endswith("/") or len(glob) > 1024:
        return "names a directory, or is over 1024 characters; end it with a file name or a wildcard, such as /*.log"
    if ".." in glob.split("/"):
        return "must not hold '..', because links are judged by where they end; write the path out"
    return None


def _roots(draft: Draft, say: Findings) -> None:
    for name, source in draft.sources.items():
        roots = source.allowed_roots or [static_prefix(glob) for glob in source.include if glob.startswith("/")]
        if any(root.startswith("/") and not root.strip("/") for root in roots):
            say.warn(("sources", name, "allowed_roots"), "the whole file system is allowed, so a link in a log directory can "
                     "make the agent read any file; name the directories that hold logs")


_LINKS = "/var/log/containers"
"""Where the kubelet keeps links into /var/log/pods."""


def _outside(draft: Draft, say: Findings) -> None:
    """Patterns of a directory that is not allowed: only links in it that lead to an allowed one are read."""
    for name, source in draft.sources.items():
        for i, glob in enumerate(source.include if source.allowed_roots else ()):
            place = static_prefix(glob)
            inside = any(intersect(f"{root.rstrip('/')}/**", glob) for root in (*source.allowed_roots, _LINKS))
            if glob.startswith("/") and not inside:
                say.warn(("sources", name, "include", f"[{i}]"), f"{place} is in none of allowed_roots "
                         f"({', '.join(source.allowed_roots)}): files there are not read, but for links that lead into those; "
                         f"add allowed_roots: [{place}]")


def _overlaps(draft: Draft, say: Findings) -> None:
    sources = list(draft.sources.items())
    for i, (name, source) in enumerate(sources):
        for later, other in sources[i + 1:]:
            found = next(((a, b) for a in source.include for b in other.include
                          if intersect(a, b) and not excluded(b, source.exclude) and not excluded(a, other.exclude)), None)
            if found:
                say.warn(("sources", later, "include"), f"{found[1]} and {found[0]} (source {name}) can match the same file; "
                         f"such a file belongs to {name}, which stands first; exclude it in one of them")


def _loops(draft: Draft, say: Findings) -> None:
    written = [(f"the agent's own state ({draft.state_dir})", glob) for glob in _state_globs(draft.state_dir)]
    for name, sink in draft.sinks.items():
        for target in sink.spec.targets(sink.config):
            glob = output_glob(target)
            if glob is not None:
                written += [(f"the output of sink {name}", glob + end) for end in ("", _ROTATED, _ROTATED + ".gz")]
    for name, source in draft.sources.items():
        for i, include in enumerate(source.include):
            what = next((what for what, glob in written
                         if intersect(include, glob) and not excluded(glob, source.exclude)), None)
            if what:
                say.error(("sources", name, "include", f"[{i}]"), f"would read {what}, which grows by what is read: a loop; "
                          "narrow the pattern, or add that path to exclude")


def _state_globs(state_dir: str | None) -> list[str]:
    if not state_dir or not state_dir.startswith("/"):
        return []
    base = "/" + state_dir.strip("/")
    return [base + end for end in ("/*.json", "/lock", "/ballast", "/buffer/*", "/cursors/*.json", "/dead-letters/*/*",
                                   "/quarantine/*", "/spool/*/*")]


def _own_stdout(draft: Draft, say: Findings) -> None:
    readers = [name for name, source in draft.sources.items()
               if isinstance(source, ContainersSource) and not any("shipper" in glob for glob in source.exclude)]
    for name, sink in draft.sinks.items():
        if sink.type == "stdout" and readers:
            say.warn(("sinks", name, "type"), f"in a pod, what stdout writes becomes a container log, and source {readers[0]} "
                     "would read it again; there, exclude the agent's own log: exclude: ['*shipper*']")


def _journals(draft: Draft, say: Findings) -> None:
    for name, source in draft.sources.items():
        path = ("sources", name)
        if not isinstance(source, JournalSource | KmsgSource):
            continue
        if source.multiline not in (None, "off"):
            say.error((*path, "multiline"), "an entry of the journal is whole, however many lines it has; remove this key")
        place = "path" if isinstance(source, KmsgSource) else "directory"
        where = getattr(source, place)
        if where is not None and not where.startswith("/"):
            say.error((*path, place), "must be an absolute path; begin it with /")
        if isinstance(source, JournalSource):
            _journal_lists(path, source, say)


def _journal_lists(path: Path, source: JournalSource, say: Findings) -> None:
    for key in ("units", "identifiers"):
        for i, value in enumerate(getattr(source, key)):
            if not value or len(value) > 256 or not value.isprintable():
                say.error((*path, key, f"[{i}]"), "is no name of a unit or program; use 1 to 256 visible characters")
    for i, value in enumerate(source.fields):
        if not _FIELD.fullmatch(value):
            say.error((*path, "fields", f"[{i}]"), "is no field of the journal: those have 1 to 64 of A-Z 0-9 _, such as "
                                                   "_SYSTEMD_UNIT; `journalctl -o export -n 1` shows some")


def _own_journal(draft: Draft, say: Findings) -> None:
    readers = [name for name, source in draft.sources.items()
               if isinstance(source, JournalSource) and source.directory is None and not (source.units or source.identifiers)]
    for name, sink in draft.sinks.items():
        if sink.type == "stdout" and readers:
            say.warn(("sinks", name, "type"), f"under systemd, what stdout writes becomes entries of the journal, and source "
                     f"{readers[0]} would read them again: a loop; name the units or identifiers that it is to read")


SOURCE_RULES = (_own_journal, _journals, _patterns, _roots, _outside, _overlaps, _loops, _own_stdout)
