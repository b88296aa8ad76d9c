"""Wrong `redact` and `limit` keys: where they stand, and the mend."""
from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config.loader import load_text
from shipper.errors import Usage

WRONG = [
    ("redact: [emial]", "2:63", "redact[0]"),
    ("redact: [{name: x, pattern: '(a)\\1'}]", "2:", "backreference"),
    ("redact: [{name: x, pattern: 'a*'}]", "2:", "matches the empty text"),
    ("redact: [{name: x}]", "2:", "add pattern: RE"),
    ("redact: [email], redact_action: hash", "2:", "redact_secret_file"),
    ("redact: [email], redact_secret_file: /no/such/file", "2:", "cannot be read"),
    ("redact: [email], redact_secret: short", "2:", "could be guessed"),
    ("limit: {by: pod}", "2:", "says no rate"),
    ("limit: {records_per_s: 0}", "2:", "must be from 0.01"),
    ("limit: {by: nodes, records_per_s: 1}", "2:", "limit.by"),
]


def text(keys: str) -> str:
    return f"sources:\n  logs: {{type: files, include: [/var/log/app/*.log], {keys}}}\nsinks: {{out: {{type: stdout}}}}\n"


@pytest.mark.parametrize(("keys", "place", "says"), WRONG, ids=[keys for keys, _, _ in WRONG])
def test_a_wrong_key_is_told_with_its_place_and_the_mend(keys: str, place: str, says: str) -> None:
    with pytest.raises(Usage) as told:
        load_text(text(keys), "c.yaml", {})
    assert f"c.yaml:{place}" in str(told.value) and says in str(told.value), str(told.value)


def test_a_secret_of_the_environment_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(Usage) as told:
        load_text(text("redact: [emial], redact_secret: '${S}'"), "c.yaml", {"S": "0123456789abcdef-secret"})
    assert "0123456789abcdef" not in str(told.value)


def test_a_good_config_is_taken() -> None:
    keys = "redact: [email, {name: a,pattern: 'a-[0-9]{6}'}], redact_action: hash, redact_secret: '${S}', limit: {bytes_per_s: 1}"
    assert load_text(text(keys), "c.yaml", {"S": "0123456789abcdef-secret"}).config.sources["logs"].redact[0] == "email"


TWO = """
sources:
  web: {type: files, include: [/var/log/web/*.log]%s}
  db: {type: files, include: [/var/log/db/*.log]%s}
process:
%s
sinks: {out: {type: stdout}}
"""
SECRET = "redact_secret: 0123456789abcdef-secret"


@pytest.mark.parametrize(("web", "db", "rules"), [
    (", redact: [email], redact_action: hash", f", {SECRET}", "  []"),
    (", redact: [{name: email, action: hash}]", "", "  - {when: {source: [db]}, redact: [ipv4], KEYED}"),
    ("", "", "  - {when: {source: [web]}, redact: [email], redact_action: hash}\n  - {when: {source: [db]}, KEYED}"),
])
def test_a_hash_whose_secret_is_for_other_logs_is_refused(web: str, db: str, rules: str) -> None:
    """Its values were hashed without a key: all addresses could be tried."""
    with pytest.raises(Usage) as told:
        load_text(TWO % (web, db, rules.replace("KEYED", SECRET)), "c.yaml", {})
    assert "redact_secret_file" in str(told.value) and "hash without a secret" in str(told.value)


@pytest.mark.parametrize(("web", "rules", "warned"), [
    (f", redact: [email], redact_action: hash, {SECRET}", "  []", False),
    (", redact: [email], redact_action: hash", "  - {when: {}, KEYED}", False),
    (", redact: [email], redact_action: hash", "  - {when: {source: [w*]}, KEYED}", False),
    (", redact: [email], redact_action: hash", "  - {when: {namespace: [shop]}, KEYED}", True),
    (f", {SECRET}", "  - {when: {source: [web], namespace: [shop]}, redact: [email], redact_action: hash}", False),
    (f", {SECRET}", "  - {when: {namespace: [shop]}, redact: [email], redact_action: hash}", True),
])
def test_a_hash_whose_secret_is_for_some_of_its_logs_is_warned_of(web: str, rules: str, warned: bool) -> None:
    warnings = load_text(TWO % (web, "", rules.replace("KEYED", SECRET)), "c.yaml", {}).warnings
    assert any("masked and not hashed" in text for text in warnings) == warned


def test_without_a_secret_values_are_masked_and_never_hashed() -> None:
    from shipper.process.redact import replacement

    assert replacement("email", "hash", b"")(b"bob@example.com") == b"[email]"


def test_what_a_secret_file_holds_is_masked_in_logs_and_errors(tmp_path: Path) -> None:
    from shipper.agent.formats import keep_redaction_secrets
    from shipper.telemetry import Telemetry

    (tmp_path / "key").write_text("0123456789abcdef-secret\n")
    config = load_text(text(f"redact: [email], redact_action: hash, redact_secret_file: {tmp_path}/key"), "c.yaml", {}).config
    telemetry = Telemetry()
    keep_redaction_secrets(config, telemetry)
    assert "0123456789abcdef" not in telemetry.scrub("quoted: 0123456789abcdef-secret")


@pytest.mark.parametrize(("when", "warned"), [("{labels: {tier: [card]}}", True), ("{annotations: {a: [b]}}", True),
                                              ("{namespace: [payments]}", False)])
def test_redaction_that_a_pod_could_switch_off_is_warned_of(when: str, warned: bool) -> None:
    text = "sources:\n  c: {type: containers}\nprocess:\n  - {when: WHEN, redact: [email]}\nsinks: {out: {type: stdout}}\n"
    warnings = load_text(text.replace("WHEN", when), "c.yaml", {}).warnings
    assert any("c.yaml:4:" in text and "can switch this off" in text for text in warnings) == warned


@pytest.mark.parametrize(("source", "warned"), [
    ("{type: files, include: [/var/log/a.log], format: json, LIMIT}", False), ("{type: journal, LIMIT}", False),
    ("{type: files, include: [/var/log/a.log], LIMIT}", True)])
def test_a_limit_by_a_field_is_warned_of_only_where_there_are_no_fields(source: str, warned: bool) -> None:
    limit = "limit: {by: {field: user}, records_per_s: 1}"
    text = f"sources:\n  s: {source.replace('LIMIT', limit)}\nsinks: {{out: {{type: stdout}}}}\n"
    found = load_text(text, "c.yaml", {}).warnings
    assert any("share one budget" in text for text in found) == warned
