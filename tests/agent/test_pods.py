"""P1 to P5, N1, N2: who is labelled, who waits and for how long, who is not read."""
from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from shipper.agent.formats import Rules
from shipper.agent.pod_source import api_address, kind_of
from shipper.agent.pods import PodMetadata
from shipper.config.kubernetes import Kubernetes
from shipper.config.loader import load_text
from shipper.config.processing import Processing
from shipper.config.types import Config, ContainersSource
from shipper.discover.lineage import LogFile
from shipper.kube.objects import Pod
from shipper.model import Source
from shipper.telemetry import Telemetry

IN_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
UID = "0a1b2c3d-1111-2222-3333-444455556666"


def config_of(tmp_path: Path, *, when: dict[str, Any] | None = None, sink: dict[str, Any] | None = None,
              process: list[dict[str, Any]] | None = None, source: str = "containers", **kubernetes: Any) -> Config:
    (tmp_path / "token").write_text("t")
    sources = {"c": {"type": "containers"}} if source == "containers" else {"c": {"type": "files", "include": ["/var/log/x"]}}
    settings = {"token_file": str(tmp_path / "token"), **kubernetes}
    return load_text(orjson.dumps({
        "node": "n1", "state_dir": str(tmp_path / "state"), "sources": sources, "kubernetes": settings, "process": process or [],
        "sinks": {"out": sink or {"type": "file", "path": "/tmp/out.ndjson", "when": when or {}}},
    }), "c.yaml", {}).config


def log(pod: str = "web-0", namespace: str = "default", uid: str = UID, container: str = "web") -> LogFile:
    path = f"/var/log/pods/{namespace}_{pod}_{uid}/{container}/0.log"
    source = Source("containers", "c", path, path, "n1", namespace, pod, uid, container)
    return LogFile(source, path, str(Path(path).parent), "0.log", "c", None)


class FakeSource:
    """A PodSource that the test moves."""

    def __init__(self) -> None:
        self.listed_from_s, self.asked, self.wanted = 0.0, 0, None

    def ask(self) -> None:
        self.asked += 1

    def want(self, wanted: Any) -> None:
        self.wanted = wanted

    def labels_of_node(self) -> dict[str, str]:
        return {"zone": "a"}

    def labels_of_namespace(self, name: str) -> dict[str, str]:
        return {"team": name}

    def status(self) -> dict[str, Any]:
        return {"source": "api"}


class Rig:
    def __init__(self, config: Config, environ: dict[str, str] | None = None) -> None:
        self.now, self.telemetry, self.retold = 1000.0, Telemetry(), []
        self.metadata = PodMetadata(config, self.telemetry, self._retell, environ=environ or IN_POD, now_s=lambda: self.now)
        self.source = FakeSource()
        self.metadata.pods = self.source

    async def _retell(self, logfiles: list[LogFile]) -> None:
        self.retold += logfiles

    def know(self, **values: Any) -> None:
        self.metadata._changed(self.metadata.store.put(
            Pod(values.pop("uid", UID), "", "default", "web-0", values.pop("labels", {}), values.pop("annotations", {}),
                values.pop("owner", ("", "")))))

    @property
    def waiting(self) -> int:
        return self.metadata.status()["waiting_files"]

    @property
    def without(self) -> float:
        return self.telemetry.value("shipper_routed_without_metadata_total", "c")


def test_auto_is_the_api_in_a_pod_with_an_account_that_reads_containers_and_else_off(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert kind_of(config, IN_POD) == "api" and kind_of(config, {}) == "off"
    assert kind_of(config_of(tmp_path, source="files"), IN_POD) == "off"
    assert kind_of(config_of(tmp_path, metadata="off"), IN_POD) == "off"
    assert kind_of(config_of(tmp_path, token_file="/none"), IN_POD) == "off"
    assert api_address(Kubernetes(), IN_POD) == "https://10.0.0.1:6443"
    assert api_address(Kubernetes(), {"KUBERNETES_SERVICE_HOST": "fd00::1"}) == "https://[fd00::1]:443"


def test_without_a_rule_that_asks_nothing_waits(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"namespace": ["default"]}))
    joined = rig.metadata.joined(log(), None)
    assert joined.wait_until_s == 0.0 and joined.source.labels is None and rig.waiting == 0
    rig.know(labels={"app": "web"}, owner=("Deployment", "web"), annotations={"shipper.io/parse": "json"})
    joined = rig.metadata.joined(log(), None)
    assert joined.source.labels == {"app": "web"} and joined.asks is None
    assert joined.source.about_pod == {"owner": {"kind": "Deployment", "name": "web"}, "namespace_labels": {"team": "default"},
                                       "node_labels": {"zone": "a"}}
    assert joined.source.lineage == log().source.lineage and joined.source.cache == {}


