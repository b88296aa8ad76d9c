"""B1 (in_flight.py): what is on its way is counted as what it holds in memory."""
from __future__ import annotations

import asyncio

from shipper.decode.records import MAX_PIECES
from shipper.model import Section
from shipper.tail.in_flight import IN_FLIGHT_BYTES
from tests.tail.conftest import Node, Tree, cri

PODS = 12


def message_bytes(sections: list[Section]) -> int:
    return sum(len(m) for s in sections if s.batch is not None for m in s.batch.messages)


async def test_records_of_1_mib_in_pieces_on_their_way_into_a_slow_buffer_stay_within_the_bound(tree: Tree) -> None:
    """Each ends in a read of 128 KiB and was counted as that: 30 MiB were on their way instead of 4."""
    for n in range(PODS):
        log = tree.pod(f"web-{n + 1}", uid=f"0a1b2c3d-1111-2222-3333-{n:012d}") / "0.log"
        record = [cri("x" * 16384, tag="P") for _ in range(60)] + [cri("end")]
        tree.write(*record, *record, path=log)
    node = Node(tree)
    node.scan()
    submit = node.buffer.submit
    waiting: list[tuple[asyncio.Future[int], int, int]] = []
    in_flight: list[int] = []

    def slowly(sections: list[Section]) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting.append((future, submit(sections).result(), message_bytes(sections)))
        in_flight.append(sum(size for _, _, size in waiting))
        return future

    def written() -> None:
        future, seq, _ = waiting.pop(0)
        future.set_result(seq)

    node.buffer.submit = slowly  # type: ignore[method-assign]
    while len(node.buffer.messages) < 2 * PODS:
        step = asyncio.create_task(node.reader.step())
        for _ in range(20):
            await asyncio.sleep(0)
        while not step.done():                            # it waits for room
            written()
            for _ in range(20):
                await asyncio.sleep(0)
        node.now += 0.06
    while waiting:
        written()
    assert message_bytes(node.buffer.sections) > 20 << 20
    assert max(in_flight) < IN_FLIGHT_BYTES + (3 << 20)


async def test_a_stop_in_catch_up_takes_no_more_memory_for_the_last_sweep(tree: Tree) -> None:
    """A stop while 700 MB were being read made 306 MB of 66: over the limit of a pod, which is then killed instead."""
    tree.write(*[cri("x" * 1000, second=n % 3600, nanos=n) for n in range(20_000)])
    node = Node(tree)
    node.scan()
    submit, waiting, most = node.buffer.submit, list[tuple[asyncio.Future[int], int, int]](), 0

    def slowly(sections: list[Section]) -> asyncio.Future[int]:
        nonlocal most
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting.append((future, submit(sections).result(), message_bytes(sections)))
        most = max(most, sum(size for _, _, size in waiting))
        return future

    node.buffer.submit = slowly  # type: ignore[method-assign]
    stop = asyncio.Event()
    stop.set()
    sweep = asyncio.create_task(node.reader.run(stop))
    while not sweep.done():
        for _ in range(200):
            await asyncio.sleep(0)
        while waiting:
            future, seq, _ = waiting.pop(0)
            future.set_result(seq)
            await asyncio.sleep(0)
    assert len(node.buffer.messages) == 20_000
    assert most < IN_FLIGHT_BYTES + (1 << 20)


async def test_a_pod_whose_streams_take_turns_with_tiny_pieces_puts_little_into_each_section(tree: Tree) -> None:
    tree.write(*[cri("x", tag="P", stream=("stdout", "stderr")[n % 2]) for n in range(6000)])
    node = Node(tree)
    await node.run(0.5)
    pieces = max(sum(len(opened.pieces) for opened in section.state) for section in node.buffer.sections)
    assert 0 < pieces <= 2 * MAX_PIECES <= 256
    assert b"".join(await node.run(5.0)) == b"x" * 6000
