"""What secrets and personal data look like: one finder per built-in name. Pure; hot: once per batch of joined messages.

    find(blob, edge) ─► spans [start, end) in rising order

Each finder begins with one rare letter of what it looks for (`J` of `eyJ`, `@`, `_` of `ghp_`): `re` finds that with memchr, 60
ns for a line of 238 bytes, where a class or a word in front costs 20 to 100 times as much. The rest is checked around the hit.

Invariants (tests/process/test_redact.py):
  K1  linear in len(blob), whatever the bytes: every look around a hit is bounded, and no search begins inside a run that an
      earlier one has read (tests/process/test_redact.py measures)
  K2  no span crosses `edge`, the byte that stands between messages; b"" where there is one alone
  K3  on a batch without a hit nothing is done per line
Sources: RFC 5321 4.5.3.1 and RFC 1035 2.3.4 (lengths of addresses), ISO/IEC 7812 (card numbers), RFC 4291 2.2 (IPv6 text),
RFC 7519 (JWT), RFC 6750 2.1 (bearer), RFC 7468 (PEM); GitHub's, Slack's, AWS's and Google's pages on the forms of their tokens.
"""
from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator

Span = tuple[int, int]
Find = Callable[[bytes, bytes], Iterator[Span]]


def _all_of(pattern: bytes, back: int) -> Find:
    """Every match of a pattern that is linear by itself and begins `back` bytes into the secret."""
    search = re.compile(pattern).finditer

    def find(blob: bytes, edge: bytes) -> Iterator[Span]:
        return ((match.start() - back, match.end()) for match in search(blob))

    return find


# ---------------------------------------------------------------- e-mail

_LOCAL = bytes(c for c in range(256) if c > 127 or chr(c).isalnum() or c in b"._%+-")
_DOMAIN = (rb"(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,61}[A-Za-z0-9\x80-\xff])?\.){1,8}([A-Za-z\x80-\xff]{2,24})"
           rb"(?![A-Za-z0-9_\x80-\xff-])")
_AT_DOMAIN = (re.compile(rb"@" + _DOMAIN), re.compile(rb"%[4]0" + _DOMAIN))
_NO_DOMAINS = frozenset(
    b"service socket timer mount automount target slice scope path device swap png jpg jpeg gif svg webp css js json html"
    .split())
"""getty@tty1.service is a systemd unit, icon@2x.png a file."""


def _emails(blob: bytes, edge: bytes) -> Iterator[Span]:
    done = 0
    for match in sorted([m for pattern in _AT_DOMAIN for m in pattern.finditer(blob)], key=re.Match.start):
        at = match.start()
        before = blob[max(done, at - 64):at]
        local = before[len(before.rstrip(_LOCAL)):].lstrip(b".-%+")
        if not local or match[1].lower() in _NO_DOMAINS or local == b"git":
            continue
        done = match.end()
        yield at - len(local), done


# ---------------------------------------------------------------- addresses

_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4_REST = re.compile(rb"\." + _OCTET + rb"\." + _OCTET + rb"\." + _OCTET + rb"(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z])")
_IPV4_FIRST = re.compile(rb"(?<![0-9A-Za-z_.])(?<![A-Za-z]-)" + _OCTET + rb"(?=\.)")


def _ipv4(blob: bytes, edge: bytes) -> Iterator[Span]:
    done = 0
    for match in _IPV4_REST.finditer(blob):
        at = match.start()
        first = _IPV4_FIRST.search(blob, max(done, at - 3), at + 1)
        if first is not None and first.end() == at:
            done = match.end()
            yield first.start(), done


_HEX = b"0123456789abcdefABCDEF"
_COLONS = re.compile(rb"::|:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:")
_ADDRESS, _LONGEST_ADDRESS = _HEX + b":.", 45
_WORD = re.compile(rb"[0-9A-Za-z_]")
_EUI_64 = re.compile(rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){7}")


