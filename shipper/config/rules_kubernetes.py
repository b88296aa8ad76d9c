"""Rules about `kubernetes:` and about what depends on it. Pure."""
from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from .draft import Draft, Findings
from .tree import Path
from .when import MAP_KEYS


def _kubernetes(draft: Draft, say: Findings) -> None:
    found = draft.kubernetes
    if found is None:
        return
    for key, example in (("api", "https://10.0.0.1:443"), ("kubelet", "https://${NODE_IP}:10250/pods")):
        value = getattr(found, key)
        if value is not None and not _is_https(value):
            say.error(("kubernetes", key), f"is no https:// address, and a token is shown to it; write for example {example}")
    if found.metadata == "kubelet" and found.kubelet is None:
        say.error(("kubernetes", "kubelet"), "missing; say where, for example https://${NODE_IP}:10250/pods with NODE_IP from "
                                             "status.hostIP")
    for key in ("labels", "annotations", "node_labels", "namespace_labels"):
        if any(not glob for glob in getattr(found, key)):
            say.error(("kubernetes", key), "an empty name matches nothing; remove it")
    if found.metadata == "off":
        _without_metadata(draft, say)


def _is_https(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False


def _without_metadata(draft: Draft, say: Findings) -> None:
    for path in _asking(draft):
        say.warn(path, f"nothing matches: {path[-1]} come with Kubernetes metadata, and kubernetes.metadata is off; set it to "
                       "auto, or choose by namespace, pod or container")
    if draft.kubernetes is not None and draft.kubernetes.annotations_allowed:
        say.warn(("kubernetes", "annotations_allowed"), "has no effect while kubernetes.metadata is off")


def _asking(draft: Draft) -> Iterator[Path]:
    for name, common in draft.commons.items():
        yield from (("sinks", name, "when", key) for key in MAP_KEYS if key in common.when)
    for i, rule in enumerate(draft.process or ()):
        yield from (("process", f"[{i}]", "when", key) for key in MAP_KEYS if key in rule.when)


KUBERNETES_RULES = (_kubernetes,)
