"""One inotify instance, so that nothing that is quiet has to be polled.

    directories   create, move, delete of entries  ──► on_directory(path)     kept until the wanted set changes
    files         IN_MODIFY | IN_ONESHOT           ──► on_file(token)         armed once, fires once
    queue full                                     ──► on_file for every token, then on_overflow()

Files are watched by descriptor (/proc/self/fd/N): no path can lead elsewhere, deleted files work too, and IN_MODIFY also
tells of a truncation. One event for any number of writes until it is armed again.

Invariants:
  W1  a token that was armed fires at most once; between `arm` and the caller's last read there is a gap, so the caller
      looks at the file once more after arming
  W2  an event that was lost is as good as fired: after an overflow every token fires
  W3  a directory that was newly watched is reported once: what happened before the watch made no event
  W4  without inotify nothing fails: `arm` says False, `watched` is empty, the caller polls; it is tried again each 30 s
  W5  the tables hold what the kernel holds: each entry goes with its event, IN_IGNORED, `disarm` or the wanted set.
      (A directory that moves with its parent, or that another is mounted over, tells nobody: the scan's turns find that, and
      say so by `watch_anew`. Kubelet renames none)
  W6  one wake-up reads at most 16 x 64 KiB, so that a container that makes and deletes files in a loop stalls nobody;
      a directory is reported once per wake-up
IN_ATTRIB is not asked for: every chmod and unlink inside would wake us, and the rescan tries unreadable files anyway.
Not watched: the parents of container directories, unless an include pattern walks them. The link in
/var/log/containers is made after the log file, and a restart's <n+1>.log is made in the watched directory.
Driver: loop thread. Measured (5,000 files and directories, 2 cores, tests/bench/bench_discover.py): arm 7 us, an event
1 us, a directory watch 5 us; about 1 KB of kernel memory per watch (fs.inotify.max_user_watches counts them).
"""
from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

from shipper.discover import inotify as ino
from shipper.telemetry import Telemetry

RETRY_S = 30.0
READS_PER_WAKE = 16
UNAVAILABLE, EXHAUSTED = "inotify_unavailable", "inotify_watches_exhausted"
_FILE = ino.IN_MODIFY | ino.IN_ONESHOT
_DIRECTORY = (ino.IN_CREATE | ino.IN_MOVED_FROM | ino.IN_MOVED_TO | ino.IN_DELETE | ino.IN_DELETE_SELF | ino.IN_MOVE_SELF
              | ino.IN_ONLYDIR)
_SELF_GONE = ino.IN_DELETE_SELF | ino.IN_MOVE_SELF | ino.IN_UNMOUNT | ino.IN_IGNORED
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG)


