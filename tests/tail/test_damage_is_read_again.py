"""Damaged frames: what stood in them is read again, whole and as its source says, or it is a gap (tail/again.py)."""
from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from shipper.config.processing import Processing
from shipper.errors import GapReason
from shipper.model import Lost
from shipper.tail import again
from tests.tail.conftest import Node, Tree, cri

KEY = ["-----BEGIN RSA PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA7bqY0secretsecretsecretsecret"] * 6, "-----END RSA PRIVATE KEY-----"]


def node_with(tree: Tree, processing: Processing | None, **how: object) -> Node:
    node = Node(tree, **how)  # type: ignore[arg-type]
    node.settings = replace(node.settings, processing=processing)
    node.restart()
    return node


def damage(node: Node, start: int, end: int, number: int = 0) -> None:
    positions = node.buffer.positions
    key = list(positions.files)[number]
    positions.commit(positions.plan_lost([Lost(positions.files[key].file, start, end)]))
    node.reader.complete = True


async def completed_at(node: Node, tree: Tree, writes: list[bytes]) -> dict[str, int]:
    """Where the section ends that each record came with: each write is read on its own."""
    found: dict[str, int] = {}
    for data in writes:
        tree.write(data)
        known = len(node.buffer.sections)
        await node.run(0.2)
        for section in node.buffer.sections[known:]:
            if section.batch is not None:
                found.update({f"{section.batch.key}:{item.decode()}": section.end for item in section.batch.ids})
    return found


WRITES = [
    cri("one"), cri("a" * 50, tag="P"), cri("err", stream="stderr"), cri("b" * 50, tag="P"), cri("c"), cri("two"),
    cri("e1", tag="P", stream="stderr"), cri("o1", tag="P"), cri("e2", stream="stderr"), cri("o2"), cri("three"),
]


async def test_pieces_in_front_of_a_damaged_frame_are_in_the_record_that_is_read_again(tree: Tree) -> None:
    """They were in no record: `verify` found a hole that nobody had reported."""
    node = Node(tree)
    done = await completed_at(node, tree, WRITES)
    ends = [0, *sorted({section.end for section in node.buffer.sections})]
    assert len(done) == 7 and len(ends) == len(WRITES) + 1
    for start, end in combinations(ends, 2):
        known = len(node.buffer.records)
        damage(node, start, end)
        await node.run(1.2)
        assert not node.buffer.positions.lost
        assert {item for item, _ in node.buffer.records[known:]} == {i for i, at in done.items() if start < at <= end}
    assert not [gap for section in node.buffer.sections for gap in section.gaps]
    assert len(set(node.buffer.records)) == len(done)     # equal id, equal content


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_long_line_around_a_damaged_frame_is_one_record_again(tree: Tree, cut: int) -> None:
    """A range that began inside it made a record of the line's end alone, and one that ended inside it another overlap."""
    line = cri("y" * 700_000, second=2)
    parts = [line[at : at + 250_000] for at in range(0, len(line), 250_000)]
    node = Node(tree, max_line=100_000)
    done = await completed_at(node, tree, [cri("before"), *parts, cri("after", second=3)])
    ends = sorted({section.end for section in node.buffer.sections})
    assert len(ends) >= 4
    for start, end in [(0, ends[cut]), (ends[cut], ends[-1]), (ends[cut - 1], ends[cut])]:
        known = len(node.buffer.records)
        damage(node, start, end)
        await node.run(5.2)
        assert not node.buffer.positions.lost
        assert {item for item, _ in node.buffer.records[known:]} == {i for i, at in done.items() if start < at <= end}
    assert not [gap for section in node.buffer.sections for gap in section.gaps]
    assert len(set(node.buffer.records)) == len(done)


async def test_a_piece_in_the_file_before_is_in_the_record_that_is_read_again(tree: Tree) -> None:
    node = Node(tree)
    tree.write(cri("one"), cri("begun ", second=1, tag="P"))
    await node.run(0.2)
    tree.rotate("20261120-090100")
    tree.write(cri("ended", second=2), cri("two", second=3))
    await node.run(0.2)
    (joined,) = [each for each in node.buffer.records if each[1] == b"begun ended"]
    assert "," in joined[0]
    damage(node, 0, len(cri("ended")), number=1)
    await node.run(1.2)
    assert node.buffer.records.count(joined) == 2


