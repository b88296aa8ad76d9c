"""S1 to S4, K1, K2: what is kept of pods, for how long, and how much it may cost."""
from __future__ import annotations

import msgspec
import orjson
import pytest

from shipper.kube.objects import MOST_TEXT_BYTES, Chosen, Names, Pod, Wanted, decode_list, pods_of
from shipper.kube.store import PodStore
from tests.support.kube_api import pod

HASH = "0123456789abcdef0123456789abcdef"


def decoded(*found: dict, wanted: Wanted = Wanted(("*",), ("shipper.io/*",), True)) -> list[Pod]:  # noqa: B008 - a tuple
    return pods_of(decode_list(orjson.dumps({"items": found})).items or (), Chosen(wanted))


def named(uid: str, **values: str) -> Pod:
    return Pod(uid, "", "default", f"pod-{uid}", values, {})


@pytest.mark.parametrize(("annotations", "alias"), [
    ({}, ""), ({"config.hash": HASH}, ""), ({"config.hash": HASH, "config.source": "api"}, ""),
    ({"config.hash": HASH, "config.source": "file"}, HASH), ({"config.hash": "u1", "config.source": "http"}, ""),
    ({"config.mirror": HASH}, HASH), ({"config.mirror": HASH, "config.hash": "other", "config.source": "file"}, HASH)])
def test_a_pod_of_the_api_server_has_no_other_uid_whatever_hash_it_carries(annotations: dict[str, str], alias: str) -> None:
    (found,) = decoded(pod("web", uid="u1", annotations={f"kubernetes.io/{name}": text for name, text in annotations.items()}))
    assert found.alias == alias


def test_what_steers_the_agent_is_kept_before_all_that_only_describes_a_pod() -> None:
    found = pod("web", uid="u1", annotations={"shipper.io/redact": "x" * 10_000} | {f"a{n:03}": "y" * 100 for n in range(200)})
    kept = decoded(found, wanted=Wanted((), ("*",)))[0].annotations
    assert "shipper.io/redact" in kept and 40 < len(kept) < 70


@pytest.mark.parametrize(("owners", "owner"), [
    ([{"kind": "Other", "name": "o"}, {"kind": "ReplicaSet", "name": "web-5d4f", "controller": True}], ("Deployment", "web")),
    ([{"kind": "ReplicaSet", "name": "web-aaaa"}], ("ReplicaSet", "web-aaaa")),
    ([{"kind": "StatefulSet", "name": "web-5d4f"}], ("StatefulSet", "web-5d4f"))])
def test_the_owner_is_the_controller_and_of_a_replica_set_its_deployment(owners: list[dict], owner: tuple[str, str]) -> None:
    found = pod("web-5d4f-x", uid="u1", labels={"pod-template-hash": "5d4f"})
    found["metadata"]["ownerReferences"] = owners
    assert decoded(found)[0].owner == owner


def test_a_deleted_pod_is_known_for_a_while_and_then_forgotten() -> None:
    store = PodStore(keep_s=300)
    store.put(named("a"))
    store.end("a", 100.0)
    store.expire(399.0)
    assert store.find("a", "", "") == named("a") and store.running == 0
    store.expire(400.0)
    assert store.find("a", "", "") is None and len(store) == 0


def test_a_pod_that_is_in_no_list_ended_when_it_was_in_none_for_the_first_time() -> None:
    """Lists come each few seconds where somebody asks: an end that moved with them would never be long ago."""
    store = PodStore(keep_s=300)
    store.replace([named("a")], 1.0)
    for now_s in (10.0, 200.0, 309.0):
        store.replace([], now_s)
    store.expire(310.0)
    assert len(store) == 0


def test_a_pod_that_comes_back_in_a_list_has_not_ended() -> None:
    store = PodStore()
    assert store.replace([named("a"), named("b")], 1.0) == {"a", "b"}
    assert store.replace([named("b", app="x")], 2.0) == {"b"}
    assert store.running == 1
    assert store.replace([named("a"), named("b", app="x")], 3.0) == set()
    store.expire(10_000.0)
    assert store.running == len(store) == 2


def test_the_number_of_pods_is_bounded_and_those_that_ended_first_go_first() -> None:
    store = PodStore(most=3)
    store.replace([named("a"), named("b"), named("c")], 1.0)
    store.end("b", 2.0)
    store.end("a", 3.0)
    assert store.put(named("d")) == {"d"} and store.find("b", "", "") is None and store.find("a", "", "")
    store.put(named("e"))
    assert store.put(named("f")) == set() and store.left_out == 1 and len(store) == 3


