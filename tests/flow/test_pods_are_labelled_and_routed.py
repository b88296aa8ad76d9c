"""Labels of pods with the real agent and a strict API server: in records, for routes that wait for them, and without them."""
from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Agent, eventually
from tests.support.kube_api import FakeApi, api_in_thread, pod


class Node:
    """The log tree of a node, and pods that are in the API server or not."""

    def __init__(self, root: Path, api: FakeApi) -> None:
        self.root, self.api = root, api
        (root / "pods").mkdir(parents=True)
        (root / "containers").mkdir()

    def run(self, name: str, *lines: str, known: bool = True, namespace: str = "default", **values: Any) -> str:
        """A pod's log; its uid."""
        uid = values.pop("uid", str(uuid.uuid4()))
        if known:
            self.api.call(self.api.put, pod(name, namespace, uid=uid, **values))
        directory = self.root / f"pods/{namespace}_{name}_{uid}/web"
        directory.mkdir(parents=True)
        (directory / "0.log").touch()
        (self.root / f"containers/{name}_{namespace}_web-{'a' * 64}.log").symlink_to(directory / "0.log")
        self.write(name, uid, *lines, namespace=namespace)
        return uid

    def write(self, name: str, uid: str, *lines: str, namespace: str = "default") -> None:
        with (self.root / f"pods/{namespace}_{name}_{uid}/web/0.log").open("a") as file:
            file.writelines(f"2026-11-20T09:04:05.123456789Z stdout F {line}\n" for line in lines)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with api_in_thread(tmp_path) as api:
        yield Node(tmp_path / "node", api)


def configure(agent: Agent, node: Node, sinks: dict[str, Any], **kubernetes: Any) -> None:
    given = {"metadata": "api", "api": node.api.url, "ca_file": str(node.api.ca_file), "token_file": str(node.api.token_file)}
    agent.configure(
        sources={"pods": agent.containers_source(node.root)}, sinks=sinks, kubernetes=given | kubernetes)


def known_pods(agent: Agent, count: int) -> None:
    agent.until(f"{count} pods are known", lambda status: status["metadata"].get("pods") == count)


def by_message(agent: Agent, name: str) -> dict[str, dict[str, Any]]:
    return {record["message"]: record["kubernetes"] for record in agent.delivered(name)}


def test_records_have_labels_as_soon_as_they_are_known_and_never_wait(agent: Agent, node: Node) -> None:
    api = node.api
    api.namespaces, api.node_labels = {"default": {"team": "t1"}}, {"zone": "a"}
    configure(agent, node, {"all": agent.file_sink()}, owner=True, namespace_labels=["team"], node_labels=["zone"],
              annotations=["example.com/*"])
    api.faults.down = True
    uid = node.run("web-0", "before", labels={"app": "web"}, annotations={"example.com/a": "b", "c": "d"},
                   owner=("StatefulSet", "web"))
    agent.start(env={"POD_UID": "own"})
    agent.arrived(1)                                               # the API server is down, and nothing waits
    assert "labels" not in by_message(agent, "delivered.ndjson")["before"]
    api.faults.down = False
    agent.until("all is known", lambda s: s["metadata"]["pods"] == 1 and ("get", "namespaces") in api.requests)
    numbers = iter(range(1000))

    def complete() -> bool:
        """What is written from now on has it: the namespace's labels come a moment after the pod's."""
        number = next(numbers)
        node.write("web-0", uid, f"line {number}")
        agent.arrived(number + 2)
        return "node_labels" in (found := by_message(agent, "delivered.ndjson")[f"line {number}"]) and "namespace_labels" in found

    eventually("a record with all of it", complete)
    found = agent.delivered()
    assert {key: found[-1]["kubernetes"][key] for key in list(found[-1]["kubernetes"])[5:]} == {
        "labels": {"app": "web"}, "annotations": {"example.com/a": "b"}, "owner": {"kind": "StatefulSet", "name": "web"},
        "namespace_labels": {"team": "t1"}, "node_labels": {"zone": "a"}}
    assert len({record["id"].split(":")[0] for record in found}) == 1 and not api.refused
    status = agent.status()
    assert status["metadata"]["source"] == "api" and status["metadata"]["last_list_s"] and status["healthy"]
    assert agent.terminate() == 0
    api.faults.down = True
    node.write("web-0", uid, "after the restart")
    agent.start()
    agent.arrived(len(found) + 1)
    assert by_message(agent, "delivered.ndjson")["after the restart"]["labels"] == {"app": "web"}, "known from the positions"


def test_a_route_by_labels_waits_for_them_and_is_right(agent: Agent, node: Node) -> None:
    api = node.api
    configure(agent, node, {"web": agent.file_sink("web.ndjson", when={"labels": {"app": ["web"]}, "namespace": ["default"]}),
                            "all": agent.file_sink("all.ndjson")}, metadata_timeout="60s")
    api.faults.down = True
    node.run("web-0", "to both", labels={"app": "web"})
    node.run("db-0", "to one", labels={"app": "db"})
    node.run("gone-0", "its pod is no more", known=False)
    node.run("other-0", "waits for nothing", namespace="shop", labels={"app": "web"})
    agent.start()
    assert agent.arrived(1, "all.ndjson") == ["waits for nothing"]
    agent.until("three wait", lambda s: s["metadata"]["waiting_files"] == 3)
    assert agent.status()["healthy"] and agent.metrics()["shipper_metadata_waiting_files"] == 3
    api.faults.down = False
    agent.arrived(3, "all.ndjson")
    assert agent.arrived(1, "web.ndjson") == ["to both"]
    agent.arrived(4, "all.ndjson")                                 # a newer list does not have it: no need for the whole minute
    assert agent.metrics()['shipper_routed_without_metadata_total{source="pods"}'] == 1
    assert "gone-0" in agent.event("routed_without_metadata")["path"]
    late = node.run("late-0", "first", known=False, labels={"app": "web"})
    api.call(api.put, pod("late-0", uid=late, labels={"app": "web"}))
    eventually("routed", lambda: agent.messages("web.ndjson") == ["to both", "first"], else_say=agent.last_words)
    assert agent.metrics()['shipper_routed_without_metadata_total{source="pods"}'] == 1


