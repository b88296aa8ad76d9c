"""How log files are rotated, step by step as the real ones do it. Driver: files.

kubelet (pkg/kubelet/logs/container_log_manager.go), when LOG >= containerLogMaxSize:
  1 glob LOG.*   2 delete *.tmp and any plain file whose .gz exists   3 delete the oldest until max_files - 2 remain
  4 gzip each plain one into X.tmp, rename to X.gz, remove X   5 rename LOG to LOG.20060102-150405 (local time)
  6 the runtime reopens LOG. Until then LOG does not exist, and the runtime still writes to the renamed file.
docker (daemon/logger/loggerutils/logfile.go): X.1[.gz] becomes X.2[.gz] and so on, the oldest is removed, X becomes X.1,
  a new X is made, then X.1 is compressed into X.1.gz and removed.
logrotate with copytruncate: X.1 becomes X.2 and so on, X is copied to X.1 and cut to nothing in place.
"""
from __future__ import annotations

import gzip
import os
import shutil
import time
from glob import escape, glob


def kubelet_prepare(live: str, max_files: int) -> None:
    """Steps 1 to 4: make room and compress what was rotated before."""
    rotated = []
    for path in glob(escape(live) + ".*"):
        if path.endswith(".tmp") or (not path.endswith(".gz") and os.path.exists(path + ".gz")):
            os.unlink(path)
        else:
            rotated.append(path)
    rotated.sort()
    too_many = max(0, len(rotated) - max(0, max_files - 2))
    for path in rotated[:too_many]:
        os.unlink(path)
    for path in rotated[too_many:]:
        if not path.endswith(".gz"):
            compress(path, path + ".tmp")
            os.rename(path + ".tmp", path + ".gz")
            os.unlink(path)


def kubelet_rename(live: str, now_s: float) -> str:
    """Step 5. The real one runs each 10 s; here a name that is taken moves on by a second, so that order is kept."""
    newest = max((path.removesuffix(".gz") for path in glob(escape(live) + ".*")), default="")
    while True:
        target = f"{live}.{time.strftime('%Y%m%d-%H%M%S', time.localtime(now_s))}"
        if target > newest:
            os.rename(live, target)
            return target
        now_s += 1


def docker_rename(live: str, max_files: int, compressed: bool) -> str | None:
    """Move X to X.1 and the older ones along; with max_files 1, X is removed. Gives X.1, not yet compressed."""
    if max_files < 2:
        os.unlink(live)
        return None
    _shift(live, max_files, ".gz" if compressed else "")
    os.rename(live, f"{live}.1")
    return f"{live}.1"


def docker_compress(path: str) -> None:
    """X.1 to X.1.gz, written in place under its final name, as docker does."""
    compress(path, path + ".gz")
    os.unlink(path)


def copytruncate(live: str, max_files: int) -> None:
    """Copy X to X.1, then cut X. Lines written in between would be lost; here none are."""
    _shift(live, max_files, "")
    shutil.copyfile(live, f"{live}.1")
    os.truncate(live, 0)


def compress(path: str, target: str) -> None:
    """gzip `path` into `target`."""
    with open(path, "rb") as plain, gzip.open(target, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed)


def _shift(live: str, max_files: int, extension: str) -> None:
    if os.path.exists(f"{live}.{max_files - 1}{extension}"):
        os.unlink(f"{live}.{max_files - 1}{extension}")
    for number in range(max_files - 1, 1, -1):
        if os.path.exists(f"{live}.{number - 1}{extension}"):
            os.rename(f"{live}.{number - 1}{extension}", f"{live}.{number}{extension}")
