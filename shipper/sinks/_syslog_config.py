"""The keys of a `type: syslog` sink, what is wrong with them, and what they promise. `problems` reads the TLS files."""
from __future__ import annotations

import re
from typing import Literal

import msgspec

from ..config.units import Bytes, Seconds
from ..encode.container_logs import ContainerLogsEncoder
from ..encode.syslog import FACILITIES, SEVERITIES, Rfc3164Encoder, Rfc5424Encoder, SyslogOptions
from . import Guarantee
from ._tls import TlsConfig, file_problems

MAX_DATAGRAM_BYTES = 65507
TLS_PROTOCOLS = ("tls", "relp-tls")
RELP_PROTOCOLS = ("relp", "relp-tls")
RELP_MESSAGE_BYTES = 128 * 1024      # librelp's own limit; behind it, it ends the session or cuts the message
MIN_MESSAGE_BYTES = 1024        # the header of an RFC 5424 message with the longest names takes 800
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]+)):(\d{1,5})")


class SyslogConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """See docs/sinks/syslog.md.

    framing          None: octet-counted; newline for container-logs; UDP and RELP have none
    severity         by stream; host files have the stream ""
    max_message      None: no limit; over UDP 1024, for container-logs 65507; over RELP 128 KiB
    resend_window    None: what the receiver's kernel can hold unread, from its windows (_syslog_confirm.py); at least 1 MiB
    barrier_timeout  how long a receiver that has everything may take to close
    relp_window      RELP: transactions without an answer at any moment
    ack_timeout      RELP: how long the receiver may be silent while some are
    """

    address: str
    protocol: Literal["tcp", "tls", "udp", "relp", "relp-tls"] = "tcp"
    format: Literal["rfc5424", "rfc3164", "container-logs"] = "rfc5424"
    framing: Literal["octet-counted", "newline"] | None = None
    tls: TlsConfig = TlsConfig()
    facility: str = "user"
    severity: dict[str, str] = msgspec.field(default_factory=dict)
    time_digits: Literal[6, 9] = 6
    max_message: Bytes | None = None
    on_oversize: Literal["split", "cut"] = "split"
    connect_timeout: Seconds = Seconds(10.0)
    tcp_user_timeout: Seconds = Seconds(120.0)
    resend_window: Bytes | None = None
    barrier_interval: Seconds = Seconds(60.0)
    barrier_idle: Seconds = Seconds(5.0)
    barrier_timeout: Seconds = Seconds(10.0)
    relp_window: int = 128
    ack_timeout: Seconds = Seconds(60.0)


SyslogEncoders = Rfc5424Encoder | Rfc3164Encoder | ContainerLogsEncoder


def host_port(address: str) -> tuple[str, int]:
    """("::1", 514) from "[::1]:514". ValueError with the mend."""
    found = _ADDRESS.fullmatch(address)
    if not found or not 0 < int(found[3]) < 65536:
        raise ValueError(f"{address!r} is not host:port; write for example logs.example.com:514 or [2001:db8::1]:514")
    return found[1] or found[2], int(found[3])


def framing_of(config: SyslogConfig) -> str:
    """octet-counted, newline or datagram."""
    if config.protocol == "udp" or config.protocol in RELP_PROTOCOLS:
        return "datagram"
    return config.framing or ("newline" if config.format == "container-logs" else "octet-counted")


def encoder_of(config: SyslogConfig) -> SyslogEncoders:
    """The encoder that this config asks for."""
    limit = int(config.max_message) if config.max_message is not None else None
    framing = framing_of(config)
    if config.protocol in RELP_PROTOCOLS and limit is None:
        limit = RELP_MESSAGE_BYTES
    elif framing == "datagram" and limit is None:
        limit = MAX_DATAGRAM_BYTES if config.format == "container-logs" else 1024
    if config.format == "container-logs":
        return ContainerLogsEncoder(framing, limit, config.on_oversize)
    named = {"stdout": "info", "stderr": "err", **config.severity}
    options = SyslogOptions(
        framing=framing, facility=FACILITIES[config.facility],
        severities=tuple((stream.encode(), SEVERITIES[name]) for stream, name in named.items()),
        time_digits=config.time_digits, max_message_bytes=limit, on_oversize=config.on_oversize,
    )
    return Rfc5424Encoder(options) if config.format == "rfc5424" else Rfc3164Encoder(options)


