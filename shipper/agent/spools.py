"""The spools of sinks that plan (sinks/_plan_store.py): they follow their cursor. Driver; once per start, and each hour.

Invariants (tests/agent/test_spools.py):
  SP1  a sink that inherits a cursor (`previously`) inherits the plans that the cursor stands in front of; else what is planned
       would be sent by both
  SP2  a spool goes when no sink and no cursor has its name: it counts against buffer.max_size, and nothing will finish it
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from urllib.parse import quote, unquote


def spool_directory(state_dir: str, sink: str = "") -> str:
    """That of one sink, or of all."""
    return os.path.join(state_dir, "spool", quote(sink, safe=""))


def inherit(state_dir: str, sink: str, previously: str | None) -> None:
    """SP1. Before the cursor is inherited: a crash in between does it once more, and finds it done."""
    if previously is None:
        return
    old, new = spool_directory(state_dir, previously), spool_directory(state_dir, sink)
    if os.path.isdir(old) and not os.path.exists(new):
        os.rename(old, new)


def tidy(state_dir: str, keep: Collection[str]) -> list[str]:
    """SP2. `keep`: the sinks of the config, and those whose cursor is kept. The names of those that went."""
    root = spool_directory(state_dir)
    if not os.path.isdir(root):
        return []
    gone = [name for name in os.listdir(root) if unquote(name) not in keep]
    for name in gone:
        shutil.rmtree(os.path.join(root, name), ignore_errors=True)
    return [unquote(name) for name in gone]
