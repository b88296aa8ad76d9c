"""Node: pods, containers and host programs below one directory, and the seeded plan that moves them.

    root/pods/<ns>_<pod>_<uid>/<container>/<n>.log      root/docker/containers/<id>/<id>-json.log
    root/containers/<pod>_<ns>_<container>-<id>.log  ─► pods/...  (─► docker/...)
    root/host/<name>.log

    node = Node(tmp_path, seed=7)
    node.write(1000); node.rotate(node.containers[0]); node.restart(node.containers[1]); node.delete(node.pods[0])
    node.settle()
    node.ledger()          {"shop/web-0/web": 412, ..., "host/app.log": 88}: lines written, of deleted pods too

Invariants: N1 to N4 (messages.py, streams.py) and
  N5  equal root, seed and calls give equal lines and names (with an equal clock also equal bytes)
Driver: files. Nothing runs by itself: every change is a call, so tests need no waiting. `python -m
shipper.agent.node_simulator` moves one by the clock.
"""
from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .streams import Clock, ContainerLog, HostLog, Log

NAMESPACES = ("shop", "payments", "kube-system", "team-with-a-long-name")
NAMES = ("web", "api", "worker", "cache", "cron")


@dataclass(slots=True)
class Pod:
    """`uid` as it stands in the directory's name; a static pod's is 32 hex digits."""

    namespace: str
    name: str
    uid: str
    directory: Path
    containers: list[ContainerLog]