def _ipv6(blob: bytes, edge: bytes) -> Iterator[Span]:
    done = 0
    match = _COLONS.search(blob)
    while match is not None:
        at = match.start()
        before = blob[max(done, at - _LONGEST_ADDRESS):at]
        behind = blob[at:at + _LONGEST_ADDRESS + 1]
        start = at - len(before) + len(before.rstrip(_ADDRESS))
        end = at + len(behind) - len(behind.lstrip(_ADDRESS))
        while end > at and blob[end - 1:end] in (b".", b":") and blob[end - 2:end] != b"::":
            end -= 1
        if _is_ipv6(blob, start, end):
            yield start, end
        done = max(end, match.end())
        match = _COLONS.search(blob, done)


def _is_ipv6(blob: bytes, start: int, end: int) -> bool:
    text = blob[start:end]
    if not 3 <= len(text) <= _LONGEST_ADDRESS or not any(c in text for c in b"0123456789") or _EUI_64.fullmatch(text):
        return False
    if _WORD.match(blob, end) or (start and _WORD.match(blob, start - 1)):
        return False
    try:
        socket.inet_pton(socket.AF_INET6, text.decode("ascii"))
    except OSError:
        return False
    return True


# ---------------------------------------------------------------- cards

_CARD = re.compile(
    rb"(?<![0-9A-Za-z_.+])(?:[2-6][0-9]{12,18}|[2-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?"
    rb"|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})(?![0-9A-Za-z_]|\.[0-9])")
_ISSUER = re.compile(rb"4|5[0-8]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3(?:[47]|0[0-5]|[68]|9|5[2-8])|6")
_LENGTHS = {0x33: (14, 15, 16, 17, 18, 19), 0x34: (13, 16, 19), 0x32: (16,)}
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_SHAPE = bytes(0x30 if 0x30 <= c <= 0x39 else 0x2D if c in b" -" else 0x78 for c in range(256))
_SHAPES = (b"0" * 13, b"0000-0000-0000", b"0000-000000-0000")
def _cards(blob: bytes, edge: bytes) -> Iterator[Span]:
    shape = blob.translate(_SHAPE)
    done = 0
    for at in sorted(at for wanted in _SHAPES for at in _places(shape, wanted)):
        if at < done:
            continue
        before = shape[max(done, at - 24):at]
        start = at - len(before) + len(before.rstrip(b"0-"))
        done = _GROUPS.match(shape, at).end()  # type: ignore[union-attr]
        for match in _CARD.finditer(blob, start, min(done + 1, start + 64)):
            digits = match[0].translate(None, b" -")
            if _ISSUER.match(digits) and len(digits) in _LENGTHS.get(digits[0], range(12, 20)) and luhn(digits):
                yield match.span()


_GROUPS = re.compile(rb"[0-]+")


def _places(text: bytes, wanted: bytes) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + len(wanted))


def luhn(digits: bytes) -> bool:
    """The check digit of ISO/IEC 7812-1 annex B. All the same digit is no card, though 0 is its sum."""
    values = [c - 48 for c in digits]
    total = sum(values[-1::-2]) + sum([_DOUBLED[v] for v in values[-2::-2]])
    return total % 10 == 0 and len(set(values)) > 1


# ---------------------------------------------------------------- keys and tokens

_TOKEN = rb"(?:[ \t]|%20){1,8}([A-Za-z0-9._~+/-]{8,}+=*+)"
_SCHEMES = tuple(re.compile(start + _TOKEN) for start in (
    rb"B(?:[Ee][Aa][Rr][Ee][Rr]|[Aa][Ss][Ii][Cc])", rb"b(?:[e]arer|asic)"))
_IN_HEADER = re.compile(rb"(?i:authorization)[\"'\\]{0,3}[ \t]{0,4}[:=][ \t]{0,4}[\"'\\]{0,3}\Z")


def _bearers(blob: bytes, edge: bytes) -> Iterator[Span]:
    found = []
    for scheme in _SCHEMES:
        for match in scheme.finditer(blob):
            token, at = match[1].rstrip(b".-/"), match.start()
            in_header = _IN_HEADER.search(blob[max(0, at - 28):at]) is not None
            # "bearer authentication failed" is prose; a token of letters alone is not made.
            if in_header or (match[0][2:3] in b"aA" and (len(token) >= 32 or any(c in token for c in b"0123456789"))):
                found.append((match.start(1), match.start(1) + len(token)))
    return iter(sorted(found))


