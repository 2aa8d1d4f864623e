"""By what callers name a connection: its id, which begins `con_`, or the id of a property that it covers.

The one place that decides which connection is meant. A property moves to another connection when its hotel approves
anew, so what it stands for is read each time, and remembered for a minute, as a token is, only so that looking up a
fresh token stays a look-up in memory.
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
    """The connection that a property id stood for, and until when by the steady clock it is taken without a look."""

    connection_id: str
    look_again: float


class ConnectionIds:
    """Finds the one current connection that is named."""

    def __init__(self, world: World, outage: Outage) -> None:
        self._world = world
        self._outage = outage
        self._recent: Recent[str, Known] = Recent()  # by property id
        self._last: Recent[str, str] = Recent()  # at any time: the connection id by property id

    def look_again(self) -> None:
        """A connection came into use here, and may cover any property: what each stands for is read before its use."""
        self._recent = Recent()  # a read under way writes into the former one

    def recent(self, named: str) -> str | None:
        """The connection id, where it was read within a minute or is one: no waiting, from any thread.

        Raises InvalidRequest for what is no text.
        """
        if property_of(named) is None:
            return named
        known = self._recent.get(named)
        return None if known is None or self._world.clock.steady() >= known.look_again else known.connection_id

    def last(self, named: str) -> str | None:
        """The connection id, where it is one or was read at any time: for what is only counted. From any thread."""
        return named if property_of(named) is None else self._last.get(named)

    async def find(self, named: Named) -> Named:
        """The connection id, or None for None. An id of a connection is not looked for here, but by what is done with
        it.

        Raises InvalidRequest for what is no text, UnknownConnection, or AmbiguousProperty when several connections
        cover the property.
        """
        if named is None:
            return None
        if property_of(named) is None and is_text(named):
            return named
        return await self.resolve(named)

    async def find_to_call(self, named: str) -> str:
        """As `find`; while the store cannot be read, what was read last: its token serves until it ends (F62)."""
        last = self.last(named)
        if last is None or last == named:
            return await self.find(named)
        try:
            return await self._outage.read_briefly(f"find {named}", partial(self.find, named))
        except StoreUnavailable:
            return last

    async def find_to_count(self, named: str) -> str:
        """As `find`; for what is only counted, whatever was read last will do."""
        last = self.last(named)
        return await self.find(named) if last is None else last

    async def resolve(self, named: str) -> str:
        """As `find`, and raises UnknownConnection for an id that no connection has, too."""
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
