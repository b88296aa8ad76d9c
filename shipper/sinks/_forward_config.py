"""The keys of a `type: forward` sink, what is wrong with them, and what they promise. `problems` reads files."""
from __future__ import annotations

import os
from typing import Literal

import msgspec

from ..config.units import Bytes, Seconds
from ..encode.template import compile_template
from ..errors import Retryable
from . import Guarantee
from ._syslog_config import host_port, tls_problems
from ._tls import TlsConfig

MIB = 1024 * 1024


class ForwardConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/forward.md.

    tag            a template, rendered per pod or file
    message_key    the record's key for the line: log (fluentd's kubernetes users) or message
    shared_key     or shared_key_file: the receiver's <security> section; username and password (or password_file) likewise
    require_ack    false: delivered means written to the socket, and what the receiver had not read is lost with it
    max_chunk      bytes on the wire; Fluent Bit's in_forward takes 6 MB (buffer_max_size)
    """

    address: str
    protocol: Literal["tcp", "tls"] = "tcp"
    tls: TlsConfig = TlsConfig()
    tag: str = "kubernetes.{namespace|host}.{pod|file}.{container|log}"
    message_key: str = "log"
    compression: Literal["none", "gzip"] = "none"
    shared_key: str | None = None
    shared_key_file: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    require_ack: bool = True
    ack_timeout: Seconds = Seconds(60.0)
    max_chunk: Bytes = Bytes(5 * MIB)
    connect_timeout: Seconds = Seconds(10.0)
    tcp_user_timeout: Seconds = Seconds(120.0)


def problems(config: ForwardConfig) -> list[tuple[str, str]]:
    """What `shipper check` says: (key path below the sink, problem; mend)."""
    found: list[tuple[str, str]] = []
    try:
        host_port(config.address)
    except ValueError as error:
        found.append(("address", str(error)))
    try:
        compile_template(config.tag)
    except ValueError as error:
        found.append(("tag", str(error)))
    if not config.tag:
        found.append(("tag", "a receiver routes by the tag; give one, for example kubernetes.{namespace}.{pod}"))
    if config.message_key in ("", "id", "stream", "kubernetes", "node", "file"):
        found.append(("message_key", f"{config.message_key!r} is empty or taken; use log or message"))
    for name in ("ack_timeout", "connect_timeout", "tcp_user_timeout"):
        if getattr(config, name) <= 0:
            found.append((name, "must be longer than 0s; leave it out for the default"))
    if config.max_chunk < 64 * 1024:
        found.append(("max_chunk", "leaves no room for a record; use 64KiB or more"))
    return found + _secret_problems(config) + tls_problems(config.protocol, config.tls)


def _secret_problems(config: ForwardConfig) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name in ("shared_key", "password"):
        path = getattr(config, f"{name}_file")
        if path is not None and getattr(config, name) is not None:
            found.append((f"{name}_file", f"and {name} are both given; keep one"))
        elif path is not None and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            found.append((f"{name}_file", f"cannot read {path}; give the path of a file that this process may read"))
    has_key = config.shared_key is not None or config.shared_key_file is not None
    has_password = config.password is not None or config.password_file is not None
    if (config.username is None) == has_password:
        found.append(("username", "username and password go together; give both, or none"))
    if config.username is not None and not has_key:
        found.append(("username", "is only asked for with a shared key; give shared_key or shared_key_file too"))
    return found


def secret(value: str | None, path: str | None) -> str:
    """The value, or what the file holds now without the newline at its end; "" where neither is given. Retryable."""
    if path is None:
        return value or ""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Retryable(f"cannot read {path} ({getattr(error, 'strerror', None) or 'not UTF-8'}); "
                        "it must be readable by this process") from error


def guarantee(config: ForwardConfig) -> Guarantee:
    """What `explain` says of this sink."""
    if not config.require_ack:
        return Guarantee(
            delivered_means="written to the socket",
            can_repeat="requests that were being written when the connection broke; equal `id` means equal content",
            can_lose="all that the receiver had not read when the connection broke; leave require_ack at true",
        )
    return Guarantee(
        delivered_means="the receiver acknowledged the chunk: fluentd has it in its buffer (on disk with <buffer> @type file)",
        can_repeat="chunks whose acknowledgement did not come, after a lost connection, ack_timeout or a restart; "
        "equal `id` means equal content, and within a run a repeat has the same chunk id",
        can_lose="what the receiver had acknowledged and kept in memory when it died; give it a file buffer",
    )
