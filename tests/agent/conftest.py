"""Fixtures of the shell's tests."""
from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fakes import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An agent's surroundings; what it sets for the whole process is set back."""
    made = World(str(tmp_path))
    thresholds = gc.get_threshold()
    yield made
    os.close(made.log_fd)
    gc.unfreeze()
    gc.set_threshold(*thresholds)
