"""The keys of `kubernetes:`: what is refused, with place and mend, and what only warns."""
from __future__ import annotations

import pytest

from shipper.config.loader import Loaded, load_text
from shipper.errors import Usage

BASE = """\
sources:
  c: {type: containers, exclude: ['*shipper*']}
sinks:
  out: {type: stdout%s}
kubernetes:
"""


def loaded(text: str, sink: str = "") -> Loaded:
    return load_text(BASE % sink + text, "c.yaml", {})


@pytest.mark.parametrize(("text", "says"), [
    ("  metadata: kubelet\n", "kubernetes.kubelet: missing; say where, for example https://${NODE_IP}"),
    ("  kubelet: http://10.0.0.1:10255/pods\n", "6:3: kubernetes.kubelet: is no https:// address, and a token is shown to it"),
    ("  api: https://user:pw@10.0.0.1\n", "6:3: kubernetes.api: is no https:// address"),
    ("  metadata_timeout: 48h\n", "6:3: kubernetes.metadata_timeout: must be from 0s to 24h: the log files are the buffer"),
    ("  labels: ['']\n", "6:3: kubernetes.labels: an empty name matches nothing"),
    ("  annotations_allowed: [exlude]\n", "did you mean 'exclude'"),
    ("  anotations: []\n", "did you mean 'annotations'"),
])
def test_what_cannot_be_meant_is_refused_with_its_place_and_the_mend(text: str, says: str) -> None:
    with pytest.raises(Usage) as refused:
        loaded(text)
    assert says in str(refused.value)


def test_off_needs_no_quotes_and_what_it_leaves_without_effect_is_warned_of() -> None:
    found = loaded("  metadata: off\n  annotations_allowed: [parse]\nprocess:\n  - {when: {annotations: {a: b}}, parse: json}\n",
                   ", when: {labels: {app: web}}")
    assert found.config.kubernetes.metadata == "off"
    assert [line.split(": ")[1] for line in found.warnings if "kubernetes" in line] == [
        "sinks.out.when.labels", "kubernetes.annotations_allowed", "process[0].when.annotations"]


def test_everything_has_a_default_that_makes_nobody_wait() -> None:
    found = load_text((BASE % "").removesuffix("kubernetes:\n"), "c.yaml", {}).config.kubernetes
    assert (found.metadata, found.labels, found.annotations, found.annotations_allowed) == ("auto", ["*"], [], [])
    assert found.metadata_timeout == 300
