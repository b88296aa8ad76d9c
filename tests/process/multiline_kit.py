"""A decoder with a joiner over bytes in memory: what a file would become, in portions, with restarts in between."""
from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from shipper.agent.formats import decoder_for
from shipper.config.process_multiline import MultilinePattern
from shipper.config.processing import Processing as Wanted
from shipper.decode import Budget
from shipper.model import Batch, Open, Piece, Source
from shipper.tail.cutter import LineDecoder
from shipper.tail.ports import Settings

SOURCE = Source("containers", "c", "/l", "/l", "n1", "default", "web")
KEY = "k" * 16
T = b"2026-11-20T09:04:05.123456789Z"
CORPUS = Path(__file__).parent / "corpus"


class Row(NamedTuple):
    time: bytes
    stream: bytes
    item: bytes
    message: bytes


def made(form: str = "cri", *, multiline: str | MultilinePattern = "auto", budget: Budget | None = None) -> LineDecoder:
    """As the agent makes it."""
    settings = Settings("c", form, "beginning", 1 << 20, 1 << 20, 2.0, (), False, Wanted(multiline=multiline))
    return decoder_for(budget or Budget())(SOURCE, settings)


def cri(message: bytes, stream: bytes = b"stdout", tag: bytes = b"F") -> bytes:
    return T + b" " + stream + b" " + tag + b" " + message + b"\n"


def in_pieces(message: bytes, stream: bytes = b"stdout", size: int = 16384) -> list[bytes]:
    """A line as containerd writes it."""
    parts = [message[at : at + size] for at in range(0, len(message), size)] or [b""]
    return [cri(part, stream, b"P") for part in parts[:-1]] + [cri(parts[-1], stream)]


def rows(batch: Batch | None) -> list[Row]:
    if batch is None:
        return []
    assert len(batch.times) == len(batch.streams) == len(batch.ids) == len(batch.messages) > 0
    assert batch.newlines or not any(b"\n" in message for message in batch.messages)
    return list(map(Row, batch.times, batch.streams, batch.ids, batch.messages))


class Log:
    """One file's bytes and the decoder over them. `restart()` throws away all but what a frame would hold."""

    def __init__(self, data: bytes, *, key: str = KEY, others: dict[str, bytes] | None = None, **how: object) -> None:
        self.files = {**(others or {}), key: data}
        self.key, self._how = key, how
        self.decoder = made(**how)                      # type: ignore[arg-type]
        self.found: list[Row] = []
        self.at = 0

    def reread(self, piece: Piece) -> bytes:
        return self.files.get(piece.key, b"")[piece.start : piece.start + piece.length]

    def restart(self) -> None:
        state = self.decoder.state()
        form = self.decoder.form
        self.decoder = made(**self._how)                # type: ignore[arg-type]
        self.decoder.form = form
        self.decoder.restore(state, 0.0)

    def read(self, until: int, now_s: float = 0.0) -> None:
        """Whole lines up to byte `until`, as one portion."""
        data = self.files[self.key]
        end = data.rfind(b"\n", self.at, until) + 1
        if end <= self.at:
            return
        lines = data[self.at : end].split(b"\n")[:-1]
        self.found += rows(self.decoder.decode(self.key, self.at, lines, read_ns=1, now_s=now_s, reread=self.reread))
        self.at = end

    def read_all(self, cuts: Iterable[int] = (), *, restarts: bool = False) -> list[Row]:
        data = self.files[self.key]
        for cut in [*sorted(set(cuts)), len(data)]:
            self.read(cut)
            if restarts:
                self.restart()
        return self.found

    def end(self) -> list[Row]:
        for _, batch in self.decoder.flush(before_s=1e9, read_ns=1, reread=self.reread):
            self.found += rows(batch)
        assert self.decoder.state() == ()
        return self.found


def joined(data: bytes, **how: object) -> list[Row]:
    log = Log(data, **how)
    log.read_all()
    return log.end()


def line_ends(data: bytes) -> list[int]:
    return [i + 1 for i, byte in enumerate(data) if byte == 10]


def source_bytes(item: bytes) -> int:
    return sum(int(part.rpartition(b"+")[2], 16) for part in item.split(b","))


def open_bytes(state: Iterable[Open]) -> int:
    return sum(piece.length for item in state for piece in item.pieces)


def traces() -> dict[str, list[bytes]]:
    """name -> lines, of every trace in the corpus."""
    found: dict[str, list[bytes]] = {}
    for path in sorted(CORPUS.glob("traces_*.txt")):
        name = ""
        for line in path.read_bytes().split(b"\n")[:-1]:
            if line.startswith(b"=== "):
                name = line[4:].decode()
                found[name] = []
            else:
                found[name].append(line)
    return found


def by_stream(found: Iterable[Row]) -> dict[bytes, list[Row]]:
    order = sorted(found, key=lambda row: row.stream)
    return {stream: list(group) for stream, group in itertools.groupby(order, key=lambda row: row.stream)}
