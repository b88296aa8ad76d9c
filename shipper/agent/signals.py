"""What from outside asks the agent to stop or to reload: signals, and the config file itself.

    SIGTERM, SIGINT  stop: drain, keep the rest, exit 0. The second one ends the process at once
    SIGHUP           reload
    the file changes reload: its inode, time or size, or where the `..data` link beside it points (a ConfigMap's swap)
Plane: driver.
"""
from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

WATCH_EVERY_S = 5.0


class Signals:
    """`stop` is set by the first SIGTERM or SIGINT, `reload` by each SIGHUP. `close` gives the signals back."""

    def __init__(self, exit_at_once: Callable[[int], None]) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        self.received = ""
        self._exit_at_once = exit_at_once
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_stop, number)
        self._loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)

    def _on_stop(self, number: int) -> None:
        if self.stop.is_set():
            self._exit_at_once(128 + number)
        self.received = signal.Signals(number).name
        self.stop.set()


Fingerprint = tuple[object, ...]


def fingerprint(path: str) -> Fingerprint:
    """What is equal as long as the config file is the same. A missing file has one too: it may come back."""
    try:
        seen = os.stat(path)
        identity: Fingerprint = (seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size)
    except OSError as error:
        identity = (error.errno,)
    try:
        return (*identity, os.readlink(os.path.join(os.path.dirname(path) or ".", "..data")))
    except OSError:
        return identity


class ConfigWatch:
    """Was the file changed since the last look? A look costs two system calls."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = fingerprint(path)

    def changed(self) -> bool:
        now = fingerprint(self._path)
        if now == self._seen:
            return False
        self._seen = now
        return True
