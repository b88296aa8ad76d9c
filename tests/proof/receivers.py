"""A tree of numbered lines, the real agent, and a syslog receiver to which things happen; then what all receivers stored is
joined and counted.

    scene = Scene(agent, Tree(agent.root / "node"), lines=12_000)
    scene.ship(receiver.port, "tls", "newline", ca=...)     write, start the agent
    scene.about_to_happen(); ...; scene.happened(stored)    before and after a receiver is gone
    scene.settle(); scene.judge(messages)                   everything is confirmed; lost, repeated, and the rules below

Rules of `judge`:
  - every line arrives, whole, whatever happened (P3)
  - equal ids are equal bytes, and a line has one id
  - what was confirmed before the event never comes again; and what came again was not confirmed: it is within the bound that
    /status showed, and what goes on between two looks at the kernel (while data flow under the window rule: a barrier in
    the middle of them holds back what the next connection takes, so tests with much data leave `barrier_interval` long)
"""
from __future__ import annotations

import os
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.agent import Agent

PODS = 3
RECORD = re.compile(rb'.* id="([^"]+)"[^\]]*\] (pod-\d) line (\d+) \w* end', re.DOTALL)
BETWEEN_LOOKS_BYTES = 2 * 1024 * 1024      # half a mebibyte and a request on either side of it
GROWTH = 2                                 # a window may have doubled since /status was asked
QUICK = {"barrier_idle": "100ms", "barrier_interval": "2s", "connect_timeout": "2s"}
"""Proof is asked for soon, so that a test waits for no interval of a minute. `quick=False` leaves a sink its defaults."""


class Tree:
    """Containers of one node. Lines are numbered per pod, 200 bytes and a few."""

    def __init__(self, root: Path) -> None:
        self.root, self.written = root, 0
        rng = random.Random(7)
        self._files: list[Path] = []
        (root / "containers").mkdir(parents=True)
        for pod in range(PODS):
            path = root / "pods" / f"default_pod-{pod}_{rng.getrandbits(128):032x}" / "c" / "0.log"
            path.parent.mkdir(parents=True)
            path.touch()
            (root / "containers" / f"pod-{pod}_default_c-{rng.getrandbits(256):064x}.log").symlink_to(path)
            self._files.append(path)

    def write(self, lines: int) -> None:
        """So many more, spread over the pods."""
        first, self.written = self.written, self.written + lines
        for pod, path in enumerate(self._files):
            text = "".join(
                f"2026-11-20T09:04:05.{n:09d}Z stdout F pod-{pod} line {n} {'x' * (140 + n % 60)} end\n"
                for n in range(first, first + lines) if n % PODS == pod
            )
            with open(path, "ab", buffering=0) as file:
                os.write(file.fileno(), text.encode())


class Scene:
    """One agent with a sink `central`."""

    def __init__(self, agent: Agent, *, lines: int) -> None:
        self.agent, self.tree, self.lines = agent, Tree(agent.root / "node"), lines
        self._confirmed_records: int | None = None
        self._bound_bytes = 0
        self._may_repeat_records: int | None = None

    def ship(self, address: str, protocol: str, framing: str, *, lines: int | None = None, ca: str = "", env: Any = None,
             quick: bool = True, **keys: Any) -> None:
        """`lines` are there when the agent starts (default: all)."""
        tls = {"tls": {"ca": ca, "server_name": "localhost"}} if protocol == "tls" else {}
        sink = {"type": "syslog", "address": address, "protocol": protocol, "framing": framing, "start_at": "oldest",
                **(QUICK if quick else {}), **tls, **keys}
        self.agent.configure(sinks={"central": sink}, sources={"pods": self.agent.containers_source(self.tree.root)},
                             shutdown_grace="10s")
        self.tree.write(self.lines if lines is None else lines)
        self.agent.start(ready=False, **({"env": env} if env else {}))

    def sink(self) -> dict[str, Any]:
        """/status of the sink."""
        found: dict[str, Any] = self.agent.status()["sinks"]["central"]
        return found

    def all_is_read(self) -> None:
        """Until the agent has read everything that is written (the receiver may not have)."""
        self.agent.until("the logs are read", lambda s: s["ready"] and s["lag_bytes"] == 0)

    def about_to_happen(self) -> None:
        """The receiver is about to end: what is confirmed from here on must never come again."""
        sink = self.sink()
        self._confirmed_records, self._bound_bytes = sink["delivered_records"], sink["proof"]["can_lie_unread_bytes"]

    def happened(self, stored: list[bytes]) -> None:
        """It has ended, having stored this."""
        assert self._confirmed_records is not None
        different = {id(message) for message in stored}
        assert len(different) >= self._confirmed_records, (
            f"{self._confirmed_records} records are confirmed, and {len(different)} were stored")
        self._may_repeat_records = len(different) - self._confirmed_records

    def settle(self, within_s: float = 30.0) -> None:
        """A few lines more; then everything is confirmed, and the agent ends well."""
        self.tree.write(300)
        self.agent.drained(within_s=within_s)
        assert self.sink()["delivered_records"] == self.tree.written
        assert self.agent.terminate() == 0

    def judge(self, messages: list[bytes]) -> tuple[int, int]:
        """(lost, repeated), the rules held."""
        contents: dict[bytes, bytes] = {}
        ids: dict[int, bytes] = {}
        times: Counter[bytes] = Counter()
        for message in messages:
            found = RECORD.fullmatch(message)
            assert found, f"not whole: {message!r:.300}"
            assert contents.setdefault(found[1], message) == message, f"two contents of {found[1]!r}"
            assert ids.setdefault(int(found[3]), found[1]) == found[1], f"two ids of line {int(found[3])}"
            times[found[1]] += 1
        lost = self.tree.written - len(ids.keys() & range(self.tree.written))
        again = {name: contents[name] for name, count in times.items() if count > 1}
        if self._may_repeat_records is not None:
            assert len(again) <= self._may_repeat_records, f"{len(again)} came again, {self._may_repeat_records} were unconfirmed"
            repeated_bytes = sum(map(len, again.values()))
            assert repeated_bytes <= GROWTH * self._bound_bytes + BETWEEN_LOOKS_BYTES, f"{repeated_bytes} of {self._bound_bytes}"
        return lost, times.total() - len(times)


def id(message: bytes) -> bytes:
    """Of a record as it arrived; b"" where it has none."""
    return message.partition(b'[shipper@32473 id="')[2].partition(b'"')[0]