_KEY_BEGINS = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")


def _private_keys(blob: bytes, edge: bytes) -> Iterator[Span]:
    """From BEGIN to END; where END is not there, to the end of the message. `edge` b"": it is one message."""
    match = _KEY_BEGINS.search(blob)
    while match is not None:
        last = blob.find(edge, match.end()) if edge else -1
        last = len(blob) if last < 0 else last
        end = _KEY_ENDS.search(blob, match.end(), last)
        done = end.end() if end else last
        yield match.start(), done
        match = _KEY_BEGINS.search(blob, done)


_AWS_ID = re.compile(rb"A(?<![0-9A-Za-z]A)(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}(?![0-9A-Za-z])")
_AWS_NAME = re.compile(rb"(?i:secret[_. -]?(?:access[_. -]?)?)\Z")
_AWS_VALUE = re.compile(rb"[\"'\\]{0,3}[ \t]{0,4}[:=][ \t]{0,4}[\"'\\]{0,3}([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])")
_NAMED_KEY = (rb"K(?:ey|EY)[\"'\\ \t]{0,7}[:=]", rb"_[k]ey[\"'\\ \t]{0,7}[:=]", rb"\.[k]ey[\"'\\ \t]{0,7}[:=]")


def _aws(blob: bytes, edge: bytes) -> Iterator[Span]:
    found = [match.span() for match in _AWS_ID.finditer(blob)]
    for name in _NAMED_KEY:
        for match in re.finditer(name, blob):
            at = match.start() + (name[:1] != b"K")
            value = _AWS_VALUE.match(blob, at + 3)
            if value is not None and _AWS_NAME.search(blob[max(0, at - 16):at]):
                found.append(value.span(1))
    return iter(sorted(found))


FINDERS: dict[str, Find] = {
    "private_key": _private_keys,
    "jwt": _all_of(
        rb"J(?<=(?<![0-9A-Za-z_-])eyJ)[A-Za-z0-9_-]{7,}+\.eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]*+", 2),
    "bearer": _bearers,
    "github_token": _all_of(
        rb"_(?<=(?<![0-9A-Za-z])gh[pousr]_)[A-Za-z0-9]{36,255}(?![A-Za-z0-9_])", 3),
    "github_pat": _all_of(
        rb"_(?<=(?<![0-9A-Za-z])github_)pat_[A-Za-z0-9_]{22,255}(?![A-Za-z0-9_])", 6),
    "slack_token": _all_of(
        rb"x(?<![0-9A-Za-z]x)(?:ox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,255}|app-[0-9]-[A-Za-z0-9-]{10,255})", 0),
    "slack_hook": _all_of(
        rb"k(?<=hooks\.slack)[.]com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,255}", 10),
    "aws_key": _aws,
    "gcp_key": _all_of(
        rb"A(?<![0-9A-Za-z_-]A)[I]za[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])", 0),
    "gcp_token": _all_of(rb"y(?<![0-9A-Za-z_-]y)[a]29\.[0-9A-Za-z_-]{20,}+", 0),
    "gcp_secret": _all_of(
        rb"G(?<![0-9A-Za-z_-]G)[O]CSPX-[0-9A-Za-z_-]{28}(?![0-9A-Za-z_-])", 0),
    "email": _emails,
    "credit_card": _cards,
    "ipv6": _ipv6,
    "ipv4": _ipv4,
}
"""In the order in which they are looked for: a token may hold what looks like an address."""

PARTS = {"github_token": ("github_token", "github_pat"), "slack_token": ("slack_token", "slack_hook"),
         "gcp_key": ("gcp_key", "gcp_token", "gcp_secret")}
"""Names of the config that are several finders; every other name is its own."""

NAMES = tuple(name for name in FINDERS if not any(name in parts[1:] for parts in PARTS.values()))
"""What `redact` may name."""
