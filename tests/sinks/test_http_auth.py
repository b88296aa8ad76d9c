"""Secrets in files, which are rotated for as long as the agent lives: sinks/_http_auth.py."""
from __future__ import annotations

from pathlib import Path

from shipper.sinks._http_auth import MOST_KEPT, ConfigCredentials, SecretFile
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
