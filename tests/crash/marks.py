"""Marks: one byte down a pipe whenever a refresh enters its next phase, so that a kill can be told where it struck.

`install` replaces a few classes by subclasses of theirs that leave a mark and then do what they always did; it is
called in a process that is going to be killed, and in no other. A service refreshes several hotels at once: there each
mark is followed by a second byte, the hotel's.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import apsw
from tests.crash import limits

from cloudbeds_auth import observe
from cloudbeds_auth.core.answers import Answer, Issued
from cloudbeds_auth.core.nouns import App, Fence, Pair, StoredToken
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.ports.store import Busy, Leased, Written
from cloudbeds_auth.store.sql import durability, sqlite
from cloudbeds_auth.store.sql.sqlite import SqliteDriver, SqliteFile
from cloudbeds_auth.store.sql.store import SqlStore
from cloudbeds_auth.store.sql.transactions import Body, Instant, Transaction
from cloudbeds_auth.wire import policy
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

T = TypeVar("T")

OPEN, LEASED, INTENT, SENDING, SENT, ANSWERING, PARSED = "o", "l", "i", "c", "s", "h", "p"
IN_TRANSACTION, COMMITTING, SYNCING, COMMITTED, PUBLISHED = "t", "e", "y", "d", "r"
USED, PROVEN, PRUNED, RELEASED, WAITING, SERVED, FINISHED, BORN = "u", "v", "w", "x", "n", "a", "f", "b"

POINTS = {
    OPEN: "K0", LEASED: "K0p", INTENT: "K1", SENDING: "K2", SENT: "K3", ANSWERING: "K5", PARSED: "K6",
    IN_TRANSACTION: "K7", COMMITTING: "K8", SYNCING: "K8", COMMITTED: "K9", PUBLISHED: "K10", USED: "K11",
    PROVEN: "K12", PRUNED: "K13", RELEASED: "K0",
}  # fmt: skip
"""The kill point of a process whose last mark this was; K3 becomes K4 when the vendor's journal says that it acted."""

TELLING = observe.Telling
OLD_SQLITE = 3_051_002  # the product keeps a rollback journal on such a build, and that runs on a VFS in Python


NOBODY = "-"  # the second byte of a mark that belongs to no refresh


def tag(number: int) -> str:
    """The second byte of the marks of hotel `number`."""
    return chr(ord("0") + number)


def of(told: str, number: int) -> str:
    """The marks of hotel `number` among those of a service."""
    return "".join(mark for mark, whose in zip(told[::2], told[1::2], strict=False) if whose == tag(number))


@dataclass
class Refresh:
    """The refresh that this task, or the transaction that it waits for, belongs to."""

    grant: str = ""
    committing: bool = False
    after_commit: bool = False


CURRENT: ContextVar[Refresh] = ContextVar("CURRENT", default=Refresh())  # noqa: B039 - of no task, and never changed


@dataclass
class Marker:
    """Writes marks. At `stop_at` (after `stop_skip` others) the process stops itself by SIGSTOP.

    At `full_at` its disk becomes full, at `starved_at` it gets no more `starved_of` (see limits.py). `tags`: the second
    bytes, by grant.
    """

    handle: int
    stop_at: str = ""
    stop_skip: int = 0
    full_at: str = ""
    starved_at: str = ""
    starved_of: str = "descriptors"
    tags: Mapping[str, str] = field(default_factory=dict)

    def tell(self, mark: str) -> None:
        """Leave a mark, and do what is to be done there."""
        tag = self.tags.get(CURRENT.get().grant, NOBODY) if self.tags else ""
        os.write(self.handle, (mark + tag).encode())
        if mark == self.full_at:
            self.full_at = ""
            limits.fill_disk()
        if mark == self.starved_at:
            self.starved_at = ""
            limits.starve(self.starved_of)
        if mark == self.stop_at:
            self.stop_skip -= 1
        if mark == self.stop_at and self.stop_skip < 0:
            self.stop_at = ""
            # To this very thread: sent to the process, the signal would let it run on for a while.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def install(marker: Marker, *, old_sqlite: bool = False) -> None:
    """Make this process leave marks."""
    _instead_of(TELLING, lambda *observers: TELLING(*observers, Observing(marker)))
    _instead_of(SqliteDriver, Driver)
    _instead_of(SqlStore, _store(marker))
    _instead_of(HttpTokenEndpoint, _token_endpoint(marker))
    _instead_of(SqliteFile, _file(marker))
    _instead_of(policy._Sockets, _sockets(marker))
    if old_sqlite:
        watched = _vfs(marker)
        setattr(durability, "version_number", lambda: OLD_SQLITE)  # noqa: B010 - a test's hand in it
        setattr(sqlite, "apsw", _WithDefaultVfs(watched))  # noqa: B010


def _instead_of(original: object, made: object) -> None:
    """Wherever the product knows `original` by name, it finds `made`."""
    for module in [module for name, module in sys.modules.items() if name.startswith("cloudbeds_auth")]:
        for name in [name for name, value in vars(module).items() if value is original]:
            setattr(module, name, made)


class Driver(SqliteDriver):
    """Takes along to its thread which refresh a transaction belongs to."""

    async def _hop(self, work: Callable[[SqliteFile], T]) -> T:
        context = copy_context()
        return await super()._hop(lambda file: context.run(work, file))


