"""Fixtures of all tests.

Expressions: most users do not install google-re2, so tests have the standard engine where they name none, whatever is
installed; SHIPPER_TEST_ENGINE=google-re2 gives them the other. Agents started by exec have what is installed.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.proof.harness import Fleet

# How long an example takes says nothing on a machine that does other things too; what must be linear is measured in CPU time.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")


@pytest.fixture(scope="session", autouse=True)
def expression_engine() -> Iterator[str]:
    """"re" or "google-re2"."""
    from shipper.process import patterns

    name = os.environ.get("SHIPPER_TEST_ENGINE", "re")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patterns, "engine", lambda: name)
        yield name


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """One launcher for the session (of each xdist worker)."""
    from tests.proof.harness import Fleet

    fleet = Fleet()
    yield fleet
    fleet.close()
