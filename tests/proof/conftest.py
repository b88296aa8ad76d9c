"""Fixtures of the proofs, and the results of a long run."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import ROOT, Fleet, ForkedAgent, Results, commit_of

_RESULTS = pytest.StashKey[Results]()


@pytest.fixture
def agent(tmp_path: Path, fleet: Fleet) -> Iterator[ForkedAgent]:
    """An agent of its own directory; ended with the test."""
    agent = ForkedAgent(tmp_path, fleet)
    yield agent
    agent.close()


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """Kept in tests/results/ when `make test-long` has run."""
    results = Results()
    yield results
    if "long" in request.config.option.markexpr and "not long" not in request.config.option.markexpr and results.rows:
        commit, dirty = commit_of(ROOT)
        print(f"\nresults: {results.write(ROOT / 'tests' / 'results', commit, dirty)}")
