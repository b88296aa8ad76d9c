"""Records as syslog messages: RFC 5424, RFC 3164; octet-counted, newline-framed or one per datagram. Pure. Hot: once per batch.

    5424   <PRI>1 TIME HOST APP - - [shipper@32473 id="KEY:ITEM" ns=".." pod=".." container=".."] MESSAGE
    3164   <PRI>Mmm dd hh:mm:ss HOST TAG: MESSAGE                                    (UTC; carries no id)
    A record's severity, where one was parsed, is that of the PRI; parsed fields stand behind the message as JSON.
    octet-counted (RFC 6587 3.4.1)  "LENGTH " in front      newline (3.4.2)  "\\n" behind, newlines inside as #012

Invariants (tests/encode/test_syslog.py):
  Y1  one record gives one message, or several that are each whole, with the same id and part="1/3"
  Y2  nothing from a log file, its path or a pod's name can end a header field or a message early
  Y3  no message is longer than max_message, framing apart
  Y4  equal batches give equal bytes
Cost of `encode` (CPython 3.11, 1,000 lines that become 240 bytes each): newline framing 85 to 95 ns a line, octet-counted 144,
datagrams 95; stdout and stderr mixed 30 to 45 more, a max_message 40 to 50 more; RFC 3164 115 and 160. Of the 85 ns, 40 are the
weave itself, 20 to 28 the cut to six digits (without it rsyslog prints garbage), 10 the search for newlines inside messages.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .. import model
from ..model import Batch, Source
from ._columns import Column, Slot, counted, cut_utf8, each, has_newline, seconds, sizes, split_utf8, stamped, weave

FACILITIES = {
    name: code for code, name in enumerate((
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit",
        "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ))
}
SEVERITIES = {
    name: code for code, name in enumerate(("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"))
}
SD_ID = "shipper@32473"
MIN_PART_BYTES = 64          # a part carries at least this much, whatever its header takes
_MONTHS = (b"", b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


@dataclass(frozen=True, slots=True)
class SyslogOptions:
    """How to write. `severities`: stream -> severity code; other streams (host files) get `severity`.

    framing           "octet-counted", "newline" or "datagram"
    time_digits       6 is what RFC 5424 allows (rsyslog prints garbage for more: seen with 8.2302); 9 keeps all
    max_message_bytes without the framing; None: no limit
    on_oversize       "split" or "cut"
    """

    framing: str = "octet-counted"
    facility: int = FACILITIES["user"]
    severities: tuple[tuple[bytes, int], ...] = ((b"stdout", SEVERITIES["info"]), (b"stderr", SEVERITIES["err"]))
    severity: int = SEVERITIES["info"]
    time_digits: int = 6
    max_message_bytes: int | None = None
    on_oversize: str = "split"


@dataclass(slots=True)
class Columns:
    """What of a batch goes into messages; changed by escaping, marking and splitting. `levels`: what the PRI is made of:
    severities, where a record has one, else streams."""

    times: Sequence[bytes]
    levels: Sequence[bytes]
    ids: Sequence[bytes]
    messages: Sequence[bytes]


@dataclass
class SyslogEncoder:
    """`encode` gives bytes, or with framing "datagram" a list of datagrams. Subclasses say what a message looks like."""

    options: SyslogOptions
    marks_in_id = False
    after_pri = b">"
    _pri: dict[bytes, bytes] = field(init=False, repr=False)
    _other_pri: bytes = field(init=False, repr=False)
    _begin: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # With newline framing a message begins with its newline, which costs no slot; `encode` moves the first to the end.
        self._begin = b"\n" if self.options.framing == "newline" else b""
        base = self.options.facility * 8
        end = self.after_pri
        self._pri = {stream: b"%b<%d%b" % (self._begin, base + code, end) for stream, code in self.options.severities}
        self._other_pri = b"%b<%d%b" % (self._begin, base + self.options.severity, end)
        self._pri |= {name: b"%b<%d%b" % (self._begin, base + 7 - i, end) for i, name in enumerate(model.SEVERITIES)}

    def encode(self, batches: Sequence[Batch]) -> bytes | list[bytes]:
        """All records of `batches`, in order."""
        framing = self.options.framing
        flat: list[bytes] = []
        for batch in batches:
            if not len(batch):
                continue
            slots, rows = self._rows(batch)
            if framing == "datagram":
                made = each(slots)
            else:
                made = weave(slots if framing == "newline" else [counted(slots), *slots], rows)
            if flat:
                flat += made
            else:
                flat = made
        if framing == "datagram":
            return flat
        if self._begin and flat:
            flat[0] = flat[0].removeprefix(self._begin)
            flat.append(self._begin)
        return b"".join(flat)

    def _rows(self, batch: Batch) -> tuple[list[Slot], int]:
        columns = Columns(batch.times, batch.streams, batch.ids, batch.messages)
        if batch.severities is not None:
            columns.levels = [severity or stream for severity, stream in zip(batch.severities, batch.streams)]
        if batch.fields is not None:
            columns.messages = [b"%b %b" % (m, f) if m and f else m or f for m, f in zip(batch.messages, batch.fields)]
        if batch.marks and self.marks_in_id:
            columns.ids = marked_ids(batch.ids, batch.marks)
        if self.options.framing == "newline" and batch.newlines and has_newline(columns.messages):
            columns.messages = [m.replace(b"\n", b"#012") for m in columns.messages]
        slots = self._slots(batch, columns)
        limit = (self.options.max_message_bytes or 0) + len(self._begin)
        if self.options.max_message_bytes and max(long := sizes(slots)) > limit:
            columns = fit(columns, long, limit, self.options.on_oversize, self.marks_in_id)
            slots = self._slots(batch, columns)
        return slots, len(columns.messages)

    def _slots(self, batch: Batch, columns: Columns) -> list[Slot]:
        raise NotImplementedError

    def _priority(self, columns: Columns) -> tuple[bytes, Column | None]:
        """One b"<14>1 " (newline framing: with its newline in front) for all rows, or a column of them."""
        levels = columns.levels
        first = levels[0]
        if levels.count(first) == len(levels):
            return self._pri.get(first, self._other_pri), None
        known = {level: self._pri.get(level, self._other_pri) for level in set(levels)}
        widths = {len(pri) for pri in known.values()}
        return b"", Column([known[level] for level in levels], widths.pop() if len(widths) == 1 else None)


class Rfc5424Encoder(SyslogEncoder):
    """RFC 5424, with the record's id and where it comes from as structured data."""

    marks_in_id = True
    after_pri = b">1 "

    def _slots(self, batch: Batch, columns: Columns) -> list[Slot]:
        head, tail = batch.source.cached("rfc5424", rfc5424_constants)
        one, column = self._priority(columns)
        digits = self.options.time_digits
        time, zone = stamped(columns.times, b"" if batch.utc else read_time(batch.read_ns), digits, one, utc=batch.utc)
        start: list[Slot] = time if column is None else [column, *time]
        return [*start, zone + head + batch.key.encode() + b":", Column(columns.ids), tail, Column(columns.messages)]


