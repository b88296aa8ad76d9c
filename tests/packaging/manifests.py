"""What the tests of packaging/ share: kustomize's output, and objects found in it."""
from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "packaging/kubernetes"
MONITORING = ROOT / "packaging/monitoring"
OVERLAYS = sorted(path.parent for path in KUBERNETES.rglob("kustomization.yaml"))
NODE_OVERLAYS = [path for path in OVERLAYS if path.name not in ("kubelet", "sidecar")]


@functools.cache
def _built(directory: Path) -> str:
    done = subprocess.run(["kubectl", "kustomize", str(directory)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build(directory: Path) -> list[dict[str, Any]]:
    """The objects of an overlay, as kubectl builds them."""
    return [found for found in yaml.safe_load_all(_built(directory)) if found is not None]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only object of that kind."""
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workload["spec"]["template"]["spec"]
    return found
