"""Labels of pods with the real agent and a kubelet alone (`metadata: kubelet`): no API server is there at all."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.test_pods_are_labelled_and_routed import Node, by_message
from tests.support.agent import Agent, eventually
from tests.support.kube_api import FakeKubelet, api_in_thread, pod

HASH = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with api_in_thread(tmp_path, FakeKubelet) as kubelet:
        yield Node(tmp_path / "node", kubelet)


def configure(agent: Agent, node: Node, sinks: dict[str, Any], **kubernetes: Any) -> None:
    given = {"metadata": "kubelet", "kubelet": node.api.url, "ca_file": str(node.api.ca_file),
             "token_file": str(node.api.token_file)}
    agent.configure(sources={"pods": agent.containers_source(node.root)}, sinks=sinks, kubernetes=given | kubernetes)


WEB = {"labels": {"app": ["web"]}}


def test_a_kubelet_that_is_down_at_the_start_stops_no_record_and_routes_are_right_when_it_comes(agent: Agent, node: Node) -> None:
    """Static pods stand under their config hash; a pod that is gone is not waited for; what is new is asked for at once."""
    kubelet = node.api
    configure(agent, node, {"web": agent.file_sink("web.ndjson", when={**WEB, "namespace": ["default", "kube-system"]}),
                            "all": agent.file_sink("all.ndjson")}, metadata_timeout="60s")
    kubelet.faults.down = True
    node.run("web-0", "to both", labels={"app": "web"})
    node.run("proxy-n1", "a static one", namespace="kube-system", uid=HASH, labels={"app": "web"},
             annotations={"kubernetes.io/config.hash": HASH, "kubernetes.io/config.source": "file"})
    node.run("gone-0", "its pod is no more", known=False)
    node.run("other-0", "waits for nothing", namespace="shop", labels={"app": "web"})
    agent.start()
    assert agent.arrived(1, "all.ndjson") == ["waits for nothing"]
    agent.until("three wait", lambda s: s["metadata"]["waiting_files"] == 3)
    assert agent.status()["healthy"]
    kubelet.faults.down = False
    agent.arrived(4, "all.ndjson")
    assert sorted(agent.arrived(2, "web.ndjson")) == ["a static one", "to both"]
    assert agent.metrics()['shipper_routed_without_metadata_total{source="pods"}'] == 1
    node.run("late-0", "first", labels={"app": "web"})
    eventually("routed", lambda: "first" in agent.messages("web.ndjson"), else_say=agent.last_words)
    assert set(kubelet.requests) == {("get", "/pods")}, "nothing else is asked"
    assert agent.status()["metadata"]["source"] == "kubelet"


def test_what_the_kubelet_said_holds_while_it_is_down_and_a_403_is_said_and_ends(agent: Agent, node: Node) -> None:
    kubelet = node.api
    configure(agent, node, {"web": agent.file_sink("web.ndjson", when=WEB)}, metadata_timeout="60s")
    uid = node.run("web-0", "one", labels={"app": "web"})
    agent.start()
    agent.arrived(1, "web.ndjson")
    assert agent.terminate() == 0
    rules = kubelet.rules
    kubelet.call(setattr, kubelet, "rules", [])
    node.write("web-0", uid, "after the restart, known from the positions")
    node.run("new-0", "its labels cannot be had now", labels={"app": "web"})
    agent.start()
    agent.arrived(2, "web.ndjson")
    agent.until("degraded", lambda s: [each["reason"] for each in s["degraded"]] == ["metadata"])
    status = agent.status()
    assert status["healthy"] and "403" in status["metadata"]["last_error"] and status["metadata"]["waiting_files"] == 1
    assert "token-one" not in agent.last_words()
    kubelet.call(setattr, kubelet, "rules", rules)
    agent.arrived(3, "web.ndjson")
    agent.until("over", lambda s: not s["degraded"])


def test_a_pod_says_at_the_kubelet_that_its_log_is_not_read_and_says_otherwise_later(agent: Agent, node: Node) -> None:
    kubelet = node.api
    configure(agent, node, {"all": agent.file_sink("all.ndjson")}, annotations_allowed=["exclude"], labels=["app"])
    own = node.run("shipper-x", "a line of our own")
    uid = node.run("quiet-0", "hidden", labels={"app": "quiet"}, annotations={"shipper.io/exclude": "true"})
    node.run("loud-0", "seen", labels={"app": "loud", "other": "left out"})
    agent.start(env={"POD_UID": own})
    assert agent.arrived(1, "all.ndjson") == ["seen"]
    assert by_message(agent, "all.ndjson")["seen"]["labels"] == {"app": "loud"}
    agent.until("two are not read", lambda s: s["metadata"]["excluded_files"] == 2)
    kubelet.call(kubelet.put, pod("quiet-0", uid=uid, labels={"app": "quiet"}))
    kubelet.call(kubelet.delete, own)
    node.run("wakes-the-poll", "more")                    # unknown: the kubelet is asked at once, and tells of the other too
    agent.arrived(3, "all.ndjson")
    assert sorted(agent.messages("all.ndjson")) == ["hidden", "more", "seen"]
