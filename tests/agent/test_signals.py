"""What from outside stops or reloads the agent; what systemd is told."""
from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from shipper.agent.signals import ConfigWatch, Signals
from shipper.agent.systemd import notify, watchdog_interval_s


async def test_the_first_sigterm_stops_and_the_second_ends_at_once() -> None:
    codes: list[int] = []
    signals = Signals(codes.append)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(signals.stop.wait(), 5)
        assert (signals.received, codes) == ("SIGTERM", [])
        signals._on_stop(signal.SIGINT)
        assert codes == [130]
    finally:
        signals.close()


async def test_sighup_asks_for_a_reload() -> None:
    signals = Signals(lambda code: None)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(signals.reload.wait(), 5)
        assert not signals.stop.is_set()
    finally:
        signals.close()


def test_an_untouched_config_has_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1")
    watch = ConfigWatch(str(path))
    assert [watch.changed(), watch.changed()] == [False, False]


def test_a_config_written_in_place_or_renamed_over_has_changed_once(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1")
    watch = ConfigWatch(str(path))
    path.write_text("a: 12")
    assert [watch.changed(), watch.changed()] == [True, False]
    (tmp_path / "new").write_text("a: 12")
    os.replace(tmp_path / "new", path)
    assert [watch.changed(), watch.changed()] == [True, False]


def test_a_config_that_vanishes_and_comes_back_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: 1")
    watch = ConfigWatch(str(path))
    path.unlink()
    assert watch.changed()
    path.write_text("a: 1")
    assert watch.changed()


def test_a_config_map_that_swaps_its_data_link_has_changed(tmp_path: Path) -> None:
    """As the kubelet does it: c.yaml -> ..data/c.yaml, ..data -> ..2026_1; a new directory, then the link is renamed."""
    for name in ("..2026_1", "..2026_2"):
        (tmp_path / name).mkdir()
    (tmp_path / "..2026_1/c.yaml").write_text("a: 1")
    os.link(tmp_path / "..2026_1/c.yaml", tmp_path / "..2026_2/c.yaml")         # as a reused inode would look
    os.symlink("..2026_1", tmp_path / "..data")
    os.symlink("..data/c.yaml", tmp_path / "c.yaml")
    watch = ConfigWatch(str(tmp_path / "c.yaml"))
    os.symlink("..2026_2", tmp_path / "..data_tmp")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    assert [watch.changed(), watch.changed()] == [True, False]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_by_datagram(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"@shipper-test-{os.getpid()}" if abstract else os.path.relpath(tmp_path / "n")
        name = name if abstract else str(tmp_path / "n")
        manager.bind("\0" + name[1:] if abstract else name)
        assert notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nonexistent/x", "relative"])
def test_without_systemd_nothing_happens(address: str | None) -> None:
    assert notify("READY=1", {} if address is None else {"NOTIFY_SOCKET": address}) is False


@pytest.mark.parametrize(("environ", "interval_s"), [
    ({"WATCHDOG_USEC": "30000000"}, 15.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
    ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ({"WATCHDOG_USEC": "0"}, None), ({"WATCHDOG_USEC": "x"}, None), ({}, None),
])
def test_the_watchdog_is_fed_twice_as_often_as_asked(environ: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_interval_s(environ) == interval_s
