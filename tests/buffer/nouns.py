"""Small nouns for the buffer's tests: files that are `length` source bytes a record, so that ranges tell everything."""
from __future__ import annotations

from shipper.model import Batch, FileRef, Gap, Section, Source

RECORD_BYTES = 10


def source(name: str, **more: object) -> Source:
    return Source("containers", "containers", f"/var/log/containers/{name}.log", f"/var/log/pods/{name}/0.log", "n1",
                  namespace="default", pod=name, **more)  # type: ignore[arg-type]


def file_of(owner: Source, number: int = 0) -> FileRef:
    key = f"{owner.pod}{number:0{16 - len(owner.pod)}d}"
    return FileRef(key, owner, f"{owner.lineage}.{number}", 1, 100 + number, 64, "ab" * 8)


def message(key: str, start: int) -> bytes:
    return b"%s at %d " % (key.encode(), start) + b"x" * (start % 37)


def section(file: FileRef, start: int, records: int, *, gaps: tuple[Gap, ...] = (), **more: object) -> Section:
    """`records` records of RECORD_BYTES source bytes each, from `start`."""
    starts = [start + i * RECORD_BYTES for i in range(records)]
    batch = None
    if records:
        batch = Batch(
            file.source, file.key, [b"2026-11-20T09:04:05.%09dZ" % at for at in starts],
            [b"stdout" if at % 3 else b"stderr" for at in starts],
            [b"%x+%x" % (at, RECORD_BYTES) for at in starts], [message(file.key, at) for at in starts], None, 1_000,
        )
    return Section(file, start, start + records * RECORD_BYTES, "cd" * 8, batch, gaps=gaps, size=10_000, **more)  # type: ignore[arg-type]


def ranges(sections: list[Section]) -> list[tuple[str, int, int]]:
    """(key, start, end) of each section."""
    return [(s.file.key, s.start, s.end) for s in sections]


def records(batch: Batch) -> list[tuple[bytes, ...]]:
    """The columns as rows, for equality."""
    return list(zip(batch.ids, batch.times, batch.streams, batch.messages, strict=True))
