"""The whole agent into a table of BigQuery by insertAll: kill -9 at any moment, answers that are lost, rows that are put off,
quota, tokens that expire: each line is there at least once, and what is there twice has equal ids."""
from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.support.agent import Agent, eventually
from tests.support.google_in_thread import GoogleWithBigquery
from tests.support.kills import killed_while_written


def sink(google: GoogleWithBigquery, **keys: Any) -> dict[str, Any]:
    return {
        "type": "bigquery", "dataset": "logs", "table": "all", "project": "p1", "method": "insert_all", "create_table": True,
        "endpoint": google.endpoint, "proxy": "none", "start_at": "oldest", "request_timeout": "5s", **keys,
    }


def kill_again_and_again(agent: Agent, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    with GoogleWithBigquery(token_life_s=5.0, random_faults=0.25, seed=seed, hidden=3, remembers=False) as google:
        written, _ = killed_while_written(
            agent, kills, 0.5, rng,
            lambda: agent.configure(sinks={"far": sink(google, max_rows=rng.choice([100, 500, 2000]))}),
            google.environ, bytes_s=500_000)
        google.far.random_faults = 0.02
        agent.configure(sinks={"far": sink(google)})
        agent.start(env=google.environ)
        agent.drained(within_s=60.0)
        assert agent.terminate() == 0
        rows = google.far.tables["all"].rows
        assert {int(row["message"][1:9]) for row in rows} == set(range(written))
        assert len({row["id"] for row in rows}) == written, "a line that came again has the id that it had"
        assert google.far.wrong == [] and google.identity.wrong == []
        assert kills < 20 or len(google.identity.tokens) > 1
        assert google.far.seen.count("create") == 1


def test_each_line_is_there_at_least_once_after_kills(agent: Agent) -> None:
    kill_again_and_again(agent, kills=4, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_each_line_is_there_at_least_once_after_a_hundred_kills(agent: Agent) -> None:
    kill_again_and_again(agent, kills=100, seed=2)


def test_parsed_logs_go_into_a_table_of_ones_own_and_what_does_not_fit_is_listed(agent: Agent) -> None:
    """The command's way: a dead letter by row, shown by `shipper dead-letters`."""
    lines = [{"msg": "a", "user": 1}, {"msg": "b", "user": "nobody"}, {"msg": "c", "user": 3, "extra": {"x": 1}}]
    (agent.logs / "a.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with GoogleWithBigquery() as google:
        table = google.far.make("all", [
            {"name": "message", "type": "STRING"}, {"name": "user", "type": "INTEGER"}, {"name": "rest", "type": "JSON"},
            {"name": "node", "type": "STRING"}])
        agent.configure(
            sources={"logs": agent.files_source(parse="json")},
            sinks={"far": sink(google, create_table=False, schema="table", overflow_column="rest")})
        agent.start(env=google.environ)
        eventually("two rows", lambda: len(table.rows) == 2, 20.0, agent.last_words)
        agent.drained()
        assert sorted(row["user"] for row in table.rows) == [1, 3] and all(row["node"] == "n1" for row in table.rows)
        assert json.loads(next(row for row in table.rows if row["user"] == 3)["rest"])["extra"] == {"x": 1}
        listed = agent.command("dead-letters", "list", "--json")
        assert listed.returncode == 0 and b"nobody" in listed.stdout, listed.stdout + listed.stderr
        assert "nobody" not in agent.log_text()
        assert agent.terminate() == 0 and google.far.wrong == []
