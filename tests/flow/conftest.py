"""Fixtures of the whole-agent tests."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import Agent, agents


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A real agent on a directory of its own; ended with the test."""
    yield from agents(tmp_path)
