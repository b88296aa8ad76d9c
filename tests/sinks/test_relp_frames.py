"""RELP frames. R: _relp_frames.py."""
from __future__ import annotations

import pytest

from shipper.sinks._relp_frames import MAX_TXNR, BrokenStream, Reader, bodies, body, numbered, numbers, response

STREAM = b"1 rsp 92 200 OK\nrelp_version=0\nrelp_software=librelp,1.11.0,http://librelp.adiscon.com\ncommands=syslog\n"
STREAM = STREAM.replace(b"92", b"%d" % (len(STREAM) - len(b"1 rsp 92 \n")))
STREAM += b"2 rsp 6 200 OK\n3 rsp 0\n0 serverclose 0\n"


def test_r1_frames_are_the_same_wherever_the_bytes_are_cut():
    whole = list(Reader().feed(STREAM))
    assert [(f.txnr, f.command) for f in whole] == [(1, b"rsp"), (2, b"rsp"), (3, b"rsp"), (0, b"serverclose")]
    assert whole[0].data.endswith(b"commands=syslog") and whole[1].data == b"200 OK"
    for cut in range(len(STREAM)):
        reader = Reader()
        assert [*reader.feed(STREAM[:cut]), *reader.feed(STREAM[cut:])] == whole
    reader = Reader()
    assert [frame for at in range(len(STREAM)) for frame in reader.feed(STREAM[at:at + 1])] == whole


@pytest.mark.parametrize("garbage", [
    b"HTTP/1.1 400 Bad Request\r\n", b"x", b" 1 rsp", b"1  rsp", b"1 rsp 6 200 OKx", b"1 rsp 0 \n", b"1 rsp 7\n",
    b"1234567890 rsp 0\n", b"1 rsp 999999 x", b"1 " + b"a" * 40, b"\x15\x03\x01\x00\x02\x02\x16",
])
def test_r2_what_is_no_frame_is_refused_at_once(garbage):
    with pytest.raises(BrokenStream):
        list(Reader().feed(garbage))


def test_frames_of_ours_are_what_librelp_reads():
    assert body(b"close", b"") == b"close 0\n" and body(b"open", b"x=1") == b"open 3 x=1\n"
    assert numbered(2, bodies([b"<14>1 a", b"two\nlines"])) == b"2 syslog 7 <14>1 a\n3 syslog 9 two\nlines\n"


def test_r3_numbers_begin_again_behind_the_highest():
    assert numbers(MAX_TXNR - 1, 3) == [MAX_TXNR - 1, MAX_TXNR, 1]
    assert numbered(MAX_TXNR, [b"close 0\n", b"close 0\n"]) == b"999999999 close 0\n1 close 0\n"


def test_a_response_has_a_code_and_words():
    assert response(b"500 command disabled")[:2] == (500, "command disabled")
    assert response(b"200 OK\ncommands=syslog").lines == (b"commands=syslog",)
    for wrong in (b"", b"OK", b"2000"):
        with pytest.raises(BrokenStream):
            response(wrong)