class Watcher:
    """Callbacks come in the loop's thread, outside any call into the watcher but `watch_directories` (W3)."""

    def __init__(self, *, on_file: Callable[[Any], None], on_directory: Callable[[str], None],
                 on_overflow: Callable[[], None], telemetry: Telemetry) -> None:
        self._on_file, self._on_directory, self._on_overflow = on_file, on_directory, on_overflow
        self._telemetry = telemetry
        self._fd = -1
        self._loop: asyncio.AbstractEventLoop | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._exhausted = False
        self._wanted: set[str] = set()
        self._watch_of_directory: dict[str, int] = {}
        self._directories: dict[int, list[str]] = {}
        self._watch_of_token: dict[Any, int] = {}
        self._tokens: dict[int, list[Any]] = {}

    @property
    def working(self) -> bool:
        """False: nothing is reported, poll."""
        return self._fd >= 0

    @property
    def watched(self) -> Collection[str]:
        """The directories that have a watch: a live view, cheap to ask."""
        return self._watch_of_directory.keys()

    def start(self) -> bool:
        """Call once, in the running loop. False (and degraded) where there is no inotify; it is tried again."""
        self._loop = asyncio.get_running_loop()
        return self._open()

    def watch_directories(self, wanted: Iterable[str]) -> None:
        """Watch exactly these. A new one is reported through on_directory before this returns (W3)."""
        self._wanted = set(wanted)
        for path in [path for path in self._watch_of_directory if path not in self._wanted]:
            self._unwatch(path)
        self._watch_missing()

    def watch_anew(self, replaced: Iterable[str]) -> None:
        """Another directory is in the place of each of these: what is watched there is that one from now on (W3)."""
        for path in replaced:
            if path in self._watch_of_directory:
                self._unwatch(path)
        self._watch_missing()

    def arm(self, fd: int, token: Any) -> bool:
        """One on_file(token) at the next write to, or truncation of, this open file. False: not watched, poll it.

        Arming a token again moves it to the new file. The descriptor may be closed afterwards.
        """
        if token in self._watch_of_token:
            self.disarm(token)
        watch = self._add(b"/proc/self/fd/%d" % fd, _FILE)
        if watch is None:
            return False
        self._watch_of_token[token] = watch
        self._tokens.setdefault(watch, []).append(token)
        return True

    def disarm(self, token: Any) -> None:
        """Nothing more about this token. Unknown ones are no error: it may have fired a moment ago."""
        watch = self._watch_of_token.pop(token, None)
        if watch is None:
            return
        tokens = self._tokens[watch]
        tokens.remove(token)
        if not tokens:
            del self._tokens[watch]
            self._remove(watch)

    def close(self) -> None:
        """Give the instance back. Nothing is reported afterwards."""
        if self._retry is not None:
            self._retry.cancel()
        if self._fd >= 0 and self._loop is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
        self._fd, self._retry, self._loop = -1, None, None
        for table in (self._watch_of_directory, self._directories, self._watch_of_token, self._tokens):
            table.clear()

    # The instance

    def _open(self) -> bool:
        try:
            self._fd = ino.init()
        except OSError as error:
            self._telemetry.degraded(UNAVAILABLE, f"{error.strerror}: files are polled; raise fs.inotify.max_user_instances")
            self._retry_later()
            return False
        assert self._loop is not None
        self._loop.add_reader(self._fd, self._drain)
        self._telemetry.recovered(UNAVAILABLE)
        return True

    def _retry_later(self) -> None:
        if self._retry is None and self._loop is not None:
            self._retry = self._loop.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if self._fd < 0 and not self._open():
            return
        self._watch_missing()
        if not self._exhausted:
            self._telemetry.recovered(EXHAUSTED)

    # The watches

    def _add(self, path: bytes, mask: int) -> int | None:
        if self._fd < 0:
            return None
        try:
            return ino.add_watch(self._fd, path, mask)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.ENOMEM):
                self._exhausted = True
                held = len(self._tokens) + len(self._directories)
                self._telemetry.degraded(EXHAUSTED, f"{held} watches held, no more to be had: the rest is polled; "
                                         "raise fs.inotify.max_user_watches")
                self._retry_later()
            elif error.errno not in _GONE:
                self._telemetry.say("warning", "inotify_refused", about=error.strerror or "", errno=error.errno)
            return None

    def _remove(self, watch: int) -> None:
        try:
            ino.rm_watch(self._fd, watch)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: fired or deleted meanwhile, its event is still to be read
                raise

    def _watch_missing(self) -> None:
        """Watch what is wanted and not watched, as far as there is room."""
        self._exhausted = False
        for path in self._wanted - self._watch_of_directory.keys() if self._fd >= 0 else ():
            watch = self._add(os.fsencode(path), _DIRECTORY)
            if watch is not None:
                self._watch_of_directory[path] = watch
                self._directories.setdefault(watch, []).append(path)
                self._on_directory(path)  # W3
            elif self._exhausted:
                break  # the others would hear the same

    def _unwatch(self, path: str) -> None:
        watch = self._watch_of_directory.pop(path)
        paths = self._directories[watch]
        paths.remove(path)
        if not paths:
            del self._directories[watch]
            self._remove(watch)

    # The events

    def _drain(self) -> None:
        touched: dict[str, None] = {}
        fired: list[Any] = []
        overflow = False
        for _ in range(READS_PER_WAKE):
            try:
                data = os.read(self._fd, ino.READ_BYTES)
            except BlockingIOError:
                break
            for watch, mask in ino.records(data):
                if mask & ino.IN_Q_OVERFLOW:
                    overflow = True
                elif watch in self._tokens:
                    fired += self._forget_file(watch)
                elif watch in self._directories:
                    touched.update(dict.fromkeys(self._directories[watch]))
                    if mask & _SELF_GONE:
                        self._forget_directory(watch, mask)
            if len(data) < ino.READ_BYTES // 2:
                break
        self._report(fired, touched, overflow)

    def _report(self, fired: list[Any], touched: dict[str, None], overflow: bool) -> None:
        if overflow:  # W2; the end of a directory may be among what was lost, so all are watched anew: same numbers
            for watch in list(self._tokens):
                fired += self._forget_file(watch)
            self._directories.clear()
            self._watch_of_directory.clear()
            self._watch_missing()
        for token in fired:
            self._on_file(token)
        for path in touched:
            self._on_directory(path)
        if overflow:
            self._on_overflow()

    def _forget_file(self, watch: int) -> list[Any]:
        """The kernel has removed a one-shot watch that fired, and that of a deleted file (W5). Returns its tokens."""
        tokens = self._tokens.pop(watch)
        for token in tokens:
            del self._watch_of_token[token]
        return tokens

    def _forget_directory(self, watch: int, mask: int) -> None:
        """It was deleted, or moved: then its watch would go on under a name that is not its own any more."""
        for path in self._directories.pop(watch):
            del self._watch_of_directory[path]
        if mask & ino.IN_MOVE_SELF:
            self._remove(watch)
        self._retry_later()  # it may come back under its name
