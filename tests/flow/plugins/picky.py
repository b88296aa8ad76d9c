"""A sink that says no, for whole-agent tests: its far side is a file, its answers are what the test wants to see.

    poison        a record whose JSON holds this is refused: `by_index` names it, else the whole request is refused
    refuse_all    while this file exists everything is refused
    token         what a server would be shown; the refusals quote it, as careless servers do
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from shipper.encode import record_json
from shipper.errors import Rejected, TooLarge
from shipper.model import Batch, Request
from shipper.sinks import Guarantee, SinkContext, SinkSpec


class PickyConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    path: str
    poison: str = '"message":"poison'
    by_index: bool = True
    refuse_all: str = ""
    token: str = ""
    largest: int = 1 << 30


class PickySink:
    def __init__(self, config: PickyConfig, context: SinkContext) -> None:
        self._config, self._fd = config, -1

    async def start(self, state: Any) -> None:
        self._fd = os.open(self._config.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def encode(self, batches: Sequence[Batch]) -> list[bytes]:
        return [line + b"\n" for batch in batches for line in record_json.encode(batch).split(b"\n")[:-1]]

    async def send(self, request: Request, payload: list[bytes]) -> None:
        config = self._config
        if config.refuse_all and os.path.exists(config.refuse_all):
            raise Rejected(f"403 token={config.token} is not known here")
        if sum(map(len, payload)) > config.largest:
            raise TooLarge("413")
        bad = tuple(i for i, line in enumerate(payload) if config.poison.encode() in line)
        if bad and not config.by_index:
            raise Rejected(f"400 cannot take that, Authorization: Bearer {config.token}")
        os.write(self._fd, b"".join(line for i, line in enumerate(payload) if i not in bad))
        if bad:
            raise Rejected(f"400 cannot take that, api_key={config.token}", indexes=bad, rest_delivered=True)

    async def flush(self, deadline_s: float) -> None:
        return

    def durable(self, number: int) -> None:
        return

    async def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


SINK = SinkSpec(
    summary="refuses what it is told to", config=PickyConfig, build=PickySink,
    guarantee=lambda config: Guarantee(delivered_means="written", can_repeat="after a crash", can_lose="nothing"),
)
