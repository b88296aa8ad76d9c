"""Where in which stream each planned row stands, and what an answer means. Pure.

    chain "buffer/table"    {"stream": name, "plan": number of the first plan that counts, "offset": where it begins, "torn"?}
    offset of a block       the chain's, and the living rows of all blocks before it, from that plan on

So one small record, replaced in one step, says where everything stands: manifests name rows and blocks, no offsets. A new stream
is a new record: if the old one turns out to have the first 40 rows of plan 7, it says {"plan": 7, "offset": -40}, and rows in
front of 0 are there already.

Invariants (tests/sinks/test_bigquery_write_chain.py):
  WC1  a row has one place: offsets are gapless, and depend on the chain and the manifests alone
  WC2  what a block holds at an offset is what was sent there before, but where everything sent there and behind it was answered
       or the stream was finalised (an append that is still on its way could be taken there)
  WC3  "already there" is believed of a block that may have been sent before; else somebody else wrote there, and the stream is
       no longer ours
  WC4  plans from `torn` on are not sent to this stream: others of these numbers may have been, and were given up
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ._bigquery_write_range import Block
from ._bigquery_write_wire import Answer


class Verdict(Enum):
    """What to do after an answer to an append."""

    WRITTEN = "written"
    EXISTS = "already there"
    BEHIND = "beyond the end of the stream"
    ROWS = "rows refused"
    LOST = "the stream takes no more"
    NO_TABLE = "the table is not there"
    COLUMNS = "columns that the table has not"
    INVALID = "the request is refused"
    AGAIN = "later"


_BY_STORAGE_CODE = {
    1: Verdict.NO_TABLE, 2: Verdict.LOST, 3: Verdict.LOST, 4: Verdict.LOST, 5: Verdict.LOST, 6: Verdict.LOST,
    7: Verdict.COLUMNS, 8: Verdict.EXISTS, 9: Verdict.BEHIND,
}
_BY_CODE = {0: Verdict.WRITTEN, 3: Verdict.INVALID, 5: Verdict.LOST, 6: Verdict.EXISTS, 9: Verdict.LOST, 11: Verdict.BEHIND}
CODES = {1: "CANCELLED", 2: "UNKNOWN", 3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 6: "ALREADY_EXISTS",
         7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED", 9: "FAILED_PRECONDITION", 10: "ABORTED", 11: "OUT_OF_RANGE",
         12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE", 15: "DATA_LOSS", 16: "UNAUTHENTICATED"}


def judge(answer: Answer) -> Verdict:
    if answer.row_errors:
        return Verdict.ROWS
    return _BY_STORAGE_CODE.get(answer.storage_code) or _BY_CODE.get(answer.code, Verdict.AGAIN)


@dataclass(slots=True, eq=False)
class Plan:
    """A manifest being carried out. request: what is confirmed with it, 0 where the cursor is past it already; written: it is
    durable; acked: how many of its first blocks are known to be in the
    table; buried: ids of its dead rows, as far as this process has seen to them."""

    number: int
    manifest: dict[str, Any]
    request: int
    written: bool = True
    confirmed: bool = False
    acked: int = 0
    blocks: list[Block] = field(default_factory=list)
    buried: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.blocks = [Block(*one) for one in self.manifest["blocks"]]

    @property
    def chain(self) -> str:
        return chain_name(self.manifest["buffer"], self.manifest["table"])

    @property
    def done(self) -> bool:
        return self.written and self.acked == len(self.blocks)

    @property
    def live(self) -> int:
        return sum(block.live for block in self.blocks)


def chain_name(buffer_id: str, table: str) -> str:
    return f"{buffer_id}/{table}"


@dataclass(slots=True)
class Chain:
    """See the module. stream "": none was created yet."""

    stream: str
    plan: int
    offset: int
    torn: int | None = None

    def to_json(self) -> dict[str, Any]:
        found = {"stream": self.stream, "plan": self.plan, "offset": self.offset}
        return found if self.torn is None else {**found, "torn": self.torn}

    def takes(self, plan: Plan) -> bool:
        """WC4."""
        return self.torn is None or plan.number < self.torn

    def tear(self, number: int) -> None:
        """Plans from `number` on are given up, whatever was sent of them."""
        if self.stream:
            self.torn = number if self.torn is None else min(self.torn, number)

    def offset_of(self, plans: Sequence[Plan], plan: Plan, block: int) -> int:
        """WC1. plans: those of this chain, from the chain's first on, in order."""
        before = sum(one.live for one in plans if self.plan <= one.number < plan.number)
        return self.offset + before + sum(one.live for one in plan.blocks[:block])

    def ours_to(self, plans: Sequence[Plan]) -> int | None:
        """WC4. The offset from which on what stands there is not of these plans; None where all may be."""
        if self.torn is None:
            return None
        return self.offset + sum(one.live for one in plans if one.number >= self.plan and self.takes(one))

    def after(self, plan: Plan) -> Chain:
        """`plan`, the first that counts, is done and will be forgotten."""
        return Chain(self.stream, plan.number + 1, self.offset + plan.live, self.torn)

    def moved(self, stream: str, plans: Sequence[Plan], first: Plan, row_count: int | None) -> Chain:
        """To a new stream, at the first plan that is not done. row_count: of the old stream, None where that cannot be known:
        then what was acknowledged counts."""
        begins = self.offset_of(plans, first, 0)
        if row_count is None:
            row_count = self.offset_of(plans, first, first.acked)
        return Chain(stream, first.number, min(begins - row_count, 0))


def chains_from(kept: Mapping[str, Any]) -> dict[str, Chain]:
    """What the store kept. ValueError where that is something else."""
    try:
        return {name: Chain(str(one["stream"]), int(one["plan"]), int(one["offset"]), int(one["torn"]) if "torn" in one else None)
                for name, one in kept.get("chains", {}).items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("what is known of the streams is damaged; move the sink's directory in state_dir/spool away: what was "
                         "planned is sent again from the buffer, some of it perhaps twice") from error


@dataclass(slots=True)
class Refusals:
    """Rows that were refused in a row, with none written between: a table at fault must not shovel the stream away."""

    rows: int = 0
    blocks: int = 0

    def is_table(self, refused: int, live: int) -> bool:
        """Whether it is the table and not these rows. Only where the whole block was refused."""
        return refused == live and (self.rows + live >= 100 or self.blocks >= 1)

    def refused(self, refused: int, live: int) -> None:
        if refused == live:
            self.rows += refused
            self.blocks += 1

    def written(self) -> None:
        self.rows = self.blocks = 0
