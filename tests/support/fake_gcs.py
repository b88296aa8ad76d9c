"""Cloud Storage on loopback, as strict as the real one where uploads are concerned, and as unreliable as it is told to be.

    async with FakeGcs(schedule=iter(["lost", "503"])) as gcs:       # http://127.0.0.1:{gcs.port}
        gcs.objects["logs/prefix/name"]                              # bucket/name -> Stored
        gcs.wrong                                                    # what no right client sends: asserted to be empty

As the real one: preconditions are judged when an upload *ends*, resumable ones too; crc32c and size of the metadata are compared;
a piece that is not the last one is a multiple of 256 KiB, and starts where the upload stands; 308 names what is held, without
Range where that is nothing; 404 and 410 for a session that is gone; a session that has ended says how it ended.

Faults, one per request: lost (done, then reset), 503, 429, 500, reset (before), cut (reset in the middle of the body, of which a
resumable upload keeps some), part (a piece is kept in part), gone (the session is forgotten), 401.
"""
from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import google_crc32c
from aiohttp import web

from tests.support.discovery import wrong_parameters, wrong_shape

PIECE_BYTES = 256 * 1024
FAULTS = ("lost", "lost", "503", "429", "500", "reset", "cut", "cut", "part", "gone", "401")


@dataclass
class Stored:
    data: bytes
    resource: dict[str, Any]
    generation: int
    at_s: float


@dataclass
class Session:
    bucket: str
    resource: dict[str, Any]
    query: dict[str, str]
    total: int
    data: bytearray = field(default_factory=bytearray)
    ended: tuple[int, dict[str, Any]] | None = None


