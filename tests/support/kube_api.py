"""A strict API server (and kubelet) for one node: TLS with a CA of its own, bearer tokens, RBAC out of the manifests.

    async with FakeApi(tmp_path) as api: api.put(pod("web-0", labels={...})); api.url; api.token_file; api.ca_file
    with api_in_thread(tmp_path) as api: ...        # beside an agent's process

It refuses what RBAC does not allow (403), another token (401), a list of pods of all nodes (400), a watch without a version
(400), and answers 410 for versions that it has compacted away, as a status or, once a watch began, as an ERROR event.
`faults`: see Faults. `requests`: (verb, resource) of all that came.
"""
from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import trustme
import yaml
from aiohttp import web

ROOT = Path(__file__).parents[2]
RBAC = ROOT / "packaging/kubernetes/base/rbac.yaml"
KUBELET_RBAC = ROOT / "packaging/kubernetes/kubelet/rbac.yaml"


def pod(name: str, namespace: str = "default", *, uid: str | None = None, labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None, node: str = "n1", owner: tuple[str, str] | None = None,
        padding: int = 0) -> dict[str, Any]:
    """A pod as the API server gives it, with what nobody asks for: spec, status, managedFields."""
    meta: dict[str, Any] = {
        "name": name, "namespace": namespace, "uid": uid or str(uuid.uuid4()), "labels": labels, "annotations": annotations,
        "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:padding": "x" * padding}}}],
    }
    if owner is not None:
        meta["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "controller": True}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "status": {"phase": "Running"},
            "spec": {"nodeName": node, "containers": [{"name": "web", "image": "web:1"}]}}


class Faults:
    """What goes wrong from now on. forbid: paths answered 403; cut_s: a watch ends, mid-line, after so long; end_s: it ends
    as it should; slow_s: before each answer; error_event: the next watch gets this code as an ERROR event; down: connections
    are closed."""

    def __init__(self) -> None:
        self.forbid: tuple[str, ...] = ()
        self.cut_s = self.end_s = self.slow_s = 0.0
        self.error_event = 0
        self.down = False


