"""What comes to be known of a pod after its file: new records say it, keys and positions stay; a file may wait for it."""
from __future__ import annotations

import os
from dataclasses import replace

from shipper.errors import GapReason
from shipper.tail.losses import closing
from tests.tail.conftest import Node, Tree, cri


def lines(first: int, last: int) -> list[bytes]:
    return [cri(f"line {n}", second=n) for n in range(first, last)]


async def test_records_say_what_was_known_when_they_were_read_and_keys_stay(tree: Tree) -> None:
    tree.write(*lines(0, 3), cri("begun, ", second=3, tag="P"))
    node = Node(tree)
    await node.run(1.0)
    (lineage,) = node.reader.lineages.values()
    labelled = replace(lineage.source, labels={"app": "web"}, cache={})
    node.reader.tell(labelled, node.settings)
    tree.write(cri("ended", second=4), *lines(5, 7))
    assert (await node.run())[3:] == [b"begun, ended", b"line 5", b"line 6"]
    said = [(s.file.source.labels, len(s.batch), s.batch.source is s.file.source) for s in node.buffer.sections if s.batch]
    assert said == [(None, 3, True), ({"app": "web"}, 3, True)]
    assert len({s.file.key for s in node.buffer.sections}) == 1
    (position,) = node.buffer.positions.lineages.values()
    assert position.source is labelled
    assert [s.start for s in node.buffer.sections[1:]] == [s.end for s in node.buffer.sections[:-1]]


async def test_what_is_told_twice_defines_nothing_anew(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    (lineage,) = node.reader.lineages.values()
    decoder = lineage.decoder
    node.reader.tell(replace(lineage.source, cache={}), node.settings)
    await node.run()
    assert lineage.decoder is decoder


async def test_a_file_that_waits_is_its_own_buffer_through_a_rotation(tree: Tree) -> None:
    node = Node(tree)
    tree.write(*lines(0, 3))
    for logfile in node.discoverer.scan().appeared:
        node.directory.files[logfile.source.lineage] = logfile
        node.reader.add(logfile.source, node.settings, wait_until_s=node.now + 60)
    (lineage,) = node.reader.lineages.values()
    lineage.wait_until_s = node.now + 60
    assert await node.run(5) == [] and not node.reader.facts.unread_bytes()
    tree.rotate("20261120-090100")
    tree.write(*lines(3, 6))
    assert await node.run(5) == []
    node.reader.tell(replace(lineage.source, labels={"app": "web"}, cache={}), node.settings)
    assert node.reader.facts.unread_bytes(), "it counts as unread again, for whoever asks whether we stand still"
    assert len(await node.run(0.2)) == 6
    assert {s.batch.source.labels["app"] for s in node.buffer.sections if s.batch and s.batch.source.labels} == {"web"}


async def test_a_file_waits_no_longer_than_it_was_told(tree: Tree) -> None:
    node = Node(tree)
    tree.write(*lines(0, 3))
    (lineage,) = node.reader.lineages.values()
    lineage.wait_until_s = node.now + 10
    assert await node.run(8) == []
    assert len(await node.run(4)) == 3


async def test_an_append_that_fails_after_labels_came_reads_again_with_the_same_ids(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run(1.0)
    (lineage,) = node.reader.lineages.values()
    node.reader.tell(replace(lineage.source, labels={"app": "web"}, cache={}), node.settings)
    node.buffer.fail_next = OSError(5, os.strerror(5))
    tree.write(*lines(3, 6))
    assert await node.run() == [b"line %d" % n for n in range(6)]
    assert len({record[0] for record in node.buffer.records}) == 6
    assert node.buffer.sections[-1].file.source.labels == {"app": "web"}


async def test_what_start_at_end_passes_over_needs_no_labels(tree: Tree) -> None:
    tree.write(*lines(0, 3))
    node = Node(tree, start_at="end")
    (lineage,) = node.reader.lineages.values()
    lineage.wait_until_s = node.now + 60
    await node.reader.pass_over_old()
    assert [s.gaps[0].reason for s in node.buffer.sections] == [GapReason.START_AT_END]
    tree.write(*lines(3, 5))
    assert await node.run(5) == []
    node.reader.tell(lineage.source, node.settings)
    assert await node.run(1) == [b"line 3", b"line 4"]


async def test_what_is_reported_between_two_reads_goes_with_the_definition_of_the_next_one(tree: Tree) -> None:
    """A file that is gone is closed by a look; what was told of its pod meanwhile must not stand in the same frame twice."""
    tree.write(*lines(0, 3))
    node = Node(tree)
    await node.run()
    (lineage,) = node.reader.lineages.values()
    (file,) = lineage.files
    lineage.outbox.append(closing(lineage, file.ref, file.offset, "", None, file.size))
    node.reader.tell(replace(lineage.source, labels={"app": "web"}, cache={}), node.settings)
    tree.write(*lines(3, 5))
    before = len(node.buffer.sections)
    node.reader.changed(lineage.source.lineage)
    await node.run(0.2)
    assert {(s.file.key, id(s.file.source)) for s in node.buffer.sections[before:]} == {(file.ref.key, id(lineage.source))}
