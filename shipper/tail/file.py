"""One file that is being read: its descriptor, its offset, what must stand in front of it. Driver: `pread` and `fstat`.

Invariants:
  T1  `offset` is the end of the last section submitted; what is read beyond it and not yet a section is not counted
  T2  before new bytes count, the up to 64 bytes in front of the offset are compared: a file that was cut and has grown
      past the offset, or a reused inode, is seen at the next read
  T3  offsets are uncompressed bytes, for plain and compressed files alike
"""
from __future__ import annotations

import os

from ..errors import GapReason
from ..model import FileRef, Section
from .gz import GzipFile
from .identity import GUARD_BYTES, HEAD_BYTES, digest, has_head_of, known_part


class Changed(Exception):
    """What stands in front of the offset is not what was read (T2)."""


class TailFile:
    """`guard` None: only its hash is known (`guard_hash`, from the positions); the first read checks it."""

    __slots__ = (
        "begun", "compressed", "deleted_since_s", "device", "ended", "form", "guard", "guard_hash", "handle", "in_old_line",
        "in_zeros", "inode", "live", "offset", "old_because", "old_bytes", "passed", "path", "proven_bytes", "ref", "rest_bytes",
        "rest_since_s", "scanned", "size",
    )

    def __init__(self, path: str, device: int, inode: int, *, live: bool, compressed: bool) -> None:
        self.path, self.device, self.inode = path, device, inode
        self.live, self.compressed = live, compressed
        self.handle: int | GzipFile | None = None
        self.ref: FileRef | None = None
        self.offset = 0
        self.guard: bytes | None = b""
        self.guard_hash = ""
        self.scanned = 0                 # bytes behind the offset that hold no newline (a long line)
        self.rest_bytes = 0              # bytes of an unfinished line at the end of the file, at the last read
        self.rest_since_s = 0.0
        self.size = 0
        self.begun = 0, digest(b"")      # its size when it got its key, and the guard there
        self.proven_bytes = 0            # so long was it at least, with the content that we read: the guard was there after
        self.form = ""
        self.deleted_since_s: float | None = None
        self.old_bytes = 0               # so long was it at the first look, and is passed over
        self.old_because = GapReason.START_AT_END
        self.in_old_line = False         # start_at: end; what was passed over ends in the middle of a very long line
        self.in_zeros = False            # from its offset to its end, as far as we know
        self.ended = False               # read to its end at least once
        self.passed: Section | None = None    # start_at: end; what says so, in case its frame is lost

    @property
    def passes_over(self) -> bool:
        """Its old content is not passed over yet."""
        return self.old_bytes > 0

    @property
    def node_id(self) -> tuple[int, int]:
        return self.device, self.inode

    def attach(self, fd: int) -> None:
        """Take over `fd`."""
        self.handle = GzipFile(fd) if self.compressed else fd

    def close(self) -> None:
        if isinstance(self.handle, GzipFile):
            self.handle.close()
        elif self.handle is not None:
            os.close(self.handle)
        self.handle = None

    @property
    def fd(self) -> int:
        """The descriptor; -1 where it is closed."""
        if isinstance(self.handle, GzipFile):
            return self.handle.fd
        return -1 if self.handle is None else self.handle

    @property
    def damaged(self) -> bool:
        return isinstance(self.handle, GzipFile) and self.handle.damaged

    def resume(self, ref: FileRef, offset: int, guard_hash: str) -> None:
        """Go on where the positions say."""
        self.ref, self.offset, self.guard_hash = ref, offset, guard_hash
        self.guard = None if offset else b""
        self.scanned = self.rest_bytes = 0

    def pread(self, size: int, offset: int) -> bytes:
        if isinstance(self.handle, GzipFile):
            return self.handle.pread(size, offset)
        return os.pread(self.fd, size, offset)

    def head(self) -> bytes:
        """The first KiB, or what there is of it."""
        return self.pread(HEAD_BYTES, 0)

    def guard_at(self, offset: int) -> str | None:
        """The digest of the up to 64 bytes in front of `offset`; None where the file is shorter than that."""
        size = min(GUARD_BYTES, offset)
        data = self.pread(size, offset - size) if size else b""
        return digest(data) if len(data) == size else None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes behind the offset, the guard (in front of the first byte: the head) checked in the same system
        call (T2). Raises Changed."""
        ref = self.ref
        if ref is not None and not self.offset:
            data = self.pread(max(size, ref.head_bytes), 0)
            if not has_head_of(ref, data):
                raise Changed
            return data[:size]
        guard = self._guard()
        width = len(guard)
        data = self.pread(size + width, self.offset - width)
        if data[:width] != guard:
            raise Changed
        return data[width:] if width else data

    def check(self) -> None:
        """The guard alone, for bulk reads that would have to copy it off; nothing stands in front of offset 0: the head. Raises
        Changed."""
        if not self.offset:
            self._check_head()
        guard = self._guard()
        if guard and self.pread(len(guard), self.offset - len(guard)) != guard:
            raise Changed

    def check_all(self) -> None:
        """Head and guard: lines of one length that end alike leave the guard as it was. Raises Changed."""
        self._check_head()
        if self.offset:
            self.check()

    def _check_head(self) -> None:
        if self.ref is not None and not has_head_of(self.ref, self.pread(self.ref.head_bytes, 0)):
            raise Changed

    def _guard(self) -> bytes:
        if self.guard is None:
            width = min(GUARD_BYTES, self.offset)
            data = self.pread(width, self.offset - width)
            if len(data) != width or digest(data) != self.guard_hash:
                raise Changed
            self.guard = data
        return self.guard

    def advance(self, used: bytes, used_bytes: int) -> None:
        """`used`: the last bytes of what became a section (at least 64 of them, or all), `used_bytes` how many it was."""
        self.offset += used_bytes
        tail = used[-GUARD_BYTES:]
        if len(tail) < GUARD_BYTES and used_bytes < GUARD_BYTES:
            tail = ((self.guard or b"") + tail)[-GUARD_BYTES:]
        self.guard = tail

    def grown_head(self, ref: FileRef) -> FileRef:
        """A definition with as much head as there is now, for files that were short when they got their key."""
        head = known_part(self.head())
        if len(head) <= ref.head_bytes:
            return ref
        return FileRef(ref.key, ref.source, self.path, self.device, self.inode, len(head), digest(head))

    def begin(self, head: bytes) -> None:
        """In front of its key; `head` was just read. Until it is read, its head and what stands at its end now say which file it
        is: docker's lines end with their time, so that two files with long first lines have one head."""
        if not self.compressed:
            size = os.fstat(self.fd).st_size
            ends_in_head = size == len(head) < HEAD_BYTES
            self.begun = size, digest(head[-GUARD_BYTES:]) if ends_in_head else self.guard_at(size) or digest(b"")

    @property
    def guard_digest(self) -> str:
        """Of what must stand in front of the offset (T2)."""
        return digest(self.guard) if self.guard is not None else self.guard_hash

    @property
    def evidence(self) -> tuple[int, str]:
        """(offset, digest of the bytes in front of it): what another file must have too, beside the head, to be this one."""
        if self.ref is not None and not self.offset:
            return self.begun
        return self.offset, self.guard_digest

    def length_bytes(self) -> int:
        """Uncompressed; of a .gz as its trailer says (RFC 1952, ISIZE: modulo 4 GiB), which a half-written one has not."""
        size = os.fstat(self.fd).st_size
        if not self.compressed:
            return size
        return int.from_bytes(os.pread(self.fd, 4, max(0, size - 4)), "little")

    def stat_size(self) -> int:
        """Uncompressed bytes as far as they are known without inflating; where the disk does not say, as many as it last said."""
        stat = None if self.compressed else self.stat()
        if stat is None:
            return max(self.size, self.offset)
        self.size = stat.st_size
        return self.size

    @property
    def unlinked(self) -> bool:
        """No name is left. False where the disk does not say."""
        stat = self.stat()
        return stat is not None and stat.st_nlink == 0

    def stat(self) -> os.stat_result | None:
        """None where it is closed, or its disk does not answer (EIO, ESTALE): who reads from it hears why, and says so."""
        try:
            return os.fstat(self.fd) if self.handle is not None else None
        except OSError:
            return None
