"""Is this the file that I knew? Pure. Once per file and per section, never per line.

    head    up to 1 KiB from the beginning, known as (length, hash); grows until it is 1 KiB long
    guard   up to 64 bytes in front of the read offset, known as a hash: what must still stand there
    key     80 bits over pod uid, container, restart and first line (host files: node, path, first line, nonce)

Invariants:
  F1  the same content has the same key after rename, gzip and restart of the agent
  F2  other content has another key: a truncated or reused file differs in head or guard; where two files of one lineage
      begin alike, a salt (kept with the file's definition) tells them apart
"""
from __future__ import annotations

from base64 import b32encode
from hashlib import blake2b
from typing import Protocol

from ..model import Source

HEAD_BYTES = 1024
GUARD_BYTES = 64


def digest(data: bytes) -> str:
    """blake2b-8 in hex: 16 characters."""
    return blake2b(data, digest_size=8).hexdigest()


def known_part(head: bytes) -> bytes:
    """What of a head says which file it is: not the zeros that a preallocated file has where nothing is written yet."""
    return head.rstrip(b"\0") or head


class KnownHead(Protocol):
    """How much of a file's beginning was hashed, and what came out: a FileRef, or what the positions say."""

    @property
    def head_bytes(self) -> int: ...
    @property
    def head_hash(self) -> str: ...


def has_head_of(known: KnownHead, head: bytes) -> bool:
    """Does a file with this head begin with what was hashed of `known`? A shorter one does not."""
    return digest(head[: known.head_bytes]) == known.head_hash


def first_line(head: bytes) -> bytes | None:
    """The first complete line of a file, up to 1 KiB of it; None while it is shorter than that and has no end."""
    end = head.find(b"\n", 0, HEAD_BYTES)
    if end >= 0:
        return head[:end]
    return head[:HEAD_BYTES] if len(head) >= HEAD_BYTES else None


def file_key(source: Source, line: bytes, salt: str = "") -> str:
    """16 characters of lower-case base32. `salt`: a host file's nonce, or what tells equal heads apart."""
    if source.kind == "containers":
        parts = [source.pod_uid or source.lineage, source.container, str(source.restart), salt]
    else:
        parts = [source.node, source.lineage, salt]
    mixed = blake2b(digest_size=10)
    for part in parts:
        mixed.update(part.encode("utf-8", "surrogateescape") + b"\0")
    mixed.update(line)
    return b32encode(mixed.digest()).decode().lower()
