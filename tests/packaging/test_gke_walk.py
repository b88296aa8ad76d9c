"""docs/gke.md as somebody walks it: its manifests build, its commands are ones that there are, its names are those of
config/gke.yaml. What needs Google's own tools (gcloud, a cluster) is not run."""
from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipper.agent.cli import main
from shipper.config.loader import load_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/gke.md").read_text()
CONFIG = (ROOT / "config/gke.yaml").read_text()
PATCHES = ("take-over.yaml", "take-over-managed.yaml")
FLUENTD = ROOT / "tests/agent/convert/fluentd-gcp.yaml"


def blocks(wanted: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == wanted]


@pytest.fixture(scope="module")
def daemonset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `kubectl apply -k my-overlay` would apply: step 3's ConfigMap and step 5's patch on the overlay of GKE."""
    directory = tmp_path_factory.mktemp("gke")
    (directory / "shipper").mkdir()
    (directory / "shipper/packaging").symlink_to(ROOT / "packaging")
    overlay = directory / "my-overlay"
    overlay.mkdir()
    for name, patch in zip(PATCHES, blocks("yaml"), strict=True):
        (overlay / name).write_text(patch)
    (overlay / "configmap.yaml").write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shipper", "namespace": "shipper"},
        "data": {"shipper.yaml": CONFIG}}))
    (kustomization,) = re.findall(r"kustomization.yaml <<EOF\n(.*?)^EOF$", PAGE, re.DOTALL | re.MULTILINE)
    (overlay / "kustomization.yaml").write_text(kustomization.replace("take-over.yaml", ", ".join(PATCHES)))
    built = subprocess.run(["kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", str(overlay)],
                           capture_output=True, text=True, check=True, timeout=60)
    (found,) = [one for one in yaml.safe_load_all(built.stdout) if one["kind"] == "DaemonSet"]
    return found["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def test_the_init_container_builds_with_the_agents_image_and_volumes(daemonset: dict[str, Any]):
    (agent,) = daemonset["containers"]
    assert {one["name"] for one in daemonset["initContainers"]} == {"take-over", "take-over-managed"}
    for first in daemonset["initContainers"]:
        assert first["image"] == agent["image"] == "registry.example.com/shipper:0.1.0"
        volumes = {volume["name"] for volume in daemonset["volumes"]}
        assert {mount["name"] for mount in first["volumeMounts"]} <= volumes and "state" in volumes
        where = {mount["name"]: mount["mountPath"] for mount in agent["volumeMounts"]}
        assert all(where.get(mount["name"], mount["mountPath"]) == mount["mountPath"] for mount in first["volumeMounts"])
        environ = {one["name"] for one in first["env"]} | {one["name"] for one in agent["env"]}
        assert set(re.findall(r"\$\{(\w+)\}", CONFIG)) <= environ, "what the config asks for, both containers have"


def test_its_command_is_one_and_a_node_without_fluentd_passes(
    daemonset: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
):
    path = tmp_path / "shipper.yaml"
    path.write_text(CONFIG.replace("/var/lib/shipper", str(tmp_path / "state")))
    monkeypatch.setenv("NODE_NAME", "n1")
    for container in daemonset["initContainers"]:
        assert main([str(path) if arg == "/etc/shipper/shipper.yaml" else arg for arg in container["args"]]) == 0
        assert "nothing to take over" in capsys.readouterr().out


def test_step_3_as_written_gives_a_config_that_check_and_explain_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
):
    assert "kubectl get cm -n kube-system fluentd-gcp-config" in PAGE
    with open(FLUENTD) as file:
        monkeypatch.setattr("sys.stdin", file)
        assert main(["convert", "fluentd", "-"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    path = tmp_path / "shipper.yaml"
    path.write_text(out)
    for name in ("NODE_NAME", "CLUSTER_NAME", "POD_IP"):
        monkeypatch.setenv(name, "10.0.0.1")
    assert [main(["check", "-c", str(path)]), main(["explain", "-c", str(path)])] == [0, 0]
    assert load_text(out, "c.yaml", {"CLUSTER_NAME": "c", "POD_IP": "10.0.0.9"}).config.admin.listen == "[10.0.0.9]:3903", \
        "probes come from outside the pod"


def test_every_command_of_shipper_on_the_page_is_one(capsys: pytest.CaptureFixture[str]):
    lines = [line.split("#")[0] for block in blocks() for line in block.splitlines()]
    ours = re.compile(r"(?:^|-- |\| |NODE_NAME=x )shipper ([a-z].*?)(?: >.*)?$")
    commands = [found[1] for line in lines if (found := ours.search(line))]
    assert len(commands) >= 5
    for command in commands:
        assert main([shlex.split(command)[0], "--help"]) == 0, command


def test_sources_that_the_page_names_are_in_the_config_and_its_journals_are_those_of_fluentd_gcp():
    config = load_text(CONFIG, "gke.yaml", {"NODE_NAME": "n1"}).config
    named = re.findall(r"--source ([a-z-]+)", PAGE)
    journals = {name for name, source in config.sources.items() if type(source).__name__ == "JournalSource"}
    assert set(named) <= journals
    assert journals == {"docker", "container-runtime", "kubelet", "node-problem-detector", "node-journal"}