def test_after_the_timeout_it_is_read_without_labels_and_counted(agent: Agent, node: Node) -> None:
    node.api.faults.forbid = ("/api",)
    configure(agent, node, {"web": agent.file_sink("web.ndjson", when={"labels": {"app": ["web"]}}),
                            "all": agent.file_sink("all.ndjson")}, metadata_timeout="1s")
    node.run("web-0", "one", labels={"app": "web"})
    agent.start()
    agent.arrived(1, "all.ndjson")
    agent.event("routed_without_metadata")                         # the reader goes on by itself, a moment before it is counted
    assert agent.metrics()['shipper_routed_without_metadata_total{source="pods"}'] == 1
    status = agent.status()
    assert status["healthy"] and "403" in status["metadata"]["last_error"]
    assert [each["reason"] for each in status["degraded"]] == ["metadata"]
    assert agent.messages("web.ndjson") == []
    agent.drained()
    assert agent.terminate() == 0


def test_pods_say_what_is_done_with_their_logs_and_the_agents_own_is_not_read(agent: Agent, node: Node) -> None:
    api = node.api
    configure(agent, node, {"all": agent.file_sink()}, annotations_allowed=["exclude", "parse"])
    own = node.run("shipper-x", "a line of our own")
    hidden = node.run("quiet-0", "hidden", annotations={"shipper.io/exclude": "true"})
    node.run("json-0", '{"level":"error","msg":"parsed"}', annotations={"shipper.io/parse": "json"})
    agent.start(env={"POD_UID": own})
    assert agent.arrived(1) == ["parsed"]
    assert agent.delivered()[0]["severity"] == "ERROR"
    agent.until("two are not read", lambda s: s["metadata"]["excluded_files"] == 2)
    api.call(api.put, pod("quiet-0", uid=hidden, annotations={"shipper.io/exclude": "false"}))
    agent.arrived(2)
    assert sorted(agent.messages()) == ["hidden", "parsed"]
    api.call(api.put, pod("quiet-0", uid=hidden, annotations={"shipper.io/exclude": "true"}))
    agent.until("again", lambda s: s["metadata"]["excluded_files"] == 2)
    node.write("quiet-0", hidden, "while it is hidden")
    api.call(api.put, pod("quiet-0", uid=hidden))
    agent.arrived(3)
    assert agent.messages().count("hidden") == 1, "it goes on where it stood"
    assert agent.terminate() == 0


def test_once_waits_for_the_labels_that_a_route_asks_for(agent: Agent, node: Node) -> None:
    configure(agent, node, {"web": agent.file_sink("web.ndjson", when={"labels": {"app": ["web"]}})})
    node.api.faults.slow_s = 0.5
    node.run("web-0", "to web", labels={"app": "web"})
    node.run("db-0", "to none", labels={"app": "db"})
    assert agent.once() == 0
    assert agent.messages("web.ndjson") == ["to web"]


@pytest.mark.long
def test_five_thousand_pods_churned_in_20_seconds_through_a_watch_that_is_cut_leave_labels_right_and_memory_bounded(
    agent: Agent, node: Node,
) -> None:
    """Of 5,000 pods 40 have logs here; the others come and go. Printed: peak RSS and CPU seconds."""
    api = node.api
    configure(agent, node, {"all": agent.file_sink()})
    uids = {f"web-{n}": node.run(f"web-{n}", "first", labels={"v": "0"}) for n in range(40)}
    agent.start()
    known_pods(agent, 40)
    api.faults.cut_s = 0.3
    live: list[str] = []
    for round_ in range(1, 51):
        for n in range(100):
            live.append(api.call(api.put, pod(f"churn-{round_}-{n}", padding=2000, labels={"n": str(n)}))["metadata"]["uid"])
        for uid in live[:-1000]:
            api.call(api.delete, uid)
        del live[:-1000]
        if round_ % 10 == 0:
            for name, uid in uids.items():
                api.call(api.put, pod(name, uid=uid, labels={"v": str(round_)}))
                node.write(name, uid, f"round {round_}")
        if round_ == 25:
            api.call(api.compact)
        time.sleep(0.4)                                            # the load's pace: 20 s for all of them
    known_pods(agent, 1040)

    def labelled() -> bool:
        for name, uid in uids.items():
            node.write(name, uid, "last")
        agent.arrived(len(agent.delivered()) + 1)
        last = {record["kubernetes"]["pod_name"]: record["kubernetes"]["labels"] for record in agent.delivered()
                if record["message"] == "last"}
        return last == {name: {"v": "50"} for name in uids}

    eventually("every pod's last labels", labelled, within_s=60)
    facts = Path(f"/proc/{agent.pid}/status").read_text().splitlines()
    peak_kib = int(next(line.split()[1] for line in facts if line.startswith("VmHWM")))
    status = agent.status()
    print(f"peak RSS {peak_kib // 1024} MiB, {agent.metrics()['process_cpu_seconds_total']:.2f} CPU s, {status['metadata']}")
    assert status["healthy"] and peak_kib < 110 * 1024
    records = agent.delivered()
    assert len({record["id"] for record in records}) == len(records)
    assert len({record["id"].split(":")[0] for record in records}) == 40, "no label changed a key"
