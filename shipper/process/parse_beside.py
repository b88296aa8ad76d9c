"""`parse` of a source whose records have fields and a severity of their own (the journal). Pure. Hot: once per batch.

Invariants (tests/process/test_parse_beside.py):
  B1  what the source knows stays: its fields stand behind the parsed ones, where they win over a message that says the same names
  B2  a severity that the message says wins over the source's; without one the source's stays
"""
from __future__ import annotations

from .chain import Step, Work


class ParseBeside:
    """See process.chain.Step. `parse`: the step that takes messages apart."""

    def __init__(self, parse: Step) -> None:
        self._parse = parse

    def __call__(self, work: Work) -> None:
        own_fields, own_severities = work.batch.fields, work.batch.severities
        self._parse(work)
        batch = work.batch
        if own_severities is not None:
            batch.severities = [found or own for found, own in zip(batch.severities or own_severities, own_severities)]
        if own_fields is not None:
            batch.fields = [_both(found, own) for found, own in zip(batch.fields or own_fields, own_fields)]
            work.values = None                            # made again from the fields, where a step asks


def _both(found: bytes, own: bytes) -> bytes:
    if len(own) <= 2 or len(found) <= 2 or found is own:
        return found if len(found) > 2 else own
    return found[:-1] + b"," + own[1:]
