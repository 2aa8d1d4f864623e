"""PostgreSQL's notifications: a task that waits for another process's refresh is notified of its COMMIT, and need not
poll.

Each process has one connection for this, opened at the first wait, which runs nothing but LISTEN. Notifications only
shorten waits: none is trusted, and every wait ends by itself. Behind a pooler in transaction mode, a session belongs to
no client; there the process does not listen, and its waits are as short as polling requires.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from cloudbeds_auth import system

CHANNEL = "cloudbeds_auth"
NOTIFYING = frozenset({"commit_pair", "release_lease"})  # statements that another process may be waiting for
NOTIFY = f"SELECT pg_notify('{CHANNEL}', %(grant_id)s)"
LONGEST = 1.0  # seconds between two reads while listening, in case the server has gone silent
AGAIN_AFTER = 5.0  # seconds before a lost connection is opened again


class Bell:
    """ports.Heard."""

    def __init__(self, listener: Listener, poll: float) -> None:
        self._listener = listener
        self._poll = poll
        self._rung = asyncio.Event()
        self._first = True

    def ring(self) -> None:
        """Wake the waiting task: the row is worth reading again."""
        self._rung.set()

    @property
    def longest(self) -> float:
        """The longest wait, in seconds."""
        # A change between the caller's last read and this bell was not notified: the first wait is that of polling.
        return self._poll if self._first or not self._listener.listening else self._listener.longest

    async def wait(self, seconds: float) -> None:
        """See ports."""
        seconds = min(seconds, self.longest)
        self._first = False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        self._rung.clear()


class Listener:
    """Receives notifications of other processes' transactions; one per driver, which starts anew in a forked child."""

    def __init__(self, conninfo: str, *, longest: float = LONGEST) -> None:
        self._conninfo = conninfo
        self.longest = longest
        self.listening: bool = False
        self._bells: dict[str, set[Bell]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._begun_by = 0

    @contextmanager
    def hearing(self, grant_id: str, poll: float) -> Iterator[Bell]:
        """See ports."""
        if self._begun_by != os.getpid():
            self._begin_in_this_process()
        bell = Bell(self, poll)
        self._bells[grant_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[grant_id].discard(bell)
            if not self._bells[grant_id]:
                del self._bells[grant_id]

    async def close(self) -> None:
        """Stop listening."""
        if self._task is None or self._begun_by != os.getpid():
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task, self._begun_by = None, 0

    def _begin_in_this_process(self) -> None:
        self.listening = False
        self._bells.clear()  # of the parent's tasks, which do not run here
        self._begun_by = os.getpid()
        self._task = asyncio.create_task(self._keep_listening(), name="listen to PostgreSQL")

    async def _keep_listening(self) -> None:
        while True:
            with suppress(psycopg.Error, OSError):
                if not await self._listen():
                    return
            # Notifications may have been missed meanwhile.
            self.listening = False
            for bells in self._bells.values():
                for bell in bells:
                    bell.ring()
            await system.SystemClock().sleep(AGAIN_AFTER)

    async def _listen(self) -> bool:
        """Listen until the connection is lost; False if the session is not our own, and never will be."""
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None)
        async with connection:
            (served_by,) = await (await connection.execute("SELECT pg_backend_pid()")).fetchone() or (0,)
            if served_by != connection.info.backend_pid:
                return False  # a pooler reported a pid of its own for the session
            await connection.execute(f"LISTEN {CHANNEL}")
            self.listening = True
            async for notification in connection.notifies():
                for bell in self._bells.get(notification.payload, ()):
                    bell.ring()
        return True
