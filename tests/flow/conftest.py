"""Fixtures of the whole-agent tests."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.harness import Fleet
from tests.support.agent import Agent
from tests.support.quick_agent import QuickAgent


@pytest.fixture
def agent(tmp_path: Path, fleet: Fleet) -> Iterator[Agent]:
    """A real agent on a directory of its own; ended with the test."""
    agent = QuickAgent(tmp_path, fleet)
    yield agent
    agent.close()
