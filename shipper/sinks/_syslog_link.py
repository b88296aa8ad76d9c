"""One connection of the syslog sink together with what is known of the requests on it. Driver: once per half mebibyte."""
from __future__ import annotations

from dataclasses import dataclass

from ._syslog_confirm import Ledger, barrier_proven
from ._syslog_connection import Connection

TOGETHER_S = 5.0             # a receiver that is being stopped ends its connections within that


@dataclass(slots=True, eq=False)
class Link:
    """See syslog.py."""

    connection: Connection
    ledger: Ledger
    since_s: float = 0.0                 # first request
    progress_s: float = 0.0              # last time that the peer acknowledged something
    acked_bytes: int = 0
    asked_s: float = 0.0                 # when we half-closed
    fin_s: float = 0.0                   # when the peer's FIN was seen
    sampled_bytes: int = 0               # written when the kernel was asked last
    beside: Link | None = None           # opened before this one was half-closed

    def look(self) -> tuple[int, int | None]:
        """Ask the kernel: acknowledged bytes, and the peer's window."""
        facts = self.connection.facts()
        self.sampled_bytes = self.connection.written_bytes
        return facts.acked_bytes(self.sampled_bytes), facts.window_bytes

    def confirmed(self, now_s: float) -> int | None:
        """The highest request that the window rule newly confirms."""
        acked_bytes, window_bytes = self.look()
        if acked_bytes > self.acked_bytes:
            self.acked_bytes, self.progress_s = acked_bytes, now_s
        return self.ledger.on_ack(acked_bytes, window_bytes)

    def read_to_the_end(self) -> bool:
        """We half-closed, and the peer closed behind that."""
        facts = self.connection.facts()
        return self.connection.peer_closed and barrier_proven(
            self.connection.written_bytes, facts.acked_raw, facts.unsent_bytes)

    def stopped_with_the_next(self) -> bool:
        """The receiver ended the connection beside this one too. Long before is another story: idle ones are closed."""
        beside = self.beside.connection if self.beside is not None else None
        return beside is not None and beside.ended is not None and beside.ended_s > self.connection.ended_s - TOGETHER_S

    @property
    def unconfirmed_bytes(self) -> int:
        """Of this connection, ciphertext included."""
        return self.connection.written_bytes - self.ledger.confirmed_bytes if self.ledger.unconfirmed else 0