@pytest.mark.parametrize("asking", [
    {"when": {"labels": {"app": ["web"]}, "namespace": ["default"]}},
    {"process": [{"when": {"annotations": {"a": ["b"]}}, "parse": "json"}]},
    {"sink": {"type": "file", "path": "/tmp/{labels.app|none}.ndjson"}},
    {"annotations_allowed": ["exclude"]},
])
def test_a_file_waits_where_labels_decide_until_they_are_known(tmp_path: Path, asking: dict[str, Any]) -> None:
    rig = Rig(config_of(tmp_path, metadata_timeout="5m", **asking))
    assert rig.metadata.joined(log(), None).wait_until_s == 1300.0 and rig.waiting == 1
    rig.now = 1100.0
    rig.know(labels={"app": "web"})
    assert rig.metadata.joined(log(), None).wait_until_s == 0.0 and rig.waiting == 0 and rig.without == 0


def test_a_rule_for_another_namespace_makes_nobody_else_wait(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}, "namespace": ["payments"]}))
    assert rig.metadata.joined(log(), None).wait_until_s == 0.0
    assert rig.metadata.joined(log(namespace="payments"), None).wait_until_s > 0.0


def test_after_metadata_timeout_it_goes_on_counted_once_and_never_waits_again(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}}, metadata_timeout="10s"))
    rig.metadata.joined(log(), None)
    rig.metadata.tick(1009.9)
    assert rig.waiting == 1 and rig.without == 0
    rig.metadata.tick(1010.0)
    assert rig.waiting == 0 and rig.without == 1 and rig.metadata._due == {log().source.lineage}
    assert rig.metadata.joined(log(), None).wait_until_s == 0.0
    rig.metadata.tick(2000.0)
    assert rig.without == 1
    rig.know(labels={"app": "web"})
    assert rig.metadata.joined(log(), None).source.labels == {"app": "web"}, "late is better than never"


def test_a_pod_that_a_newer_list_does_not_have_is_gone_and_nobody_waits_for_it(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}}))
    static = log("etcd-n1", uid="0123456789abcdef0123456789abcdef")
    rig.source.listed_from_s = 999.0
    rig.metadata.joined(log(), None)
    rig.metadata.joined(static, None)
    rig.metadata.tick(1002.0)
    assert rig.waiting == 2 and rig.source.asked == 0, "that list is older than the file"
    rig.metadata.tick(1006.0)
    assert rig.source.asked == 1
    rig.source.listed_from_s = 1006.5
    rig.metadata.tick(1007.0)
    assert rig.waiting == 1 and rig.without == 1, "a static pod's mirror may come later"
    rig.metadata.tick(1020.0)
    assert rig.source.asked == 1, "a list says nothing more of that"


def test_what_was_known_before_a_restart_holds_while_the_api_server_is_down(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}}))
    before = replace(log().source, labels={"app": "web"}, annotations={"a": "b"}, about_pod={"owner": {"kind": "Job"}}, cache={})
    joined = rig.metadata.joined(log(), before)
    assert joined.wait_until_s == 0.0
    assert (joined.source.labels, joined.source.annotations, joined.source.about_pod) == (
        {"app": "web"}, {"a": "b"}, {"owner": {"kind": "Job"}})
    rig.know(labels={"app": "new"})
    assert rig.metadata.joined(log(), before).source.labels == {"app": "new"}
    other = replace(before, pod_uid="another", cache={})
    assert rig.metadata.joined(log(uid="x" * 36), other).wait_until_s > 0


def test_annotations_decide_only_what_is_allowed_and_wrong_ones_are_counted_once(tmp_path: Path) -> None:
    steering = {"shipper.io/exclude": "true", "shipper.io/parse": "json", "shipper.io/multiline": "sideways"}
    rig = Rig(config_of(tmp_path, annotations_allowed=["parse", "multiline"]))
    rig.know(annotations=steering)
    for _ in range(2):
        joined = rig.metadata.joined(log(), None)
    assert not joined.excluded and joined.asks is not None and (joined.asks.parse, joined.asks.multiline) == ("json", None)
    assert rig.telemetry.value("shipper_bad_annotations_total", "multiline") == 1
    rig = Rig(config_of(tmp_path, annotations_allowed=["exclude"]))
    rig.know(annotations=steering)
    assert rig.metadata.joined(log(), None).excluded and rig.metadata.status()["excluded_files"] == 1
    rig.know(annotations={"shipper.io/exclude": "false"})
    joined = rig.metadata.joined(log(), None)
    assert not joined.excluded and joined.asks is None and rig.metadata.status()["excluded_files"] == 0


def test_the_agents_own_pod_is_not_read_unless_asked_for(tmp_path: Path) -> None:
    environ = {"POD_UID": UID}
    assert Rig(config_of(tmp_path), environ).metadata.joined(log(), None).excluded, "without any metadata too"
    assert not Rig(config_of(tmp_path), environ).metadata.joined(log(uid="b" * 36), None).excluded
    assert not Rig(config_of(tmp_path, read_own_pod=True), environ).metadata.joined(log(), None).excluded


