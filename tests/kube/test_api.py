"""A1 to A5, F1 to F3 and H1 to H4 against a strict API server that does what API servers do on bad days."""
from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shipper.kube.api import ApiPods
from shipper.kube.client import KubeClient
from shipper.kube.objects import Names, Pod, Wanted
from shipper.kube.source import NAMESPACE, NODE
from shipper.kube.store import PodStore
from shipper.telemetry import Telemetry
from tests.support.kube_api import FakeApi, pod

WITHIN_S = 30.0
PACE = 0.02


class Rig:
    """ApiPods on a FakeApi, its task, and what it told."""

    def __init__(self, api: FakeApi, *, node_labels: tuple[str, ...] = (), namespace_labels: tuple[str, ...] = (),
                 timeout_s: float = 5.0, watch_s: float = 300, owner: bool = True) -> None:
        self.api, self.telemetry, self.store, self.told = api, Telemetry(), PodStore(), set[str]()
        self.client = KubeClient(api.url, self.telemetry, token_file=str(api.token_file), ca_file=str(api.ca_file),
                                 timeout_s=timeout_s)
        self.pods = ApiPods(self.client, "n1", self.store, Wanted(("*",), ("shipper.io/*",), owner), self.told.update,
                            self.telemetry, node_labels=Names(node_labels), namespace_labels=Names(namespace_labels), pace=PACE,
                            watch_s=watch_s)

    async def until(self, what: str, look: Callable[[], object]) -> None:
        end_s = time.monotonic() + WITHIN_S
        while not look():
            assert time.monotonic() < end_s, f"{what}: {self.pods.status()} {self.api.refused} {self.telemetry.lines[-5:]}"
            assert not self.task.done(), self.task
            await asyncio.sleep(0.005)

    def labels(self, uid: str) -> dict[str, str] | None:
        found = self.store.find(uid, "default", "")
        return dict(found.labels) if found is not None else None

    async def listed(self, lists: int = 1) -> None:
        await self.until(f"list {lists}", lambda: self.pods.lists >= lists)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Rig]:
        self.task = asyncio.create_task(self.pods.run())
        try:
            yield self
        finally:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            await self.pods.close()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[FakeApi]:
    async with FakeApi(tmp_path) as api:
        yield api


async def test_the_list_and_then_every_change_are_known(api: FakeApi) -> None:
    first = api.put(pod("web-0", labels={"b": "2", "a": "1"}, annotations={"shipper.io/parse": "json", "secret": "x"},
                        owner=("ReplicaSet", "web-5d4f")))
    api.put(pod("elsewhere", node="n2"))
    async with Rig(api).running() as rig:
        await rig.listed()
        uid = first["metadata"]["uid"]
        assert rig.store.find(uid, "", "") == Pod(uid, "", "default", "web-0", {"a": "1", "b": "2"}, {"shipper.io/parse": "json"},
                                                  ("ReplicaSet", "web-5d4f"))
        assert rig.store.running == 1 and rig.told == {uid}
        second = api.put(pod("web-1", labels={"app": "db"}))
        await rig.until("added", lambda: rig.labels(second["metadata"]["uid"]) == {"app": "db"})
        api.put(pod("web-0", uid=uid, labels={"app": "new"}))
        await rig.until("modified", lambda: rig.labels(uid) == {"app": "new"})
        api.delete(uid)
        await rig.until("deleted", lambda: rig.store.running == 1)
        assert rig.labels(uid) == {"app": "new"}, "it stays known for a while"
        assert rig.pods.lists == 1
    assert set(api.requests) == {("list", "pods"), ("watch", "pods")} and not api.refused


async def test_410_as_a_status_and_as_an_event_lists_anew_and_what_is_gone_has_ended(api: FakeApi) -> None:
    first, second = api.put(pod("web-0", labels={"v": "1"})), api.put(pod("web-1"))
    async with Rig(api).running() as rig:
        await rig.listed()
        api.compact()                                              # the open watch gets an ERROR event with code 410
        await rig.listed(2)
        api.faults.down = True
        await rig.until("the watch is cut", lambda: rig.pods.status()["last_error"])
        api.delete(second["metadata"]["uid"])
        api.put(pod("web-0", uid=first["metadata"]["uid"], labels={"v": "2"}))
        api.compact()
        api.faults.down = False
        await rig.listed(3)                                        # the next watch was answered with status 410
        assert rig.store.running == 1 and rig.labels(first["metadata"]["uid"]) == {"v": "2"}
        assert rig.telemetry.value("shipper_metadata_errors_total", "410") >= 2
        assert "metadata" not in rig.telemetry.degraded_since


