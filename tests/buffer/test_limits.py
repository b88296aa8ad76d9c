"""What is full: L1 to L3 of limits.py."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipper.buffer.files import Space
from shipper.buffer.limits import MIB, effective_segment_bytes, headroom_bytes, is_full, limit_bytes

GIB = 1024 * MIB


def test_l1_max_size_limits_where_the_filesystem_has_room() -> None:
    assert limit_bytes(GIB, 5 * MIB, Space(100 * GIB, 50 * GIB)) == GIB
    assert limit_bytes(GIB, 5 * MIB, None) == GIB


def test_l1_the_last_tenth_of_the_filesystem_is_not_ours() -> None:
    assert limit_bytes(GIB, 300 * MIB, Space(10 * GIB, GIB + 100 * MIB)) == 400 * MIB
    assert limit_bytes(GIB, 300 * MIB, Space(10 * GIB, GIB)) == 300 * MIB
    assert limit_bytes(GIB, 300 * MIB, Space(10 * GIB, 0)) == 0


@given(used=st.integers(0, GIB), total=st.integers(MIB, 100 * GIB), free=st.floats(0, 1))
def test_l1_filling_up_to_the_limit_never_passes_90_percent(used: int, total: int, free: float) -> None:
    space = Space(total, int(total * free))
    growth = limit_bytes(GIB, used, space) - used
    assert growth <= 0 or space.free_bytes - growth >= total * 0.1 - 1


def test_l2_it_is_full_before_the_limit_and_has_room_again_only_well_below() -> None:
    headroom = headroom_bytes(GIB)
    edge = GIB - headroom
    assert not is_full(False, edge, GIB, GIB) and is_full(False, edge + 1, GIB, GIB)
    assert is_full(True, edge, GIB, GIB) and is_full(True, edge - headroom + 1, GIB, GIB)
    assert not is_full(True, edge - headroom, GIB, GIB)


@given(segment=st.integers(1, GIB), size=st.integers(64 * 1024, 100 * GIB))
def test_l3_at_least_eight_segments_fit(segment: int, size: int) -> None:
    assert effective_segment_bytes(segment, size) * 8 <= size or effective_segment_bytes(segment, size) == 4096
