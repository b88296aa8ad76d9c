"""Redaction: secrets leave messages and parsed fields before anything is on disk. Pure; hot: once per batch.

    messages ─► joined ─► each rule's finder over all of them at once ─► spans ─► cut out, split again
    fields   ─► joined ─► the same; a line with a hit stays valid JSON

Invariants (tests/process/test_redact.py):
  D1  a batch without a hit costs one join and one pass per rule, and stays the same object
  D2  a span never reaches over the end of a message: `edge` stands between them and is in none
  D3  equal values have equal hashes, with the same secret, on every node
  D4  fields stay one JSON object per record, without newlines; what cannot be cut out and stay JSON goes whole
  D5  linear, whatever the bytes; nothing raises
  D6  a private key that is being printed line by line is in the decoder's state: a restart in its middle lets none of it out
"""
from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import orjson

from .chain import Work
from .patterns import BytesMatch
from .secrets_known import FINDERS, PARTS, Find, Span

EDGES = (b"\n", b"\x00", b"\x1e")
HASH_BYTES = 8
MOST_MATCHED_BYTES = 1 << 28
MOST_KEY_LINES = 200
FOREIGN_LINE_COSTS = 20
"""So many lines of other threads may stand among those of a key: ten."""

KEY_LOOK_BACK_BYTES = 64 * 1024
"""More than MOST_KEY_LINES lines of a key take in a log, and some of other programs between them."""

Replace = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Rule:
    """`joined`: its finder may run over many messages at once; else it has to see each alone."""

    name: str
    find: Find
    replace: Replace
    joined: bool = True


def replacement(name: str, action: str, secret: bytes) -> Replace:
    """`action`: mask, hash (keyed by `secret`; without one it is a mask, since anybody could undo it) or remove."""
    if action == "remove":
        return lambda value: b""
    mask = b"[" + name.encode() + b"]"
    if action == "mask" or not secret:
        return lambda value: mask
    key = secret if len(secret) <= 64 else hashlib.blake2b(secret).digest()
    prefix = mask[:-1] + b":"

    def hashed(value: bytes) -> bytes:
        return prefix + hashlib.blake2b(value, digest_size=HASH_BYTES, key=key).hexdigest().encode() + b"]"

    return hashed


def builtin_rules(name: str, action: str, secret: bytes) -> list[Rule]:
    """The rules of one built-in name."""
    make = replacement(name, action, secret)
    return [Rule(name, FINDERS[part], make) for part in PARTS.get(name, (name,))]


