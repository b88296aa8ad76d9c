"""Records as messages of Pub/Sub's publish. Pure. Hot: once per batch.

    {"data":"<base64 of the record's JSON>","attributes":{"id":..,"source":..,"time":..},"orderingKey":".."}

Invariants (tests/encode/test_pubsub.py):
  PB1  `data` is the record's JSON line (record_json) without its newline
  PB2  no attribute value and no ordering key is over 1024 bytes: a longer one is its beginning and a hash
Cost (CPython 3.11): 1.2 us a line of 200 bytes.
"""
from __future__ import annotations

import hashlib
from binascii import b2a_base64
from collections.abc import Mapping
from functools import partial

from ..model import Batch, Source
from . import record_json
from .frame import Frame
from .record_json import json_strings, rfc3339, time_strings
from .template import Template

FRAME = Frame(b'{"messages":[', b",", b"]}")
MAX_VALUE_BYTES = 1024
OWN_NAMES = frozenset(("id", "source", "time"))
_MAX_TIME_BYTES = 64
_base64 = partial(b2a_base64, newline=False)


class PubsubEncoder:
    """attributes: name -> template without {time}, beside id, source and time. ordering_key: likewise; None: none."""

    def __init__(self, attributes: Mapping[str, Template], ordering_key: Template | None, merge: bool = False) -> None:
        self._attributes, self._ordering_key, self._merge = dict(attributes), ordering_key, merge
        self._key = (ordering_key and ordering_key.text, tuple((name, one.text) for name, one in self._attributes.items()))

    def part(self, batch: Batch) -> list[bytes]:
        """What a batch gives: its messages with commas between them; nothing for an empty one."""
        rows = len(batch)
        if not rows:
            return []
        tail: bytes = batch.source.cached(("pubsub", self._key), self._make_tail)
        parts = [b'{"data":"', b"", b'","attributes":{"id":', b"", b',"time":"', b"", tail] * rows
        parts[1::7] = map(_base64, record_json.lines(batch, self._merge))
        parts[3::7], parts[5::7] = _ids(batch), _times(batch)
        return [b"".join(parts)[:-1]]

    def ordering_key(self, source: Source) -> bytes:
        """As a JSON string (PB2); b"" for none."""
        key = self._ordering_key.render_source(source) if self._ordering_key is not None else ""
        return _string(key) if key else b""

    def _make_tail(self, source: Source) -> bytes:
        """From the quote that ends the time to the message's comma."""
        values = {"source": source.name} | {name: one.render_source(source) for name, one in self._attributes.items()}
        listed = [name + b":" + _string(value) for name, value in zip(
            json_strings([name.encode() for name in values]), values.values()) if value]
        key = self.ordering_key(source)
        ordering = b',"orderingKey":' + key if key else b""
        return b'",' + b",".join(listed) + b"}" + ordering + b"},"


def _ids(batch: Batch) -> list[bytes]:
    key = batch.key.encode() + b":"
    if len(key) + max(map(len, batch.ids)) <= MAX_VALUE_BYTES:
        return [b'"' + key + item + b'"' for item in batch.ids]
    return [_string((key + item).decode()) for item in batch.ids]


def _times(batch: Batch) -> list[bytes]:
    """Times come out of hostile files: one that is too long for any is the read time."""
    times = list(time_strings(batch))
    if max(map(len, times)) > _MAX_TIME_BYTES:
        read = rfc3339(batch.read_ns)
        times = [time if len(time) <= _MAX_TIME_BYTES else read for time in times]
    return times


def _string(value: str) -> bytes:
    """PB2, as a JSON string."""
    found = value.encode("utf-8", "replace")
    if len(found) > MAX_VALUE_BYTES:
        digest = hashlib.blake2b(found, digest_size=16).hexdigest().encode()
        found = found[:MAX_VALUE_BYTES - 36].decode("utf-8", "ignore").encode() + b"~" + digest
    return json_strings([found])[0]
