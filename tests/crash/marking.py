"""Makes a process leave marks: subclasses of a few classes tell, and then do what they always did.

Called in a process that is going to be killed, or whose database is, and in no other.
"""

from __future__ import annotations

import sys
from typing import Any

from tests.crash.marks import (
    ANSWERING,
    COMMITTED,
    CONNECTED,
    CURRENT,
    INTENT,
    KEYED,
    LATCHED,
    LEASED,
    MOVED,
    PARSED,
    PROVEN,
    PRUNED,
    PUBLISHED,
    RELEASED,
    SENDING,
    SENT,
    USED,
    WAITING,
    Marker,
    Refresh,
)

from cloudbeds_auth import observe
from cloudbeds_auth.database.store import SqlStore
from cloudbeds_auth.ports.grants import Busy, Leased, Written
from cloudbeds_auth.ports.token_endpoint import MaySend
from cloudbeds_auth.rules.model import App, Fence, Pair, StoredToken, User
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Answer, Issued, KeyAnswer
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

TELLING = observe.Telling


def install(marker: Marker) -> None:
    """What is the same over every database."""
    instead_of(TELLING, lambda *observers: TELLING(*observers, Observing(marker)))
    instead_of(SqlStore, _moving(marker, _store(marker)))
    instead_of(HttpTokenEndpoint, _token_endpoint(marker))
    instead_of(http_client._Sockets, _sockets(marker))


def instead_of(original: object, made: object) -> None:
    """Wherever the product knows `original` by name, it finds `made`."""
    for module in [module for name, module in sys.modules.items() if name.startswith("cloudbeds_auth")]:
        for name in [name for name, value in vars(module).items() if value is original]:
            setattr(module, name, made)


def _store(marker: Marker) -> type[SqlStore]:
    class Store(SqlStore):
        """Marks before and after each transaction of a refresh."""

        async def take_lease(self, grant_id: str, owner: str, seconds: float) -> Leased | Busy | None:
            taken = await super().take_lease(grant_id, owner, seconds)
            if isinstance(taken, Leased):
                CURRENT.set(Refresh(grant_id))
                marker.tell(LEASED)
            return taken

        async def write_intent(
            self, fence: Fence, position: int, *, lease: float, hold: float, exchange: bool = False
        ) -> bool:
            written = await super().write_intent(fence, position, lease=lease, hold=hold, exchange=exchange)
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

        async def confirm(self, grant_id: str, generation: int, *, issuer: str | None = None) -> bool:
            confirmed = await super().confirm(grant_id, generation, issuer=issuer)
            if CURRENT.get().after_commit:
                marker.tell(PRUNED)
            return confirmed

        async def release_lease(self, grant_id: str, epoch: int) -> None:
            await super().release_lease(grant_id, epoch)
            marker.tell(RELEASED)
            CURRENT.set(Refresh())

    return Store


def _moving(marker: Marker, before: type[SqlStore]) -> type[SqlStore]:
    class Store(before):  # type: ignore[misc, valid-type]  # a class made a moment ago
        """Marks after each transaction of a move to an API key."""

        async def begin_migration(self, fence: Fence, client_id: str) -> bool:
            begun = await before.begin_migration(self, fence, client_id)
            marker.tell(LATCHED)
            return begun

        async def add_key(self, old_grant_id: str, grant_id: str, app: str, pair: Pair) -> bool:
            refresh = CURRENT.get()
            refresh.committing = True
            try:
                stored = await before.add_key(self, old_grant_id, grant_id, app, pair)
            finally:
                refresh.committing = False
            marker.tell(KEYED)
            return stored

        async def promote(
            self, connection_id: str, grant_id: str, user: User | None, property_ids: tuple[str, ...]
        ) -> bool:
            promoted = await before.promote(self, connection_id, grant_id, user, property_ids)
            marker.tell(MOVED)
            return promoted

    return Store


def _token_endpoint(marker: Marker) -> type[HttpTokenEndpoint]:
    class TokenEndpoint(HttpTokenEndpoint):
        """Marks an answer that was understood."""

        async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
            answer = await super().refresh(app, secret, token, may_send)
            if isinstance(answer, Issued):
                marker.tell(PARSED)
            return answer

        async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
            answer = await super().exchange_for_key(app, secret, token, may_send)
            if isinstance(answer, Issued):
                marker.tell(PARSED)
            return answer

    return TokenEndpoint


def _sockets(marker: Marker) -> type[Any]:
    before: type[Any] = http_client._Sockets
    tokens = {
        "http11.send_request_headers.complete": SENDING,
        "http11.send_request_body.complete": SENT,
        "http11.receive_response_headers.complete": ANSWERING,
    }

    class Sockets(before):  # type: ignore[misc]  # private to the product, and that is what is looked at
        """Marks how far a token request, and the first use of a new token, have come on the wire."""

        def __init__(self, may_send: MaySend) -> None:
            super().__init__(may_send)
            self._target = b""

        async def trace(self, event: str, info: dict[str, Any]) -> None:
            if event == "http11.send_request_headers.started":
                self._target = info["request"].url.target
                if self._target.endswith(b"/access_token"):
                    marker.tell(CONNECTED)
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
