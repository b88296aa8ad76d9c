"""The kubelet as the source: asked again and again, at once where somebody waits; static pods as themselves."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.kube import kubelet as module
from shipper.kube.client import KubeClient
from shipper.kube.kubelet import KubeletPods, address_of
from shipper.kube.objects import Wanted
from shipper.kube.store import PodStore
from shipper.telemetry import Telemetry
from tests.support.kube_api import FakeKubelet, pod

HASH = "0123456789abcdef0123456789abcdef"


async def until(look: Callable[[], object]) -> None:
    end_s = time.monotonic() + 30
    while not look():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.005)


async def test_polls_at_once_where_asked_and_goes_on_after_403_and_a_rotated_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeKubelet(tmp_path) as kubelet:
        telemetry, store, told = Telemetry(), PodStore(), set[str]()
        client = KubeClient(address_of(kubelet.url), telemetry, token_file=str(kubelet.token_file), ca_file=str(kubelet.ca_file))
        pods = KubeletPods(client, store, Wanted(("*",), ()), told.update, telemetry, pace=0.02)
        kubelet.put(pod("etcd-n1", "kube-system", uid=HASH, labels={"a": "b"}))
        rules, kubelet.rules = kubelet.rules, []
        task = asyncio.create_task(pods.run())
        await until(lambda: telemetry.value("shipper_metadata_errors_total", "403"))
        assert "metadata" in telemetry.degraded_since
        kubelet.rules = rules
        await until(lambda: store.running == 1)
        assert told == {HASH} and "metadata" not in telemetry.degraded_since
        kubelet.put(pod("web-0", uid="u"))
        await until(lambda: store.find("u", "", ""))
        monkeypatch.setattr(module, "POLL_S", 1e9)        # from here on none that nobody asks for
        kubelet.new_token("another one")
        kubelet.delete("u")
        pods.ask()
        await until(lambda: store.running == 1)
        assert set(kubelet.requests) == {("get", "/pods")}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pods.close()


def test_the_address_is_completed() -> None:
    assert address_of("https://10.0.0.1:10250") == "https://10.0.0.1:10250/pods"
    assert address_of("https://10.0.0.1:10250/") == "https://10.0.0.1:10250/pods"
    assert address_of("https://10.0.0.1:10250/pods") == "https://10.0.0.1:10250/pods"