class Rfc3164Encoder(SyslogEncoder):
    """RFC 3164 as rsyslog reads it; times in UTC, to the second. No id: repeats cannot be told."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._stamps: dict[bytes, bytes] = {}

    def _slots(self, batch: Batch, columns: Columns) -> list[Slot]:
        one, column = self._priority(columns)
        stamps = self._stamp_column(columns.times, batch.read_ns)
        head = batch.source.cached("rfc3164", rfc3164_head)
        return [one if column is None else column, stamps, head, Column(columns.messages)]

    def _stamp_column(self, times: Sequence[bytes], read_ns: int) -> Slot:
        if not any(times):
            return rfc3164_time(read_time(read_ns))
        stamps = self._stamps
        keys = seconds(times) or [t or read_time(read_ns) for t in times]
        if len(stamps) > 4096:
            stamps.clear()
        missing = set(keys).difference(stamps)
        for key in missing:
            stamps[key] = rfc3164_time(key.strip())
        return Column([stamps[key] for key in keys], len(b"Nov 20 09:04:05"))


def read_time(time_ns: int) -> bytes:
    """RFC 3339 in UTC with six digits."""
    whole, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z".encode()


def rfc3164_time(time: bytes) -> bytes:
    """`Nov 20 09:04:05` in UTC, from an RFC 3339 time (without zone: UTC); the epoch where it is none."""
    text = time.decode("ascii", "replace")
    try:
        parsed = datetime.fromisoformat(text[:19] + (text[-6:] if text[-6:-5] in ("+", "-") and len(text) > 19 else ""))
        at = parsed.astimezone(UTC) if parsed.tzinfo else parsed
    except (ValueError, OverflowError):
        at = datetime(1970, 1, 1, tzinfo=UTC)
    return b"%b %2d %02d:%02d:%02d" % (_MONTHS[at.month], at.day, at.hour, at.minute, at.second)


# ---------------------------------------------------------------- what is constant for a source

def header_field(text: str, limit: int) -> bytes:
    """PRINTUSASCII (RFC 5424 section 6), other characters as `_`, cut to `limit`; `-` where nothing is left."""
    if not (text.isascii() and text.isprintable() and " " not in text):
        text = re.sub(r"[^!-~]", "_", text)
    return text[:limit].encode() or b"-"


def sd_value(text: str) -> bytes:
    """A PARAM-VALUE (RFC 5424 section 6.3.3): `"`, `\\` and `]` escaped; control characters, which end lines, as `_`."""
    if text.isascii() and text.isprintable() and not ('"' in text or "\\" in text or "]" in text):
        return text.encode()
    clean = re.sub(r"[\x00-\x1f\x7f]", "_", text)
    return re.sub(r'(["\\\]])', r"\\\1", clean).encode("utf-8", "replace")


def app_name(source: Source) -> str:
    """The container, the name of a journal's source, or the file's name without `.log`."""
    if source.kind in ("journal", "kmsg"):
        return source.name
    return source.container or os.path.basename(source.path).removesuffix(".log")


def rfc5424_constants(source: Source) -> tuple[bytes, bytes]:
    """What stands between time and id, and between id and message."""
    head = b' %b %b - - [%b id="' % (header_field(source.node, 255), header_field(app_name(source), 48), SD_ID.encode())
    where = {"ns": source.namespace, "pod": source.pod, "container": source.container}
    if not source.container:
        where = {"file": source.path}
    tail = b"".join(b' %b="%b"' % (name.encode(), sd_value(value)) for name, value in where.items() if value)
    return head, b'"' + tail + b"] "


def rfc3164_head(source: Source) -> bytes:
    """` HOST TAG: `; a tag has at most 32 characters and none that ends it (RFC 3164 section 4.1.3)."""
    tag = re.sub(r"[^A-Za-z0-9_./-]", "_", app_name(source))[:32].encode() or b"-"
    return b" %b %b: " % (header_field(source.node, 255), tag)


# ---------------------------------------------------------------- rare rows

def marked_ids(ids: Sequence[bytes], marks: Mapping[int, Mapping[str, Any]]) -> list[bytes]:
    """Marks as further parameters behind the id: `1a4f0+c8" partial="true`; the closing quote is the constant's."""
    out = list(ids)
    for index, names in marks.items():
        for name, value in names.items():
            out[index] += b'" %b="%b' % (name.encode(), sd_value(str(value).lower() if value is True else str(value)))
    return out


