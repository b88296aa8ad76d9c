"""packaging/kubernetes: every overlay builds, is valid, and says what docs/kubernetes.md promises of it."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from shipper.config.loader import Loaded, load_text
from shipper.config.types import Config
from tests.packaging.manifests import KUBERNETES, NODE_OVERLAYS, OVERLAYS, ROOT, build, one, pod_of

BASE = KUBERNETES / "base"
ENVIRON = {"NODE_NAME": "n1", "POD_NAME": "web-0", "POD_IP": "10.1.2.3", "SYSLOG_ADDRESS": "logs.example.com:6514"}


def named(path: Path) -> str:
    return path.name


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def agent_of(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each for each in containers(pod) if each["name"] == "shipper"]
    return found


def config_in(objects: list[dict[str, Any]], environ: dict[str, str] = ENVIRON) -> Loaded:
    return load_text(one(objects, "ConfigMap")["data"]["shipper.yaml"], "shipper.yaml", environ)


def test_there_is_an_overlay_for_each_of_these():
    assert {named(path) for path in OVERLAYS} == {"base", "kubelet", "gke", "k3s", "docker", "sidecar"}


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("overlay", OVERLAYS, ids=named)
def test_each_object_is_valid_for_kubernetes(overlay: Path, version: str):
    objects = build(overlay)
    assert objects
    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("overlay", [path for path in OVERLAYS if named(path) != "kubelet"], ids=named)
class TestConfig:
    def test_passes_check_without_a_warning(self, overlay: Path):
        assert config_in(build(overlay)).warnings == []

    def test_gets_each_variable_that_it_asks_for(self, overlay: Path):
        objects = build(overlay)
        agent = agent_of(pod_of(one(objects, "Deployment" if named(overlay) == "sidecar" else "DaemonSet")))
        needed = {name for name in re.findall(r"\$\{(\w+)\}", one(objects, "ConfigMap")["data"]["shipper.yaml"])}
        given = {each["name"] for each in agent["env"]}
        settings = {"SYSLOG_ADDRESS"} if agent.get("envFrom") else set()      # made by the user: docs/kubernetes.md
        assert needed <= given | settings

    def test_reads_and_writes_only_what_is_mounted(self, overlay: Path):
        objects = build(overlay)
        config = config_in(objects).config
        pod = pod_of(one(objects, "Deployment" if named(overlay) == "sidecar" else "DaemonSet"))
        mounts = {each["mountPath"]: bool(each.get("readOnly")) for each in agent_of(pod)["volumeMounts"]}
        (writable,) = [path for path, read_only in mounts.items() if not read_only]
        assert f"{config.state_dir}/".startswith(f"{writable}/")
        for source in config.sources.values():
            for pattern in source.include:
                assert any(pattern.startswith(f"{path}/") for path in mounts), pattern

    def test_listens_on_the_address_of_the_pod_alone(self, overlay: Path):
        from shipper.agent.admin import parse_listen

        for address in ("10.1.2.3", "fd00::7"):
            config = config_in(build(overlay), ENVIRON | {"POD_IP": address}).config
            assert config.admin.listen is not None and parse_listen(config.admin.listen) == (address, 3903)

    def test_has_time_to_end(self, overlay: Path):
        objects = build(overlay)
        pod = pod_of(one(objects, "Deployment" if named(overlay) == "sidecar" else "DaemonSet"))
        assert pod["terminationGracePeriodSeconds"] >= config_in(objects).config.shutdown_grace + 10


def test_the_config_of_the_base_is_the_one_in_config():
    assert one(build(BASE), "ConfigMap")["data"]["shipper.yaml"] == (ROOT / "config/daemonset.yaml").read_text()


@pytest.mark.parametrize("overlay", NODE_OVERLAYS, ids=named)
class TestDaemonSet:
    def test_may_read_logs_and_nothing_more(self, overlay: Path):
        pod = pod_of(one(build(overlay), "DaemonSet"))
        assert pod["securityContext"] == {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
        security = agent_of(pod)["securityContext"]
        assert security.pop("seLinuxOptions", None) == ({"type": "spc_t"} if named(overlay) == "k3s" else None)
        assert security == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}}
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))

    def test_runs_everywhere_and_ends_late(self, overlay: Path):
        workload = one(build(overlay), "DaemonSet")
        pod = pod_of(workload)
        assert pod["priorityClassName"] == "system-node-critical"
        assert pod["tolerations"] == [{"operator": "Exists"}]
        assert pod["enableServiceLinks"] is False
        assert workload["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}

    def test_has_the_resources_that_the_design_names(self, overlay: Path):
        assert agent_of(pod_of(one(build(overlay), "DaemonSet")))["resources"] == {
            "requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"memory": "256Mi"}}

    def test_host_paths_are_read_only_but_the_state_directory(self, overlay: Path):
        pod = pod_of(one(build(overlay), "DaemonSet"))
        types = {each["name"]: each["hostPath"] for each in pod["volumes"] if "hostPath" in each}
        assert types.pop("state") == {"path": "/var/lib/shipper", "type": "DirectoryOrCreate"}
        for mount in agent_of(pod)["volumeMounts"]:
            if mount["name"] in types:
                assert mount["readOnly"] is True
                assert mount["mountPath"] == types[mount["name"]]["path"], "links must lead to the same place inside"

    def test_a_change_of_the_config_reaches_the_running_pod(self, overlay: Path):
        agent = agent_of(pod_of(one(build(overlay), "DaemonSet")))
        (mount,) = [each for each in agent["volumeMounts"] if each["name"] == "config"]
        assert "subPath" not in mount and agent["args"] == ["run", "-c", f"{mount['mountPath']}/shipper.yaml"]

    def test_probes_and_scrapes_find_the_port(self, overlay: Path):
        objects = build(overlay)
        workload = one(objects, "DaemonSet")
        agent, service = agent_of(pod_of(workload)), one(objects, "Service")
        config = config_in(objects).config
        assert config.admin.listen is not None
        port = int(config.admin.listen.rpartition(":")[2])
        assert agent["ports"] == [{"name": "metrics", "containerPort": port}]
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            assert agent[probe]["httpGet"] == {"path": path, "port": "metrics"}
        starts_within_s = agent["startupProbe"]["periodSeconds"] * agent["startupProbe"]["failureThreshold"]
        assert starts_within_s > config.lock_wait + 60
        annotations = workload["spec"]["template"]["metadata"]["annotations"]
        assert (annotations["prometheus.io/scrape"], annotations["prometheus.io/port"]) == ("true", str(port))
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        assert [each["name"] for each in service["spec"]["ports"]] == ["metrics"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()

    def test_the_role_only_reads_pods_namespaces_and_its_node(self, overlay: Path):
        objects = build(overlay)
        rules = {(resource, verb) for rule in one(objects, "ClusterRole")["rules"] for resource in rule["resources"]
                 for verb in rule["verbs"]}
        assert rules == {("pods", "list"), ("pods", "watch"), ("namespaces", "get"), ("nodes", "get")}
        binding, account = one(objects, "ClusterRoleBinding"), one(objects, "ServiceAccount")
        (subject,) = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], account["metadata"]["namespace"])
        assert pod_of(one(objects, "DaemonSet"))["serviceAccountName"] == account["metadata"]["name"]


def test_gke_admits_the_priority_class():
    quota = one(build(KUBERNETES / "overlays/gke"), "ResourceQuota")
    assert quota["metadata"]["namespace"] == one(build(BASE), "DaemonSet")["metadata"]["namespace"]
    assert quota["spec"]["scopeSelector"]["matchExpressions"][0]["values"] == ["system-node-critical"]


def test_the_kubelet_needs_a_permission_of_its_own():
    assert one(build(KUBERNETES / "kubelet"), "ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}]


def test_a_sidecar_needs_no_permission_and_no_host_path():
    objects = build(KUBERNETES / "overlays/sidecar")
    assert {each["kind"] for each in objects} == {"ConfigMap", "Deployment"}
    pod = pod_of(one(objects, "Deployment"))
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    assert not any("hostPath" in each for each in pod["volumes"])
    assert agent_of(pod)["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    config: Config = config_in(objects).config
    (state,) = [each for each in pod["volumes"] if each["name"] == "state"]
    assert state["emptyDir"]["sizeLimit"] == "128Mi" and config.buffer.max_size <= 64 * 1024 * 1024


@pytest.mark.parametrize("overlay", OVERLAYS, ids=named)
def test_every_overlay_is_named_in_the_docs(overlay: Path):
    assert f"packaging/kubernetes/{overlay.relative_to(KUBERNETES)}" in (ROOT / "docs/kubernetes.md").read_text()
