"""Redaction: what is found, what is left alone, what it costs (process/redact.py D1 to D5, secrets_known.py K1 to K3)."""
from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.process_redact import BuiltinName, ByField, Limit, RedactRule
from shipper.config.processing import Processing
from shipper.model import Batch, Source
from shipper.process import patterns
from shipper.process.chain import Work
from shipper.process.limit import Limiter
from shipper.process.limits import Limits
from shipper.process.redact import Redactor, Rule
from shipper.process.redact_rules import redactor_for

from .corpus_redact import FALSE, TRUE

BUILTINS = list(get_args(BuiltinName))
SOURCE = Source("files", "app", "/x", "/x", "n1")


def batch_of(messages: Sequence[bytes], *, newlines: bool = True, fields: Sequence[bytes] | None = None) -> Batch:
    none = [b""] * len(messages)
    return Batch(SOURCE, "k" * 16, none, none, [b"%x+1" % i for i in range(len(messages))], list(messages), None, 0, newlines,
                 fields=fields)


def run(redactor: Redactor, batch: Batch) -> Batch:
    work = Work(batch, 0.0)
    redactor(work)
    return work.batch


def every(*own: RedactRule, **keys: str) -> Redactor:
    return redactor_for(Processing(redact=[*BUILTINS, *own], **keys))  # type: ignore[arg-type]


def test_recall_and_precision_on_the_corpus() -> None:
    assert len(TRUE) >= 200 and len(FALSE) >= 200
    redactor = every()
    missed = [(name, text) for name, text, value in TRUE
              if value.encode() in (found := redactor.text(text.encode())) or b"[" + name.encode() + b"]" not in found]
    wrong = [text for text in FALSE if redactor.text(text.encode()) != text.encode()]
    found = len(TRUE) - len(missed)
    print(f"redaction: {len(TRUE)} true, {len(FALSE)} false: recall {found / len(TRUE):.3f}, "
          f"precision {found / (found + len(wrong)):.3f}")
    assert not missed and not wrong, (missed[:20], wrong[:20])


@pytest.mark.parametrize("newlines", [True, False])
def test_a_whole_batch_gives_what_each_message_alone_gives(newlines: bool) -> None:
    true = [text for _, text, _ in TRUE if "\n" not in text and "PRIVATE" not in text]
    texts = [text.encode() for text in (*true, *FALSE)]
    redactor = every()
    assert list(run(redactor, batch_of(texts, newlines=newlines)).messages) == [redactor.text(text) for text in texts]


def test_a_batch_without_a_secret_stays_the_same_object() -> None:
    batch = batch_of([b"all is well"] * 10, newlines=False, fields=[b'{"a":1}'] * 10)
    assert run(every(), batch) is batch


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"a@b.co", b"10.0.0.1", b"\x00\x1e\n", b'{"a":"\\u0040"']), max_size=6))
def test_any_bytes_keep_their_number_and_nothing_is_raised(messages: list[bytes]) -> None:
    if messages:
        found = run(every(RedactRule(name="own", pattern="a{1,9}b")), batch_of(messages, fields=[b'{"m":1}'] * len(messages)))
        assert len(found.messages) == len(found.fields or ()) == len(messages)


def test_a_hash_is_equal_for_equal_values_and_another_with_another_secret() -> None:
    one, two = (every(redact_action="hash", redact_secret=secret * 20) for secret in "ab")
    found = run(one, batch_of([b"from bob@x.com", b"to bob@x.com.", b"to eve@x.com"])).messages
    assert found[0][5:] == found[1][3:-1] != found[2][3:] and found[0].startswith(b"from [email:")
    assert one.text(b"bob@x.com") != two.text(b"bob@x.com")


def test_removal_leaves_nothing_and_an_items_own_action_wins() -> None:
    redactor = redactor_for(Processing(redact=[RedactRule(name="email", action="mask"), "ipv4"], redact_action="remove"))
    assert redactor.text(b"bob@x.com at 10.0.0.1.") == b"[email] at ."


@pytest.mark.parametrize("action", ["mask", "hash", "remove"])
def test_fields_stay_json_whatever_is_cut_out_of_them(action: str) -> None:
    lines = [
        rb'{"to":"bob\u0040example.com","n":1.10}', b'{"card":4111111111111111,"l":[4111111111111111,2]}', b"",
        rb'{"bob@example.com":{"deep":["10.0.0.1","\ud800 eve\u0040example.com"]}}',
        rb'{"AWS_SECRET_ACCESS_KEY":"' + b"aB3/" * 10 + b'"}',
        b'{"own":"acct-1","x":"acct-2\\n"}', b'{"span":"begin","to":"end"}',
    ]
    own = RedactRule(name="acct", pattern=r"acct-\d"), RedactRule(name="span", pattern='begin","to":"end')
    fields = run(every(*own, redact_action=action, redact_secret="s" * 20), batch_of([b""] * len(lines), fields=lines)).fields
    assert fields is not None
    for before, line in zip(lines, fields):
        assert line != before or not before, before
        assert not line or isinstance(orjson.loads(line), dict)
        for secret in (b"example.com", b"41111111", b"10.0.0.1", b"aB3/", b"acct-1", b"acct-2", b"begin"):
            assert secret not in line
    assert b"1.10" in fields[0]


