"""Watcher and Discoverer together, as the agent wires them: events say where to look, nothing is polled."""
import asyncio
import shutil

import pytest

from shipper.discover.lineage import Changes
from shipper.discover.watch import Watcher
from tests.discover.node import UID


class Agent:
    """Scans only what events point at; collects what was found."""

    def __init__(self, node, *specs):
        self.found = Changes()
        self._news = asyncio.Event()
        self.watcher = Watcher(on_file=lambda token: None, on_directory=self._on_directory, on_overflow=lambda: None,
                               telemetry=node.telemetry)
        self.watcher.start()
        self.discoverer = node.discoverer(*specs, watched=self.watcher.watched)
        self._scan(full=True)

    def _on_directory(self, path):
        self.discoverer.note(path)
        self._news.set()

    def _scan(self, *, full):
        changes = self.discoverer.scan(full=full)
        for kind in ("appeared", "vanished", "changed"):
            getattr(self.found, kind).extend(getattr(changes, kind))
        self.watcher.watch_directories(self.discoverer.directories())

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition(self.found):
                await self._news.wait()
                self._news.clear()
                self._scan(full=False)


@pytest.fixture
async def agent(node):
    agent = Agent(node)
    yield agent
    agent.watcher.close()


async def test_a_pod_s_life_is_seen_by_events_alone(node, agent):
    log = node.pod_log("web-0")
    await agent.until(lambda found: found.appeared)
    [logfile] = agent.found.appeared
    log.rename(f"{log}.20261120-090405")
    log.write_bytes(b"new\n")
    await agent.until(lambda found: found.changed and len(agent.discoverer.siblings(logfile)) == 2)
    node.pod_log("web-0", restart=1, container_id="b" * 64)
    await agent.until(lambda found: len(found.appeared) == 2)
    shutil.rmtree(log.parent.parent)
    await agent.until(lambda found: len(found.vanished) == 2)
    assert str(log.parent) not in agent.watcher.watched


async def test_a_directory_tree_that_is_made_later_is_found_level_by_level(node):
    agent = Agent(node, node.hosts("not/yet/*.log"))
    (node.root / "not").mkdir()
    (node.root / "not" / "yet").mkdir()
    (node.root / "not" / "yet" / "a.log").write_bytes(b"x")
    await agent.until(lambda found: found.appeared)
    assert [f.name for f in agent.found.appeared] == ["a.log"]
    agent.watcher.close()


async def test_patterns_over_the_pod_directories_see_new_pods_too(node):
    agent = Agent(node, node.containers(include=(f"{node.pods}/*/*/*.log",)))
    log = node.pod_log("web-0", link=False)
    await agent.until(lambda found: found.appeared)
    [logfile] = agent.found.appeared
    assert (logfile.live_path, logfile.source.pod_uid) == (str(log), UID)
    agent.watcher.close()
