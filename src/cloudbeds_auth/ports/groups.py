"""What rests of the question which properties a connection covers now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cloudbeds_auth.rules.properties import Relisted

PROPERTIES_CHANGED = "properties_changed"
"""What the history calls that a connection covers other properties than before; it leads nowhere in the lifecycle."""


PROPERTY_ELSEWHERE = "property_elsewhere"
"""What the history calls that the vendor names a property which another connection covers; it leads nowhere either."""


class GroupStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def claim_listings(self, limit: int, hold: float) -> Sequence[str]:
        """Ids of at most `limit` connections in use whose properties are to be asked for, those that wait longest; they
        are nobody else's for `hold` seconds, and asked about again then unless `relist` says later.
        """
        ...

    async def relist(self, grant_id: str, named: tuple[str, ...]) -> Relisted | None:
        """The vendor's whole answer: the connection covers these properties, but for those that another living one
        covers (`rules.properties.relist`); the history has a line of what changed. An empty one changes nothing. It is
        asked again about a day later.

        Of `elsewhere` only what was not told before is returned. None: the grant is not in use.
        """
        ...
