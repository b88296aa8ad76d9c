"""Fixtures of all tests."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.proof.harness import Fleet


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """One launcher for the session (of each xdist worker)."""
    from tests.proof.harness import Fleet

    fleet = Fleet()
    yield fleet
    fleet.close()