class Node:
    """See the module. `max_bytes`, `max_files`: the kubelet's containerLogMaxSize and containerLogMaxFiles."""

    def __init__(
        self, root: str | Path, seed: int = 0, *, cri_pods: int = 3, docker_pods: int = 1, host_files: int = 1,
        max_bytes: int = 10 << 20, max_files: int = 5, clock: Clock = time.time_ns,
    ) -> None:
        self.root = Path(root)
        self.max_bytes, self.max_files = max_bytes, max_files
        self.pods: list[Pod] = []
        self.counts = dict.fromkeys(("rotations", "restarts", "deletions", "copytruncates"), 0)
        self._rng = random.Random(seed)
        self._seed, self._clock = str(seed), clock
        self._made = 0
        self._gone: list[Log] = []
        self._stopped: list[Pod] = []
        self._reopening: list[ContainerLog] = []
        for name in ("pods", "containers", "docker/containers", "host"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for _ in range(cri_pods):
            self.add_pod("cri")
        for _ in range(docker_pods):
            self.add_pod("docker")
        self.host_logs = [
            HostLog(self.root / "host", f"app{n or ''}", self._seed, clock, max_files) for n in range(host_files)
        ]

    # ---- what there is

    @property
    def containers(self) -> list[ContainerLog]:
        """Of the pods that run."""
        return [container for pod in self.pods for container in pod.containers]

    @property
    def logs(self) -> list[Log]:
        """All that can be written to."""
        return [*self.containers, *self.host_logs]

    def ledger(self) -> dict[str, int]:
        """Lines written by label, of deleted pods too."""
        return {log.label: log.written for log in self._everyone()}

    def _everyone(self) -> list[Log]:
        return [*self.logs, *(c for pod in self._stopped for c in pod.containers), *self._gone]

    @property
    def written(self) -> int:
        """Lines written in all."""
        return sum(self.ledger().values())

    def progress(self) -> dict[str, Any]:
        """What has been written and what has happened."""
        written_bytes = sum(log.written_bytes for log in self._everyone())
        return {"written": self.written, "bytes": written_bytes, "pods": self._made, **self.counts}

    def summary(self) -> dict[str, Any]:
        """`progress` with the ledger, for a last report."""
        return {**self.progress(), "ledger": self.ledger()}

    # ---- what happens

    def add_pod(self, runtime: str = "cri", containers: int | None = None) -> Pod:
        """A new pod with 1 or 2 containers. Its name is never used again."""
        rng, number = self._rng, self._made
        self._made += 1
        namespace, name = NAMESPACES[number % len(NAMESPACES)], f"{NAMES[number % len(NAMES)]}-{number}"
        digits = f"{rng.getrandbits(128):032x}"
        uid = digits if number % 4 == 2 else "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        directory = self.root / "pods" / f"{namespace}_{name}_{uid}"
        pod = Pod(namespace, name, uid, directory, [])
        for index in range(containers or rng.randint(1, 2)):
            pod.containers.append(ContainerLog(
                self.root, directory, namespace, name, NAMES[number % len(NAMES)] if not index else "sidecar", runtime,
                self._seed, self._clock, self.max_files,
            ))
        self.pods.append(pod)
        return pod

    def write(self, lines: int, log: Log | None = None, *, leave_open: bool = False) -> None:
        """Write `lines` lines to one log, or spread unevenly over all: one write each."""
        if log is not None:
            log.write(lines, leave_open=leave_open)
            return
        logs: Sequence[Log] = self.logs
        shares = [self._rng.random() ** 2 for _ in logs]
        scale = lines / (sum(shares) or 1)
        left = lines
        for one, share in zip(logs, shares):
            count = min(left, round(share * scale))
            one.write(count, leave_open=leave_open)
            left -= count
        if left and logs:
            logs[0].write(left)

    def rotate(self, container: ContainerLog) -> None:
        """kubelet's or docker's rotation, all steps."""
        container.rotate()
        self.counts["rotations"] += 1

    def rotate_begin(self, container: ContainerLog) -> None:
        """The first half: from here to `rotate_finish` the live file does not exist, and writes go to the renamed one."""
        if container not in self._reopening:
            container.rotate_begin()
            self._reopening.append(container)

    def rotate_finish(self) -> None:
        """The second half, of all begun ones."""
        for container in self._reopening:
            container.rotate_finish()
            self.counts["rotations"] += 1
        self._reopening = []

    def rotate_due(self) -> None:
        """What the kubelet's monitor does: begin the rotation of every file that has reached `max_bytes`."""
        for container in self.containers:
            if container.size_bytes >= self.max_bytes:
                self.rotate_begin(container)

    def copytruncate(self, log: HostLog) -> None:
        """logrotate's copytruncate of a host file."""
        log.rotate()
        self.counts["copytruncates"] += 1

    def restart(self, container: ContainerLog) -> None:
        """The container crashes and comes again."""
        self.rotate_finish()
        container.restart()
        self.counts["restarts"] += 1

    def stop(self, pod: Pod) -> None:
        """The pod ends; its files stay until `remove`, as until the kubelet's garbage collection."""
        self.rotate_finish()
        for container in pod.containers:
            container.stop()
        self.pods.remove(pod)
        self._stopped.append(pod)

    def remove(self, pod: Pod) -> None:
        """The files and links of a stopped pod go."""
        for container in pod.containers:
            container.remove_ended()
        shutil.rmtree(pod.directory)
        self._stopped.remove(pod)
        self._gone += pod.containers
        self.counts["deletions"] += 1

    def delete(self, pod: Pod) -> None:
        """Stop and remove at once: a pod that is gone right after its last line."""
        self.stop(pod)
        self.remove(pod)

    def settle(self) -> None:
        """Finish every line that was begun and every rotation: what `ledger` says is now in the files."""
        self.rotate_finish()
        for log in self.logs:
            log.settle()

    def close(self) -> None:
        """Settle, and close all files. They stay."""
        self.settle()
        for log in self.logs:
            log.stop()

    def step(self, lines: int = 50) -> str:
        """One action of the seeded plan: mostly writing, sometimes what else happens to a node. Returns what it was."""
        action = self._rng.choices(
            ("write", "write and leave open", "rotate", "begin rotation", "finish rotation", "restart", "delete", "copytruncate"),
            (60, 10, 8, 5, 5, 3, 2, 2),
        )[0]
        containers = self.containers
        some = self._rng.choice(containers) if containers else None
        if action == "finish rotation":
            self.rotate_finish()
        elif action == "copytruncate" and self.host_logs:
            self.copytruncate(self._rng.choice(self.host_logs))
        elif action == "delete" and len(self.pods) > 1:
            self.delete(self._rng.choice(self.pods))
            self.add_pod(self._rng.choice(("cri", "cri", "docker")))
        elif action == "restart" and some is not None:
            self.restart(some)
        elif action == "rotate" and some is not None and some not in self._reopening:
            self.rotate(some)
        elif action == "begin rotation" and some is not None:
            self.rotate_begin(some)
        else:
            self.write(self._rng.randint(1, 2 * lines), leave_open=action == "write and leave open")
        return action
