"""What looking at many files costs: python -m tests.bench.bench_discover [files]. Prints one line per number."""
from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shipper.discover.lineage import SourceSpec
from shipper.discover.listing import UNSURE_NS
from shipper.discover.open import open_log, resolve_roots
from shipper.discover.scan import Discoverer
from shipper.discover.watch import Watcher
from shipper.telemetry import Telemetry


def make_node(root: str, files: int) -> None:
    os.makedirs(f"{root}/containers")
    for number in range(files):
        pod, namespace = f"deployment-name-{number:05d}-7d9c6b8f5-x{number:04d}", f"namespace-{number % 50}"
        directory = f"{root}/pods/{namespace}_{pod}_0e0e0e0e-1111-2222-3333-{number:012d}/container"
        os.makedirs(directory)
        open(f"{directory}/0.log", "w").close()
        os.symlink(f"{directory}/0.log", f"{root}/containers/{pod}_{namespace}_container-{number:064x}.log")


def timed(what: str, act: Callable[[], Any], each: int = 1) -> Any:
    begun = time.perf_counter()
    result = act()
    spent_us = (time.perf_counter() - begun) * 1e6 / each
    print(f"{what:44s} {spent_us / 1000:10.2f} ms" if each == 1 else f"{what:44s} {spent_us:10.2f} us each")
    return result


async def main(files: int) -> None:
    telemetry = Telemetry()
    with tempfile.TemporaryDirectory() as root:
        make_node(root, files)
        await asyncio.sleep(UNSURE_NS / 1e9)
        watcher = Watcher(on_file=lambda token: None, on_directory=lambda path: None, on_overflow=lambda: None,
                          telemetry=telemetry)
        watcher.start()
        spec = SourceSpec("c", "containers", (f"{root}/containers/*.log",), allowed_roots=(f"{root}/pods",))
        discoverer = Discoverer([spec], telemetry, watched=watcher.watched)
        timed(f"first scan of {files} files", discoverer.scan)
        for _ in range(2):
            timed("full scan, nothing new, no watcher", discoverer.scan)
        timed("watch a directory", lambda: watcher.watch_directories(discoverer.directories()), files)
        for _ in range(2):
            timed("full scan, nothing new, watched", discoverer.scan)
        timed("siblings", lambda: [discoverer.siblings(logfile) for logfile in discoverer.files], files)
        roots = resolve_roots([root])
        opened = timed("open_log", lambda: [open_log(logfile.live_path, roots).fd for logfile in discoverer.files], files)
        timed("arm", lambda: [watcher.arm(fd, fd) for fd in opened], files)
        for logfile in discoverer.files:
            Path(logfile.live_path).write_bytes(b"x")
        timed("event", watcher._drain, files)
        for fd in opened:
            os.close(fd)
        watcher.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000))
