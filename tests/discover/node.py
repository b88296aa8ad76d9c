"""A small node on disk: pods, links, rotations, as kubelet and docker leave them."""
from __future__ import annotations

import os
from pathlib import Path

from shipper.discover.lineage import SourceSpec
from shipper.discover.listing import UNSURE_NS
from shipper.discover.scan import Discoverer
from shipper.telemetry import Telemetry

UID = "0e0e0e0e-1111-2222-3333-444444444444"
ID = "a" * 64


class Node:
    """`now_ns` is what discovery takes for the time: far ahead of the files' times, so that stamps are sure."""

    def __init__(self, root: Path) -> None:
        self.root, self.pods, self.links = root, root / "pods", root / "containers"
        self.links.mkdir()
        self.pods.mkdir()
        self.telemetry = Telemetry()
        self.now_ns = 2**62

    def pod_log(self, pod: str, *, namespace: str = "default", container: str = "web", restart: int = 0,
                container_id: str = ID, link: bool = True, content: bytes = b"line\n") -> Path:
        directory = self.pods / f"{namespace}_{pod}_{UID}" / container
        directory.mkdir(parents=True, exist_ok=True)
        log = directory / f"{restart}.log"
        log.write_bytes(content)
        if link:
            self.link(pod, namespace, container, container_id).symlink_to(log)
        return log

    def link(self, pod: str, namespace: str = "default", container: str = "web", container_id: str = ID) -> Path:
        return self.links / f"{pod}_{namespace}_{container}-{container_id}.log"

    def containers(self, **more: object) -> SourceSpec:
        settings = {"include": (f"{self.links}/*.log",), "allowed_roots": (str(self.pods),), "node": "n1", **more}
        return SourceSpec("containers", "containers", **settings)  # type: ignore[arg-type]

    def hosts(self, *include: str, name: str = "host", **more: object) -> SourceSpec:
        return SourceSpec(name, "files", tuple(f"{self.root}/{glob}" for glob in include), **more)  # type: ignore[arg-type]

    def discoverer(self, *specs: SourceSpec, **more: object) -> Discoverer:
        return Discoverer(specs or (self.containers(),), self.telemetry, now_ns=lambda: self.now_ns, **more)  # type: ignore[arg-type]

    def said(self, event: str) -> list[dict[str, object]]:
        return [fields for _, name, fields in self.telemetry.lines if name == event]


def unsure_now_ns(path: Path) -> int:
    """A time at which the stamp of `path` is too young to be believed."""
    return os.stat(path).st_ctime_ns + UNSURE_NS // 2