def test_a_reload_without_the_rule_releases_who_waits_and_one_with_other_names_asks_for_them(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, labels=["tier"], when={"labels": {"app": ["web"]}}))
    rig.metadata.joined(log(), None)
    rig.metadata.configure(config_of(tmp_path))
    assert rig.metadata._due == {log().source.lineage}
    assert rig.metadata.joined(log(), None).wait_until_s == 0.0 and rig.waiting == 0
    rig.metadata.configure(config_of(tmp_path, when={"annotations": {"x*[y": ["1"]}}))
    assert rig.source.wanted.labels == ("tier",) and rig.source.wanted.annotations == ("x[*][[]y", "shipper.io/*")


async def test_who_waits_is_released_also_when_its_files_are_gone_and_then_forgotten(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}}))
    rig.metadata.joined(log(), None)
    rig.metadata.vanish(log().source.lineage)
    telling = asyncio.create_task(rig.metadata._tell())
    rig.source.listed_from_s = 1001.0
    rig.metadata.tick(1002.0)
    for _ in range(200):
        if rig.retold and not rig.metadata._files:
            break
        await asyncio.sleep(0.005)
    telling.cancel()
    assert [each.source.pod for each in rig.retold] == ["web-0"] and rig.without == 1
    assert not rig.metadata._files and not rig.metadata._by_uid and not rig.metadata._gave_up


def test_tables_are_as_long_as_there_are_files(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, annotations_allowed=["exclude"]))
    for n in range(1000):
        each = log(f"web-{n}", uid=f"{n:036d}")
        rig.know(uid=f"{n:036d}", annotations={"shipper.io/exclude": "true"} if n % 2 else {})
        rig.metadata.joined(each, None)
        rig.metadata.vanish(each.source.lineage)
    rig.metadata.joined(log(), None)
    rig.metadata.keep(set())
    metadata = rig.metadata
    assert not any((metadata._files, metadata._by_uid, metadata._waiting, metadata._excluded, metadata._gave_up))


def test_rules_that_ask_where_there_is_no_source_are_told(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}}), {"HOME": "/"})
    assert [event for _, event, _ in rig.telemetry.lines] == ["no_metadata"]
    assert rig.metadata.joined(log(), None).wait_until_s == 0.0


def test_a_pod_whose_labels_change_all_the_time_is_told_ten_times_and_then_each_ten_seconds(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path))
    rig.metadata.joined(log(), None)
    told = 0
    for n in range(1000):
        rig.know(labels={"n": str(n)})
        told += len(rig.metadata._due_now(rig.now))
        rig.now += 0.1
    assert 10 + 9 <= told <= 10 + 11
    rig.now += 10.0
    assert rig.metadata._due_now(rig.now) == {log().source.lineage}, "the last change is told, late"
    waiting = Rig(config_of(tmp_path, when={"labels": {"app": ["web"]}}))
    waiting.metadata.joined(log(), None)
    for n in range(100):
        waiting.know(labels={"n": str(n)})
        assert waiting.metadata._due_now(waiting.now)


def test_what_templates_of_sinks_name_is_asked_for(tmp_path: Path) -> None:
    sink = {"type": "file", "path": "/tmp/{labels.app.kubernetes.io/name|none}/{annotations.example.com/team}.ndjson"}
    rig = Rig(config_of(tmp_path, labels=["tier"], sink=sink))
    wanted = rig.metadata._wanted()
    assert wanted.labels == ("tier", "app.kubernetes.io/name")
    assert wanted.annotations == ("example.com/team", "shipper.io/*")


def test_a_bare_host_loads_nothing_of_it() -> None:
    code = ("import sys; import shipper.agent.run; "
            "print([m for m in ('aiohttp', 'shipper.kube.api', 'shipper.kube.kubelet') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30).stdout == b"[]\n"


def test_a_pod_takes_no_lines_apart_that_are_forwarded_as_they_stand() -> None:
    asked = Processing(parse="json")
    assert Rules(()).wanted(ContainersSource(format="raw"), log().source, asked) is None
    assert Rules(()).wanted(ContainersSource(), log().source, asked) == asked


async def test_a_source_that_fails_by_a_bug_is_said_counted_and_started_again(tmp_path: Path) -> None:
    rig = Rig(config_of(tmp_path))
    rig.metadata._pace, tries = 0.001, []

    async def run() -> None:
        tries.append(1)
        raise RuntimeError("a bug")

    rig.source.run = run
    task = asyncio.create_task(rig.metadata._survive(rig.metadata._follow, "pods"))
    for _ in range(400):
        if len(tries) >= 3:
            break
        await asyncio.sleep(0.005)
    task.cancel()
    assert len(tries) >= 3 and rig.telemetry.value("shipper_errors_total", "pods") >= 3
    assert [event for _, event, _ in rig.telemetry.lines] == ["unexpected_error"]
