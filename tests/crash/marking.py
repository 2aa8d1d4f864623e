"""Makes a process leave marks: subclasses of a few classes tell, and then do what they always did.

Called in a process that is going to be killed, or whose database is, and in no other.
"""

from __future__ import annotations

import sys
from typing import Any, TypeVar

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
    STORING,
    USED,
    WAITING,
    Marker,
    Refresh,
)

from cloudbeds_auth import observe
from cloudbeds_auth.ports import MaySend
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Answer, Issued, KeyAnswer
from cloudbeds_auth.transactions.grants import Leased, Written
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Call
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

FAN_OUT = observe.FanOut
T = TypeVar("T")
COMMITS = frozenset({"commit_pair", "add_key"})  # what stores what Cloudbeds has issued


def install(marker: Marker) -> None:
    """What is the same over every database."""
    instead_of(FAN_OUT, lambda *observers: FAN_OUT(*observers, Observing(marker)))
    instead_of(Database, _database(marker))
    instead_of(HttpTokenEndpoint, _token_endpoint(marker))
    instead_of(http_client._Sockets, _sockets(marker))


def instead_of(original: object, made: object) -> None:
    """Wherever the product knows `original` by name, it finds `made`."""
    for module in [module for name, module in sys.modules.items() if name.startswith("cloudbeds_auth")]:
        for name in [name for name, value in vars(module).items() if value is original]:
            setattr(module, name, made)


def _database(marker: Marker) -> type[Database]:
    class Marked(Database):
        """Marks before and after each transaction of a refresh, and of a move to an API key."""

        async def write(self, call: Call[T], *, synced: bool = True) -> T:
            storing = STORING.set(call.name in COMMITS)
            try:
                found = await super().write(call, synced=synced)
            finally:
                STORING.reset(storing)
            self._mark(call, found)
            return found

        def _mark(self, call: Call[T], found: T) -> None:
            """What this transaction, having found that, leaves."""
            if isinstance(found, Leased):
                CURRENT.set(Refresh(call.args[0]))
            refresh = CURRENT.get()
            if found is Written.DONE:
                refresh.after_commit = True
            mark = {
                "take_lease": LEASED if isinstance(found, Leased) else "",
                "write_intent": INTENT if found else "",
                "commit_pair": COMMITTED if found is Written.DONE else "",
                "confirm": PRUNED if refresh.after_commit else "",
                "release_lease": RELEASED,
                "begin_migration": LATCHED,
                "add_key": KEYED,
                "promote": MOVED,
            }.get(call.name, "")
            if mark:
                marker.tell(mark)
            if mark == RELEASED:
                CURRENT.set(Refresh())

    return Marked


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

    def happened(self, what: Happening, /, **facts: object) -> None:
        """See ports."""
        if what is Happening.REFRESHED:
            self._marker.tell(PUBLISHED)
        elif what is Happening.COMMIT_WAITS:
            self._marker.tell(WAITING)
        elif what is Happening.PROOF and facts["verdict"] == "Proof" and CURRENT.get().after_commit:
            self._marker.tell(PROVEN)
