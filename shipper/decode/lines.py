"""One line of each format, taken apart; and which format a file has. Pure. Per line on the careful path alone (decoder.C4).

    cri      2026-11-20T09:04:05.123456789Z stdout F message             kubelet's CRI log format (logs.go)
    docker   {"log":"message\\n","stream":"stdout","time":"2026-..."}     docker's json-file
    raw      the line as it stands: host files, and what else there is

Invariants:
  LI1  nothing raises, whatever the bytes: what is no line of its format is None (P10)
  LI2  of what is cut the content stands as it was written, but for the JSON around it; a time is RFC 3339
"""
from __future__ import annotations

import orjson

from .times import RFC3339, to_ns

Cut = tuple[bytes, bytes, bool, bytes]
"""(time, stream, is it whole, content) of one line."""

STREAM_BYTES = {"stdout": b"stdout", "stderr": b"stderr"}
_STREAMS = (b"stdout", b"stderr")


def sniff(first_line: bytes) -> str:
    """`cri`, `docker` or `raw`, by the first line of a file, or the first KiB of it."""
    if first_line.startswith(b'{"log":"') or (first_line.lstrip()[:1] == b"{" and _cut_docker(first_line) is not None):
        return "docker"
    return "cri" if _cut_cri(first_line) is not None else "raw"


def first_ns(line: bytes, form: str) -> int:
    """When the first record of a file was written (it orders a lineage); 0 where its format carries no time.

    A docker line longer than the first KiB has its time beyond it: 0 too.
    """
    if form == "cri":
        return to_ns(line.partition(b" ")[0])
    if form == "docker":
        return to_ns(line.rpartition(b'"time":"')[2].partition(b'"')[0])
    return 0


def _cut_cri(line: bytes) -> Cut | None:
    """Further tags behind P or F are ignored (CRI, logs.go)."""
    fields = line.split(b" ", 3)
    if len(fields) != 4:
        return None
    time, stream, tags, content = fields
    tag = tags.partition(b":")[0]
    if stream not in _STREAMS or tag not in (b"F", b"P") or RFC3339.fullmatch(time) is None:
        return None
    return time, stream, tag == b"F", content


def _cut_docker(line: bytes) -> Cut | None:
    """The same of one docker json-file line. `log` without its newline is a piece (docker's 16 KiB copier)."""
    try:
        entry = orjson.loads(line)
        log, time = entry["log"], entry["time"].encode()
        stream = STREAM_BYTES[entry["stream"]]
        content = log.encode()
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return None
    if RFC3339.fullmatch(time) is None:
        return None
    if content.endswith(b"\n"):
        return time, stream, True, content[:-1]
    return time, stream, False, content


def cut(line: bytes, form: str) -> Cut | None:
    """A line of a file of this format, taken apart; None where it is none."""
    if form == "cri":
        return _cut_cri(line)
    return _cut_docker(line) if form == "docker" else (b"", b"", True, line)
