"""The memory store in the simulation: a server that outlives its clients, and each machine's way to it.

As a database server does it: every transaction is whole and durable when it returns, or did not happen. A machine may
be killed before, and after with the answer lost; the server may refuse a transaction, for a while or once, or carry it
out and report that it failed. `disk` is a `disk.Disk` without files: its operations are "write" and "sync" before a
transaction is applied, and "answer" after it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apsw
from tests.simulation.disk import Disk
from tests.simulation.driver import Way
from tests.simulation.durable import Stored

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports.grants import Busy, Counted, Written
from cloudbeds_auth.ports.store import Store
from cloudbeds_auth.store.memory.store import MemoryStore
from cloudbeds_auth.store.memory.tables import GrantRow, Tables
from cloudbeds_auth.store.sql.transactions import Instant, Statement

READS = frozenset(
    {"grant", "open_circuits", "link", "link_outcome", "candidate", "resolve", "current_grant", "connection"}
    | {"connections", "count_states", "events", "next_due", "report"}
)
# What the points of the SQL store are called, where a method is called otherwise.
CALLED = {"add_candidate": "add_grant", "promote": "move_pointer", "count_refusal": "mark", "record_calls": "set_used"}
PARAMETERS: dict[str, Callable[..., dict[str, object]]] = {
    "write_intent": lambda fence, position, **more: {"grant_id": fence.grant_id, "position": position},
    "release_lease": lambda grant_id, epoch: {"grant_id": grant_id, "epoch": epoch},
}
"""What `Sendings` asks of a committed statement."""
WROTE_NOTHING = (
    False, Written.GENERATION_MOVED, Written.EPOCH_MOVED, Written.GONE, Counted.MOVED, Counted.EARLY
)  # fmt: skip


@dataclass
class Server:
    """What all machines share."""

    disk: Disk
    instant: Callable[[], Instant]
    tables: Tables = field(default_factory=Tables)


class MemoryDriver(Way):
    """One machine's way to the server."""

    in_transaction = False  # no method of the store pauses

    def __init__(self, server: Server, machine: str, *parts: Any) -> None:
        super().__init__(machine, *parts)
        self._server = server

    def store(self, is_dead: Callable[[str, str], bool]) -> Store:
        """The store as this machine has it."""
        made: Any = SharedStore(self, MemoryStore(self._server.instant, is_dead, tables=self._server.tables))
        store: Store = made
        return store

    async def call(self, name: str, method: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **more: Any) -> Any:
        """One method of the store, as one transaction."""
        inline = self._read if name in READS else self._write
        return await self._scheduled(lambda: inline(CALLED.get(name, name), method, args, more))

    def _read(self, name: str, method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        self._at(f"statement {name}")
        self._must_answer()
        return ended(method(*args, **more))

    def _write(self, name: str, method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        self._at(f"statement {name}")
        self._must_answer()
        self._operation("write", name)
        self._operation("sync", name)
        self._at(f"before commit {name}")
        result = ended(method(*args, **more))
        self._server.disk.version += 1
        if isinstance(result, Busy) or result in WROTE_NOTHING:
            name = "nothing"
        parameters = PARAMETERS.get(name)
        told = parameters(*args, **more) if parameters else {}
        self._committed(self.machine, [Statement(name, "", told)])
        self._operation("answer", name)
        self._at(f"committed {name}")
        return result

    def _must_answer(self) -> None:
        if self._server.disk.busy:
            raise StoreUnavailable("simulated: a lock is held") from apsw.BusyError("another transaction")

    def _operation(self, kind: str, name: str) -> None:
        try:
            self._server.disk.hook(kind, name)
        except apsw.Error as error:
            raise StoreUnavailable(f"simulated: {error}") from error


class SharedStore:
    """`ports.store.Store`: every method of the memory store, by way of a machine's driver."""

    read_only = False

    def __init__(self, driver: MemoryDriver, store: MemoryStore) -> None:
        self._driver, self._store = driver, store

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return partial(self._driver.call, name, getattr(self._store, name))


class MemoryRest:
    """D over the memory store: see `durable.Rest`."""

    def __init__(self, server: Server) -> None:
        self._disk, self._tables = server.disk, server.tables
        self._version = -1
        self._grants: dict[str, Stored] = {}

    def grants(self) -> dict[str, Stored]:
        """Every grant that rests now, by id."""
        if self._version != self._disk.version:
            self._version = self._disk.version
            self._grants = {row.id: _stored(row) for row in self._tables.grants.values()}
        return self._grants

    def plain(self) -> bytes:
        """What whoever prints the tables would see (I9)."""
        return repr(self._tables).encode()


def _stored(row: GrantRow) -> Stored:
    return Stored(
        row.id,
        row.connection_id,
        row.role,
        row.generation,
        row.access.reveal() if row.access is not None else "",
        tuple((token.position, token.value.reveal()) for token in row.tokens),
        row.intent,
        row.lease_owner,
        row.lease_epoch,
        row.committed_epoch,
        row.refusals,
        row.reauth,
        row.first_reason,
        row.latched,
        row.ordinal,
    )


def ended(running: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never pauses."""
    try:
        running.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a method of the memory store paused: it is no transaction")
