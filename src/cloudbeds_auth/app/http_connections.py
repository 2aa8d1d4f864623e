"""How many connections there may be, in all and from one address, and which one makes room for the next (A71).

A connection is occupied while a request admitted by the gateway runs on it. Any other may be closed to make room for a
new one: it waits for its next request, sends an endless head or body, or was not admitted. Connections on which a
credential waits to be checked are closed last, and of these the newest first: if it were the oldest, a caller that
guesses fast enough would keep every right credential from being checked (A23).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudbeds_auth.app.limits import Limits, Networks, Tally, counted
from cloudbeds_auth.os_files import open_files
from cloudbeds_auth.rules.happenings import Happening

if TYPE_CHECKING:
    from starlette.types import Scope

RESERVED = 300  # open files for everything but callers: 200 connections to Cloudbeds, the database, logs
CONNECTIONS = "cloudbeds_connections"  # in the state of the lifespan: the `Connections` that the protocol counts by
CONNECTION = "cloudbeds_connection"  # in a request's state: the `HttpConnection` that it came on


class ClientGone(Exception):
    """The caller hung up; an answer would have no recipient."""


@dataclass(eq=False, slots=True)
class HttpConnection:
    """One connection. `drop` closes it at once; `gone`: it is closed; `pools`: those that it is counted in.

    `hung_up`: no answer will be read on it any more; `ends` is called then (`end`).
    """

    address: str
    drop: Callable[[], None]
    pools: tuple[Pool, ...]
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: bool = False
    ends: Callable[[], object] | None = None

    def hang_up(self) -> None:
        """The request that runs will not have its answer read."""
        if not self.hung_up:
            self.hung_up = True
            if self.ends is not None:
                self.ends()

    def end(self, ends: Callable[[], object]) -> None:
        """Call this when the caller hangs up; raises ClientGone where it did already."""
        if self.hung_up:
            raise ClientGone
        self.ends = ends

    def occupy(self) -> None:
        """A request runs on it."""
        for pool in self.pools:
            pool.idle.pop(self, None)
            pool.held.pop(self, None)

    def release(self) -> None:
        """No request runs on it any more."""
        if not self.gone.is_set():
            for pool in self.pools:
                pool.held.pop(self, None)
                pool.idle.setdefault(self)

    def hold(self) -> None:
        """A credential waits on it to be checked."""
        self.occupy()
        if not self.gone.is_set():
            for pool in self.pools:
                pool.held[self] = None


@dataclass(slots=True)
class Pool:
    """The connections of one address, or all: how many, and those that may be closed, in the order in which they became
    so; `held` are those on which a credential waits.
    """

    count: int = 0
    idle: dict[HttpConnection, None] = field(default_factory=dict)
    held: dict[HttpConnection, None] = field(default_factory=dict)

    def first(self) -> HttpConnection | None:
        """The one to close; None where each is occupied."""
        return next(iter(self.idle), None) or next(reversed(self.held), None)


class Connections:
    """All of this process. `trusted_proxies` may have as many of them as there are. `ending`: each ends with its next
    answer, because the service is about to stop.
    """

    def __init__(self, limits: Limits, trusted_proxies: Iterable[str], tally: Tally) -> None:
        self.limits = limits
        self.tally = tally
        self.ending = False
        self._most = room(limits.connections)
        self._trusted = Networks(trusted_proxies)
        self._all = Pool()
        self._pools: dict[str, Pool] = {}  # by address

    def open(self, host: str, drop: Callable[[], None]) -> HttpConnection | None:
        """Count one more, which waits for its first request; None where there is no room for it."""
        address = counted(host)
        pool = self._pools.get(address, Pool())
        full = pool.count >= self.limits.connections_per_address and host not in self._trusted
        if (full and not self._make_room(pool)) or (self._all.count >= self._most and not self._make_room(self._all)):
            self.tally.add(Happening.CONNECTION_REFUSED, address=address, why="too_many")
            return None
        self._pools[address] = pool
        connection = HttpConnection(address, drop, (self._all, pool))
        for one in connection.pools:
            one.count += 1
        connection.release()
        return connection

    def close(self, connection: HttpConnection) -> None:
        """It is closed, or about to be."""
        if connection.gone.is_set():
            return
        connection.occupy()
        connection.gone.set()
        for pool in connection.pools:
            pool.count -= 1
        if not self._pools[connection.address].count:
            del self._pools[connection.address]

    def _make_room(self, pool: Pool) -> bool:
        """Close one of them; False where each is occupied."""
        first = pool.first()
        if first is None:
            return False
        self.tally.add(Happening.CONNECTION_REFUSED, address=first.address, why="made_room")
        self.close(first)
        first.drop()
        return True


def room(connections: int) -> int:
    """How many connections the machine's limit of open files leaves room for, `connections` at most.

    Without such a bound the listening socket itself fails when the files run out, for every caller.
    """
    return max(1, min(connections, open_files(connections + RESERVED) - RESERVED))


def occupy(scope: Scope) -> None:
    """The request was let in: its connection is not closed to make room."""
    connection: HttpConnection = scope["state"][CONNECTION]
    connection.occupy()


async def until_hung_up(scope: Scope, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`; raise ClientGone, the work cancelled, when the caller hangs up before it is answered.

    No task and no `receive` waits for that: the protocol calls. What the vault shields continues.
    """
    connection: HttpConnection = scope["state"][CONNECTION]
    worker = asyncio.current_task()
    assert worker is not None  # noqa: S101 - a coroutine runs in a task
    try:
        connection.end(worker.cancel)
        await work
    except asyncio.CancelledError:
        if connection.hung_up and worker.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        connection.ends = None
        work.close()  # where it was not begun


async def stay(scope: Scope, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` while a credential waits; raises ClientGone, the work given up, when its connection is closed."""
    connection: HttpConnection = scope["state"][CONNECTION]
    connection.hold()
    tasks = [asyncio.ensure_future(one) for one in (work, connection.gone.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    if connection.gone.is_set():
        raise ClientGone
