"""The kernel's ring, with a pipe in packet mode for the device: one record a read, as /dev/kmsg gives them. K1 to K3."""
from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from itertools import count

import pytest

from shipper.errors import GapReason
from shipper.journal.kmsg import Kmsg, KmsgStream, entry_of
from shipper.journal.ports import Trouble
from shipper.journal.records import rfc3339
from tests.journal.harness import FakeBuffer, reader_of, settled, until

BOOT = "b" * 32
CLOCK = count(1_700_000_000_000_000)                       # it is never the same twice


def test_a_record_as_the_kernel_writes_it() -> None:
    found = entry_of(b"6,339,5140900,-;NET: a\\x09b\\xff;c\n SUBSYSTEM=net\n DEVICE=n1\n", BOOT, 1_700_000_000_000_000)
    assert found == {
        b"__CURSOR": f"s={BOOT};i=153;b={BOOT};m=4e71a4;t=60a24181e4000;x=153".encode(),
        b"__REALTIME_TIMESTAMP": b"1700000005140900", b"PRIORITY": b"6", b"MESSAGE": b"NET: a\tb\xff;c"}
    assert (entry_of(b"30,1,2,c,caller=T1;x\n", BOOT, 0) or {})[b"PRIORITY"] == b"6"      # facility 3


@pytest.mark.parametrize("record", [b"", b"no record", b"6,x,2,-;m", b"6,1;m", b"-1,1,2;m", b"9" * 30 + b",1,2,-;m"])
def test_k3_what_is_no_record_is_left_out(record: bytes) -> None:
    assert entry_of(record, BOOT, 0) is None


class Ring:
    """A pipe in packet mode, filled anew each time that it is opened: every read gives one record."""

    def __init__(self) -> None:
        self._keep, self._write = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
        self.path = f"/proc/self/fd/{self._keep}"
        self.records: list[bytes] = []

    def holds(self, *numbers: int) -> None:
        self.records = [b"6,%d,%d,-;message %d\n" % (number, number * 1000, number) for number in numbers]

    def fill(self) -> None:
        try:
            while os.read(self._keep, 8192):
                pass
        except BlockingIOError:
            for record in self.records:
                os.write(self._write, record)

    def say(self, record: bytes) -> None:
        os.write(self._write, record)

    def close(self) -> None:
        os.close(self._keep)
        os.close(self._write)


class Device(Kmsg):
    def __init__(self, ring: Ring, boot: str = BOOT) -> None:
        super().__init__(ring.path, lambda: boot, lambda: next(CLOCK))
        self._ring = ring

    async def stream(self, cursor: str, *, follow: bool) -> KmsgStream:
        self._ring.fill()
        return await super().stream(cursor, follow=follow)


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring()
    yield made
    made.close()


def numbers(buffer: FakeBuffer) -> list[int]:
    return [int(message.rpartition(" ")[2]) for message in buffer.messages()]


async def test_each_message_comes_once_over_restarts_and_while_it_follows(ring: Ring) -> None:
    buffer = FakeBuffer()
    ring.holds(1, 2, 3)
    await reader_of(buffer, Device(ring)).once(settled)
    ring.holds(1, 2, 3, 4)
    reader = reader_of(buffer, Device(ring))
    running = asyncio.create_task(reader.run())
    await until(lambda: numbers(buffer) == [1, 2, 3, 4] and reader.state == "reading")
    await asyncio.sleep(0.05)                             # it waits for the device by now, or reads it again: both are right
    ring.say(b"3,5,5000,-;message 5\n SUBSYSTEM=x\n")
    await until(lambda: numbers(buffer) == [1, 2, 3, 4, 5])
    reader.stop()
    await running
    assert buffer.sections[-1].batch is not None and list(buffer.sections[-1].batch.severities or ()) == [b"ERROR"]


async def test_a_message_of_another_cpu_with_an_earlier_time_is_not_lost_at_a_restart(ring: Ring) -> None:
    """printk takes the time before it takes the number."""
    buffer = FakeBuffer()
    ring.records = [b"6,1,1000,-;message 1\n"]
    await reader_of(buffer, Device(ring)).once(settled)
    ring.records += [b"6,2,999,-;message 2\n", b"6,3,1001,-;message 3\n"]
    await reader_of(buffer, Device(ring)).once(settled)
    assert numbers(buffer) == [1, 2, 3]


async def test_k1_messages_that_were_overwritten_are_counted(ring: Ring) -> None:
    buffer = FakeBuffer()
    ring.holds(1, 2)
    await reader_of(buffer, Device(ring)).once(settled)
    ring.holds(6, 7)
    await reader_of(buffer, Device(ring), lost_reason=GapReason.OVERWRITTEN).once(settled)
    (gap,) = [gap for section in buffer.sections for gap in section.gaps]
    assert (gap.reason, gap.at_least) == (GapReason.OVERWRITTEN, 3)
    assert numbers(buffer) == [1, 2, 6, 7]


async def test_after_a_reboot_it_begins_with_the_first_message_of_the_new_boot(ring: Ring) -> None:
    buffer = FakeBuffer()
    ring.holds(1, 2, 3, 4, 5)
    await reader_of(buffer, Device(ring)).once(settled)
    ring.holds(0, 1, 2)
    await reader_of(buffer, Device(ring, boot="c" * 32)).once(settled)
    assert numbers(buffer) == [1, 2, 3, 4, 5, 0, 1, 2]


async def test_a_device_that_is_not_there_is_trouble_with_the_mend() -> None:
    with pytest.raises(Trouble, match=r"No such file.*CAP_SYSLOG"):
        await Kmsg("/nonexistent/kmsg").stream("", follow=False)


async def test_k2_a_message_has_the_same_time_whenever_it_is_read(ring: Ring) -> None:
    ring.holds(1, 2)
    device, buffer = Device(ring), FakeBuffer()
    await reader_of(buffer, device).once(settled)
    (batch,) = [section.batch for section in buffer.sections if section.batch is not None]
    again = await device.first_at(buffer.sections[-1].cursor)
    stream = await device.stream(buffer.sections[-1].cursor, follow=False)
    entries = await stream.read()
    await stream.close()
    assert again is not None and entries is not None and entries[1][b"__CURSOR"].decode() == buffer.sections[-1].cursor
    assert rfc3339(int(entries[1][b"__REALTIME_TIMESTAMP"])) == batch.times[1]


async def test_k1_a_ring_that_went_round_while_it_was_read_is_read_on(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says EPIPE once, and gives the oldest record at the next read."""
    ring.holds(1, 2)
    read, broken = os.read, [0]

    def read_or_break(fd: int, size: int) -> bytes:
        if fd not in (ring._keep, ring._write) and not broken[0]:
            broken[0] += 1
            raise BrokenPipeError(32, "Broken pipe")
        return read(fd, size)

    stream = await Device(ring).stream("", follow=False)
    monkeypatch.setattr(os, "read", read_or_break)
    entries = await stream.read()
    monkeypatch.undo()
    await stream.close()
    assert broken == [1] and [entry[b"MESSAGE"] for entry in entries or ()] == [b"message 1", b"message 2"]
