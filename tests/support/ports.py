"""TCP ports of loopback that nobody else is given while a test uses them.

A port that was bound, read and closed may be another worker's receiver a moment later, or our own end of a connection to it.
"""
from __future__ import annotations

import socket

_kept: list[socket.socket] = []


def kept_port() -> int:
    """Ours until this process ends. Connections to it are refused; a server that sets SO_REUSEADDR may listen on it."""
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _kept.append(kept)
    return int(kept.getsockname()[1])
