"""HTTP POST: NDJSON, a JSON array or raw lines to any server that takes them. See docs/sinks/http.md; the base is _http_sink.py.

Invariants:
  HP1  equal records make an equal Idempotency-Key, other records another one: it is hashed from the record ids (P3)
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal

from ..config.units import Bytes
from ..encode import raw, record_json
from ..model import Batch
from . import Guarantee, SinkContext, SinkSpec
from ._http_body import Body
from ._http_config import HttpConfig, Problems, problems, warnings
from ._http_sink import HttpSink

Format = Literal["ndjson", "json", "raw"]
_TYPES: dict[str, str] = {"ndjson": "application/x-ndjson", "json": "application/json", "raw": "text/plain; charset=utf-8"}


class HttpSinkConfig(HttpConfig, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """max_body: the receiver's limit in bytes before compression; None: not known, a 413 halves the request.
    merge: parsed fields at the top of the JSON, not below `fields`."""

    format: Format = "ndjson"
    merge: bool = False
    max_body: Bytes | None = None


class PlainHttpSink(HttpSink):
    """Taken means 2xx."""

    looks_at_batches = False

    def __init__(self, config: HttpSinkConfig, context: SinkContext) -> None:
        super().__init__(config, context)
        self._format, self._merge = config.format, config.merge
        self.content_type = config.headers.get("Content-Type", _TYPES[config.format])
        self.max_body_bytes = config.max_body

    def pieces(self, batches: Sequence[Batch]) -> Sequence[bytes]:
        return body_of(batches, self._format, self._merge)

    def body_headers(self, batches: Sequence[Batch]) -> Mapping[str, str]:
        return {"Idempotency-Key": idempotency_key(batches)}

    def encode_one(self, batch: Batch) -> tuple[list[bytes], bytes, int]:
        """See sinks: the lines, what the key is hashed from, and how many records."""
        return lines_of([batch], self._format, self._merge), identity(batch), len(batch)

    def assemble(self, pieces: Sequence[tuple[list[bytes], bytes, int]]) -> Body:
        lines = [line for made, _, _ in pieces for line in made]
        headers = {"Idempotency-Key": hashed([named for _, named, _ in pieces])}
        return self.body(framed(lines, self._format), headers, sum(records for _, _, records in pieces))


def body_of(batches: Sequence[Batch], form: Format, merge: bool = False) -> list[bytes]:
    """The body in pieces."""
    return framed(lines_of(batches, form, merge), form)


def lines_of(batches: Sequence[Batch], form: Format, merge: bool) -> list[bytes]:
    """Lines, several in a piece."""
    if form == "raw":
        return [piece for batch in batches for piece in raw.pieces(batch)]
    return [piece for batch in batches for piece in record_json.pieces(batch, merge)]


def framed(pieces: list[bytes], form: Format) -> list[bytes]:
    """The body of these lines. No JSON string holds a raw newline, so that lines become an array by exchanging newlines."""
    if form != "json":
        return pieces
    inside = [piece.replace(b"\n", b",") for piece in pieces]
    if inside:
        inside[-1] = inside[-1][:-1]
    return [b"[", *inside, b"]"]


def idempotency_key(batches: Sequence[Batch]) -> str:
    """HP1. 32 hex digits. Cost: a hash over 12 bytes a record."""
    return hashed([identity(batch) for batch in batches])


def identity(batch: Batch) -> bytes:
    """The ids of a batch's records, as one."""
    return b"%b:%b;" % (batch.key.encode(), b" ".join(batch.ids))


def hashed(identities: Sequence[bytes]) -> str:
    return blake2b(b"".join(identities), digest_size=16).hexdigest()


def _problems(config: HttpSinkConfig) -> Problems:
    found = problems(config)
    if config.max_body is not None and config.max_body < 1024:
        found.append(("max_body", f"{config.max_body} bytes leave no room for a record; use 1KiB or more"))
    return found


def _guarantee(config: HttpSinkConfig) -> Guarantee:
    carried = "the request's Idempotency-Key" if config.format == "raw" else "the request's Idempotency-Key, each record's id"
    return Guarantee(
        delivered_means="the receiver answered 2xx",
        can_repeat=f"after an answer that was lost, or a restart; equal in repeats: {carried}",
        can_lose="what the receiver does not store behind its 2xx; records that it refuses are dead letters",
    )


SINK = SinkSpec(
    summary="HTTP POST: NDJSON, a JSON array or raw lines, with gzip or zstd.",
    config=HttpSinkConfig,
    build=PlainHttpSink,
    check=_problems,
    warn=warnings,
    guarantee=_guarantee,
    request_bytes=1536 * 1024,
)