async def test_a_last_line_without_a_newline_is_read_again_with_its_id(tree: Tree) -> None:
    node = Node(tree)
    tree.write(cri("one"), cri("cut off", second=1)[:-1])
    await node.run(0.2)
    tree.rotate("20261120-090100")
    tree.write(cri("next", second=2))
    await node.run(4.0)
    assert node.buffer.messages == [b"one", b"cut off", b"next"]
    damage(node, 0, len(cri("one")) + len(cri("cut off")) - 1)
    await node.run(3.2)
    assert node.buffer.records[3:] == node.buffer.records[:2]


# ------------------------------------------------------------ what is never shipped as it stands


async def test_a_damaged_range_of_a_log_that_nobody_reads_any_more_is_a_gap_and_not_its_lines_unredacted(tree: Tree) -> None:
    """Its source left the config, and with it what says what to redact; the file is still there."""
    node = node_with(tree, Processing(redact=["email"]))
    tree.write(cri("from bob@example.com"))
    assert await node.run() == [b"from [email]"]
    node.reader.drop(str(tree.log))
    damage(node, 0, len(cri("from bob@example.com")))
    node.reader._due.poll(node.now)
    await node.reader.step()
    assert node.buffer.messages == [b"from [email]"] and not node.buffer.positions.lost
    gap = node.buffer.sections[-1].gaps[0]
    assert (gap.start, gap.end, gap.reason) == (0, len(cri("from bob@example.com")), GapReason.BUFFER_DAMAGED)


async def test_what_was_open_in_a_log_that_is_gone_comes_without_any_of_its_content(tree: Tree) -> None:
    node = node_with(tree, Processing(redact=["email"], multiline="auto"))
    tree.write(cri("Traceback (most recent call last):"), cri("bob@example.com", second=1, tag="P", stream="stderr"))
    await node.run(0.3)
    assert len(node.buffer.positions.lineages[str(tree.log)].state) == 2
    node.restart()
    node.reader.drop(str(tree.log))
    node.reader.lost_lineage(str(tree.log))
    assert node.buffer.messages and not any(node.buffer.messages)


async def test_a_damaged_range_waits_for_the_labels_that_say_what_is_redacted(tree: Tree) -> None:
    node = Node(tree)
    tree.write(cri("from bob@example.com"))
    await node.run(0.2)
    source = node.reader.lineages[str(tree.log)].source
    node.reader.tell(source, node.settings, wait_until_s=node.now + 60)
    damage(node, 0, len(cri("from bob@example.com")))
    known = len(node.buffer.records)
    await node.run(3.0)
    assert len(node.buffer.records) == known and node.buffer.positions.lost
    node.reader.tell(source, replace(node.settings, processing=Processing(redact=["email"])))
    await node.run(3.0)
    assert node.buffer.messages[known:] == [b"from [email]"]


# ------------------------------------------------------------ private keys, line by line

WRITTEN = [cri("before"), *(cri(line, stream=stream) for line in KEY for stream in ("stdout", "stderr")), cri("after")]


@pytest.mark.parametrize("line", range(2, len(WRITTEN) - 1))
async def test_a_restart_in_the_middle_of_a_printed_private_key_lets_none_of_it_out(tree: Tree, line: int) -> None:
    node = node_with(tree, Processing(redact=["private_key"]))
    tree.write(*WRITTEN[:line])
    await node.run(0.2)
    node.restart()
    if line % 2:
        tree.rotate("20261120-090100")
    tree.write(*WRITTEN[line:])
    messages = await node.run()
    assert messages[0] == b"before" and messages[-1] == b"after" and len(messages) == len(WRITTEN)
    assert not any(b"MII" in message for message in messages)
    assert not node.buffer.positions.lineages[str(tree.log)].state


async def test_a_reload_in_the_middle_of_a_printed_private_key_lets_none_of_it_out(tree: Tree) -> None:
    node = node_with(tree, Processing(redact=["private_key"]))
    tree.write(*WRITTEN[:7])
    await node.run(0.2)
    node.reader.add(node.reader.lineages[str(tree.log)].source, replace(
        node.settings, processing=Processing(redact=["private_key", "email"])))
    tree.write(*WRITTEN[7:])
    assert not any(b"MII" in message for message in await node.run())


