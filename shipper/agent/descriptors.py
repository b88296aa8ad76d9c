"""How many files this process may hold open. Driver: once per start."""
from __future__ import annotations

import contextlib
import resource

SPARE_DESCRIPTORS = 100
"""For sockets, segments, directories and what the system libraries open."""


def raise_descriptor_limit() -> int:
    """Take what the system allows; how many log files may be open at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > soft:
        with contextlib.suppress(ValueError, OSError):   # a stricter sandbox: the soft limit stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return max(16, min(soft - SPARE_DESCRIPTORS, int(soft * 0.8)))
