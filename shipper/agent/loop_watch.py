"""A thread that says where the event loop hangs, because nothing in the loop can.

When the loop is blocked, /healthz does not answer and the systemd watchdog is not fed: the agent will be restarted. This
leaves the line that tells why: the functions on the main thread's stack, by file and line, never a value (P9).
Plane: driver.
"""
from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from ..telemetry import Telemetry
from .health import SAMPLE_EVERY_S, SILENT_AFTER_S

SHOWN_FRAMES = 6


class LoopWatch:
    """`beat` is called in the loop each SAMPLE_EVERY_S; a silence of `silent_after_s` is said once, with its place."""

    def __init__(
        self, telemetry: Telemetry, *, silent_after_s: float = SILENT_AFTER_S, look_every_s: float = SAMPLE_EVERY_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._telemetry, self._now_s = telemetry, now_s
        self._silent_after_s, self._look_every_s = silent_after_s, look_every_s
        self._watched = threading.get_ident()
        self._beat_s = now_s()
        self._said = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)

    def start(self) -> None:
        """Watch the thread that built this, from now on."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """The loop is alive."""
        self._beat_s, self._said = self._now_s(), False

    def close(self) -> None:
        """May be called without `start`."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        looked_s = self._now_s()
        while not self._end.wait(self._look_every_s):
            now_s = self._now_s()
            # After SIGSTOP or a suspend this thread was late too: the loop gets its time again (health.H3).
            if now_s - looked_s > self._look_every_s + self._silent_after_s / 2:
                self._beat_s = now_s
            looked_s = now_s
            if now_s - self._beat_s > self._silent_after_s and not self._said:
                self._said = True
                self._telemetry.say("error", "loop_blocked", about=self._place(), silent_s=round(now_s - self._beat_s, 1))

    def _place(self) -> str:
        frame, names = sys._current_frames().get(self._watched), list[str]()
        while frame is not None and len(names) < SHOWN_FRAMES:
            code = frame.f_code
            names.append(f"{os.path.basename(code.co_filename)}:{frame.f_lineno} {code.co_name}")
            frame = frame.f_back
        return " < ".join(names)
