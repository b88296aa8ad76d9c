"""From a matched name along its symbolic links to the file, remembering every hop.

    /var/log/containers/x.log -> /var/log/pods/ns_pod_uid/c/0.log -> /var/lib/docker/containers/id/id-json.log

Invariants:
  R1  the last target need not exist: between kubelet's rename and the runtime's reopen it does not
  R2  each hop that a link names is kept (names.py reads them); the directories above them are resolved at the end only
  R3  what `Directories` remembers is as old as one scan; open_log decides on the descriptor, whatever is said here
Driver: readlink once per new name, lstat once per directory above it: os.path.realpath looked at eight for each of 5,000.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NamedTuple

from shipper.discover.names import clean
from shipper.errors import FileRefused, RefusedReason

MAX_HOPS = 16
_NO_LINK = (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.EACCES)


class Resolved(NamedTuple):
    """`path`: absolute, no symbolic link in it. `hops`: the matched path, then each target as the links name it."""

    path: str
    hops: tuple[str, ...]


class Directories:
    """Real paths of directories, remembered for as long as it lives: one scan (R3)."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {"/": "/"}

    def of(self, path: str) -> str:
        """os.path.realpath(path)."""
        real = self._real.get(path)
        if real is None:
            real = self._real[path] = self._look(path)
        return real

    def _look(self, path: str) -> str:
        parent, name = os.path.split(path)
        if not parent.startswith("/") or name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        return os.path.join(self.of(parent), name)


def resolve(
    path: str, directories: Directories | None = None, *, is_file: Callable[[str], bool] = lambda path: False,
) -> Resolved:
    """Follow `path` to the file. Raises FileRefused(loop) for a chain over 16 links or one without an end.

    `is_file(hop)`: a listing shows that this is a regular file, so that no readlink has to say that it is no link.
    """
    hops = [path]
    while not is_file(hops[-1]) and (target := _link_at(hops[-1])) is not None:
        if len(hops) > MAX_HOPS:
            raise FileRefused(RefusedReason.LOOP, f"{clean(path)} is not read: its symbolic links lead nowhere; mend the link")
        hops.append(os.path.join(os.path.dirname(hops[-1]), target))
    last = hops[-1]
    base = os.path.basename(last)
    if base in ("", ".", ".."):
        return Resolved(os.path.realpath(last), tuple(hops))
    real = os.path.join((directories or Directories()).of(os.path.dirname(last)), base)
    return Resolved(last if last == real else real, tuple(hops))    # one string: 5,000 lineages keep theirs


def _link_at(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in _NO_LINK:
            return None
        reason = RefusedReason.LOOP if error.errno == errno.ELOOP else RefusedReason.ERROR
        raise FileRefused(reason, f"{clean(path)} is not read: {error.strerror}; mend the link") from error
