"""Which sources were ever seen (SE1 to SE3 of agent/seen_sources.py), on a disk that fails and forgets."""
from __future__ import annotations

import errno
from typing import Any

import pytest

from shipper.agent.seen_sources import SeenSources
from shipper.buffer.positions import LineagePosition, Positions
from shipper.model import Source
from shipper.telemetry import Telemetry
from tests.support.faults import FaultyFiles


class Node:
    def __init__(self) -> None:
        self.files, self.positions, self.said = FaultyFiles(), Positions(), []  # type: ignore[var-annotated]

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.said.append((event, fields["why"]))

    def start(self) -> SeenSources:
        return SeenSources("/state", self.positions, Telemetry(write=self._write), self.files)

    def know(self, source: str) -> None:
        self.positions.lineages["a"] = LineagePosition(Source("files", source, "a", "/a.log", "n"))


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_source_that_was_remembered_is_not_new_after_a_power_cut(node: Node) -> None:
    seen = node.start()
    assert seen.is_new and seen.new_ones(["pods", "host"]) == {"pods", "host"}
    seen.begin()
    seen.add(["pods"])
    seen.remember()
    node.files.crash()
    again = node.start()
    assert again.new_ones(["pods", "host"]) == {"host"} and "pods" in again and not again.is_new


def test_a_source_that_was_added_and_not_remembered_is_new_again(node: Node) -> None:
    seen = node.start()
    seen.begin()
    seen.add(["pods"])
    assert not seen.new_ones(["pods"])
    assert node.start().new_ones(["pods"]) == {"pods"}


def test_without_the_file_the_sources_of_the_positions_were_seen(node: Node) -> None:
    node.know("pods")
    seen = node.start()
    assert seen.new_ones(["pods", "host"]) == {"host"} and not seen.is_new


def test_what_the_positions_know_since_the_first_scan_began_is_not_seen_yet(node: Node) -> None:
    node.start().begin()
    node.know("pods")                                     # a frame of the first scan, and then a kill
    assert node.start().new_ones(["pods"]) == {"pods"}


def test_a_file_that_was_begun_is_not_written_again(node: Node) -> None:
    node.start().begin()
    node.files.fail("replace")
    node.start().begin()
    assert node.said == []


@pytest.mark.parametrize("damaged", [b"", b"{not json", b"7", b"\x00\x00"])
def test_a_damaged_file_is_said_and_written_anew(node: Node, damaged: bytes) -> None:
    node.know("pods")
    node.files.replace("/state/sources.json", damaged)
    seen = node.start()
    assert seen.new_ones(["pods", "host"]) == {"host"}
    assert [event for event, _ in node.said] == ["sources_unreadable"]
    seen.begin()
    assert not node.start().new_ones(["pods"])
    assert len(node.said) == 1


def test_a_disk_without_room_is_said_with_what_follows_and_the_next_try_says_nothing(node: Node) -> None:
    seen = node.start()
    node.files.fail("replace", errno.ENOSPC)
    seen.begin()
    [(event, why)] = node.said
    assert event == "sources_unwritable" and "make room" in why and "start_at: end" in why
    seen.begin()
    assert len(node.said) == 1 and not node.start().is_new


def test_whoever_has_to_know_hears_that_it_cannot_be_written(node: Node) -> None:
    node.files.fail("replace", errno.EROFS)
    with pytest.raises(OSError):
        node.start().store()
