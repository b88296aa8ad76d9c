"""Open a log file that a hostile container may have prepared.

    open(path, O_PATH | O_NOFOLLOW)     takes hold of whatever is there, without touching it
        readlink /proc/self/fd/N        where it really is: inside the allowed roots?
        fstat                           regular? only one name?
    open(/proc/self/fd/N, O_RDONLY)     the same inode, whatever the path means by now

Invariants:
  O1  every decision is made on a descriptor, never on a path: a directory that is swapped for a symbolic link between
      resolving and opening leads to an O_PATH descriptor outside the roots, and to FileRefused
  O2  what is refused was never opened for reading: opening a device or a FIFO has effects of its own (/dev/watchdog
      reboots the node when it is opened and closed), so O_RDONLY comes after the decision. Costs one open more
  O3  a descriptor is returned or closed; nothing leaks on any path
  O4  roots are compared on component boundaries, both sides resolved
Needs /proc. Driver: once per opened file; measured 18 us for the whole (os.open and close alone 3.5 us).
"""
from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shipper.discover.names import clean
from shipper.errors import FileRefused, RefusedReason

_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_REASONS = {
    errno.ENOENT: RefusedReason.VANISHED,
    errno.ENOTDIR: RefusedReason.VANISHED,
    errno.ESTALE: RefusedReason.VANISHED,
    errno.ELOOP: RefusedReason.LOOP,
    errno.EACCES: RefusedReason.PERMISSION,
    errno.EPERM: RefusedReason.PERMISSION,
    errno.EMFILE: RefusedReason.TOO_MANY_OPEN_FILES,
    errno.ENFILE: RefusedReason.TOO_MANY_OPEN_FILES,
    errno.ENXIO: RefusedReason.NOT_REGULAR,
    errno.ENODEV: RefusedReason.NOT_REGULAR,
}
_MENDS = {
    RefusedReason.PERMISSION: "give the agent CAP_DAC_READ_SEARCH, or read access to this file and its directories",
    RefusedReason.TOO_MANY_OPEN_FILES: "raise the limit of open files (ulimit -n, LimitNOFILE=); it is tried again",
    RefusedReason.VANISHED: "nothing to mend: it was rotated or deleted",
    RefusedReason.LOOP: "its directory is a chain of symbolic links without an end",
}


class OpenedLog(NamedTuple):
    """A regular file inside the roots, open for reading. The caller owns `fd`. `path`: where it is, says the kernel."""

    fd: int
    stat: os.stat_result
    path: str


def resolve_roots(roots: Iterable[str]) -> tuple[str, ...]:
    """Roots for `open_log`, symbolic links resolved (/var/log may be one). Do it once per config, not per file: what
    the roots are is the administrator's word, and later changes on disk must not move them."""
    return tuple(dict.fromkeys(os.path.realpath(root) for root in roots))


def inside(path: str, roots: Sequence[str]) -> bool:
    """True where `path`, resolved, is one of `roots` or below one (O4)."""
    return any(path == root or path.startswith(root if root.endswith("/") else root + "/") for root in roots)


def open_log(path: str, allowed_roots: Sequence[str]) -> OpenedLog:
    """Open the file at this resolved path for reading (not blocking, closed on exec).

    `allowed_roots` come from `resolve_roots`. Raises FileRefused: its reason is the metric label, its `retry` says
    whether a later call can succeed. Never follows a symbolic link at the end of `path`.
    """
    fd = open_fd(path, allowed_roots)
    try:
        return OpenedLog(fd, os.fstat(fd), _place(path, fd))
    except BaseException:
        os.close(fd)
        raise


def open_fd(path: str, allowed_roots: Sequence[str]) -> int:
    """As `open_log`; the descriptor alone."""
    held_fd = _open(path, path, _HOLD)
    try:
        _check_place(path, held_fd, allowed_roots)
        _check_kind(path, os.fstat(held_fd))
        return _open(f"/proc/self/fd/{held_fd}", path, _READ)
    finally:
        os.close(held_fd)


def _open(opened_path: str, named_path: str, flags: int) -> int:
    try:
        return os.open(opened_path, flags)
    except ValueError as error:  # a NUL byte, which no file name has
        raise _refused(RefusedReason.ERROR, named_path, str(error)) from error
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, RefusedReason.ERROR)
        raise _refused(reason, named_path, error.strerror or str(error)) from error


def _place(path: str, fd: int) -> str:
    """Where the kernel says the open file is; a deleted one keeps its last place, with " (deleted)" at the end."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError as error:
        what = f"where it really is cannot be told: {error.strerror}"
        raise _refused(RefusedReason.ERROR, path, what, "mount /proc for the agent") from error


def _check_place(path: str, fd: int, roots: Sequence[str]) -> None:
    place = _place(path, fd)
    if not inside(place, roots):
        raise _refused(RefusedReason.OUTSIDE_ROOTS, path,
                       f"it is {clean(place)}, outside allowed_roots {', '.join(roots) or '(none)'}",
                       "add its directory to the source's allowed_roots, if it may be read")


def _check_kind(path: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _refused(RefusedReason.SYMLINK, path, "it became a symbolic link", "the next scan resolves it again")
    if not stat.S_ISREG(found.st_mode):
        raise _refused(RefusedReason.NOT_REGULAR, path, f"it is a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}",
                       "exclude it from the source")
    if found.st_nlink > 1:
        raise _refused(RefusedReason.HARD_LINKED, path, f"it has {found.st_nlink} names, perhaps outside allowed_roots",
                       "copy it instead of linking it")


_KINDS = {
    stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device", stat.S_IFBLK: "block device",
}


def _refused(reason: RefusedReason, path: str, what: str, mend: str = "") -> FileRefused:
    mend = mend or _MENDS.get(reason, "see the kernel's message")
    return FileRefused(reason, f"{clean(path)} is not read: {what}; {mend}")
