"""When a file was made (its birth time), which Python's os.stat does not tell on Linux. Driver: one system call.

statx(2), by the C library (glibc 2.28, musl 1.2.5). ext4, xfs, btrfs and tmpfs know it; NFS and old file systems do not.
"""
from __future__ import annotations

import ctypes
import struct

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_BUFFER_BYTES = 256
_MASK_AT, _BTIME_AT = 0, 80           # offsets in struct statx: stx_mask (u32), stx_btime (s64 seconds, u32 nanoseconds)


def birth_ns(fd: int) -> int:
    """Nanoseconds since 1970 at which the open file was made; 0 where nobody knows."""
    try:
        statx = ctypes.CDLL(None).statx
    except (OSError, AttributeError):                    # a C library without it
        return 0
    found = ctypes.create_string_buffer(_BUFFER_BYTES)
    if statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, found) != 0:
        return 0
    if not struct.unpack_from("=I", found, _MASK_AT)[0] & _STATX_BTIME:
        return 0
    seconds, nanoseconds = struct.unpack_from("=qI", found, _BTIME_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
