"""What a sink has on disk beside its cursor follows the cursor: spools of sinks that plan (sinks/_plan_store.py), dead letters.
Driver; once per start, and each hour.

Invariants (tests/agent/test_spools.py):
  SP1  a sink that inherits a cursor (`previously`) inherits the plans that the cursor stands in front of; else what is planned
       would be sent by both. And its dead letters, which the sums of that cursor count, and which could not be replayed else
  SP2  a spool goes when no sink and no cursor has its name: it counts against buffer.max_size, and nothing will finish it
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from urllib.parse import quote, unquote

from ..deliver.dead_letters import checked_name, letters_directory, stored_sinks


def spool_directory(state_dir: str, sink: str = "") -> str:
    """That of one sink, or of all."""
    return os.path.join(state_dir, "spool", quote(sink, safe=""))


def inherit(state_dir: str, sink: str, previously: str | None) -> None:
    """SP1. Before the cursor is inherited: a crash in between does it once more, and finds it done."""
    if previously is None:
        return
    _rename(spool_directory(state_dir, previously), spool_directory(state_dir, sink))
    if previously in stored_sinks(state_dir):
        letters = letters_directory(state_dir)
        _rename(os.path.join(letters, previously), os.path.join(letters, checked_name(sink)))


def _rename(old: str, new: str) -> None:
    if os.path.isdir(old) and not os.path.exists(new):
        os.rename(old, new)


def tidy(state_dir: str, keep: Collection[str]) -> tuple[list[str], list[tuple[str, OSError]]]:
    """SP2. `keep`: the sinks of the config, and those whose cursor is kept. The names of those that went, and of those that
    could not go, with the reason: they are tried again the next time."""
    root = spool_directory(state_dir)
    gone: list[str] = []
    stuck: list[tuple[str, OSError]] = []
    for name in os.listdir(root) if os.path.isdir(root) else ():
        if unquote(name) in keep:
            continue
        try:
            shutil.rmtree(os.path.join(root, name))
        except OSError as error:
            shutil.rmtree(os.path.join(root, name), ignore_errors=True)      # all that does not resist
            stuck.append((unquote(name), error))
        else:
            gone.append(unquote(name))
    return gone, stuck
