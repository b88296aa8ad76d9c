"""kill -9 at any moment, answers that are lost, tokens that expire, streams that are finalised, rows that are refused, a table
that changes in the config in between: each line that was written is in exactly one row of BigQuery, or is one dead letter."""
from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.proof.harness import Fleet
from tests.proof.harness_events import note
from tests.support.agent import Agent, eventually
from tests.support.fake_bigquery_write import TABLE, FakeBigQueryWrite
from tests.support.fake_bigquery_write import Table as FakeTable
from tests.support.google_in_thread import Google
from tests.support.kills import arrive, killed_while_written
from tests.support.quick_agent import QuickAgent

OTHER = TABLE.replace("nodes", "others")
BAD_EVERY = 3_001


class SmallAppends(Agent):
    module = "tests.flow.agent_small_appends"


class QuickSmallAppends(QuickAgent):
    module = SmallAppends.module


class WriteGoogle(Google):
    """The Storage Write API beside the metadata server."""

    def __init__(self, *, token_life_s: float = 3600.0, **faults: Any) -> None:
        super().__init__(token_life_s=token_life_s)
        self._faults = faults

    async def _serve(self) -> None:
        async with self.identity, FakeBigQueryWrite(
            authorised=self.identity.valid, refuses=_refuse, **self._faults
        ) as self.write:
            self.write.tables[OTHER] = FakeTable(self.write.tables[TABLE].columns)
            self._ready.set()
            await self._end.wait()


def _refuse(row: dict[str, Any]) -> str:
    return "message: out of range" if int(row["message"][1:9]) % BAD_EVERY == BAD_EVERY - 1 else ""


class Found:
    """What is in the tables; each row is read once."""

    def __init__(self, google: WriteGoogle) -> None:
        self._google = google
        self._read: Counter[str] = Counter()
        self.counts: Counter[int] = Counter()

    def look(self) -> Counter[int]:
        """In how many rows each line is."""
        for name, table in self._google.write.tables.items():
            rows = table.rows[self._read[name]:]
            self._read[name] += len(rows)
            self.counts.update(int(row["message"][1:9]) for row in rows)
        return self.counts


def dead_letters(agent: Agent) -> Counter[int]:
    files = agent.state.glob("dead-letters/far/*.ndjson")
    return Counter(int(json.loads(line)["record"]["message"][1:9]) for file in files for line in file.read_bytes().splitlines())


def sink(google: WriteGoogle, **keys: Any) -> dict[str, Any]:
    return {
        "type": "bigquery", "method": "storage_write", "dataset": "p1.logs", "table": "nodes", "write_endpoint": google.write.url,
        "proxy": "none", "start_at": "oldest", "request_timeout": "5s", **keys,
    }


def kill_again_and_again(agent: Agent, kills: int, seed: int, longest_s: float) -> dict[str, int]:
    rng = random.Random(seed)
    with WriteGoogle(token_life_s=5.0, random_faults=0.15, seed=seed) as google:
        written, planned = killed_while_written(
            agent, kills, longest_s, rng,
            lambda: agent.configure(
                sinks={"far": sink(google, table=rng.choice(["nodes", "nodes", "nodes", "others"]))},
                buffer={"max_size": "64MiB"}),
            google.environ, bytes_s=400_000, at_start=0.15)
        google.write.random_faults = 0.02
        agent.configure(sinks={"far": sink(google)})
        agent.start(env=google.environ)
        bad = {number for number in range(written) if number % BAD_EVERY == BAD_EVERY - 1}
        try:
            found = Found(google)
            good = written - len(bad)
            arrive(good, lambda: len(found.look()), lambda: str(agent.status()["sinks"]))
            eventually("dead letters", lambda: dead_letters(agent).keys() == bad)
            assert agent.terminate() == 0
        finally:
            agent.close()
        assert {n: count for n, count in found.look().items() if count != 1} == {}
        assert dead_letters(agent) == Counter(bad)
        assert google.write.wrong == [] and google.identity.wrong == []
        assert planned >= kills // 4, "the kills hit plans that were being carried out"
        return {"lines": written, "appends": len(google.write.answers), "plans_hit": planned, "dead_letters": len(bad),
                "streams": len(google.write.streams), "tokens": len(google.identity.tokens),
                "already_there": google.write.answers.count("OFFSET_ALREADY_EXISTS"),
                "faults": sum(fault != "ok" for fault in google.write.faults)}


def test_each_line_is_in_exactly_one_row_after_twenty_kills(tmp_path: Path, fleet: Fleet) -> None:
    """Forked, which saves each start its imports; those of the long run are started by exec."""
    kill_again_and_again(QuickSmallAppends(tmp_path, fleet), kills=20, seed=1, longest_s=0.3)


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_each_line_is_in_exactly_one_row_after_two_hundred_kills(tmp_path: Path) -> None:
    sums: Counter[str] = Counter()
    for seed in range(2, 12):
        (tmp_path / str(seed)).mkdir()
        sums.update(kill_again_and_again(SmallAppends(tmp_path / str(seed)), kills=20, seed=seed, longest_s=0.8))
    note("kill -9 while it appends to BigQuery, under random faults", tries=200, lost=0, repeated=0, **sums)


def test_a_wiped_state_directory_makes_a_new_stream_and_no_false_already_there(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    with WriteGoogle() as google:
        (agent.logs / "a.log").write_bytes(b"".join(b"m%08d\n" % n for n in range(1000)))
        agent.configure(sinks={"far": sink(google)})
        assert agent.once(env=google.environ) == 0
        assert set(Found(google).look().values()) == {1}
        assert [path.name for path in agent.state.glob("spool/far/*")] == ["kept.json"], "nothing is left to send in vain"
        shutil.rmtree(agent.state)
        assert agent.once(env=google.environ) == 0
        assert set(Found(google).look().values()) == {2}
        assert set(google.write.answers) == {"ok"} and len(google.write.streams) == 2
