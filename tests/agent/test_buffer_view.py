"""What a sink has encoded early, by how far it is behind. B: agent/buffer_view.py, E4 of buffer/early.py."""
from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from shipper.agent import buffer_view as module
from shipper.agent.buffer_view import AHEAD_BYTES, BufferForDelivery, pace
from shipper.buffer.ring import LIMIT_BYTES

MIB = 1024 * 1024


@pytest.mark.parametrize(("behind_bytes", "given"), [
    (0, b"encoded"), (AHEAD_BYTES + MIB, b"encoded"), (AHEAD_BYTES + MIB + 1, None), (LIMIT_BYTES, None),
    (LIMIT_BYTES + 1, b""), (1024 * MIB, b"")])
def test_a_sink_that_is_further_behind_than_what_memory_holds_has_no_columns_kept_for_it(behind_bytes, given):
    """None: its columns are kept for it; b"": they need not be."""
    buffer: Any = SimpleNamespace(total_bytes=7 * MIB + behind_bytes, early={}, taken=lambda view, seq: None)
    view = BufferForDelivery(buffer)
    view.read_total_bytes = 7 * MIB
    view.encode_early("far", lambda batch: b"encoded")
    assert buffer.early["far"](object()) == given


def test_the_sink_that_is_furthest_behind_knows_it_and_no_other() -> None:
    """With when_full: drop_oldest it alone gives up records."""
    buffer: Any = SimpleNamespace(furthest_behind=lambda: "slow")
    view = BufferForDelivery(buffer)
    assert view.furthest_behind("slow") and not view.furthest_behind("quick")


class Behind:
    """A buffer that holds `ahead_bytes` more than its one sink has taken."""

    def __init__(self, ahead_bytes: int) -> None:
        self.total_bytes, self.took = ahead_bytes, []                  # type: ignore[var-annotated]

    async def read(self, seq: int, max_bytes: int) -> list[Any]:
        return [SimpleNamespace(seq=seq + 1, total_bytes=self.total_bytes)] if max_bytes else []

    def taken(self, reader: object, seq: int | None) -> None:
        self.took.append(seq)


async def test_what_a_sink_has_read_is_taken_and_it_is_not_behind_any_more() -> None:
    buffer: Any = Behind(5 * MIB)
    view = BufferForDelivery(buffer)
    assert view.ahead_bytes == 5 * MIB
    assert await view.read(3, 0) == [] and buffer.took == [] and view.ahead_bytes == 5 * MIB
    await view.read(3, 1)
    assert buffer.took == [5] and view.ahead_bytes == 0


async def test_b1_the_reader_waits_for_a_sink_that_keeps_up_until_it_reads_and_for_no_other() -> None:
    buffer: Any = Behind(AHEAD_BYTES + 1)
    quick, slow = BufferForDelivery(buffer), BufferForDelivery(buffer)
    loop, began_s = asyncio.get_running_loop(), time.monotonic()
    quick.read_at_s, quick.read_total_bytes = began_s + 3600.0, 0      # it has just read, however long this machine takes
    await pace([slow])                                                  # never read: not waited for
    assert slow.moved is None
    waiting = loop.create_task(pace([slow, quick]))
    while quick.moved is None and not waiting.done():
        await asyncio.sleep(0)
    if not waiting.done():
        await quick.read(0, 1)
    await asyncio.wait_for(waiting, 5)
    assert quick.moved is None and slow.moved is None


async def test_b1_a_sink_that_does_not_read_holds_the_reader_for_pace_s_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE_S", 0.001)
    buffer: Any = Behind(AHEAD_BYTES + 1)
    view = BufferForDelivery(buffer)
    view.read_at_s = time.monotonic() + 3600.0
    await asyncio.wait_for(pace([view]), 5)
    assert view.moved is None and view.ahead_bytes == AHEAD_BYTES + 1
