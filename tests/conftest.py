"""Fixtures of all tests."""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.proof.harness import Fleet

# How long an example takes says nothing on a machine that does other things too; what must be linear is measured in CPU time.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """One launcher for the session (of each xdist worker)."""
    from tests.proof.harness import Fleet

    fleet = Fleet()
    yield fleet
    fleet.close()
