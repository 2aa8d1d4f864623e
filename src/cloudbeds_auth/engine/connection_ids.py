"""How callers name a connection: by its id, which begins with `con_`, or by the id of a property that it covers.

The only place that decides which connection is meant. A property moves to another connection when its hotel approves
again, so the connection of a property is read each time; it is remembered for a minute, as a token is, only so that
a fresh token is found in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cloudbeds_auth.engine.access import LOOK_AGAIN
from cloudbeds_auth.engine.context import World, resolve, unknown
from cloudbeds_auth.engine.memory import Recent
from cloudbeds_auth.engine.outage import Outage
from cloudbeds_auth.errors import AmbiguousProperty, StoreUnavailable
from cloudbeds_auth.rules.inputs import is_text
from cloudbeds_auth.rules.proxy_policy import property_of

Named = TypeVar("Named", str, str | None)


@dataclass(frozen=True, slots=True)
class Known:
    """The connection that a property id stood for, and until when, by the steady clock, it is used without a read."""

    connection_id: str
    look_again: float


class ConnectionIds:
    """Finds the one current connection that is named."""

    def __init__(self, world: World, outage: Outage) -> None:
        self._world = world
        self._outage = outage
        self._recent: Recent[str, Known] = Recent()  # by property id
        self._last: Recent[str, str] = Recent()  # however long ago: the connection id by property id

    def look_again(self) -> None:
        """A connection came into use here, and may cover any property: read anew what each property id stands for."""
        self._recent = Recent()  # a read in progress writes into the old one

    def recent(self, named: str) -> str | None:
        """The connection id, if `named` is one or was read within a minute; never waits, and works in any thread.

        Raises InvalidRequest for what is not text.
        """
        if property_of(named) is None:
            return named
        known = self._recent.get(named)
        return None if known is None or self._world.clock.steady() >= known.look_again else known.connection_id

    def last(self, named: str) -> str | None:
        """The connection id, if `named` is one or was ever read: for what is only counted. From any thread."""
        return named if property_of(named) is None else self._last.get(named)

    async def find(self, named: Named) -> Named:
        """The connection id, or None for None. Whether a connection id exists is not checked here, but where it is
        used.

        Raises InvalidRequest for what is not text, UnknownConnection, or AmbiguousProperty when several connections
        cover the property.
        """
        if named is None:
            return None
        if property_of(named) is None and is_text(named):
            return named
        return await self.resolve(named)

    async def find_to_call(self, named: str) -> str:
        """As `find`; while the store cannot be read, what was read last: the token serves until it expires (F62)."""
        last = self.last(named)
        if last is None or last == named:
            return await self.find(named)
        try:
            return await self._outage.read_briefly(f"find {named}", partial(self.find, named))
        except StoreUnavailable:
            return last

    async def find_to_count(self, named: str) -> str:
        """As `find`, for what is only counted: whatever was read last will do."""
        last = self.last(named)
        return await self.find(named) if last is None else last

    async def resolve(self, named: str) -> str:
        """As `find`, and also raises UnknownConnection for a connection id that does not exist."""
        recent, look_again = self._recent, self._world.clock.steady() + LOOK_AGAIN
        by_property = property_of(named) is not None
        found = await resolve(self._world.db, named) if is_text(named) else ()
        if len(found) != 1:
            recent.pop(named, None)
            self._last.pop(named, None)
        if not found:
            raise unknown(named)
        if len(found) > 1:
            raise AmbiguousProperty(f"{len(found)} connections cover property {named[:64]!r}")
        if by_property:
            recent[named], self._last[named] = Known(found[0], look_again), found[0]
        return found[0]