class FakeApi:
    """See the module. Change it from its own loop; `api_in_thread` gives `call` for others."""

    def __init__(self, directory: Path, *, rbac: Path = RBAC, bookmark_s: float = 0.1) -> None:
        self.ca_file, self.token_file = directory / "ca.crt", directory / "token"
        self.rules = [rule for each in yaml.safe_load_all(rbac.read_text()) if each["kind"] == "ClusterRole"
                      for rule in each["rules"]]
        self.faults, self.tokens = Faults(), set[str]()
        self.pods: dict[str, dict[str, Any]] = {}
        self.namespaces: dict[str, dict[str, str]] = {}
        self.node_labels: dict[str, str] = {}
        self.version, self.compacted = 100, 0
        self.requests: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self._events: list[tuple[int, str, dict[str, Any]]] = []
        self._lists: dict[str, list[dict[str, Any]]] = {}
        self._changed = asyncio.Event()
        self._bookmark_s = bookmark_s
        self._runner: web.AppRunner | None = None
        self.url = ""
        self.loop: asyncio.AbstractEventLoop | None = None
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.ca_file))
        self.new_token("token-one")

    def call(self, what: Callable[..., Any], *values: Any) -> Any:
        """Of another thread: `what` in the server's own."""
        assert self.loop is not None

        async def done() -> Any:
            return what(*values)

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(10)

    # ------------------------------------------------------------ what the cluster does

    def new_token(self, token: str, old_too: bool = False) -> None:
        """The file has the new one, as the kubelet writes it. The old ones are taken for a while (`old_too`), or no more."""
        self.tokens = {token, *self.tokens} if old_too else {token}
        self.token_file.write_text(token)

    def put(self, found: dict[str, Any]) -> dict[str, Any]:
        """A pod is added or changed."""
        self.version += 1
        uid = found["metadata"]["uid"]
        kind = "MODIFIED" if uid in self.pods else "ADDED"
        found["metadata"]["resourceVersion"] = str(self.version)
        self.pods[uid] = found
        self._event(kind, found)
        return found

    def delete(self, uid: str) -> None:
        self.version += 1
        found = self.pods.pop(uid)
        self._event("DELETED", {**found, "metadata": {**found["metadata"], "resourceVersion": str(self.version)}})

    def compact(self) -> None:
        """Nobody can watch from a version before now."""
        self.version += 1
        self.compacted = self.version
        self._events.clear()
        self._wake()

    def _event(self, kind: str, found: dict[str, Any]) -> None:
        self._events.append((self.version, kind, found))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # ------------------------------------------------------------ serving

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert("127.0.0.1").configure_cert(context)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        assert self._runner.addresses
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> FakeApi:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.faults.slow_s)
        if self.faults.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        problem = self._problem(request)
        if problem is not None:
            self.refused.append(f"{problem[0]} {request.method} {request.path_qs}")
            return _status(*problem)
        return await self._found(request)

    async def _found(self, request: web.Request) -> web.StreamResponse:
        """What is asked for, by who may."""
        parts = request.path.strip("/").split("/")
        if parts[2] == "pods":
            return await (self._watch(request) if "watch" in request.query else self._list(request))
        labels = self.node_labels if parts[2] == "nodes" else self.namespaces.get(parts[3])
        if labels is None:
            return _status(404, "not found")
        return web.json_response({"kind": "X", "metadata": {"name": parts[3], "labels": labels}})

    def _problem(self, request: web.Request) -> tuple[int, str] | None:
        if request.headers.get("Authorization") not in {f"Bearer {token}" for token in self.tokens}:
            return 401, "Unauthorized"
        parts = request.path.strip("/").split("/")
        resource = parts[2] if parts[:2] == ["api", "v1"] and len(parts) in (3, 4) else request.path
        verb = "get" if len(parts) == 4 else "watch" if "watch" in request.query else "list"
        verb = verb if request.method == "GET" else request.method
        self.requests.append((verb, resource))
        if not any(resource in rule["resources"] and verb in rule["verbs"] for rule in self.rules) or \
                any(request.path.startswith(path) for path in self.faults.forbid):
            return 403, f'cannot {verb} resource "{resource}"'
        if resource == "pods" and not request.query.get("fieldSelector", "").startswith("spec.nodeName="):
            return 400, "pods of all nodes are asked for"
        if verb == "watch" and not request.query.get("resourceVersion"):
            return 400, "a watch without a resourceVersion"
        if verb == "list" and "resourceVersion" in request.query:
            return 400, "a list that may be older than its request"           # with 0 it comes from a cache
        return None

    async def _list(self, request: web.Request) -> web.Response:
        token = request.query.get("continue", "")
        if token:
            if token not in self._lists:
                return _status(410, "the continue token is too old")
            rest, version = self._lists.pop(token), token.split("-")[0]
        else:
            node = request.query["fieldSelector"].removeprefix("spec.nodeName=")
            rest, version = [each for each in self.pods.values() if each["spec"]["nodeName"] == node], str(self.version)
        limit = int(request.query.get("limit", "0")) or len(rest)
        meta: dict[str, Any] = {"resourceVersion": version}
        if len(rest) > limit:
            meta["continue"] = f"{version}-{len(self._lists)}-{len(rest)}"
            self._lists[meta["continue"]] = rest[limit:]
        body = orjson.dumps({"kind": "PodList", "metadata": meta, "items": rest[:limit]})
        return web.Response(body=body, content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.compacted:
            return _status(410, "too old resource version")
        node = request.query["fieldSelector"].removeprefix("spec.nodeName=")
        answer = web.StreamResponse()
        answer.content_type = "application/json"
        await answer.prepare(request)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + (self.faults.cut_s or self.faults.end_s or float(request.query.get("timeoutSeconds", "1800")))
        while (left_s := end_s - loop.time()) > 0 and not self.faults.down:
            if request.transport is None or request.transport.is_closing():
                return answer
            changed = self._changed
            if self.faults.error_event or since < self.compacted:
                code, self.faults.error_event = self.faults.error_event or 410, 0
                await _write(answer, "ERROR", {"kind": "Status", "code": code, "message": "too old resource version"})
                return answer
            due, since = [each for each in self._events if each[0] > since], self.version
            for _, kind, found in due:
                if found["spec"]["nodeName"] == node:
                    await _write(answer, kind, found)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, self._bookmark_s)):
                    await changed.wait()
                    continue
            if "allowWatchBookmarks" in request.query:
                await _write(answer, "BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(since)}, "spec": {}})
        if self.faults.cut_s:
            await answer.write(b'{"type":"MODIFIED","object":{"metadata":{"name":"half')
            assert request.transport is not None
            request.transport.abort()
        return answer


class FakeKubelet(FakeApi):
    """GET /pods alone: static pods come as themselves."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, rbac=KUBELET_RBAC)

    def _problem(self, request: web.Request) -> tuple[int, str] | None:
        if request.headers.get("Authorization") not in {f"Bearer {token}" for token in self.tokens}:
            return 401, "Unauthorized"
        self.requests.append((request.method.lower(), request.path))
        allowed = any("nodes/pods" in rule["resources"] and "get" in rule["verbs"] for rule in self.rules)
        return None if allowed and request.path == "/pods" and request.method == "GET" else (403, "Forbidden")

    async def _found(self, request: web.Request) -> web.StreamResponse:
        body = orjson.dumps({"kind": "PodList", "metadata": {}, "items": list(self.pods.values())})
        return web.Response(body=body, content_type="application/json")


async def _write(answer: web.StreamResponse, kind: str, found: dict[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):                     # the agent went away
        await answer.write(orjson.dumps({"type": kind, "object": found}) + b"\n")


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)


@contextlib.contextmanager
def api_in_thread(directory: Path, make: Callable[[Path], FakeApi] = FakeApi) -> Iterator[FakeApi]:
    """A FakeApi (or FakeKubelet) on a thread of its own; `api.call(api.put, ...)` changes it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begun() -> FakeApi:
        api = make(directory)
        api.loop = loop
        await api.start()
        return api

    api = asyncio.run_coroutine_threadsafe(begun(), loop).result(10)
    try:
        yield api
    finally:
        asyncio.run_coroutine_threadsafe(api.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
