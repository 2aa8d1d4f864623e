"""What rests of hotels that come back: which connection an approval belongs to, once its properties are known."""

from __future__ import annotations

from typing import Protocol


class ReturnStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def bring_home(self, grant_id: str, generation: int, named: tuple[str, ...], new_grant_id: str) -> str | None:
        """The vendor named these properties of a candidate that works: the id of the connection that it is of.

        Its own, which then covers what was named, so that whoever comes next finds it. Or, where its own was never
        connected, the one connection of its app that covers one of them: its newest tokens are a candidate there now,
        as a grant named `new_grant_id`, with the reference that it came with. What it leaves is a sign for a day, as of
        what was claimed, and whatever led to its own connection leads there.

        None, and nothing changes: it is no candidate any more, of another generation, or not the newest; or it would
        move, and a refresh of it is under way or has not been settled.
        """
        ...

    async def outcome(self, authorization_id: str) -> str | None:
        """The connection that an authorization leads to now; None: to none yet, or it is forgotten."""
        ...

    async def covered(self, connection_id: str) -> tuple[str, ...]:
        """The properties of the grant that was last in use there, also after a disconnect; empty: none ever was."""
        ...