async def test_other_error_events_are_troubles_with_a_bounded_label_and_the_watch_goes_on_from_where_it_was(api: FakeApi) -> None:
    first = api.put(pod("web-0"))
    async with Rig(api).running() as rig:
        await rig.listed()
        for code in (500, 123456789):
            api.faults.error_event = code
            api._wake()
            await rig.until("counted", lambda: not api.faults.error_event)
        api.put(pod("web-0", uid=first["metadata"]["uid"], labels={"v": "2"}))
        await rig.until("modified", lambda: rig.labels(first["metadata"]["uid"]) == {"v": "2"})
        reasons = {labels[0] for name, labels in rig.telemetry.values if name == "shipper_metadata_errors_total"}
        assert reasons == {"500", "error"} and rig.pods.lists == 1


async def test_a_bookmark_carries_the_version_on_so_that_a_quiet_watch_survives_compaction(api: FakeApi) -> None:
    api.put(pod("web-0"))
    api.faults.end_s = 0.3
    async with Rig(api).running() as rig:
        await rig.listed()
        for _ in range(50):
            api.put(pod("elsewhere", node="n2"))
        await rig.until("a bookmark past them", lambda: rig.pods._version == str(api.version))
        api._events.clear()
        api.compacted = api.version                               # a watch from the list's own version would be 410 now
        watches = rig.pods.watches
        await rig.until("the next watch", lambda: rig.pods.watches >= watches + 2)
        assert rig.pods.lists == 1


async def test_a_watch_that_is_cut_all_the_time_loses_no_change(api: FakeApi) -> None:
    api.faults.cut_s = 0.05
    async with Rig(api).running() as rig:
        await rig.listed()
        uids = []
        for n in range(60):
            uids.append(api.put(pod(f"web-{n}", labels={"n": str(n)}))["metadata"]["uid"])
            await asyncio.sleep(0.01)
        await rig.until("all of them", lambda: [rig.labels(uid) for uid in uids] == [{"n": str(n)} for n in range(60)])
        await rig.until("it was cut often", lambda: rig.pods.watches > 5)
        assert rig.pods.lists == 1, rig.pods.status()


