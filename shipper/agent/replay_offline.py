"""Replaying without an agent: the state lock, the buffer, and one sink's delivery, for as long as the command runs. Driver.

What the buffer holds for that sink is delivered meanwhile too, as the agent would.
"""
from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from ..config.secrets import secrets_of
from ..errors import Usage
from ..telemetry import Telemetry

GRACE_S = 5.0


@asynccontextmanager
async def delivering(config_path: str, sink: str) -> AsyncIterator[Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
    """What takes orders for this sink. Usage where the config has it not; Fatal where the state directory is held."""
    from ..buffer.driver import Buffer
    from ..config.loader import load
    from .offline import locked
    from .outlets import Outlets

    config = load(config_path, os.environ).config
    if sink not in config.sinks:
        raise Usage(f"no sink {sink!r} in {config_path}; add it to the config again, or purge its dead letters")
    telemetry = Telemetry(write=lambda level, event, fields: None)
    for secret in secrets_of(config):
        telemetry.keep_secret(secret)
    with locked(config.state_dir):
        buffer = await Buffer.open(config.state_dir, config.buffer, telemetry)
        outlets = Outlets(buffer, telemetry)
        try:
            outlets.start(config, only=sink)
            yield outlets.desk.order
        finally:
            await outlets.drain(GRACE_S)
            await buffer.close()
