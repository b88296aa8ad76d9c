"""The fakes of Google in a thread of their own, for tests whose agent is a process."""
from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any

from tests.support.fake_bigquery import FakeBigquery
from tests.support.fake_gcs import FakeGcs
from tests.support.gcp_identity_fakes import IdentityServer


class Google:
    """`token_life_s`: of each token of the metadata server; `faults`: keys of FakeGcs."""

    def __init__(self, *, token_life_s: float = 3600.0, **faults: Any) -> None:
        self.identity = IdentityServer(life_s=token_life_s)
        self.gcs = FakeGcs(authorised=self.identity.valid, **faults)
        self._loop = asyncio.new_event_loop()
        self._ready, self._end = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def environ(self) -> dict[str, str]:
        return {"GCE_METADATA_HOST": self.identity.host, "HOME": "/nonexistent", "GOOGLE_APPLICATION_CREDENTIALS": ""}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.gcs.port}"

    def __enter__(self) -> Google:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with self.identity, self.gcs:
            self._ready.set()
            await self._end.wait()


class GoogleWithBigquery(Google):
    """`faults`: keys of FakeBigquery."""

    def __init__(self, *, token_life_s: float = 3600.0, **faults: Any) -> None:
        super().__init__(token_life_s=token_life_s)
        self.far = FakeBigquery(authorised=self.identity.valid, **faults)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.far.port}"

    async def _serve(self) -> None:
        async with self.identity, self.far:
            self._ready.set()
            await self._end.wait()