def test_a_secret_that_json_escaped_in_the_message_is_found() -> None:
    assert every().text(rb'{"to":"bob\u0040example.com"}') == b'{"to":"[email]"}'


def test_a_private_key_that_is_printed_line_by_line_goes_whole_also_over_two_reads() -> None:
    redactor = every()
    one = run(redactor, batch_of([b"start", b"-----BEGIN RSA PRIVATE KEY-----", b"MIIEpAIBAAKCAQEA"], newlines=False)).messages
    two = run(redactor, batch_of([b"abcd+/==", b"-----END RSA PRIVATE KEY-----", b"done well"], newlines=False)).messages
    assert [*one, *two] == [b"start", *[b"[private_key]"] * 4, b"done well"]


def test_an_own_pattern_sees_each_message_alone() -> None:
    redactor = redactor_for(Processing(redact=[
        RedactRule(name="pin", pattern=r"^pin=\d+$"), RedactRule(name="all", pattern="(?s)q.{1,9}")]))
    found = run(redactor, batch_of([b"pin=1", b"x pin=1", b"q", b"qa", b"pin=22"], newlines=False)).messages
    assert list(found) == [b"[pin]", b"x pin=1", b"q", b"[all]", b"[pin]"]


HOSTILE = [b"@", b"a@", b"a@b.", b"1.", b"1.1.", b":", b"::", b"1:", b"4", b"4111 ", b"4111111111111111 ", b"eyJ", b"eyJa.",
           b"eyJaaaaaaa.",
           b"Bearer ", b"bearer a", b"ghp_", b"_", b"xoxb-", b"AKIA", b"AIza", b"K", b"Key=", b"_key=",
               b"-----BEGIN PRIVATE KEY-----",
           b"\\u0040", b"a", b"-", b'"', b"0000-0000-0000", b"hooks.slack.com/services/", b"y", b"%40", b"a@b.co "]


