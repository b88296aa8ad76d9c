"""Names to addresses, on threads of their own. Driver: once per connection.

Where the name server does not answer, the C library's look-up takes as long as resolv.conf says (a pod's: 5 s x 2 x each search
domain), and nothing can call it off. On the loop's own threads that would hold up what else needs them (compression, dead
letters, `.gz`), and the end of the process, which waits for them.

Invariants (tests/sinks/test_names.py):
  NM1  however often a name is asked for, one look-up of it is under way; whoever gives up leaves it to the next one
  NM2  a look-up that hangs holds up nothing else: no other name, no job on a thread, not the end of the process
"""
from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

Found = list[tuple[int, int, int, str, Any]]
"""As socket.getaddrinfo gives it."""

_under_way: dict[Any, asyncio.Future[Found]] = {}


async def addresses(host: str, port: int, kind: int = socket.SOCK_STREAM, family: int = 0, flags: int = 0) -> Found:
    """socket.getaddrinfo. OSError and UnicodeError as it raises them; put a time limit around it."""
    loop = asyncio.get_running_loop()
    key = (loop, host, port, kind, family, flags)
    found = _under_way.get(key)
    if found is None:
        found = _under_way[key] = loop.create_future()
        found.add_done_callback(lambda done: _forget(key, done))
        threading.Thread(target=_look_up, args=(loop, found, key[1:]), name=f"resolve {host}", daemon=True).start()
    return await asyncio.shield(found)


def _forget(key: Any, done: asyncio.Future[Found]) -> None:
    _under_way.pop(key, None)
    if not done.cancelled():
        done.exception()                                 # seen: whoever asked may have given up


def _look_up(loop: asyncio.AbstractEventLoop, found: asyncio.Future[Found], what: Any) -> None:
    host, port, kind, family, flags = what
    try:
        answer: Any = socket.getaddrinfo(host, port, family=family, type=kind, flags=flags)
    except Exception as error:  # noqa: BLE001 - handed to whoever asked
        answer = error
    try:
        loop.call_soon_threadsafe(_tell, found, answer)
    except RuntimeError:
        return                                           # the loop has ended meanwhile: nobody asks any more


def _tell(found: asyncio.Future[Found], answer: Any) -> None:
    if found.done():
        return
    if isinstance(answer, Exception):
        found.set_exception(answer)
    else:
        found.set_result(answer)


def resolver() -> Any:
    """For aiohttp's connector."""
    return _resolver_class()()


_made: list[type] = []


def _resolver_class() -> type:
    """Made at the first use, because its base is aiohttp's."""
    if _made:
        return _made[0]
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET,
        ) -> list[ResolveResult]:
            found = await addresses(host, port, family=family, flags=socket.AI_ADDRCONFIG)
            numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
            return [
                ResolveResult(hostname=host, host=_numeric(target), port=target[1], family=kind, proto=protocol, flags=numeric)
                for kind, _, protocol, _, target in found
            ]

        async def close(self) -> None:
            return

    _made.append(Resolver)
    return Resolver


def _numeric(target: Any) -> str:
    """With its zone where it is an address of one link."""
    return f"{target[0]}%{target[3]}" if len(target) > 3 and target[3] and "%" not in target[0] else str(target[0])