async def test_a_server_that_ends_each_watch_at_once_is_not_hammered(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[int] = []
    monkeypatch.setattr("shipper.kube.api.pause_s", lambda failures: pauses.append(failures) or 0.0)
    monkeypatch.setattr("shipper.kube.api.SHORT_WATCH_S", 30.0 / PACE)
    api.faults.end_s = 0.001
    async with Rig(api).running() as rig:
        await rig.until("watches", lambda: rig.pods.watches >= 10)
        assert len(pauses) >= 9 and rig.pods.lists == 1


async def test_pods_that_nobody_knows_make_a_list_each_five_seconds_at_most(api: FakeApi) -> None:
    """A log directory whose pod is gone is asked about again and again."""
    now_s = [100.0]
    client = KubeClient(api.url, Telemetry(), token_file=str(api.token_file), ca_file=str(api.ca_file))
    pods = ApiPods(client, "n1", PodStore(), Wanted((), ()), lambda uids: None, Telemetry(), node_labels=Names(()),
                   namespace_labels=Names(()), now_s=lambda: now_s[0])
    pods.listed_from_s = 100.0
    now_s[0] = 104.9
    pods.ask()
    assert not pods._asked.is_set()
    now_s[0] = 105.0
    pods.ask()
    assert pods._asked.is_set()


async def test_a_rotated_token_is_read_again(api: FakeApi) -> None:
    api.put(pod("web-0"))
    api.faults.end_s = 0.2
    async with Rig(api).running() as rig:
        await rig.listed()
        watches = rig.pods.watches
        api.new_token("token-two-of-them", old_too=True)
        await rig.until("no request with the old one is on its way", lambda: rig.pods.watches > watches + 1)
        api.tokens, watches = {"token-two-of-them"}, rig.pods.watches
        found = api.put(pod("web-1"))
        uid = found["metadata"]["uid"]
        await rig.until("the next watch with it", lambda: rig.pods.watches > watches and rig.labels(uid) == {})
        assert not [each for each in api.refused if each.startswith("401")]
        assert rig.telemetry.scrub("a token-two-of-them b") == "a *** b"
        for n in range(5):                                         # each hour, for years
            api.new_token(f"token-number-{n}")
            rig.client._token()
        assert rig.telemetry.scrub("token-number-4 token-number-3") == "*** ***"
        assert len(rig.telemetry._secrets) == 2


async def test_a_node_that_the_api_server_does_not_know_is_told(api: FakeApi) -> None:
    api.put(pod("elsewhere", node="n2"))
    async with Rig(api).running() as rig:
        await rig.listed()
        assert [event for _, event, _ in rig.telemetry.lines] == ["no_pods"]


async def test_an_old_token_is_degraded_and_never_in_a_message_and_recovers(api: FakeApi) -> None:
    api.tokens = {"another"}
    async with Rig(api).running() as rig:
        await rig.until("told", lambda: "metadata" in rig.telemetry.degraded_since)
        assert "401" in rig.pods.status()["last_error"] and "token-one" not in str(rig.telemetry.lines)
        api.tokens = {"token-one"}
        await rig.listed()
        assert "metadata" not in rig.telemetry.degraded_since
        assert rig.pods.status()["last_error"], "what it was stays to be seen"


async def test_403_says_what_to_bind_and_is_not_hammered(api: FakeApi) -> None:
    api.faults.forbid = ("/api/v1/pods",)
    async with Rig(api).running() as rig:
        await rig.until("three tries", lambda: rig.telemetry.value("shipper_metadata_errors_total", "403") >= 3)
        assert "rbac.yaml" in rig.telemetry.degraded_since["metadata"][1]
        await asyncio.sleep(0.5)                                   # at this pace 25 s of back-off
        assert len(api.requests) < 40
        api.faults.forbid = ()
        await rig.listed()


async def test_answers_that_are_slow_or_none_are_tried_again(api: FakeApi) -> None:
    api.faults.slow_s = 1.0
    api.put(pod("web-0"))
    async with Rig(api, timeout_s=0.2).running() as rig:
        await rig.until("timeouts", lambda: rig.telemetry.value("shipper_metadata_errors_total", "timeout") >= 2)
        api.faults.slow_s = 0.05
        await rig.listed()
        assert rig.store.running == 1


async def test_a_server_of_another_ca_never_sees_the_token(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = FakeApi(tmp_path / "other")
    async with Rig(api).running() as rig:
        await rig.listed()
        await rig.until("the watch", lambda: ("watch", "pods") in api.requests)      # else it is refused before it is asked
        rig.client._ca_file = str(other.ca_file)
        requests = len(api.requests)
        await rig.until("refused", lambda: rig.pods.ask() or rig.telemetry.value("shipper_metadata_errors_total", "tls") >= 1)
        assert len(api.requests) == requests


async def test_what_a_reload_wants_besides_is_listed_at_once(api: FakeApi) -> None:
    """The watch that runs, of up to five minutes, tells of changes alone."""
    uid = api.put(pod("web-0", labels={"app": "web", "tier": "front"}))["metadata"]["uid"]
    async with Rig(api).running() as rig:
        rig.pods.want(Wanted(("app",), ()))
        await rig.until("what is wanted first", lambda: rig.labels(uid) == {"app": "web"} and rig.pods.watches)
        rig.pods.want(Wanted(("app", "tier"), ()))
        await rig.until("the other label", lambda: rig.labels(uid) == {"app": "web", "tier": "front"})


async def test_labels_of_node_and_namespaces_are_got_only_where_wanted_and_one_by_one(api: FakeApi) -> None:
    api.node_labels, api.namespaces = {"zone": "a", "arch": "x"}, {"shop": {"team": "t1", "other": "y"}}
    async with Rig(api, node_labels=("zone",), namespace_labels=("team",)).running() as rig:
        await rig.until("the node's", lambda: rig.pods.labels_of_node() == {"zone": "a"})
        assert rig.pods.labels_of_namespace("shop") == {}
        await rig.until("the namespace's", lambda: rig.pods.labels_of_namespace("shop") == {"team": "t1"})
        assert rig.told >= {NODE, NAMESPACE + "shop"}
        assert not api.refused
        assert {each for each in api.requests if each[0] == "get"} == {("get", "nodes"), ("get", "namespaces")}


async def test_a_namespace_that_may_not_be_asked_for_costs_nothing_else(api: FakeApi) -> None:
    api.faults.forbid = ("/api/v1/namespaces",)
    api.put(pod("web-0"))
    async with Rig(api, namespace_labels=("*",)).running() as rig:
        assert rig.pods.labels_of_namespace("default") == {}
        await rig.listed()
        await rig.until("refused", lambda: rig.telemetry.value("shipper_metadata_errors_total", "403"))
        assert rig.store.running == 1 and "metadata" not in rig.telemetry.degraded_since
        api.faults.forbid, api.namespaces = (), {"default": {"team": "t1"}}
        await rig.until("tried again", lambda: rig.pods.labels_of_namespace("default") == {"team": "t1"})


async def test_a_namespace_that_was_deleted_is_not_asked_for_for_ever(api: FakeApi) -> None:
    """Clusters with a namespace per build: each node asked for each of them once a minute, with a warning."""
    api.namespaces = {"build-1": {"team": "t1"}}
    async with Rig(api, namespace_labels=("team",)).running() as rig:
        for name in ("build-1", "build-2"):
            rig.pods.labels_of_namespace(name)
        beside = rig.pods._beside
        await rig.until("forgotten", lambda: set(beside._things) == {NAMESPACE + "build-1"})
        assert rig.telemetry.value("shipper_metadata_errors_total", "404") > 1
        api.namespaces["build-2"] = {"team": "t2"}
        rig.pods.labels_of_namespace("build-2")
        await rig.until("wanted again", lambda: rig.pods.labels_of_namespace("build-2") == {"team": "t2"})


async def test_what_the_code_asks_and_what_the_role_allows_are_the_same(api: FakeApi) -> None:
    api.namespaces = {"default": {}}
    async with Rig(api, node_labels=("*",), namespace_labels=("*",)).running() as rig:
        rig.pods.labels_of_namespace("default")
        await rig.until("all asked", lambda: len(set(api.requests)) == 4 and rig.pods.watches)
    allowed = {(verb, resource) for rule in api.rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert set(api.requests) == allowed and not api.refused


async def test_five_thousand_pods_churned_are_bounded_and_in_time(api: FakeApi) -> None:
    count = 5000
    uids = [api.put(pod(f"old-{n}", labels={"n": str(n)}, padding=500))["metadata"]["uid"] for n in range(count)]
    rig = Rig(api)
    rig.store._keep_s = 0.0
    async with rig.running():
        began_s = time.process_time()
        await rig.listed()
        assert rig.store.running == count and len([r for r in api.requests if r == ("list", "pods")]) == count // 250
        list_s, began_s = time.process_time() - began_s, time.process_time()
        for n, uid in enumerate(uids):
            api.delete(uid)
            api.put(pod(f"new-{n}", labels={"n": str(n)}, padding=500))
            if n % 250 == 0:
                await asyncio.sleep(0)
        last = list(api.pods)
        await rig.until("all of them", lambda: all(rig.labels(uid) is not None for uid in last) and rig.store.running == count)
        print(f"list of {count}: {list_s:.2f} s CPU, churn: {time.process_time() - began_s:.2f} s, with the fake server's share")
        await rig.until("the old ones are forgotten", lambda: rig.store.expire(rig.pods._now_s()) or len(rig.store) == count)
        gc.collect()
        assert sum(isinstance(each, Pod) for each in gc.get_objects()) <= count
        assert rig.pods.lists == 1


async def test_an_event_that_nobody_can_read_does_not_hide_those_behind_it_for_ever(api: FakeApi) -> None:
    """A watch from the last version would bring it again and again; a list does not."""
    async with Rig(api).running() as rig:
        await rig.listed()
        strange = pod("strange")
        api.put(strange)
        api.pods.clear()
        strange["metadata"]["uid"] = {"of": "another kind"}
        api.put(pod("web-0", uid="u", labels={"app": "web"}))
        await rig.until("known", lambda: rig.labels("u") == {"app": "web"})
        assert rig.telemetry.value("shipper_metadata_errors_total", "malformed") >= 1
