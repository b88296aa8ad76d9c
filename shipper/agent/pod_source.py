"""Where the metadata of pods come from here: api, kubelet or nowhere. What is not configured is not imported."""
from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from ..config.kubernetes import PREFIX, Kubernetes
from ..config.types import Config, ContainersSource
from ..kube.objects import Names, Wanted
from ..kube.source import PodSource
from ..kube.store import PodStore
from ..telemetry import Telemetry


def kind_of(config: Config, environ: Mapping[str, str]) -> str:
    """api, kubelet or off; `auto` decided by where this process runs."""
    settings = config.kubernetes
    if not any(isinstance(source, ContainersSource) for source in config.sources.values()):
        return "off"
    if settings.metadata != "auto":
        return settings.metadata
    in_pod = bool(settings.api or environ.get("KUBERNETES_SERVICE_HOST")) and os.path.exists(settings.token_file)
    return "api" if in_pod else "off"


def api_address(settings: Kubernetes, environ: Mapping[str, str]) -> str:
    """The API server's; that of the pod's own cluster where none is given."""
    if settings.api:
        return settings.api
    host = environ.get("KUBERNETES_SERVICE_HOST") or "kubernetes.default.svc"
    return f"https://{f'[{host}]' if ':' in host else host}:{environ.get('KUBERNETES_SERVICE_PORT') or 443}"


def pod_source(
    kind: str, settings: Kubernetes, node: str, environ: Mapping[str, str], store: PodStore, wanted: Wanted,
    changed: Callable[[set[str]], None], telemetry: Telemetry, pace: float,
) -> PodSource:
    """The source of this `kind`. Touches nothing yet."""
    from ..kube.client import KubeClient

    if kind == "kubelet":
        from ..kube.kubelet import KubeletPods, address_of

        client = KubeClient(address_of(settings.kubelet or ""), telemetry, token_file=settings.token_file,
                            ca_file=settings.ca_file, verify=settings.kubelet_verify)
        return KubeletPods(client, store, wanted, changed, telemetry, pace=pace)
    from ..kube.api import ApiPods

    client = KubeClient(api_address(settings, environ), telemetry, token_file=settings.token_file, ca_file=settings.ca_file)
    return ApiPods(client, node, store, wanted, changed, telemetry, pace=pace, node_labels=Names(settings.node_labels),
                   namespace_labels=Names(settings.namespace_labels))


def wanted_of(settings: Kubernetes, names: Mapping[str, Collection[str]]) -> Wanted:
    """What records show, what rules name, and what may steer."""
    return Wanted(
        (*settings.labels, *sorted(map(_escaped, names["labels"]))),
        (*settings.annotations, *sorted(map(_escaped, names["annotations"])), PREFIX + "*"), settings.owner)


def _escaped(name: str) -> str:
    return name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
