"""What rests of connections: found, listed, looked at, and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cloudbeds_auth.rules.history import NEWEST, Place
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Event, Grant


@dataclass(frozen=True, slots=True)
class Page:
    """One page of connections and the cursor of the next one: the id of the last connection before it."""

    connections: tuple[Connection, ...]
    next: str | None


class ConnectionStore(Protocol):
    """What people see."""

    async def resolve(self, connection_or_property: str) -> Sequence[str]:
        """The ids of current connections under a connection id or covering a property id."""
        ...

    async def current_grant(self, connection_id: str) -> Grant | None:
        """The connection's active grant, else its newest candidate, else a disconnected one; None: unknown."""
        ...

    async def connection(self, connection_id: str) -> Connection | None:
        """One connection."""
        ...

    async def connections(
        self,
        *,
        states: Sequence[State] | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Connections, newest first, filtered."""
        ...

    async def count_states(self) -> Mapping[State, int]:
        """Connections by how they look now."""
        ...

    async def events(self, connection_id: str, *, place: Place = NEWEST, limit: int = 100) -> Sequence[Event]:
        """History, newest first, from `place` on: events, and lines of counted calls between them."""
        ...

    async def disconnect(self, connection_id: str, *, actor: str, detail: str = "") -> bool:
        """Forget every token of the connection. False: unknown."""
        ...
