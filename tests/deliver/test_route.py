"""`when` against metadata. R: route.py."""
from __future__ import annotations

import pytest

from shipper.deliver.route import compile_when

from .support import source

WEB = source("web-0", "default", labels={"app": "web", "tier": "front"}, annotations={"log": "yes"})
BARE = source("db-0", "payments")


@pytest.mark.parametrize("when, web, bare", [
    ({}, True, True),
    ({"namespace": ["default"]}, True, False),
    ({"namespace": ["pay*", "default"]}, True, True),
    ({"namespace": ["*"], "pod": ["db-?"]}, False, True),
    ({"pod": "web-*"}, True, False),
    ({"container": ["app"]}, True, True),
    ({"source": ["host"]}, False, False),
    ({"kind": ["containers"]}, True, True),
    ({"labels": {"app": ["web", "api"]}}, True, False),
    ({"labels": {"app": "*"}}, True, False),
    ({"labels": {"app": ["web"], "tier": ["back"]}}, False, False),
    ({"annotations": {"log": ["yes"]}}, True, False),
    ({"namespace": ["DEFAULT"]}, False, False),
    ({"pod": ["web"]}, False, False),
])
def test_when_matches(when, web, bare):
    routed = compile_when(when)
    assert (routed(WEB), routed(BARE)) == (web, bare)


@pytest.mark.parametrize("when, message", [
    ({"namespaces": ["a"]}, "when.namespaces: unknown key; did you mean 'namespace'?"),
    ({"zzz": ["a"]}, "when.zzz: unknown key; use one of namespace, pod, container, source, kind, labels, annotations"),
    ({"pod": 5}, "when.pod is not a list of globs"),
    ({"pod": []}, "when.pod is not a list of globs"),
    ({"pod": [True]}, "when.pod is not a list of globs"),
    ({"labels": ["app"]}, "when.labels is not a mapping"),
    ({"labels": {"app": [1]}}, "when.labels.app is not a list of globs"),
])
def test_a_wrong_when_is_refused_with_the_mend(when, message):
    with pytest.raises(ValueError) as caught:
        compile_when(when)
    assert message in str(caught.value)


def test_the_answer_is_kept_on_the_source_and_two_sinks_do_not_share_it():
    src = source("web-0")
    web, db = compile_when({"pod": ["web-*"]}), compile_when({"pod": ["db-*"]})
    assert (web(src), db(src), web(src)) == (True, False, True)
    assert len(src.cache) == 2
