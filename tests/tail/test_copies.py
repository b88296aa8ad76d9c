"""Y1 of copies.py: a copy is what it contains; a beginning that many logs share is not enough."""
from __future__ import annotations

from types import SimpleNamespace

import pytest

from shipper.tail.copies import _holds
from shipper.tail.identity import digest

HEAD = b"2026-11-20 service starts".ljust(64)


@pytest.mark.parametrize("behind, is_copy", [(b"our 40th line", True), (b"another's 40th", False)])
def test_a_file_with_the_same_head_and_other_bytes_in_front_of_the_offset_is_no_copy(behind: bytes, is_copy: bool) -> None:
    read = SimpleNamespace(ref=SimpleNamespace(head_bytes=64, head_hash=digest(HEAD)), evidence=(4000, digest(b"our 40th line")))
    other = SimpleNamespace(head=lambda: HEAD, guard_at=lambda offset: digest(behind) if offset == 4000 else None)
    assert _holds(read, other) is is_copy  # type: ignore[arg-type]