def own_finder(finditer: Callable[[bytes], Iterator[BytesMatch]], proven_linear: bool) -> Find:
    """A pattern of the config as a finder. A search is linear, but all matches of a text may not be: a pattern that is not
    proven to (google-re2 takes all) stops after MOST_MATCHED_BYTES of searching, and the rest of the message goes whole."""

    def find(blob: bytes, edge: bytes) -> Iterator[Span]:
        most = len(blob) if proven_linear else max(16, MOST_MATCHED_BYTES // (len(blob) + 1))
        for count, match in enumerate(finditer(blob)):
            if count >= most:
                yield match.start(), len(blob)
                return
            if match.end() > match.start():
                yield match.start(), match.end()

    return find


class Redactor:
    """The step. One per lineage, for private keys that stand in several records (chain.Rememberer); the rules are shared."""

    kind = "key"
    look_back_bytes = 0

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._joined = [rule for rule in rules if rule.joined]
        self._alone = [rule for rule in rules if not rule.joined]
        self._own_joined = any(rule.name not in FINDERS for rule in self._joined)
        self._key_rule = next((rule for rule in rules if rule.name == "private_key"), None)
        self._in_key: dict[bytes, int] = {}
        if self._key_rule is not None:
            self.look_back_bytes = KEY_LOOK_BACK_BYTES

    def __call__(self, work: Work) -> None:
        batch = work.batch
        messages = self.column(batch.messages, batch.streams, may_have_newlines=batch.newlines)
        fields = batch.fields
        if fields is not None:
            fields = self._json_column(fields)
            if fields is not batch.fields:
                work.values = None                        # what parse read is not what the steps behind this one may see
        if messages is not batch.messages or fields is not batch.fields:
            work.batch = replace(batch, messages=messages, fields=fields)

    # -------------------------------------------------------- text

    def column(self, messages: Sequence[bytes], streams: Sequence[bytes], *, may_have_newlines: bool) -> Sequence[bytes]:
        """The messages without secrets; the same object where there were none (D1)."""
        edge = _edge_of(messages, may_have_newlines)
        if edge is None or (edge != b"\n" and self._own_joined):
            return [self.text(message) for message in self._keys_over_lines(messages, streams)]
        blob = edge.join(messages)
        if self._key_rule is not None and (self._in_key or _KEY in blob):
            messages = self._keys_over_lines(messages, streams)
            blob = edge.join(messages)
        if _is_escaped(blob):                             # first: else half of what is found stays, from the backslash on
            messages = _same_or([self._unescaped(message) if _is_escaped(message) else message for message in messages], messages)
            blob = edge.join(messages)
        found = messages
        cleaned = _applied(self._joined, blob, edge)
        if cleaned is not blob:
            found = cleaned.split(edge) if len(messages) > 1 else [cleaned]
            if len(found) != len(messages):               # a finder's mistake must never shift records (D2)
                found = [_applied(self._joined, message, b"") for message in messages]
        if self._alone:
            found = _same_or([_applied(self._alone, message, b"") for message in found], found)
        return found

    def text(self, message: bytes) -> bytes:
        """One message, or any other text, without secrets."""
        plain = self._unescaped(message) if _is_escaped(message) else message
        cleaned = _applied(self._joined, plain, b"")
        return _applied(self._alone, cleaned, b"") if self._alone else cleaned

    def _unescaped(self, message: bytes) -> bytes:
        r"""bob\u0040example.com is an address too, and https:\/\/ is https://: JSON may write any character so. The same object
        where that shows no secret."""
        plain = _ESCAPED.sub(lambda match: b"/" if match[1] is None else bytes((int(match[1], 16),)), message)
        cleaned = _applied(self._joined, plain, b"")
        return message if cleaned is plain else cleaned

    # -------------------------------------------------------- private keys, one line a record

    def remembered(self) -> list[bytes]:
        """Streams in which a private key is being printed."""
        return list(self._in_key)

    def remember(self, streams: Sequence[bytes]) -> None:
        """Go on there (D6): as if their BEGIN had just been read."""
        self._in_key = dict.fromkeys(streams, MOST_KEY_LINES) if self._key_rule is not None else {}

    def _keys_over_lines(self, messages: Sequence[bytes], streams: Sequence[bytes]) -> Sequence[bytes]:
        """A key that was printed line by line is many records: from the one with BEGIN on, what looks like its body goes.
        Lines of other threads between them pass, and cost FOREIGN_LINE_COSTS of its lines each."""
        if self._key_rule is None:
            return messages
        out = []
        for message, stream in zip(messages, streams):
            left = self._in_key.pop(stream, 0)
            is_body = left > 0 and _BODY.fullmatch(message) is not None
            if _KEY in message and not is_body:
                left = MOST_KEY_LINES if _OPEN_KEY.search(message) else left - FOREIGN_LINE_COSTS
            elif left:
                left = 0 if _KEY in message else left - (1 if is_body else FOREIGN_LINE_COSTS)
            if left > 0:
                self._in_key[stream] = left
            out.append(self._key_rule.replace(message) if is_body else message)
        return _same_or(out, messages)

    # -------------------------------------------------------- JSON

    def _json_column(self, fields: Sequence[bytes]) -> Sequence[bytes]:
        blob = b"\n".join(fields)
        hits = {start for rule in self._joined for start, _ in rule.find(blob, b"\n")}
        ends = list(accumulate([len(line) + 1 for line in fields]))
        suspects = {bisect_right(ends, start) for start in hits}
        if b"\\u" in blob or b"\\/" in blob or self._alone:
            suspects |= {i for i, line in enumerate(fields) if line and (self._alone or b"\\u" in line or b"\\/" in line)}
        if not suspects:
            return fields
        out = list(fields)
        for index in suspects:
            out[index] = self.json(out[index])
        return out

    def json(self, line: bytes) -> bytes:
        """One JSON object without secrets, in its strings, keys and numbers, however they are escaped (D4)."""
        rules = [*self._joined, *self._alone]
        if b"\\" not in line and not self._alone:         # ^ and $ of an own pattern are the ends of a string, not of the line
            cleaned = _applied(rules, line, b"\n")
            if cleaned is line or _is_json(cleaned):
                return cleaned
        plain = _JSON_ESCAPE.sub(_without_escape, line) if _is_escaped(line) else line
        cleaned = _applied(rules, _TOKEN.sub(self._json_token, plain), b"\n")      # what stands over a name and its value
        if cleaned == plain:
            return line
        if _is_json(cleaned):
            return cleaned
        return b'{"redacted":true}'

    def _json_token(self, match: re.Match[bytes]) -> bytes:
        token = match[0]
        plain = _plain(token) if token[:1] == b'"' else token
        cleaned = self.text(plain)
        return token if cleaned == plain else orjson.dumps(cleaned.decode("utf-8", "replace"))


_KEY = b"PRIVATE KEY"
_BODY = re.compile(
    rb"\s{0,16}(?:(?:[A-Za-z0-9+/=]++|\\[nr])++(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY.{0,200})?|[A-Za-z-]{1,20}: .{0,100}"
    rb"|-----END [A-Z0-9 ]{0,40}PRIVATE KEY.{0,20})?\s{0,16}")
_OPEN_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[A-Za-z0-9+/=\r\n]++|\\[nr])*+\s{0,16}\Z")
_ESCAPED = re.compile(rb"(?<!\\)\\++(?:u00((?!22|5[Cc])[2-7][0-9A-Fa-f])|/)")
_JSON_ESCAPE = re.compile(rb"\\(?:u00((?!22|5[Cc])[2-7][0-9A-Fa-f])|(/)|.)", re.DOTALL)
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?[0-9][0-9.eE+-]*+')