async def test_a_damaged_frame_in_the_middle_of_a_private_key_is_read_again_without_it(tree: Tree) -> None:
    node = node_with(tree, Processing(redact=["private_key"]))
    await completed_at(node, tree, WRITTEN)
    ends = [section.end for section in node.buffer.sections]
    for start, end in [(ends[2], ends[4]), (ends[7], ends[12])]:
        damage(node, start, end)
        await node.run(1.2)
    assert not node.buffer.positions.lost and len(node.buffer.records) == len(WRITTEN) + 7
    assert not any(b"MII" in message for message in node.buffer.messages)


async def test_an_agent_whose_config_redacts_no_keys_any_more_goes_on_from_a_state_that_names_one(tree: Tree) -> None:
    node = node_with(tree, Processing(redact=["private_key"]))
    tree.write(*WRITTEN[:5])
    await node.run(0.2)
    assert {each.kind for each in node.buffer.positions.lineages[str(tree.log)].state} == {"key"}
    node.settings = replace(node.settings, processing=None)
    node.restart()
    tree.write(cri("after"))
    assert (await node.run())[5:] == [b"after"]
    assert not node.buffer.positions.lineages[str(tree.log)].state


async def test_a_damaged_range_of_a_log_that_was_compressed_since_is_read_again_from_the_gz(tree: Tree) -> None:
    """Compressed before its last frame was synced, its .gz was a copy and not looked into: the range was reported lost."""
    tree.write(cri("one"), cri("two"))
    node = Node(tree)
    node.buffer.auto_sync = False
    await node.run()
    tree.rotate("20261120-090001")
    tree.write(cri("three"))
    await node.run()
    tree.rotate("20261120-090002", compress="20261120-090001")
    tree.write(cri("four"))
    await node.run()
    records = node.buffer.records[:2]
    damage(node, 0, 2 * len(cri("one")))
    await node.run(1.2)
    assert not node.buffer.positions.lost and node.buffer.records[-2:] == records
    assert not [gap for section in node.buffer.sections for gap in section.gaps]


def gaps(node: Node) -> list[tuple[int, int, str]]:
    return [(gap.start, gap.end, gap.reason) for section in node.buffer.sections for gap in section.gaps]


async def test_a_damaged_frame_of_a_log_that_is_gone_is_a_gap(tree: Tree) -> None:
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    size = tree.log.stat().st_size
    tree.rotate("20261120-090100").unlink()
    tree.write(cri("two", second=2))
    await node.run(5.0)
    damage(node, 0, size)
    await node.run(2.0)
    assert gaps(node) == [(0, size, GapReason.BUFFER_DAMAGED)] and not node.buffer.positions.lost


async def test_a_damaged_frame_in_the_middle_of_a_line_that_begins_too_far_in_front_of_it_is_a_gap(
    tree: Tree, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(again, "LONGEST_LINE_BYTES", 1000)
    monkeypatch.setattr(again, "AGAIN_BYTES", 2000)
    line = cri("y" * 5000, second=1)
    tree.write(line, cri("two", second=2))
    node = Node(tree)
    await node.run()
    damage(node, 4000, tree.log.stat().st_size)
    await node.run(5.0)
    assert gaps(node) == [(4000, len(line), GapReason.BUFFER_DAMAGED)]
    assert node.buffer.messages.count(b"two") == 2 and not node.buffer.positions.lost


async def test_a_damaged_frame_of_a_lineage_that_somebody_else_reads_is_left_to_them(tree: Tree) -> None:
    """A journal's: its own reader reads it again."""
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    damage(node, 0, 10)
    node.reader.reads_elsewhere = lambda lineage: lineage == str(tree.log)
    node.reader.lineages.clear()
    node.now += 2.0
    await node.reader.step()
    assert node.buffer.positions.lost and gaps(node) == []
    node.reader.reads_elsewhere = lambda lineage: False
    node.now += 2.0
    await node.reader.step()
    assert not node.buffer.positions.lost and gaps(node) == [(0, 10, GapReason.BUFFER_DAMAGED)]


async def test_a_damaged_frame_waits_until_every_lineage_was_told(tree: Tree) -> None:
    """Before that nobody knows whether its log is gone, or not found yet."""
    tree.write(cri("one", second=1))
    node = Node(tree)
    await node.run()
    damage(node, 0, 10)
    node.reader.complete = False
    await node.run(3.0)
    assert node.buffer.positions.lost
    node.reader.complete = True
    await node.run(2.0)
    assert not node.buffer.positions.lost