def test_a_static_pod_is_found_by_its_hash_from_the_api_and_from_the_kubelet() -> None:
    mirror = pod("etcd-n1", "kube-system", uid="u1", labels={"tier": "control-plane"}, annotations={
        "kubernetes.io/config.mirror": HASH, "kubernetes.io/config.hash": HASH, "kubernetes.io/config.source": "file"})
    itself = pod("etcd-n1", "kube-system", uid=HASH, labels={"tier": "control-plane"}, annotations={
        "kubernetes.io/config.hash": HASH, "kubernetes.io/config.source": "file"})
    for each in (mirror, itself):
        store = PodStore()
        assert HASH in store.replace(decoded(each), 0.0)
        found = store.find(HASH, "kube-system", "etcd-n1")
        assert found is not None and found.labels == {"tier": "control-plane"}


def test_nobody_gets_another_pods_labels_by_an_annotation() -> None:
    store = PodStore()
    thief = pod("thief", "default", uid="u2", labels={"tier": "faked"}, annotations={"kubernetes.io/config.mirror": HASH})
    store.replace(decoded(thief), 0.0)
    assert store.find(HASH, "kube-system", "etcd-n1") is None
    mirror = pod("etcd-n1", "kube-system", uid="u1", labels={"tier": "real"}, annotations={"kubernetes.io/config.mirror": HASH})
    store.replace(decoded(mirror, thief), 0.0)
    found = store.find(HASH, "kube-system", "etcd-n1")
    assert found is not None and found.labels == {"tier": "real"}


@pytest.mark.parametrize(("owner", "labels", "expect"), [
    (("ReplicaSet", "web-5d4f"), {"pod-template-hash": "5d4f"}, ("Deployment", "web")),
    (("ReplicaSet", "web-5d4f"), {}, ("ReplicaSet", "web-5d4f")),
    (("StatefulSet", "db"), {"pod-template-hash": "5d4f"}, ("StatefulSet", "db")),
    (None, {}, ("", "")),
])
def test_the_owner_is_what_people_deployed(
    owner: tuple[str, str] | None, labels: dict[str, str], expect: tuple[str, str],
) -> None:
    (found,) = decoded(pod("web-0", labels=labels, owner=owner))
    assert found.owner == expect
    assert decoded(pod("web-0", owner=owner), wanted=Wanted((), ()))[0].owner == ("", "")


def test_only_what_is_wanted_is_kept_sorted_and_bounded() -> None:
    big = {f"shipper.io/{n}": "x" * 3000 for n in range(100)}
    (found,) = decoded(pod("web-0", labels={"b": "1", "a": "2", "x": "3"}, annotations={**big, "other": "y"}),
                       wanted=Wanted(("[ab]",), ("shipper.io/*",)))
    assert list(found.labels.items()) == [("a", "2"), ("b", "1")]
    assert 0 < sum(map(len, found.annotations.values())) <= MOST_TEXT_BYTES and "other" not in found.annotations


def test_null_where_maps_are_expected_is_nothing_and_other_things_are_an_error() -> None:
    assert decoded({"metadata": {"uid": "u", "labels": None, "annotations": None, "ownerReferences": None}})[0].labels == {}
    assert decoded({"metadata": {"name": "no uid"}}) == []
    assert decode_list(b'{"items": null}').items is None
    for wrong in (b"", b"[]", b'{"items": [1]}', b'{"items": [{"metadata": {"labels": ["a"]}}]}', b'{"items":[{"metadata":{'):
        with pytest.raises((ValueError, msgspec.MsgspecError)):
            decode_list(wrong)


def test_globs_choose_names() -> None:
    labels = {"app": "1", "app.kubernetes.io/name": "2", "zone": "3"}
    assert Names(["app*"]).of(labels) == {"app": "1", "app.kubernetes.io/name": "2"}
    assert Names(["*"]).of(labels) == labels and Names([]).of(labels) == {} and not Names([])


def test_a_long_annotation_takes_no_other_ones_place_and_what_steers_comes_first() -> None:
    """`annotations: ["*"]` and a kubectl.kubernetes.io/last-applied-configuration of 200 KiB."""
    given = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 200_000, "a": "y" * (MOST_TEXT_BYTES - 100),
             "zone": "z", "shipper.io/exclude": "true"}
    found, = decoded(pod("web-0", annotations=given), wanted=Wanted(("*",), ("*",)))
    assert sorted(found.annotations) == ["a", "shipper.io/exclude", "zone"]


def test_labels_are_bounded_too() -> None:
    labels = {f"example.com/{'n' * 40}-{n}": "v" * 60 for n in range(5000)}
    found, = decoded(pod("web-0", labels={**labels, "app": "web"}))
    assert found.labels["app"] == "web" and sum(len(name) + len(value) for name, value in found.labels.items()) <= MOST_TEXT_BYTES
