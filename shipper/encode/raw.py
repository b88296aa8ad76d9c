"""The message alone, as it stands in the log: its bytes and a newline. Newlines inside a message are kept.

Pure. Hot: once per batch.
"""
from __future__ import annotations

from ..model import Batch


def pieces(batch: Batch) -> list[bytes]:
    """The messages of the batch, each with a newline behind it; [] for an empty batch. Cost: one join."""
    return [b"\n".join(batch.messages), b"\n"] if len(batch) else []
