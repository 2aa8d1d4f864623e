"""Two stores under one clock that are asked the same, and must answer alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.simulation.memory import ended
from tests.store.bench import KEY, HandClock

from cloudbeds_auth.core.lifecycle import IllegalMove, State
from cloudbeds_auth.core.nouns import Grant
from cloudbeds_auth.errors import StateMismatch
from cloudbeds_auth.ports.store import Store
from cloudbeds_auth.store.memory.store import MemoryStore
from cloudbeds_auth.store.sealing import AesGcmSealer
from cloudbeds_auth.store.sql.sqlite import SqliteFile
from cloudbeds_auth.store.sql.store import SqlStore
from cloudbeds_auth.store.sql.transactions import Body

T = TypeVar("T")


class Inline:
    """A driver that runs each transaction where it is asked for."""

    wakeups = None

    def __init__(self, file: SqliteFile) -> None:
        self.file = file

    async def read(self, body: Body[T]) -> T:
        return self.file.run(body, "BEGIN")

    async def write(self, body: Body[T]) -> T:
        return self.file.run(body, "BEGIN IMMEDIATE")

    async def close(self) -> None:
        self.file.close()


class Stores:
    """The memory store and the SQL store, each asked everything; `dead`: owners known dead to both."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.dead: set[str] = set()
        self._folder = tempfile.TemporaryDirectory()
        self.memory: Store = MemoryStore(self.clock.instant, self._is_dead)
        driver = Inline(SqliteFile(Path(self._folder.name) / "vault", self.clock.instant))
        sql = SqlStore(driver, AesGcmSealer([KEY]), self._is_dead)
        ended(sql.open())
        self.sql: Store = sql

    def _is_dead(self, owner: str, clock_id: str) -> bool:
        return owner in self.dead

    def close(self) -> None:
        """Nothing is left."""
        ended(self.sql.close())
        self._folder.cleanup()

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, T]]) -> T | None:
        """Ask both: the same answer, or the same refusal (then None)."""
        answers = []
        for store in (self.memory, self.sql):
            try:
                answers.append(("answered", ended(question(store))))
            except (IllegalMove, StateMismatch) as error:
                answers.append((type(error).__name__, None))
        assert answers[0] == answers[1], f"{answers[0]}\n{answers[1]}"
        found: T | None = answers[0][1]
        return found

    def tables(self) -> list[str]:
        """The grants that the memory store has."""
        assert isinstance(self.memory, MemoryStore)
        return list(self.memory._tables.grants)

    def row(self, grant_id: str) -> Grant:
        """A grant as the memory store has it."""
        found: Grant = ended(self.memory.grant(grant_id))
        return found

    def compare(self, grants: Sequence[str], homes: Sequence[str]) -> None:
        """These grants and connections look alike, with their histories."""
        self.ask(lambda store: store.next_due())
        self.ask(lambda store: store.next_message())
        self.ask(lambda store: store.outbox())
        for name in grants:
            self.ask(partial(_grant, grant_id=name))
        for home in homes:
            self.ask(partial(_connection, connection_id=home))

    def compare_lists(self, apps: Sequence[str], properties: Sequence[str], links: Sequence[str]) -> None:
        """What is found by searching is alike."""
        self.ask(lambda store: store.connections(limit=2))
        self.ask(lambda store: store.connections(property_id=properties[0]))
        self.ask(lambda store: store.connections(states=[State.FRESH, State.STALE, State.DISCONNECTED]))
        self.ask(lambda store: store.count_states())
        self.ask(_apps)
        self.ask(partial(_found, apps=apps, properties=properties, links=links))


async def _grant(store: Store, grant_id: str) -> Grant | None:
    return await store.grant(grant_id)


async def _connection(store: Store, connection_id: str) -> list[object]:
    return [
        await store.connection(connection_id),
        await store.current_grant(connection_id),
        await store.candidate(connection_id),
        await store.covered(connection_id),
        await store.events(connection_id, limit=20),
    ]


async def _apps(store: Store) -> list[object]:
    return [*await store.apps(), await store.redirect_uris()]


async def _found(store: Store, apps: Sequence[str], properties: Sequence[str], links: Sequence[str]) -> list[object]:
    return [
        [await store.open_circuits(app) for app in apps],
        [sorted(await store.resolve(one)) for one in properties],
        [await store.link(one) for one in links],
        [await store.link_outcome(one) for one in links],
    ]
