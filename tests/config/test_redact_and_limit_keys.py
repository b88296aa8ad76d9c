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
