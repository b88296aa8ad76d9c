"""What is taken of an API object. msgspec skips the rest (spec, status, managedFields) without building it.

Invariants (tests/kube/test_store.py):
  K1  a pod costs its chosen labels and annotations, whatever else it carries; at most MOST_TEXT_BYTES of either
  K2  what is no such object is a ValueError (msgspec.ValidationError is one), never a half-read pod
Pure.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from typing import NamedTuple

import msgspec

MIRROR = "kubernetes.io/config.mirror"
HASH = "kubernetes.io/config.hash"
FROM = "kubernetes.io/config.source"
TEMPLATE_HASH = "pod-template-hash"
MOST_TEXT_BYTES = 16 * 1024
STEERS = "shipper.io/"


class Owner(msgspec.Struct):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Meta(msgspec.Struct, rename="camel"):
    """metadata of an object or of a list."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None


class Object(msgspec.Struct):
    metadata: Meta


class ObjectList(msgspec.Struct):
    metadata: Meta = msgspec.field(default_factory=Meta)
    items: list[Object] | None = None


class Event(msgspec.Struct):
    """One line of a watch. `object` is decoded by its type: an object, a bookmark, a Status."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct):
    code: int = 0
    reason: str = ""
    message: str = ""


decode_list = msgspec.json.Decoder(ObjectList).decode
decode_object = msgspec.json.Decoder(Object).decode
decode_event = msgspec.json.Decoder(Event).decode
decode_status = msgspec.json.Decoder(Status).decode


class Pod(NamedTuple):
    """What is kept of a pod. Compared by value: equal means that nothing of interest changed.

    alias   the uid in its log directory where that is not `uid`: a static pod's config hash; else ""
    owner   (kind, name) of its controller, a ReplicaSet's Deployment; ("", "") where it has none or none was asked for
    """

    uid: str
    alias: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: tuple[str, str] = ("", "")


class Names:
    """Globs over the names of labels or annotations."""

    def __init__(self, globs: Iterable[str]) -> None:
        globs = list(dict.fromkeys(globs))
        self._all = "*" in globs
        self._match = re.compile("|".join(map(translate, globs))).match if globs else None

    def __bool__(self) -> bool:
        return self._match is not None

    def of(self, found: Mapping[str, str] | None) -> dict[str, str]:
        """Those whose name is wanted, sorted by name: equal labels give equal bytes."""
        if not found or self._match is None:
            return {}
        if self._all:
            return dict(sorted(found.items()))
        return {name: value for name, value in sorted(found.items()) if self._match(name)}


class Wanted(NamedTuple):
    """What to keep of each pod: globs of names."""

    labels: tuple[str, ...]
    annotations: tuple[str, ...]
    owner: bool = False


class Chosen:
    """A Wanted, compiled."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.labels, self.annotations = wanted, Names(wanted.labels), Names(wanted.annotations)
        self.owner = wanted.owner


def pod_of(found: Object, wanted: Chosen) -> Pod:
    """What is kept of it (K1)."""
    meta = found.metadata
    annotations = meta.annotations or {}
    return Pod(
        meta.uid, _alias(meta.uid, annotations), meta.namespace, meta.name,
        _bounded(wanted.labels.of(meta.labels)),
        _bounded(wanted.annotations.of(annotations)), _owner(meta) if wanted.owner else ("", ""),
    )


def pods_of(found: Iterable[Object], wanted: Chosen) -> list[Pod]:
    """Of those that are pods; one without a uid is none."""
    return [pod_of(each, wanted) for each in found if each.metadata.uid]


def _alias(uid: str, annotations: Mapping[str, str]) -> str:
    """At the API server a static pod is a mirror with a uid of its own; at the kubelet it is the pod itself."""
    alias = annotations.get(MIRROR, "")
    if not alias and annotations.get(FROM, "api") != "api":
        alias = annotations.get(HASH, "")
    return alias if alias != uid else ""


def _bounded(found: dict[str, str]) -> dict[str, str]:
    """Whole ones up to MOST_TEXT_BYTES, what steers first, then the short ones; the API server allows 256 KiB of annotations."""
    if sum([len(name) + len(value) for name, value in found.items()]) <= MOST_TEXT_BYTES:
        return found
    kept: set[str] = set()
    left = MOST_TEXT_BYTES
    for name in sorted(found, key=lambda name: (not name.startswith(STEERS), len(name) + len(found[name]), name)):
        left -= len(name) + len(found[name])
        if left < 0:
            break
        kept.add(name)
    return {name: value for name, value in found.items() if name in kept}


def _owner(meta: Meta) -> tuple[str, str]:
    owners = meta.owner_references or []
    found = next((owner for owner in owners if owner.controller), owners[0] if owners else None)
    if found is None:
        return "", ""
    template = (meta.labels or {}).get(TEMPLATE_HASH)
    if found.kind == "ReplicaSet" and template and found.name.endswith("-" + template):
        return "Deployment", found.name.removesuffix("-" + template)      # a Deployment names its ReplicaSets so
    return found.kind, found.name
