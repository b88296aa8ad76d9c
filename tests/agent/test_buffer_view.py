"""What a sink has encoded early, by how far it is behind. B: agent/buffer_view.py, E4 of buffer/early.py."""
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from shipper.agent.buffer_view import AHEAD_BYTES, BufferForDelivery
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