def _without_escape(match: re.Match[bytes]) -> bytes:
    return match[0] if match[1] is None and match[2] is None else match[2] or bytes((int(match[1], 16),))


def _is_escaped(text: bytes) -> bool:
    return b"\\u00" in text or b"\\/" in text


def _plain(token: bytes) -> bytes:
    """What a JSON string says, as UTF-8; halves of a surrogate pair become question marks."""
    try:
        found: str = orjson.loads(token)
        return found.encode()
    except orjson.JSONDecodeError:
        try:
            return str(json.loads(token.decode("utf-8", "replace"), strict=False)).encode("utf-8", "replace")
        except ValueError:
            return token


def _edge_of(messages: Sequence[bytes], may_have_newlines: bool) -> bytes | None:
    """A byte that is in no message (D2)."""
    if not may_have_newlines:
        return b"\n"
    return next((edge for edge in EDGES if not any(edge in message for message in messages)), None)


def _same_or(found: list[bytes], before: Sequence[bytes]) -> Sequence[bytes]:
    return before if all(a is b for a, b in zip(found, before)) else found


def _applied(rules: Sequence[Rule], blob: bytes, edge: bytes) -> bytes:
    """`blob` with every span replaced, rule after rule; the same object where there was none."""
    for rule in rules:
        spans = list(rule.find(blob, edge))
        if spans:
            blob = b"".join(_pieces(rule.replace, blob, spans))
    return blob


def _pieces(make: Replace, blob: bytes, spans: Sequence[Span]) -> Iterator[bytes]:
    at = 0
    for start, end in spans:
        if start < at:
            continue                                      # within what is cut out already
        yield blob[at:start]
        new = make(blob[start:end])
        # A bare number behind a JSON name: what stands in its place is a string.
        number = blob[start:start + 1].isdigit() and blob[max(0, start - 4):start].rstrip(b" ").endswith(b'":')
        yield b'"' + new + b'"' if number and blob[end:end + 1] in (b",", b"}", b"]", b" ", b"") else new
        at = end
    yield blob[at:]


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
