"""kill -9 at any moment, answers that are lost, tokens that expire, a config that changes in between: each line that was written
is in exactly one object."""
from __future__ import annotations

import gzip
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
from tests.support.google_in_thread import Google
from tests.support.kills import arrive, killed_while_written
from tests.support.quick_agent import QuickAgent


class SmallUploads(Agent):
    module = "tests.flow.agent_small_uploads"


class QuickSmallUploads(QuickAgent):
    module = SmallUploads.module


class Found:
    """What is in the objects; each is read once."""

    def __init__(self, google: Google) -> None:
        self._google = google
        self._seen: set[str] = set()
        self.counts: Counter[int] = Counter()

    def look(self) -> Counter[int]:
        """In how many objects each line is."""
        objects = self._google.gcs.objects.copy()
        for key in objects.keys() - self._seen:
            self._seen.add(key)
            plain = _plain(key, objects[key].data)
            self.counts.update(int(json.loads(line)["message"][1:9]) for line in plain.splitlines())
        return self.counts


def _plain(key: str, data: bytes) -> bytes:
    if key.endswith(".zst"):
        from backports import zstd

        return zstd.decompress(data)
    return gzip.decompress(data) if key.endswith(".gz") else data


def sink(google: Google, **keys: Any) -> dict[str, Any]:
    return {
        "type": "gcs", "bucket": "logs", "endpoint": google.endpoint, "proxy": "none", "start_at": "oldest", "max_age": "1s",
        "request_timeout": "5s", **keys,
    }


def other_config(google: Google, rng: random.Random) -> dict[str, Any]:
    """The second address is the same server: uploads that were begun at the first are begun again."""
    return sink(
        google, endpoint=rng.choice([google.endpoint, google.endpoint, f"http://localhost:{google.gcs.port}"]),
        prefix=rng.choice(["{file}", "{node}/{yyyy}/{hh}", "x/{file}/{time:%M}"]), max_age=rng.choice(["1s", "2s"]),
        compression=rng.choice(["gzip", "none", "none", "zstd"]), max_bytes=rng.choice(["256KiB", "1MiB"]),
    )


def kill_again_and_again(agent: Agent, kills: int, seed: int, longest_s: float = 0.8) -> dict[str, int]:
    rng = random.Random(seed)
    with Google(token_life_s=2.0, random_faults=0.25, seed=seed) as google:
        written, planned = killed_while_written(
            agent, kills, longest_s, rng,
            lambda: agent.configure(sinks={"far": other_config(google, rng)}, buffer={"max_size": "64MiB"}),
            google.environ, bytes_s=1_500_000, at_start=0.15)
        google.gcs.random_faults = 0.05
        agent.configure(sinks={"far": sink(google)})
        agent.start(env=google.environ)
        try:
            found = Found(google)
            arrive(written, lambda: len(found.look()), lambda: str(agent.status()["sinks"]))
            assert agent.terminate() == 0
        finally:
            agent.close()
        assert [n for n, count in found.look().items() if count != 1] == []
        assert google.gcs.wrong == [] and google.identity.wrong == []
        assert planned >= kills // 4, "the kills hit plans that were being carried out"
        assert {"resumable", "put"} <= set(google.gcs.seen) and len(google.identity.tokens) > 1
        return {"lines": written, "objects": len(google.gcs.objects), "requests": len(google.gcs.seen), "plans_hit": planned,
                "faults": sum(fault != "ok" for fault in google.gcs.faults), "tokens": len(google.identity.tokens),
                "already_there": google.gcs.precondition_failures}


def test_each_line_is_in_exactly_one_object_after_twenty_kills(tmp_path: Path, fleet: Fleet) -> None:
    """Forked, which saves each start its imports; those of the long run are started by exec."""
    kill_again_and_again(QuickSmallUploads(tmp_path, fleet), kills=20, seed=1, longest_s=0.4)


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_each_line_is_in_exactly_one_object_after_two_hundred_kills(tmp_path: Path) -> None:
    sums: Counter[str] = Counter()
    for seed in range(2, 12):
        (tmp_path / str(seed)).mkdir()
        sums.update(kill_again_and_again(SmallUploads(tmp_path / str(seed)), kills=20, seed=seed))
    note("kill -9 while it uploads to Cloud Storage, under random faults", tries=200, lost=0, repeated=0, **sums)


def test_a_wiped_state_directory_makes_new_objects_and_no_false_already_there(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    with Google() as google:
        (agent.logs / "a.log").write_bytes(b"".join(b"m%08d\n" % n for n in range(1000)))
        agent.configure(sinks={"far": sink(google, prefix="p")})
        assert agent.once(env=google.environ) == 0
        assert set(Found(google).look().values()) == {1}
        assert list(agent.state.glob("spool/far/*")) == [], "nothing for the next start to send in vain"
        shutil.rmtree(agent.state)
        assert agent.once(env=google.environ) == 0
        assert set(Found(google).look().values()) == {2} and google.gcs.precondition_failures == 0 and google.gcs.wrong == []


def test_a_metadata_server_that_comes_after_the_agent_is_waited_for(tmp_path: Path) -> None:
    """As on a GKE node that has just started: neither a token nor the cluster's name, then both."""
    agent = SmallUploads(tmp_path)
    with Google() as google:
        google.identity.broken = 503
        agent.configure(sinks={"far": sink(google, prefix="{cluster}/{node}")}, buffer={"max_size": "64MiB"})
        (agent.logs / "a.log").write_bytes(b"m00000000 here\n")
        agent.start(env=google.environ)
        try:
            eventually("it is said", lambda: "metadata server answered 503" in str(agent.status()["sinks"]))
            assert agent.status()["sinks"]["far"]["state"] == "retrying"
            google.identity.broken = 0
            eventually("delivered", lambda: Found(google).look() == Counter({0: 1}), 60.0, lambda: str(agent.status()["sinks"]))
            assert all(key.split("/")[1] == "c1" for key in google.gcs.objects)
            assert agent.terminate() == 0
        finally:
            agent.close()
