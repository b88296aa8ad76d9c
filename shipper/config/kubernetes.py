"""`kubernetes:` as a config type: where the labels and annotations of pods come from, and what is taken of them.

    kubernetes:
      metadata: auto                   # auto | off | api | kubelet
      annotations_allowed: [exclude]   # what a pod's own shipper.io/... annotations may decide

Plane: pure; shapes only.
"""
from __future__ import annotations

from typing import Literal

import msgspec

from .units import Seconds

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds its service account's token and the API server's CA."""

PREFIX = "shipper.io/"
Steering = Literal["exclude", "parse", "multiline"]


class Kubernetes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """Pod metadata.

    metadata             auto: `api` in a pod that has a service account and reads containers, else `off`
    api                  None: https://KUBERNETES_SERVICE_HOST:KUBERNETES_SERVICE_PORT
    ca_file, token_file  of the API server or the kubelet; read again when they change
    kubelet              https://NODE_IP:10250/pods
    kubelet_verify       False: any certificate is taken; many kubelets sign their own
    metadata_timeout     how long a file waits for labels that a rule asks for
    labels, annotations, node_labels, namespace_labels   globs of the names that records show
    owner                records show what the pod belongs to (Deployment, StatefulSet, ...)
    annotations_allowed  which of PREFIX's annotations of a pod are obeyed
    read_own_pod         False: the logs of the pod POD_UID are not read
    """

    metadata: Literal["auto", "off", "api", "kubelet"] = "auto"
    api: str | None = None
    ca_file: str = f"{ACCOUNT}/ca.crt"
    token_file: str = f"{ACCOUNT}/token"
    kubelet: str | None = None
    kubelet_verify: bool = True
    metadata_timeout: Seconds = Seconds(300.0)
    labels: list[str] = msgspec.field(default_factory=lambda: ["*"])
    annotations: list[str] = msgspec.field(default_factory=list)
    owner: bool = False
    node_labels: list[str] = msgspec.field(default_factory=list)
    namespace_labels: list[str] = msgspec.field(default_factory=list)
    annotations_allowed: list[Steering] = msgspec.field(default_factory=list)
    read_own_pod: bool = False