def fit(columns: Columns, long: Sequence[int], limit: int, on_oversize: str, with_id: bool) -> Columns:
    """The same rows, none over `limit`: `long` says how long each would be. Rare: costs a step per row."""
    out = Columns([], [], [], [])
    rows = zip(columns.times, columns.levels, columns.ids, columns.messages, long)
    for time, level, item, message, size in rows:
        if size <= limit:
            made = [(item, message)]
        elif on_oversize == "cut":
            made = [_cut(item, message, limit - (size - len(message)), with_id)]
        else:
            made = _split(item, message, limit - (size - len(message)), with_id)
        out.times += [time] * len(made)            # type: ignore[operator]
        out.levels += [level] * len(made)          # type: ignore[operator]
        out.ids += [i for i, _ in made]            # type: ignore[operator]
        out.messages += [m for _, m in made]       # type: ignore[operator]
    return out


def _cut(item: bytes, message: bytes, room: int, with_id: bool) -> tuple[bytes, bytes]:
    """A mark `truncated` with the original length that is there already says more and stays."""
    mark = b'" truncated="%d' % len(message) if with_id and b'" truncated="' not in item else b""
    return item + mark, message[:cut_utf8(message, max(room - len(mark), MIN_PART_BYTES))]


def _split(item: bytes, message: bytes, room: int, with_id: bool) -> list[tuple[bytes, bytes]]:
    for digits in range(1, 8):
        mark_bytes = len(b'" part="/') + 2 * digits if with_id else 0
        parts = split_utf8(message, max(room - mark_bytes, MIN_PART_BYTES))
        if len(str(len(parts))) <= digits:
            break
    if not with_id:
        return [(item, part) for part in parts]
    return [(item + b'" part="%d/%d' % (number, len(parts)), part) for number, part in enumerate(parts, 1)]
