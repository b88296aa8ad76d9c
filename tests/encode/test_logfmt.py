from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode import logfmt, raw
from shipper.model import Source

from .test_record_json import HOST, POD, TIME, batch_of


def encode(batch):
    return b"".join(logfmt.pieces(batch))


def test_a_container_record_is_one_line_of_pairs():
    assert encode(batch_of([b'he said "hi"', b"two\nlines"], streams=[b"stdout", b"stderr"])) == (
        b'time=2026-11-20T09:04:05.123456789Z stream=stdout namespace=default pod=web-0 container=web node=n1'
        b' id=k3v9q2f7abcdefgh:0+c8 message="he said \\"hi\\""\n'
        b'time=2026-11-20T09:04:05.123456789Z stream=stderr namespace=default pod=web-0 container=web node=n1'
        b' id=k3v9q2f7abcdefgh:100+c8 message="two\\nlines"\n')


def test_a_host_record_has_its_file_and_no_stream():
    assert encode(batch_of([b"x"], HOST, [b""], [b""])) == (
        b'time=2026-11-20T09:04:05.000000042Z node=n1 file=/var/log/syslog id=k3v9q2f7abcdefgh:0+c8 message="x"\n')


def test_marks_stand_behind_the_id():
    assert b'id=k3v9q2f7abcdefgh:0+c8 partial=true truncated=9 message="x"' in encode(
        batch_of([b"x"], marks={0: {"partial": True, "truncated": 9}}))


def test_a_hostile_name_is_quoted_and_adds_no_pair():
    evil = Source("containers", "c", "/x", "/x", "n1", namespace='a b="c', pod="p\nq", container="w\udcff")
    assert b'namespace="a b=\\"c" pod="p\\nq" container="w\xef\xbf\xbd" node=n1' in encode(batch_of([b"x"], evil))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.data())
def test_any_bytes_stay_one_line_per_record(messages, data):
    times = data.draw(st.lists(st.one_of(st.just(TIME), st.binary(max_size=8)), min_size=len(messages), max_size=len(messages)))
    out = encode(batch_of(messages, times=times))
    assert out.count(b"\n") == len(messages) and all(line.startswith(b"time=") for line in out.splitlines() if line)
    assert out.count(b" id=k3v9q2f7abcdefgh:") >= len(messages)


def test_raw_keeps_bytes_and_newlines_as_they_are():
    assert b"".join(raw.pieces(batch_of([b"a\xff", b"", b"b\nc"], POD))) == b"a\xff\n\nb\nc\n"
    assert raw.pieces(batch_of([])) == []
