"""What an answer means for the request. Pure.

    status                                                        class
    2xx                                                           taken
    301 302 303 307 308                                           Fatal (moved for good) or Retryable: never followed, a POST
                                                                  would lose its body or its credentials would go elsewhere
    401 402 403 404 405 407 408 410 411 414 415 417 421 423 424
    425 426 428 429 431 451, 5xx, 3xx                             Retryable: the server, the path or the credentials
    413                                                           TooLarge
    every other 4xx (400, 409, 422 ...)                           Rejected: the records
    in retry_statuses / reject_statuses                           Retryable / Rejected, whatever stands above
"""
from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from ..errors import Fatal, Rejected, Retryable, ShipperError, TooLarge

EXCERPT_CHARACTERS = 300
_RETRY = frozenset((401, 402, 403, 404, 405, 407, 408, 410, 411, 414, 415, 417, 421, 423, 424, 425, 426, 428, 429, 431, 451))
_MENDS = {
    401: "check its credentials", 403: "check its credentials and their rights", 404: "check the path of its url",
    405: "check the path of its url", 407: "give the proxy's user and password in `proxy`",
    415: "try another `compression`, or another format", 431: "send fewer or shorter headers",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """status: 100 to 599. headers: case-insensitive. body: decoded, at most what was asked for. whole: False: there was
    more of it, or it broke off."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = True

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            pass
        try:
            return json.loads(self.body)        # numbers that orjson does not take
        except (ValueError, RecursionError):
            return None

    @property
    def excerpt(self) -> str:
        """The far side's words on one line, bounded; nothing of an HTML page but that it is one. Not yet scrubbed."""
        head = self.body[:4096].decode("utf-8", "replace")
        if "<html" in head.lower() or "<!doctype" in head.lower():
            return "(an HTML page)"
        return shorten(head)


def again(status: int, retry: Collection[int] = (), reject: Collection[int] = ()) -> bool:
    """Whether one record's status means that it is to be sent again (table above); False for what its own fault is."""
    if status in retry or status in reject:
        return status in retry
    return status in _RETRY or not 400 <= status < 500


def shorten(text: str, characters: int = EXCERPT_CHARACTERS) -> str:
    """`text` on one line of printable characters, cut to `characters`."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: characters * 8]).split())
    return line if len(line) <= characters else line[: characters - 3] + "..."


def failure(
    answer: Answer, what: str, *, retry: Collection[int] = (), reject: Collection[int] = (), now_s: float | None = None,
) -> ShipperError | None:
    """The error that delivery has to see for a request's answer; None for 2xx. `what` names the far side (no secrets)."""
    status = answer.status
    said = f"{what} answered {status}"
    if answer.excerpt:
        said += f": {answer.excerpt}"
    if status in reject:
        return Rejected(said)
    if answer.ok:
        return None
    if status not in retry:
        if status == 413:
            return TooLarge(said)
        if status in (301, 302, 303, 307, 308):
            return _redirect(answer, what)
        if 400 <= status < 500 and status not in _RETRY:
            return Rejected(said)
    mend = f"; {_MENDS[status]}" if status in _MENDS else ""
    return Retryable(said + mend, retry_after_s=retry_after_s(answer.headers, time.time() if now_s is None else now_s))


def _redirect(answer: Answer, what: str) -> ShipperError:
    target = shorten(answer.headers.get("Location", "").partition("?")[0]) or "nowhere"
    said = f"{what} redirects ({answer.status}) to {target}; requests with records are not sent on: set url to where they belong"
    return Fatal(said) if answer.status in (301, 308) else Retryable(said)


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait as `Retry-After` says (RFC 9110, 10.2.3), whose date is taken against the answer's own `Date` where it
    has one. None without one, where it cannot be read, and for 0 or the past: our own back-off is kinder then."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:10])
    else:
        at_s, date_s = _http_date_s(value), _http_date_s(headers.get("Date", ""))
        if at_s is None:
            return None
        seconds = at_s - (now_s if date_s is None else date_s)
    return seconds if seconds > 0 else None


def _http_date_s(text: str) -> float | None:
    """All three forms of RFC 9110, 5.6.7, in seconds since 1970."""
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
