"""What the names on the way to a container's log file say about the container.

    /var/log/containers/<pod>_<ns>_<container>-<64 hex>.log    link     pod, ns, container, id; base name cut to 251 + ".log"
    /var/log/pods/<ns>_<pod>_<uid>/<container>/<n>.log         pods     ns, pod, uid, container, restart
    /var/log/pods/<uid>/<container>/<n>.log                    older    uid, container, restart
    /var/log/pods/<uid>/<container>_<n>.log                    oldest   uid, container, restart
    /var/lib/docker/containers/<id>/<id>-json.log              docker   id

(kubelet: pkg/kubelet/kuberuntime/legacy.go, logSymlink and pkg/kubelet/util BuildPodLogsDirectory.)

Invariants:
  N1  no name raises, whatever its bytes; what a name does not say is "" or 0
  N2  what comes out is clean UTF-8: a byte that is not becomes U+FFFD. Control characters stay, encoders escape them
  N3  where two names disagree the one nearer to the file wins: a link says anything, kubelet made the directory
  N4  names are told by their shape, not by where the tree is mounted
Plane: pure. Once per lineage.
"""
from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from sys import intern
from typing import NamedTuple

from shipper.model import Source

CUT_BYTES = 255
"""A base name of this length was cut by kubelet (251 and ".log"): what stands at its end proves nothing."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_LINK = re.compile(r"([^_]+)_([^_]+)_(.+)-([0-9a-f]{64})", re.DOTALL)
_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")
_NUMBERED = re.compile(r"([0-9]{1,9})\.log")
_NUMBERED_FLAT = re.compile(r"(.+)_([0-9]{1,9})\.log", re.DOTALL)
_DOCKER = re.compile(r"([0-9a-f]{64})-json\.log")


class Names(NamedTuple):
    namespace: str = ""
    pod: str = ""
    pod_uid: str = ""
    container: str = ""
    container_id: str = ""
    restart: int = 0


def names_of(hops: Sequence[str]) -> Names:
    """What `hops` say together: the matched path first, then each link target, the file itself last (N3)."""
    found = _of_one(hops[0]) if hops else Names()
    for path in hops[1:]:
        found = Names._make([new or old for old, new in zip(found, _of_one(path))])
    return found


def _of_one(path: str) -> Names:
    directory, parent, base = _last_parts(path)
    if (docker := _DOCKER.fullmatch(base)) and directory == docker[1]:
        return Names(container_id=docker[1])
    if numbered := _NUMBERED.fullmatch(base):
        return _in_pod(parent)._replace(container=clean(directory), restart=int(numbered[1]))
    if (flat := _NUMBERED_FLAT.fullmatch(base)) and _UID.fullmatch(directory):
        return Names(pod_uid=directory, container=clean(flat[1]), restart=int(flat[2]))
    return _of_link(base)


def _last_parts(path: str) -> tuple[str, str, str]:
    """Directory, its parent, base name; "" for what there is not."""
    parts = path.rsplit("/", 3)
    return (parts[-2] if len(parts) > 1 else ""), (parts[-3] if len(parts) > 2 else ""), parts[-1]


def _in_pod(directory: str) -> Names:
    if _UID.fullmatch(directory):
        return Names(pod_uid=directory)
    parts = directory.split("_")
    if len(parts) < 3:
        return Names()
    return Names(namespace=clean(parts[0]), pod=clean("_".join(parts[1:-1])), pod_uid=clean(parts[-1]))


def _of_link(base: str) -> Names:
    stem = base.removesuffix(".log")
    if whole := _LINK.fullmatch(stem):
        pod, namespace, container, container_id = whole.groups()
        return Names(clean(namespace), clean(pod), "", clean(container), container_id)
    parts = stem.split("_", 2)
    if len(parts) < 3 or not all(parts):
        return Names()
    cut = len(os.fsencode(_SURROGATE.sub("?", base))) >= CUT_BYTES
    return Names(namespace=clean(parts[1]), pod=clean(parts[0]), container="" if cut else clean(parts[2]))


def clean(name: str) -> str:
    """`name` as UTF-8 that JSON can hold: each undecodable byte (a surrogate escape) becomes U+FFFD (N2)."""
    return name if name.isascii() else _SURROGATE.sub("\ufffd", name)


def lineage_name(resolved_path: str) -> str:
    """The name of the lineage whose live file has this path: the path itself where it is clean.

    Otherwise the clean form and a hash of the bytes, because two names may look alike once cleaned. Such a lineage is
    found by scanning only: no path can be made from its name.
    """
    cleaned = clean(resolved_path)
    if cleaned == resolved_path:
        return resolved_path
    raw = resolved_path.encode("utf-8", "surrogatepass")
    return f"{cleaned}#{blake2b(raw, digest_size=8).hexdigest()}"


def source_of(kind: str, name: str, node: str, hops: Sequence[str], resolved_path: str) -> Source:
    """The Source of one lineage. `hops` as for `names_of`; a source of kind "files" has no names."""
    names = names_of(hops) if kind == "containers" else Names()
    names = names._replace(namespace=intern(names.namespace), container=intern(names.container))     # few, of very many logs
    return Source(kind, name, clean(hops[0]), lineage_name(resolved_path), node, *names)
