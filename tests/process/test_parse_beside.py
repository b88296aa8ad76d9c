"""parse of records that have fields and a severity already (the journal). B1 and B2 of process/parse_beside.py."""
from __future__ import annotations

import orjson

from shipper.model import Batch, Source
from shipper.process.chain import Work
from shipper.process.filter import values_of
from shipper.process.parse import parse_step
from shipper.process.parse_beside import ParseBeside

SOURCE = Source("journal", "journal", "journal:host", "journal:host:journal", "n1")


def parsed() -> Work:
    messages = [b'{"level":"error","msg":"slow","_PID":"forged","n":1}', b"no JSON", b'{"msg":"only"}', b'{"a":1}']
    batch = Batch(
        SOURCE, "key", [b"2026-11-20T09:04:05.123456Z"] * 4, [b""] * 4, [b"0+1"] * 4, messages, None, 1,
        severities=[b"INFO", b"NOTICE", b"INFO", b""], fields=[b'{"_PID":"7"}', b'{"_PID":"7"}', b'{"_PID":"7"}', b""])
    work = Work(batch, 0.0)
    step = parse_step("json", SOURCE)
    assert step is not None
    ParseBeside(step)(work)
    return work


def test_b1_what_the_source_knows_stays_beside_what_is_parsed_and_wins() -> None:
    work = parsed()
    assert [orjson.loads(one) for one in work.batch.fields or ()] == [
        {"_PID": "7", "n": 1}, {"_PID": "7"}, {"_PID": "7"}, {"a": 1}]
    assert values_of(work)[0] == {"_PID": "7", "n": 1}
    assert list(work.batch.messages) == [b"slow", b"no JSON", b"only", b""]


def test_b2_a_severity_of_the_message_wins_and_without_one_the_sources_stays() -> None:
    assert list(parsed().batch.severities or ()) == [b"ERROR", b"NOTICE", b"INFO", b""]
