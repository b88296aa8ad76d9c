"""The keys of a syslog sink: what `check` finds wrong, what the defaults are, what `explain` promises."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from shipper.config.units import Bytes, Seconds
from shipper.encode.container_logs import ContainerLogsEncoder
from shipper.encode.syslog import Rfc3164Encoder, Rfc5424Encoder
from shipper.sinks import available, find
from shipper.sinks._syslog_config import SyslogConfig, encoder_of, framing_of, guarantee, host_port, problems
from shipper.sinks._tls import TlsConfig


def config(**changed: Any) -> SyslogConfig:
    return SyslogConfig(**{"address": "logs.example.com:6514", **changed})


def test_the_type_is_there_and_its_helpers_are_not() -> None:
    assert "syslog" in available() and not [name for name in available() if name.startswith("_")]
    spec = find("syslog")
    assert (spec.confirms, spec.concurrency, spec.config) == ("later", 1, SyslogConfig)
    assert spec.needs_raw(config(format="container-logs")) and not spec.needs_raw(config())


@pytest.mark.parametrize(
    ("address", "found"),
    [("a.b:514", ("a.b", 514)), ("[2001:db8::1]:6514", ("2001:db8::1", 6514)), ("10.0.0.1:1", ("10.0.0.1", 1))],
)
def test_addresses_are_host_and_port_ipv6_in_brackets(address: str, found: tuple[str, int]) -> None:
    assert host_port(address) == found


@pytest.mark.parametrize(
    "address", ["", "a.b", "a.b:", "a.b:0", "a.b:65536", "2001:db8::1:514", "http://a.b:514", "a b:514", ":514"]
)
def test_an_address_that_is_none_is_refused_with_the_mend(address: str) -> None:
    [(path, problem)] = problems(config(address=address))
    assert path == "address" and "write for example logs.example.com:514 or [2001:db8::1]:514" in problem


@pytest.mark.parametrize(
    ("changed", "path", "words"),
    [
        ({"facility": "users"}, "facility", "'users' is no facility; use one of kern, user"),
        ({"severity": {"stderr": "error"}}, "severity.stderr", "'error' is no severity; use one of emerg"),
        ({"severity": {"stdin": "err"}}, "severity.stdin", "no such stream; use stdout, stderr"),
        ({"max_message": Bytes(500)}, "max_message", "500 leaves no room"),
        ({"protocol": "udp", "max_message": Bytes(70_000)}, "max_message", "a datagram holds 65507 bytes at most"),
        ({"protocol": "udp", "framing": "newline"}, "framing", "has no framing; leave it out"),
        ({"barrier_idle": Seconds(0)}, "barrier_idle", "must be longer than 0s"),
        ({"tls": TlsConfig(verify=False)}, "tls", "has no effect with this protocol; use protocol: tls"),
        ({"protocol": "tls", "tls": TlsConfig(ca="/nowhere/ca.pem")}, "tls.ca", "cannot read /nowhere/ca.pem; give the path"),
    ],
)
def test_check_names_the_key_the_problem_and_the_mend(changed: dict[str, Any], path: str, words: str) -> None:
    [(found, problem)] = problems(config(**changed))
    assert found == path and words in problem


def test_check_reads_the_tls_files(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("one", "two"):
        issued = ca.issue_cert("client.example")
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    (tmp_path / "junk.pem").write_text("this is no certificate")

    def found(**tls: str) -> list[tuple[str, str]]:
        return problems(config(protocol="tls", tls=TlsConfig(**{key: str(tmp_path / value) for key, value in tls.items()})))

    assert found(ca="ca.pem", cert="one.pem", key="one.key") == []
    assert [path for path, _ in found(ca="junk.pem")] == ["tls.ca"]
    assert [path for path, _ in found(key="one.key")] == ["tls.key"]
    [(path, problem)] = found(cert="one.pem", key="two.key")
    assert path == "tls.cert" and "key values mismatch" in problem and "a key that belongs to the certificate" in problem


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"address": "a:1", "protcol": "tcp"}, SyslogConfig)


def test_the_defaults_follow_format_and_protocol() -> None:
    assert framing_of(config()) == "octet-counted"
    assert framing_of(config(format="container-logs")) == "newline"
    assert framing_of(config(format="container-logs", framing="octet-counted")) == "octet-counted"
    assert framing_of(config(protocol="udp")) == "datagram"
    five, three = encoder_of(config()), encoder_of(config(format="rfc3164", protocol="udp"))
    assert isinstance(five, Rfc5424Encoder) and five.options.max_message_bytes is None
    assert five.options.severities == ((b"stdout", 6), (b"stderr", 3))
    assert isinstance(three, Rfc3164Encoder) and three.options.max_message_bytes == 1024
    raw = encoder_of(config(format="container-logs", protocol="udp"))
    assert isinstance(raw, ContainerLogsEncoder) and raw.max_message_bytes == 65507


def test_one_severity_can_be_changed_alone() -> None:
    changed = encoder_of(config(severity={"stderr": "warning", "": "notice"}))
    assert isinstance(changed, Rfc5424Encoder)
    assert dict(changed.options.severities) == {b"stdout": 6, b"stderr": 4, b"": 5}


def test_explain_says_what_can_repeat_and_what_can_be_lost() -> None:
    assert "equal id" in guarantee(config()).can_repeat
    assert "carries no id" in guarantee(config(format="rfc3164")).can_repeat
    assert "any datagram" in guarantee(config(protocol="udp")).can_lose
    assert "acknowledged 1000 bytes behind it" in guarantee(config(resend_window=Bytes(1000))).delivered_means
    assert "never answers a half-close" in guarantee(config()).delivered_means
