"""PostgreSQL under a stage: the driver that ships, over a real server, while the test's own time is virtual."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from tests.support.genuine import PostgresSql, Sql
from tests.support.stage import StageDatabase

from cloudbeds_auth.database.postgres import PostgresDriver
from cloudbeds_auth.transactions.statements import Body, Instant

T = TypeVar("T")


class Elsewhere:
    """An event loop in real time on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="real time", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, while the caller's thread waits."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class TimedDriver:
    """A driver whose transactions run in real time on another thread, and go by the clock of whoever asks."""

    wakeups = None  # time is virtual, and another process's COMMIT is found by polling

    def __init__(self, inner: PostgresDriver, elsewhere: Elsewhere, instant: Callable[[], Instant]) -> None:
        self._inner = inner
        self._elsewhere = elsewhere
        self._instant = instant

    async def read(self, body: Body[T]) -> T:
        return await self._hop(self._inner.read, body)

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        return await self._hop(partial(self._inner.write, synced=synced), body)

    async def close(self) -> None:
        self._elsewhere.run(self._inner.close())

    async def _hop(self, run: Callable[[Body[T]], Coroutine[Any, Any, T]], body: Body[T]) -> T:
        now = self._instant()
        work = run(lambda _: body(now))
        # A virtual loop runs this in place: the transaction takes no virtual time, as one of SQLite takes none.
        return await asyncio.get_running_loop().run_in_executor(None, self._elsewhere.run, work)


class KeptDriver:
    """A driver that is open for one test after another: a new one costs more than most of what is asked of it."""

    def __init__(self, url: str, elsewhere: Elsewhere) -> None:
        self._elsewhere = elsewhere
        self._inner = PostgresDriver(url)
        elsewhere.run(self._inner.open())

    def by(self, instant: Callable[[], Instant]) -> TimedDriver:
        """The same driver by a test's own clock; that one is closed with the test, and this one is not."""
        return _Lent(self._inner, self._elsewhere, instant)

    def close(self) -> None:
        self._elsewhere.run(self._inner.close())


class _Lent(TimedDriver):
    async def close(self) -> None:
        pass


class PostgresDatabase(StageDatabase):
    """A stage's database in PostgreSQL, by its URL."""

    def __init__(self, url: str, elsewhere: Elsewhere) -> None:
        self._url = url
        self._elsewhere = elsewhere

    async def driver(self, instant: Callable[[], Instant]) -> TimedDriver:
        made = PostgresDriver(self._url)
        self._elsewhere.run(made.open())
        return TimedDriver(made, self._elsewhere, instant)

    @contextmanager
    def connected(self) -> Iterator[Sql]:
        """Behind everybody's back."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            yield PostgresSql(connection)
