"""What can go wrong, by what the caller must do next.

    ShipperError
      Usage        wrong config or command line: exit 2, nothing was touched
      Fatal        only a human can mend it: a sink is `failed`, or the agent stops (exit 1)
      FileRefused  this log file is not read now; `retry` says whether trying again can help
      SinkError
        Retryable  the same request again, later        (down, 429, 503, disk full)
        Rejected   these records will never be accepted (malformed): dead letters, or halve
        TooLarge   halve; a single record is a dead letter
        Partial    answered record by record: some are dead, some go again, the rest is delivered

Invariants:
  E1  a message says what happened, to what, and the mend
  E2  no message holds a secret or record content
  E3  every record that leaves unsent has a DropReason, every range that no record holds a GapReason; both are
      metric labels, so names are never reused
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum


class DropReason(StrEnum):
    """Every way a record can leave the pipeline unsent."""

    TOO_LARGE = "too_large"              # a single record over the sink's limit (dead letter)
    REJECTED = "rejected"                # the far side said never (dead letter)
    GAVE_UP = "gave_up"                  # give_up_after passed (dead letter)
    DROP_OLDEST = "drop_oldest"          # when_full: drop_oldest moved the cursor
    MAX_BACKLOG = "max_backlog"          # past the sink's own max_backlog
    SINK_REMOVED = "sink_removed"        # its sink left the config and the time or room to keep it ran out
    DEAD_LETTER_EVICTED = "dead_letter_evicted"
    BUFFER_DAMAGED = "buffer_damaged"    # a frame was unreadable and its file range could not be read again
    FILTERED = "filtered"                # keep/drop rules
    RATE_LIMITED = "rate_limited"        # a limit whose action is drop


class GapReason(StrEnum):
    """Every way source bytes can be in no record."""

    START_AT_END = "start_at_end"        # they were there before the source was first seen with start_at: end
    READ_BEFORE = "read_before"          # read before a power cut that took the file's end: what comes has another key
    ZEROS = "zeros"                      # a hole, or blocks of zeros, where a line should begin: nobody wrote them
    IMPORTED = "imported"                # the agent before us had shipped them (shipper positions import)
    MOVED_ON = "moved_on"                # positions import --force moved our own position over them
    ROTATED_AWAY = "rotated_away"        # the file was gone before it could be read
    TRUNCATED = "truncated"              # cut before it could be read
    HELD_TOO_LONG = "held_too_long"      # a deleted file over the limit of held bytes or time
    GZIP_DAMAGED = "gzip_damaged"        # a compressed sibling that ends early or does not inflate
    BUFFER_DAMAGED = "buffer_damaged"    # a frame was unreadable and the log file is gone
    VACUUMED = "vacuumed"                # the journal dropped entries before they could be read
    OVERWRITTEN = "overwritten"          # the kernel's ring went round before its messages could be read


class RefusedReason(StrEnum):
    """Every reason not to open a log file."""

    OUTSIDE_ROOTS = "outside_roots"              # it lies outside allowed_roots, whatever its name says
    NOT_REGULAR = "not_regular"                  # directory, FIFO, socket, device
    HARD_LINKED = "hard_linked"                  # has another name, perhaps outside allowed_roots
    SYMLINK = "symlink"                          # became a symbolic link after its path was resolved
    LOOP = "loop"                                # symbolic links that lead nowhere
    PERMISSION = "permission"
    VANISHED = "vanished"                        # no such file any more
    TOO_MANY_OPEN_FILES = "too_many_open_files"  # the process's or the system's limit
    ERROR = "error"                              # any other answer of the kernel

    @property
    def for_good(self) -> bool:
        """Trying again cannot help before somebody mends it."""
        return self not in (RefusedReason.TOO_MANY_OPEN_FILES, RefusedReason.VANISHED, RefusedReason.PERMISSION,
                            RefusedReason.ERROR)


class ShipperError(Exception):
    """Base. Catch it only at the top of a task or command."""


class Usage(ShipperError):
    """Wrong config or command line; the message may have several lines, one per problem. Exit code 2."""


class Fatal(ShipperError):
    """Only a human can mend it."""


class FileRefused(ShipperError):
    """A log file that is not read. `retry`: the same call can succeed later with nobody mending anything."""

    def __init__(self, reason: RefusedReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry = not reason.for_good


class SinkError(ShipperError):
    """What a sink may raise from `send`; the class decides what delivery does (docs/delivery.md)."""


class Retryable(SinkError):
    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Rejected(SinkError):
    """`indexes`: records of the request (0-based, over all its batches) that are dead; () means: not known which.

    With indexes, `rest_delivered` says whether the others were taken (True) or have to be sent again (False).
    """

    def __init__(self, message: str, *, indexes: tuple[int, ...] = (), rest_delivered: bool = False) -> None:
        super().__init__(message)
        self.indexes, self.rest_delivered = indexes, rest_delivered


class Partial(SinkError):
    """The far side answered record by record (indexes are 0-based, over all the request's batches).

    dead             records that it will never take, each with its own words
    retry            records that have to be sent again, after `retry_after_s` where it says so
    All others are delivered. An index in both is dead.
    """

    def __init__(
        self, message: str, *, dead: Mapping[int, str] | None = None, retry: Sequence[int] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.dead, self.retry, self.retry_after_s = dict(dead or {}), tuple(retry), retry_after_s


class TooLarge(SinkError):
    """The request is over a limit of the far side. `indexes` where single records alone are over it."""

    def __init__(self, message: str, *, indexes: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.indexes = indexes


class BufferLost(ShipperError):
    """A write or sync of the buffer failed: its positions went back to the last synced frame.

    The reader loads its offsets from `buffer.positions` again and goes on from there; nothing is lost.
    """