def problems(config: SyslogConfig) -> list[tuple[str, str]]:
    """What `shipper check` says: (key path below the sink, problem; mend)."""
    found: list[tuple[str, str]] = []
    try:
        host_port(config.address)
    except ValueError as error:
        found.append(("address", str(error)))
    if config.facility not in FACILITIES:
        found.append(("facility", f"{config.facility!r} is no facility; use one of {', '.join(FACILITIES)}"))
    for stream, name in config.severity.items():
        if stream not in ("stdout", "stderr", ""):
            found.append((f"severity.{stream}", 'no such stream; use stdout, stderr or "" (host files)'))
        if name not in SEVERITIES:
            found.append((f"severity.{stream}", f"{name!r} is no severity; use one of {', '.join(SEVERITIES)}"))
    return found + _size_problems(config) + tls_problems(config.protocol, config.tls)


def _size_problems(config: SyslogConfig) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    limit = config.max_message
    if limit is not None and limit < MIN_MESSAGE_BYTES:
        found.append(("max_message", f"{limit} leaves no room for a message behind its header; use {MIN_MESSAGE_BYTES} or more"))
    if config.protocol == "udp":
        if limit is not None and limit > MAX_DATAGRAM_BYTES:
            found.append(("max_message", f"a datagram holds {MAX_DATAGRAM_BYTES} bytes at most; use that or less, or tcp"))
        if config.framing is not None:
            found.append(("framing", "a datagram is one message and has no framing; leave it out, or use tcp"))
    if config.protocol in RELP_PROTOCOLS and config.framing is not None:
        found.append(("framing", "RELP frames messages itself; leave it out, or use protocol: tcp or tls"))
    if not 1 <= config.relp_window <= 10_000:
        found.append(("relp_window", f"{config.relp_window} is no window; use 1 to 10000 (receivers are made for 128)"))
    for name in ("connect_timeout", "tcp_user_timeout", "barrier_interval", "barrier_idle", "barrier_timeout", "ack_timeout"):
        if getattr(config, name) <= 0:
            found.append((name, "must be longer than 0s; leave it out for the default"))
    return found


def tls_problems(protocol: str, tls: TlsConfig) -> list[tuple[str, str]]:
    """Of the `tls` keys; reads the files that they name."""
    if protocol not in TLS_PROTOCOLS:
        mend = "relp-tls" if protocol == "relp" else "tls"
        return [("tls", f"has no effect with this protocol; use protocol: {mend}, or leave it out")] if tls != TlsConfig() else []
    return file_problems(tls)


def guarantee(config: SyslogConfig) -> Guarantee:
    """What `explain` says of this sink."""
    if config.format == "rfc5424":
        repeats = "after a lost connection or a restart; equal id in [shipper@32473] means equal content"
    else:
        repeats = f"after a lost connection or a restart; {config.format} carries no id, so repeats cannot be told"
    if config.protocol == "udp":
        return Guarantee(
            delivered_means="handed to the kernel",
            can_repeat=repeats,
            can_lose="any datagram, unseen: UDP tells nobody. Use tcp or tls where that matters",
        )
    if config.protocol in RELP_PROTOCOLS:
        return Guarantee(
            delivered_means="the receiver answered 200 for the message: it has it in its own queue",
            can_repeat=f"up to {config.relp_window} messages that had no answer, {repeats}",
            can_lose="what the receiver had answered for and kept in memory when it died; give it a queue on disk "
            "(rsyslog: queue.type and queue.saveOnShutdown of its main queue)",
        )
    bound = (
        "more than its kernel can hold unread (3 of its largest windows, at least 1 MiB)" if config.resend_window is None
        else f"{int(config.resend_window)} bytes"
    )
    return Guarantee(
        delivered_means=f"the receiver read it: it closed after our half-close, or it acknowledged {bound} behind it. A receiver "
        "that never answers a half-close is held to the second alone, and a restart sends that much again",
        can_repeat=repeats,
        can_lose="what the receiver had read and not stored when it died; what a TCP proxy in between had taken; what it had "
        "not read when it shut this one connection down by shutdown() behind our half-close, and kept others open",
    )
