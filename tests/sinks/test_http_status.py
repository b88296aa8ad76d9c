"""What an answer means (sinks/_http_status.py), and the body (sinks/_http_body.py): pure, so by equality."""
from __future__ import annotations

import dataclasses
import gzip
import sys

import pytest

from shipper.errors import Fatal, Rejected, Retryable, TooLarge
from shipper.sinks._http_body import THREAD_FROM_BYTES, Body, compress
from shipper.sinks._http_status import Answer, failure, retry_after_s
from shipper.sinks.http import body_of

from .syslog_kit import batch

NOW_S = 784111777.0                     # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples


@pytest.mark.parametrize(("status", "wanted"), [
    (200, None), (204, None), (301, Fatal), (308, Fatal), (302, Retryable), (304, Retryable), (400, Rejected), (401, Retryable),
    (403, Retryable), (404, Retryable), (408, Retryable), (409, Rejected), (413, TooLarge), (415, Retryable), (422, Rejected),
    (425, Retryable), (429, Retryable), (500, Retryable), (503, Retryable), (599, Retryable),
])
def test_each_status_has_its_class(status, wanted):
    assert type(failure(Answer(status, {}), "http://far")) is (wanted or type(None))


def test_a_config_overrules_the_classes():
    assert isinstance(failure(Answer(400, {}), "x", retry=[400]), Retryable)
    assert isinstance(failure(Answer(413, {}), "x", retry=[413]), Retryable)
    assert isinstance(failure(Answer(404, {}), "x", reject=[404]), Rejected)


@pytest.mark.parametrize(("headers", "wanted_s"), [
    ({}, None), ({"Retry-After": "7"}, 7.0), ({"Retry-After": " 120 "}, 120.0), ({"Retry-After": "0"}, None),
    ({"Retry-After": "-3"}, None), ({"Retry-After": "soon"}, None), ({"Retry-After": "1.5"}, None), ({"Retry-After": "²"}, None),
    ({"Retry-After": "9" * 5000}, 9_999_999_999.0),
    ({"Retry-After": "Sun, 06 Nov 1994 08:49:57 GMT"}, 20.0),
    ({"Retry-After": "Sunday, 06-Nov-94 08:49:57 GMT"}, 20.0),
    ({"Retry-After": "Sun Nov  6 08:49:57 1994"}, 20.0),
    ({"Retry-After": "Sun, 06 Nov 1994 08:49:17 GMT"}, None),
    ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30.0),
    ({"Retry-After": "Sun, 99 Nov 1994 08:50:37 GMT"}, None),
])
def test_retry_after_in_seconds_and_in_the_three_forms_of_a_date(headers, wanted_s):
    assert retry_after_s(headers, NOW_S) == wanted_s


def test_a_redirect_says_where_to_without_the_query():
    error = failure(Answer(308, {"Location": "https://other/in?token=abc"}), "http://far/in")
    assert str(error) == ("http://far/in redirects (308) to https://other/in; requests with records are not sent on: "
                          "set url to where they belong")


def test_the_far_sides_words_are_one_bounded_line_and_no_page():
    assert len(str(failure(Answer(500, {}, b"x" * 60_000), "far"))) < 350
    assert "\n" not in str(failure(Answer(500, {}, b"a\nb\x1b[31m\xff"), "far"))
    assert "(an HTML page)" in str(failure(Answer(502, {}, b"<!DOCTYPE html><html>" + b"y" * 9000), "far"))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_a_body_is_compressed_once_and_equal_pieces_give_equal_bytes(compression):
    pieces = [b"some line %d\n" % n for n in range(THREAD_FROM_BYTES // 10)]
    body = Body(pieces)
    wire = await body.wire(compression)
    assert await body.wire(compression) is wire and b"".join(wire) == compress(list(pieces), compression)
    assert b"".join(await Body([b"".join(pieces)]).wire("none")) == b"".join(pieces)
    if compression == "gzip":
        assert gzip.decompress(wire[0]) == b"".join(pieces) and wire[0][4:8] == bytes(4), "no time in the header"


def test_gzip_goes_by_zlib_where_isal_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    assert gzip.decompress(compress([b"abc", b"def"], "gzip")) == b"abcdef"


def test_zstd_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(Fatal, match=r"pip install 'shipper\[zstd\]'"):
        compress([b"abc"], "zstd")


def test_merge_puts_parsed_fields_at_the_top_in_every_json_format():
    parsed = dataclasses.replace(batch([b"x"]), fields=[b'{"user":"ann"}'])
    for form in ("ndjson", "json"):
        assert b'"fields":{"user":"ann"}' in b"".join(body_of([parsed], form))
        merged = b"".join(body_of([parsed], form, merge=True))
        assert b'"user":"ann"' in merged and b'"fields"' not in merged
