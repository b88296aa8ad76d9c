"""Secrets in files, which are rotated for as long as the agent lives: sinks/_http_auth.py."""
from __future__ import annotations

from pathlib import Path

from shipper.sinks._http_auth import MOST_KEPT, ConfigCredentials, LastSecrets, SecretFile
from shipper.sinks._http_config import AuthConfig
from shipper.telemetry import HIDDEN, Telemetry


def test_a_token_that_is_replaced_each_hour_is_masked_with_those_before_it_and_they_do_not_add_up(tmp_path: Path) -> None:
    path, telemetry = tmp_path / "token", Telemetry()
    secret = SecretFile(str(path), telemetry)
    for hour in range(50):
        path.write_text(f"token-of-hour-{hour:04}\n")
        secret.forget()
        assert secret.read() == f"token-of-hour-{hour:04}"
    assert telemetry.scrub("token-of-hour-0049 token-of-hour-0048") == f"{HIDDEN} {HIDDEN}"
    assert len(telemetry._secrets) == MOST_KEPT


async def test_passwords_that_are_replaced_are_masked_as_they_go_over_the_wire_and_do_not_add_up(tmp_path: Path) -> None:
    """Basic authentication sends them encoded: that is a secret of its own."""
    path, telemetry = tmp_path / "password", Telemetry()
    credentials = ConfigCredentials(AuthConfig(user="shipper", password_file=str(path)), telemetry)
    sent = []
    for hour in range(50):
        path.write_text(f"password-of-hour-{hour:04}\n")
        credentials.refused()
        sent += [(await credentials.headers())["Authorization"].removeprefix("Basic ")]
    assert telemetry.scrub(f"{sent[-1]} {sent[-2]}") == f"{HIDDEN} {HIDDEN}"
    assert len(telemetry._secrets) == 2 * MOST_KEPT


def test_a_password_that_comes_back_is_among_the_last_ones() -> None:
    """It kept its first place, and was the first to be shown in an answer once it was replaced again."""
    telemetry = Telemetry()
    secrets = LastSecrets(telemetry)
    for value in ["the-first", *(f"number-{n}" for n in range(MOST_KEPT - 1)), "the-first", "one-more"]:
        secrets.keep(value)
    assert "the-first" not in telemetry.scrub("the-first was refused")
    assert len(telemetry._secrets) == MOST_KEPT
