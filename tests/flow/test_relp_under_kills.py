"""RELP with the whole agent, against the real rsyslogd: both are killed, and every line is there."""
from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from tests.support.agent import Agent, eventually
from tests.support.rsyslogd import Rsyslogd

pytestmark = pytest.mark.rsyslogd

PART = 10_000
LINES = 3 * PART
_ID = re.compile(r' id="([^"]+)"')


async def test_kill_9_of_the_agent_and_of_rsyslogd_loses_no_line_and_repeats_are_equal(agent: Agent, tmp_path: Path) -> None:
    # queue "direct": what imrelp acknowledges is in the file, so that its own death loses nothing that it answered for.
    async with Rsyslogd(tmp_path, imrelp=True, queue="direct") as daemon:
        agent.configure(sinks={"central": agent.syslog_sink(daemon.ports["imrelp"], protocol="relp", max_request_records=500)})
        log = agent.logs / "app.log"

        def size_bytes() -> int:
            return daemon.out.stat().st_size if daemon.out.exists() else 0

        async def stored(bytes_: int) -> None:
            await asyncio.to_thread(eventually, "rsyslogd stores", lambda: size_bytes() > bytes_)

        for part, kill in enumerate(("agent", "rsyslogd", "agent")):
            before = size_bytes()
            with open(log, "a") as file:
                file.write("".join(f"{number:06d} {'x' * 100}\n" for number in range(part * PART, part * PART + PART)))
            agent.start(ready=False)
            await stored(before + 200_000)
            if kill == "rsyslogd":
                await daemon.kill()
                before = size_bytes()
                await daemon.start()
                await stored(before + 100_000)
            agent.kill()                                     # in the middle: a part is over 4 MB at rsyslogd
        await asyncio.to_thread(agent.start)
        await asyncio.to_thread(agent.drained, size=LINES * 108)
        assert (await asyncio.to_thread(agent.command, "audit")).returncode == 0
        assert await asyncio.to_thread(agent.terminate) == 0
        records = await daemon.records(LINES)
    by_id: dict[str, set[str]] = {}
    for record in records:
        found = _ID.search(record["sd"])
        assert found is not None, record
        by_id.setdefault(found[1], set()).add(record["msg"])
    assert all(len(contents) == 1 for contents in by_id.values())
    assert sorted(int(next(iter(contents)).strip()[:6]) for contents in by_id.values()) == list(range(LINES))