def _store(marker: Marker) -> type[SqlStore]:
    class Store(SqlStore):
        """Marks before and after each transaction of a refresh."""

        async def take_lease(self, grant_id: str, owner: str, seconds: float) -> Leased | Busy | None:
            taken = await super().take_lease(grant_id, owner, seconds)
            if isinstance(taken, Leased):
                CURRENT.set(Refresh(grant_id))
                marker.tell(LEASED)
            return taken

        async def write_intent(self, fence: Fence, position: int, *, lease: float, hold: float) -> bool:
            written = await super().write_intent(fence, position, lease=lease, hold=hold)
            if written:
                marker.tell(INTENT)
            return written

        async def commit_pair(self, fence: Fence, sent: StoredToken, pair: Pair, *, stale_after: float) -> Written:
            refresh = CURRENT.get()
            refresh.committing = True
            try:
                written = await super().commit_pair(fence, sent, pair, stale_after=stale_after)
            finally:
                refresh.committing = False
            if written is Written.DONE:
                refresh.after_commit = True
                marker.tell(COMMITTED)
            return written

        async def confirm(self, grant_id: str, generation: int) -> bool:
            confirmed = await super().confirm(grant_id, generation)
            if CURRENT.get().after_commit:
                marker.tell(PRUNED)
            return confirmed

        async def release_lease(self, grant_id: str, epoch: int) -> None:
            await super().release_lease(grant_id, epoch)
            marker.tell(RELEASED)
            CURRENT.set(Refresh())

    return Store


def _token_endpoint(marker: Marker) -> type[HttpTokenEndpoint]:
    class TokenEndpoint(HttpTokenEndpoint):
        """Marks an answer that was understood."""

        async def refresh(self, app: App, secret: Secret, token: Secret) -> Answer:
            answer = await super().refresh(app, secret, token)
            if isinstance(answer, Issued):
                marker.tell(PARSED)
            return answer

    return TokenEndpoint


def _file(marker: Marker) -> type[SqliteFile]:
    class File(SqliteFile):
        """Marks the transaction that commits a pair: begun, and about to be committed."""

        def _transaction(self, connection: apsw.Connection, body: Body[T], begin: str) -> T:
            watched = partial(_watched, marker, body) if CURRENT.get().committing else body
            return super()._transaction(connection, watched, begin)

    return File


def _watched(marker: Marker, body: Body[T], now: Instant) -> Transaction[T]:
    marker.tell(IN_TRANSACTION)
    result = yield from body(now)
    marker.tell(COMMITTING)
    return result


def _sockets(marker: Marker) -> type[Any]:
    before: type[Any] = policy._Sockets
    tokens = {
        "http11.send_request_headers.complete": SENDING,
        "http11.send_request_body.complete": SENT,
        "http11.receive_response_headers.complete": ANSWERING,
    }

    class Sockets(before):  # type: ignore[misc]  # private to the product, and that is what is looked at
        """Marks how far a token request, and the first use of a new token, have come on the wire."""

        def __init__(self) -> None:
            super().__init__()
            self._target = b""

        async def trace(self, event: str, info: dict[str, Any]) -> None:
            if event == "http11.send_request_headers.started":
                self._target = info["request"].url.target
            if self._target.endswith(b"/access_token") and event in tokens:
                marker.tell(tokens[event])
            elif self._target.endswith(b"/userinfo") and tokens.get(event) == SENT and CURRENT.get().after_commit:
                marker.tell(USED)
            await super().trace(event, info)

    return Sockets


class Observing:
    """The observer's marks: published, proven, and a commit that has to wait."""

    def __init__(self, marker: Marker) -> None:
        self._marker = marker

    def happened(self, what: str, /, **facts: object) -> None:
        """See ports.observer."""
        if what == "refreshed":
            self._marker.tell(PUBLISHED)
        elif what == "commit_waits":
            self._marker.tell(WAITING)
        elif what == "proof" and facts["verdict"] == "Proof" and CURRENT.get().after_commit:
            self._marker.tell(PROVEN)


class _WithDefaultVfs:
    """The module `apsw`, whose connections go through another file system layer unless they name one."""

    def __init__(self, vfs: apsw.VFS) -> None:
        self._vfs = vfs

    def __getattr__(self, name: str) -> Any:
        return getattr(apsw, name)

    def Connection(self, path: str, vfs: str | None = None) -> apsw.Connection:  # noqa: N802 - apsw's name
        return apsw.Connection(path, vfs=vfs or "crash-marks")


def _vfs(marker: Marker) -> apsw.VFS:
    told = partial(_syncing, marker)

    class File(apsw.VFSFile):
        """Marks a sync that is due while a pair is committed: written, and not synced."""

        def __init__(self, name: Any, flags: list[int]) -> None:
            super().__init__("", name, flags)

        def xSync(self, flags: int) -> None:  # noqa: N802 - apsw's name
            told()
            super().xSync(flags)

    class Vfs(apsw.VFS):
        """The system's own, with those files."""

        def __init__(self) -> None:
            super().__init__("crash-marks", base="", iVersion=1)

        def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - apsw's name
            return File(name, flags)

    return Vfs()


def _syncing(marker: Marker) -> None:
    if CURRENT.get().committing:
        marker.tell(SYNCING)
