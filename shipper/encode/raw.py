"""The message alone, as it stands in the log: its bytes and a newline. Newlines inside a message are kept. Severity and fields
are left out; a record that has nothing but fields is its fields, not an empty line.

Pure. Hot: once per batch.
"""
from __future__ import annotations

from ..model import Batch


def pieces(batch: Batch) -> list[bytes]:
    """The messages of the batch, each with a newline behind it; [] for an empty batch. Cost: one join."""
    if not len(batch):
        return []
    messages = batch.messages
    if batch.fields is not None:
        messages = [message or fields for message, fields in zip(messages, batch.fields)]
    return [b"\n".join(messages), b"\n"]
