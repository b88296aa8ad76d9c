"""One spooled file to one object of Cloud Storage, created only: multipart up to 8 MiB, resumable above. Driver.

    multipart ──► 200 | 412
    resumable ──► session (durable) ──► PUT pieces ──► 308 + Range ... ──► 200 | 412
                       ▲                    │ any error
                       │ 404, 410           ▼ next try: PUT bytes */N ──► 308 + Range: go on there | 200: it was the last one

Invariants (tests/sinks/test_gcs_upload.py, test_gcs.py, test_gcs_troubles.py):
  GU1  every request that could end an upload says ifGenerationMatch=0, and the object's crc32c and size, so that nothing else
       is stored under its name, and nothing of ours twice
  GU2  412 (and the 403 for want of the right to overwrite) means: there is an object of that name. Its size and crc32c are
       compared; where they may not be read the name proves it, which holds buffer, range and checksum
  GU3  a session is durable before its first byte is sent; one that is lost is begun again
  GU4  what is stored is compared with what was to be stored before it counts
  GU5  nothing is tried again here (S3): each try goes on where the last one got to. No error says that records are bad
"""
from __future__ import annotations

import asyncio
import base64
import os
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from ..errors import Fatal, Rejected, Retryable, ShipperError, TooLarge
from ._gcs_config import PIECE_BYTES
from ._gcs_range import measure
from ._http_client import HttpClient, place
from ._http_pieces import Later
from ._http_status import Answer, failure

MULTIPART_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 32 * PIECE_BYTES
_DELETE_RIGHT = b"storage.objects.delete"


