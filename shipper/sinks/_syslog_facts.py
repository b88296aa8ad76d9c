"""What the kernel knows of a TCP connection: TCP_INFO and SIOCOUTQ. Driver: a system call each."""
from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import NamedTuple

_ACKED = struct.Struct("<Q")
_WINDOW = struct.Struct("<I")
ACKED_AT = 120                       # struct tcp_info, linux/tcp.h: __u64 tcpi_bytes_acked (Linux 4.1)
WINDOW_AT = 228                      # __u32 tcpi_snd_wnd (Linux 5.4)


class Facts(NamedTuple):
    """What the kernel knows of a connection. None: this kernel does not tell.

    acked_raw     bytes that the peer's kernel acknowledged; our SYN and FIN count as one each
    unsent_bytes  written and not acknowledged; our FIN counts as one. Asked for only where acked_raw is not told
    """

    acked_raw: int | None
    window_bytes: int | None
    unsent_bytes: int | None

    def acked_bytes(self, written_bytes: int) -> int:
        """Acknowledged payload."""
        if self.acked_raw is None:
            return max(written_bytes - (self.unsent_bytes or 0), 0)
        return min(max(self.acked_raw - 1, 0), written_bytes)


def facts_of(sock: socket.socket) -> Facts:
    """Cost: a system call, 2 us."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    acked = _ACKED.unpack_from(info, ACKED_AT)[0] if len(info) >= ACKED_AT + 8 else None
    window = _WINDOW.unpack_from(info, WINDOW_AT)[0] if len(info) >= WINDOW_AT + 4 else None
    return Facts(acked, window, unsent_of(sock) if acked is None else None)


def unsent_of(sock: socket.socket) -> int:
    """SIOCOUTQ: written and not acknowledged."""
    return int(struct.unpack("=i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