class FakeGcs:
    """`authorised(token)`: None: nobody is asked. `random_faults`: the share of requests that meet one. keep=False: data of
    objects are not kept (benches). read_right=False: objects may be created and not read, as with roles/storage.objectCreator."""

    def __init__(
        self, schedule: Iterator[str] | None = None, *, authorised: Callable[[str], bool] | None = None, seed: int = 0,
        random_faults: float = 0.0, keep: bool = True, read_right: bool = True, delete_403: bool = False,
    ) -> None:
        self.schedule, self.authorised = schedule or iter(()), authorised
        self.rng, self.random_faults, self.keep, self.read_right = random.Random(seed), random_faults, keep, read_right
        self.delete_403 = delete_403
        self.buckets = {"logs"}
        self.objects: dict[str, Stored] = {}
        self.sessions: dict[str, Session] = {}
        self.wrong: list[str] = []
        self.seen: list[str] = []
        self.faults: list[str] = []
        self.precondition_failures = 0
        self.bytes_stored = 0
        self.port = 0
        self._numbers = iter(range(1, 1 << 60))

    async def __aenter__(self) -> FakeGcs:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/upload/storage/v1/b/{bucket}/o", self._post)
        app.router.add_put("/upload/storage/v1/b/{bucket}/o", self._put)
        app.router.add_get("/storage/v1/b/{bucket}/o/{name:.+}", self._get)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return 0 if self._runner.server is None else len(self._runner.server.connections)

    # ------------------------------------------------------------ requests

    async def _enter(self, request: web.Request, kind: str) -> tuple[str, web.Response | None]:
        """The fault of this request, and an answer where that is all."""
        self.seen.append(kind)
        fault = next(self.schedule, "") or (self.rng.choice(FAULTS) if self.rng.random() < self.random_faults else "ok")
        self.faults.append(fault)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.authorised is not None and not self.authorised(token):
            await request.read()
            return fault, web.json_response({"error": {"code": 401, "message": "Invalid Credentials"}}, status=401)
        if request.match_info["bucket"] not in self.buckets:
            return fault, _error(404, "The specified bucket does not exist.")
        if fault == "reset":
            _reset(request)
        if fault in ("503", "429", "500", "401"):
            await request.read()
            return fault, _error(int(fault), "Backend Error", {"Retry-After": "0"} if fault == "503" else {})
        return fault, None

    async def _post(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        kind = query.get("uploadType", "")
        fault, answer = await self._enter(request, kind)
        if answer is not None:
            return answer
        self.wrong += wrong_parameters("storage.v1", "objects.insert", query)
        if fault == "cut":
            await request.content.read(1000)
            _reset(request)
        body = await request.read()
        if kind == "multipart":
            status, found = self._multipart(request, query, body)
        elif kind == "resumable":
            return self._begin(request, query, body, fault)
        else:
            status, found = 400, {"error": {"message": f"uploadType={kind}"}}
            self.wrong.append(f"uploadType={kind}")
        if fault == "lost":
            _reset(request)
        return web.json_response(found, status=status)

    def _multipart(self, request: web.Request, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        boundary = re.fullmatch(r"multipart/related; boundary=(\S+)", request.headers.get("Content-Type", ""))
        assert boundary is not None, request.headers
        mark = b"--" + boundary[1].encode()
        parts = body.split(mark)
        if len(parts) != 4 or parts[0] or parts[3] != b"--\r\n":
            self.wrong.append(f"{len(parts)} parts, and an end {parts[-1][:20]!r}")
            return 400, {"error": {"message": "bad multipart"}}
        (head, meta), (media_head, media) = (part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for part in parts[1:3])
        assert head.lower().startswith(b"content-type: application/json"), head
        resource = json.loads(meta)
        if resource.get("contentType", "").encode() not in media_head:
            self.wrong.append(f"content types {resource.get('contentType')} and {media_head!r}")
        return self._end(request.match_info["bucket"], resource, query, media.removesuffix(b"\r\n"))

    def _begin(self, request: web.Request, query: dict[str, str], body: bytes, fault: str) -> web.Response:
        resource = json.loads(body)
        self.wrong += wrong_shape("storage.v1", "Object", resource)
        key = f"s{next(self._numbers)}"
        total = int(request.headers.get("X-Upload-Content-Length", -1))
        self.sessions[key] = Session(request.match_info["bucket"], resource, query, total)
        if fault == "lost":
            _reset(request)
        path = f"/upload/storage/v1/b/{request.match_info['bucket']}/o?uploadType=resumable&upload_id={key}"
        return web.Response(headers={"Location": f"http://{request.host}{path}"})

    async def _put(self, request: web.Request) -> web.Response:
        key = request.query.get("upload_id", "")
        fault, answer = await self._enter(request, "put")
        if answer is not None:
            return answer
        session = self.sessions.get(key)
        if fault == "gone" and session is not None and session.ended is None:
            del self.sessions[key]
            session = None
        if session is None:
            await request.read()
            return _error(self.rng.choice((404, 410)), "the session is gone")
        if session.ended is not None:
            await request.read()
            return web.json_response(session.ended[1], status=session.ended[0])
        return await self._piece(request, session, fault)

    async def _piece(self, request: web.Request, session: Session, fault: str) -> web.Response:
        span = request.headers.get("Content-Range", "")
        asked = re.fullmatch(r"bytes \*/(\d+)", span)
        piece = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", span)
        if asked is not None:
            if await request.read() or int(asked[1]) != session.total:
                self.wrong.append(f"a question with a body, or of {asked[1]} bytes instead of {session.total}")
            return _held(session)
        assert piece is not None, span
        start, end, total = int(piece[1]), int(piece[2]) + 1, int(piece[3])
        last = end == total
        if start != len(session.data) or total != session.total or (not last and (end - start) % PIECE_BYTES):
            self.wrong.append(f"{span} where {len(session.data)} of {session.total} are held")
            return _error(400, "Invalid request")
        body = await self._body(request, fault, end - start)
        session.data += body
        if fault == "cut":
            _reset(request)
        if len(session.data) < total:
            if fault == "lost":
                _reset(request)
            return _held(session)
        session.ended = self._end(session.bucket, session.resource, session.query, bytes(session.data))
        session.data = bytearray()
        if fault == "lost":
            _reset(request)
        return web.json_response(session.ended[1], status=session.ended[0])

    async def _body(self, request: web.Request, fault: str, length: int) -> bytes:
        """What is kept of a piece: all, or some multiple of 256 KiB."""
        if fault == "cut":
            body = b""
            while len(body) < length // 2:
                body += await request.content.read(length // 2 - len(body))
        else:
            body = await request.read()
            if len(body) != length:
                self.wrong.append(f"{len(body)} bytes for {length}")
        if fault in ("cut", "part"):
            return body[: self.rng.randint(0, max(len(body) // PIECE_BYTES - 1, 0)) * PIECE_BYTES]
        return body

    def _end(self, bucket: str, resource: dict[str, Any], query: dict[str, str], data: bytes) -> tuple[int, dict[str, Any]]:
        """An upload ends: now preconditions and checksums are judged."""
        self.wrong += wrong_shape("storage.v1", "Object", resource)
        if query.get("ifGenerationMatch") != "0" or "contentEncoding" in resource:
            self.wrong.append(f"not only created: {query}, {resource}")
        crc32c = base64.b64encode(google_crc32c.Checksum(data).digest()).decode()
        key = f"{bucket}/{resource['name']}"
        if len(resource["name"].encode()) > 1024:
            return 400, {"error": {"message": "The maximum object length is 1024 characters"}}
        if resource.get("crc32c") != crc32c:
            return 400, {"error": {"message": f"Provided CRC32C {resource.get('crc32c')!r} doesn't match calculated CRC32C hash"}}
        if key in self.objects:
            self.precondition_failures += 1
            if self.delete_403:
                return 403, {"error": {"message": "Caller does not have storage.objects.delete access to the object."}}
            return 412, {"error": {"message": "At least one of the pre-conditions you specified did not hold."}}
        whole = {**resource, "size": str(len(data)), "bucket": bucket, "generation": str(next(self._numbers))}
        self.objects[key] = Stored(data if self.keep else b"", whole, int(whole["generation"]), time.monotonic())
        self.bytes_stored += len(data)
        return 200, whole

    async def _get(self, request: web.Request) -> web.Response:
        _fault, answer = await self._enter(request, "get")
        if answer is not None:
            return answer
        self.wrong += wrong_parameters("storage.v1", "objects.get", dict(request.query))
        if not self.read_right:
            return _error(403, "Caller does not have storage.objects.get access")
        stored = self.objects.get(f"{request.match_info['bucket']}/{unquote(request.match_info['name'])}")
        if stored is None:
            return _error(404, "No such object")
        fields = request.query["fields"].split(",")
        return web.json_response({name: stored.resource[name] for name in fields})


def _held(session: Session) -> web.Response:
    held = len(session.data)
    return web.Response(status=308, headers={"Range": f"bytes=0-{held - 1}"} if held else {})


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message}}, status=status, headers=headers)


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is not None:
        transport.abort()
    raise asyncio.CancelledError
