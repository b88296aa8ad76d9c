"""What makes a new name outlive a power cut. Driver, off the loop: fsync waits for the disk."""
from __future__ import annotations

import os


def sync_directory(path: str) -> None:
    """Names that were made, renamed or removed in it are so on disk. OSError of the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