class Upload:
    """One object. `session`: of an earlier try or process, "" for none; `note(session)` makes it durable.

    spec   {"name", "bucket", "content_type", "size", "crc32c", "metadata", "storage_class"?} of the manifest
    """

    def __init__(
        self, client: HttpClient, endpoint: str, spec: Mapping[str, Any], path: str, session: str,
        note: Callable[[str], Any], executor: Executor | None = None,
    ) -> None:
        self._client, self._endpoint, self._spec, self._path = client, endpoint, spec, path
        here = bool(session) and _origin(session) == _origin(endpoint)      # the config may have left it since: begun again
        self._session, self._note, self._executor = session if here else "", note, executor
        self._size: int = spec["size"]
        self._must_ask = here
        self._held = 0
        self.done = False

    @property
    def what(self) -> str:
        return f"gs://{self._spec['bucket']}/{self._spec['name']}"

    async def step(self) -> None:
        """The next request of the upload; `done` is true after the last one. Retryable or Fatal: the same step again, or what
        has to come before it now (GU5). A step of its own each, so that pauses grow only while nothing gets further."""
        if self._size <= MULTIPART_BYTES:
            await self._end(await self._multipart())
        elif not self._session:
            await self._begin()
        elif self._must_ask:
            await self._ask()
        else:
            await self._put()

    async def _end(self, answer: Answer) -> None:
        await self._judge(answer)
        self.done = True

    # ------------------------------------------------------------ the two ways

    async def _multipart(self) -> Answer:
        boundary = _boundary()
        head = (f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n".encode() + self._resource()
                + f"\r\n--{boundary}\r\nContent-Type: {self._spec['content_type']}\r\n\r\n".encode())
        return await self._client.request(
            "POST", self._url("multipart"), headers={"Content-Type": f"multipart/related; boundary={boundary}"},
            body=[head, *self._pieces(0, self._size), f"\r\n--{boundary}--\r\n".encode()],
        )

    async def _begin(self) -> None:
        """GU3."""
        answer = await self._client.request("POST", self._url("resumable"), headers={
            "Content-Type": "application/json; charset=UTF-8", "X-Upload-Content-Type": self._spec["content_type"],
            "X-Upload-Content-Length": str(self._size),
        }, body=[self._resource()])
        if not answer.ok:
            await self._end(answer)
            return
        session = answer.headers.get("Location", "")
        if _origin(session) != _origin(self._endpoint):
            raise Retryable(f"{place(self._endpoint)} began an upload at another place ({place(session)[:100]}); not followed")
        await self._note(session)
        self._session, self._held, self._must_ask = session, 0, False

    async def _ask(self) -> None:
        """How far it is."""
        answer = await self._client.request("PUT", self._session, headers={"Content-Range": f"bytes */{self._size}"})
        if answer.status == 308:
            self._held = self._got(answer, 0, self._size)
            self._must_ask = False
        else:
            await self._ended(answer)

    async def _put(self) -> None:
        """The next piece. Whatever happens to it, the far side is asked what it has before the next try."""
        start, end = self._held, min(self._held + CHUNK_BYTES, self._size)
        self._must_ask = True
        answer = await self._client.request("PUT", self._session, headers={
            "Content-Type": self._spec["content_type"], "Content-Range": f"bytes {start}-{end - 1}/{self._size}"},
            body=self._pieces(start, end))
        if answer.status != 308:
            await self._ended(answer)
            return
        self._held = self._got(answer, start, end)
        if self._held == start:
            raise Retryable(f"{self.what}: nothing of {end - start} bytes was kept")
        self._must_ask = False

    def _pieces(self, start: int, end: int) -> list[bytes | Later]:
        lengths = [(at, min(PIECE_BYTES, end - at)) for at in range(start, end, PIECE_BYTES)]
        return [Later(length, partial(_read, self._path, at, length), self._executor) for at, length in lengths]

    def _got(self, answer: Answer, low: int, high: int) -> int:
        """How many bytes the far side holds, by its Range; none without one."""
        text = answer.headers.get("Range", "")
        if not text:
            return 0
        last = text.removeprefix("bytes=0-")
        held = int(last) + 1 if last.isascii() and last.isdigit() else -1
        if not low <= held <= high or held >= self._size:
            self._session = ""
            raise Retryable(f"{self.what}: the upload stands at {text[:40]!r}, which cannot be; it is begun again")
        return held

    async def _ended(self, answer: Answer) -> None:
        """The object is there, or the session is no more, or ended in a refusal (a checksum that did not fit) (GU3)."""
        if answer.status in (400, 404, 410):
            await self._look_at_the_file(answer)
            self._session = ""
            await self._note("")
            said = f" ({answer.excerpt})" if answer.status == 400 else ""
            raise Retryable(f"{self.what}: the upload session is gone: {answer.status}{said}; it is begun again")
        await self._end(answer)

    def _url(self, kind: str) -> str:
        bucket = quote(self._spec["bucket"], safe="")
        return f"{self._endpoint}/upload/storage/v1/b/{bucket}/o?uploadType={kind}&ifGenerationMatch=0"

    def _resource(self) -> bytes:
        """The object's resource (GU1)."""
        found: dict[str, Any] = {
            "name": self._spec["name"], "contentType": self._spec["content_type"], "crc32c": wire_crc32c(self._spec["crc32c"]),
            "metadata": self._spec["metadata"],
        }
        if self._spec.get("storage_class"):
            found["storageClass"] = self._spec["storage_class"]
        return orjson.dumps(found)

    # ------------------------------------------------------------ what the answer means

    async def _judge(self, answer: Answer) -> None:
        if answer.ok:
            self._compare(answer.json())
        elif answer.status == 412 or (answer.status == 403 and _DELETE_RIGHT in answer.body):
            await self._prove()
        else:
            await self._look_at_the_file(answer)
            raise self._error(answer)

    async def _look_at_the_file(self, answer: Answer) -> None:
        """Where the checksum was refused: Fatal if it is the spool file that has changed."""
        if not _is_of_the_hash(answer):
            return
        found = await asyncio.get_running_loop().run_in_executor(self._executor, measure, self._path)
        if found != (self._size, self._spec["crc32c"]):
            raise Fatal(f"{self.what}: {self._path} is not what was written there; check the disk, and restart the agent: what "
                        "was planned is sent again from the buffer")

    async def _prove(self) -> None:
        """GU2."""
        name = quote(self._spec["name"], safe="")
        url = f"{self._endpoint}/storage/v1/b/{quote(self._spec['bucket'], safe='')}/o/{name}?fields=name,size,crc32c"
        answer = await self._client.request("GET", url)
        if answer.status == 403:
            return
        if answer.status == 404:
            raise Retryable(f"{self.what} is there and is not; asked again")
        if not answer.ok:
            raise self._error(answer)
        found = answer.json() or {}
        if (str(found.get("size")), found.get("crc32c")) != (str(self._size), wire_crc32c(self._spec["crc32c"])):
            raise Fatal(f"{self.what} is there with another content, which somebody else wrote; move it away")

    def _compare(self, found: Any) -> None:
        """GU4."""
        if not isinstance(found, dict) or "size" not in found:
            raise Retryable(f"{self.what}: the answer is none of Cloud Storage's; check `endpoint`")
        if (str(found["size"]), found.get("crc32c")) != (str(self._size), wire_crc32c(self._spec["crc32c"])):
            raise Retryable(f"{self.what} was stored with another size or checksum than was sent")

    def _error(self, answer: Answer) -> ShipperError:
        """GU5: records are good whatever is said of the object."""
        error = failure(answer, f"{self.what}:")
        if isinstance(error, (Rejected, TooLarge)):
            if _is_of_the_hash(answer):
                return Retryable(f"{error}; it is sent again")
            return Fatal(f"{error}; check bucket, prefix and storage_class")
        return error or Retryable(f"{self.what}: answered {answer.status}, which means nothing here")


def _is_of_the_hash(answer: Answer) -> bool:
    return answer.status == 400 and b"hash" in answer.body.lower()


def _boundary() -> str:
    """Of one request. Nobody can know it beforehand: a line of a log that held it would end the object there, for ever."""
    return f"shipper-{secrets.token_hex(16)}"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def wire_crc32c(value: int) -> str:
    """As Cloud Storage writes it: base64 of four bytes, the highest first."""
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def _read(path: str, start: int, length: int) -> bytes:
    """Retryable where the file is shorter: somebody else has changed it."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), length, start)
    except OSError as error:
        raise Retryable(f"cannot read {path}: {error.strerror}") from error
    if len(data) != length:
        raise Retryable(f"{path} is shorter than it was written; nothing but this agent may write there")
    return data
