"""A sink with one key of every kind, so that the loader's tests do not hang on the real sinks."""
from __future__ import annotations

from typing import Any, Literal

import msgspec

from shipper.config.loader import Loaded, load_text
from shipper.config.units import Bytes, Seconds
from shipper.errors import Usage
from shipper.sinks import Guarantee, SinkSpec


class Tls(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    ca: str | None = None
    verify: bool = True


class FakeConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    address: str
    port: int = 514
    protocol: Literal["tcp", "udp", "off"] = "tcp"
    format: Literal["json", "raw"] = "json"
    ratio: float = 1.0
    token: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    paths: list[str] = msgspec.field(default_factory=list)
    tls: Tls = Tls()
    limit: Bytes | None = None
    timeout: Seconds = Seconds(5.0)
    anything: Any = None
    one_or_more: str | list[str] = "x"

    def __post_init__(self) -> None:
        if self.port > 65535:
            raise ValueError("the port is over 65535; use a lower one")


def _check(config: FakeConfig) -> list[tuple[str, str]]:
    if config.tls.ca == "/absent.pem":
        return [("tls.ca", "cannot be read; give a readable file")]
    if config.address == "leaky":
        return [("address", f"the server does not take {config.token}; get another")]
    return []


FAKE = SinkSpec(
    summary="Takes all and keeps nothing.", config=FakeConfig, check=_check, concurrency=1,
    build=lambda config, context: None,  # type: ignore[arg-type,return-value]
    guarantee=lambda config: Guarantee(delivered_means="", can_repeat="", can_lose=""),
    targets=lambda config: [*(f"file {path}" for path in config.paths), f"{config.address}:{config.port}"],
    needs_raw=lambda config: config.format == "raw",
)


def find(type_name: str) -> SinkSpec:
    if type_name == "absent_extra":
        raise ModuleNotFoundError("No module named 'acme'", name="acme")
    if type_name != "fake":
        raise Usage(f"unknown sink type {type_name!r}; use one of fake")
    return FAKE


def load(text: str | bytes, **environ: str) -> Loaded:
    return load_text(text, "c.yaml", environ, find_sink=find)


def problems(text: str | bytes, **environ: str) -> list[str]:
    """The lines of what is wrong, without the file's name."""
    try:
        load(text, **environ)
    except Usage as error:
        return [line.removeprefix("c.yaml:") for line in str(error).splitlines()]
    return []