def cpu_s(work: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()


@pytest.mark.parametrize("unit", HOSTILE)
def test_four_times_the_hostile_text_costs_no_more_than_linear_time(unit: bytes) -> None:
    """K1. Quadratic would be sixteen times."""
    redactor = every()
    small, large = unit * (60_000 // len(unit)), unit * (240_000 // len(unit))
    redactor.text(small)
    assert cpu_s(lambda: redactor.text(large)) < 9 * cpu_s(lambda: redactor.text(small)) + 0.02


def test_an_unproven_pattern_stops_before_its_matches_cost_the_square_of_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("re2", reason="google-re2 is not installed")
    monkeypatch.setattr(patterns, "engine", lambda: "google-re2")
    redactor = redactor_for(Processing(redact=[RedactRule(name="a", pattern="a(?:.*x)?")]))
    assert cpu_s(lambda: redactor.text(b"a" * 1_000_000)) < 5.0
    assert b"a" not in redactor.text(b"a" * 1_000_000).replace(b"[a]", b"")


def test_a_redacted_batch_keeps_its_other_columns() -> None:
    batch = replace(batch_of([b"bob@x.com", b"b"]), severities=[b"INFO", b""])
    found = run(every(), batch)
    assert (found.ids, found.severities, found.times) == (batch.ids, batch.severities, batch.times)


@pytest.mark.parametrize("secret", [
    "Bearer abcdefghijkl0/mnopqrstuvwxyz0123456789", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
    "aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
])
@pytest.mark.parametrize("slash", [r"\/", r"\u002f", r"\u002F", r"\\/"])
def test_no_half_of_a_secret_stays_whose_slashes_json_escaped(secret: str, slash: str) -> None:
    """PHP writes every slash so. Messages in which nothing is found keep their escapes."""
    message = b'{"a":"%b"}' % secret.replace("/", slash).encode()
    found = run(every(), batch_of([b"before", message, rb'{"path":"\/a\/b"}'], newlines=False)).messages
    assert found[0] == b"before" and found[2] == rb'{"path":"\/a\/b"}'
    assert not any(part in found[1] for part in (b"mnopqrs", b"T0000", b"XXXX", b"K7MDENG", b"bPxRf")), found[1]
    assert every().text(message) == found[1]


def test_a_secret_at_the_very_beginning_of_a_message_neither_stays_nor_shifts_the_other_records() -> None:
    for _, text, value in TRUE:
        if "\n" in text or "PRIVATE" in text:
            continue
        alone = text[text.index(value):].encode()
        if every().text(b" " + alone) == b" " + alone:
            continue                                      # what stood in front says that it is one
        assert value.encode() not in every().text(alone), alone
        found = run(every(), batch_of([b"one", alone, b"three"], newlines=False)).messages
        assert len(found) == 3 and (found[0], found[2]) == (b"one", b"three"), alone
    hook = b"hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
    assert list(run(every(), batch_of([hook, hook], newlines=False)).messages) == [b"[slack_token]"] * 2


BODY = [b"MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7", b"VJTUt9Us8cKjMzEfYyjiWA4R4ypbHqGC0H0XiH6XGhPKNl", b"aGVsbG8="]


@pytest.mark.parametrize("lines", [
    [b"-----BEGIN PRIVATE KEY-----", BODY[0], b"GET /health 200 in 3 ms", BODY[1], BODY[2], b"-----END PRIVATE KEY-----"],
    [b"-----BEGIN PRIVATE KEY-----", b"".join(BODY * 20), b"-----END PRIVATE KEY-----"],
    [b"key: -----BEGIN PRIVATE KEY-----" + BODY[0], BODY[1], BODY[2], b"-----END PRIVATE KEY-----"],
    [b"-----BEGIN PRIVATE KEY-----\n" + BODY[0], BODY[1], b"-----END PRIVATE KEY-----"],
    [b'{"k":"-----BEGIN PRIVATE KEY-----\\n' + BODY[0], BODY[0][20:] + b"\\n" + BODY[1], b'\\n-----END PRIVATE KEY-----\\n"}'],
    [b"\x00\x1e\n-----BEGIN PRIVATE KEY-----\n" + BODY[0] + b"\n" + BODY[1] + b"\n-----END PRIVATE KEY-----"],
])
def test_a_private_key_goes_whole_however_it_was_printed(lines: list[bytes]) -> None:
    redactor = every()
    found = [message for line in [*lines, b"done"] for message in run(redactor, batch_of([line])).messages]
    assert not any(part in b"\n".join(found) for part in (*BODY, BODY[0][:20])), found
    assert found[-1] == b"done" and not redactor.remembered()
    assert all(line in found for line in lines if line.startswith(b"GET"))


def test_a_begin_without_an_end_costs_ordinary_lines_little() -> None:
    redactor = every()
    lines = [b"-----BEGIN PRIVATE KEY-----", *[b"an ordinary line", b"word"] * 20]
    found = [message for line in lines for message in run(redactor, batch_of([line])).messages]
    assert found.count(b"an ordinary line") == 20 and found.count(b"word") > 10 and not redactor.remembered()


def test_the_ends_of_an_own_pattern_are_those_of_a_fields_value() -> None:
    redactor = redactor_for(Processing(redact=[RedactRule(name="ssn", pattern=r"^\d{9}$")]))
    found = run(redactor, batch_of([b"m"], fields=[b'{"ssn":"123456789","n":123456789,"other":"123456789 "}'])).fields
    assert found is not None and orjson.loads(found[0]) == {"ssn": "[ssn]", "n": "[ssn]", "other": "123456789 "}


def test_what_stands_behind_redaction_sees_no_field_as_it_was() -> None:
    """Else a limit would tell half of a token that it cut, and a filter would see what is on no disk."""
    values = [{"token": "eyJ" + "a" * 300 + ".eyJ" + "b" * 50 + ".c"}]
    work = Work(batch_of([b"m"], fields=[orjson.dumps(values[0])]), 0.0, values)
    every()(work)
    limiter = Limiter(Limit(by=ByField(field="token"), records_per_s=1, burst=1.0, action="drop"), SOURCE, Limits())  # type: ignore[arg-type]
    for _ in range(2):
        limiter(Work(work.batch, 0.0, work.values))
    told = limiter.overdue(1.0, 0)
    assert told is not None and told[1].messages == [b"1 records of [jwt] dropped by limit 'by token' in 1 s"]


@pytest.mark.parametrize("slash", [rb"\/", rb"\u002f", rb"\u002F"])
def test_a_field_that_is_secret_by_its_name_goes_whole_however_its_slashes_are_escaped(slash: bytes) -> None:
    line = b'{"aws_secret_access_key":"wJalrXUtnFEMI%bK7MDENG/bPxRfiCYEXAMPLEKEY","n":1.10,"p":"a\\\\/b"}' % slash
    found = every().json(line)
    assert b"K7MDENG" not in found and orjson.loads(found)["p"] == orjson.loads(line)["p"]
    harmless = b'{"path":"\\/a' + slash + b'b","n":1.10}'
    assert every().json(harmless) == harmless, "its own bytes"


def test_a_finder_that_takes_the_place_between_two_records_along_shifts_none_of_them() -> None:
    """D2: built-in finders do not; a pattern of the config that is looked for in all of them at once must not either."""
    def find(blob: bytes, edge: bytes) -> list[tuple[int, int]]:
        at = blob.find(b"secret")
        return [(max(0, at - 1), at + 7)] if at >= 0 else []

    redactor = Redactor((Rule("own", find, lambda value: b"[own]"),))  # type: ignore[arg-type]
    found = redactor.column([b"a", b"secret", b"b", b"c"], [b"stdout"] * 4, may_have_newlines=False)
    assert found == [b"a", b"[own]", b"b", b"c"]
