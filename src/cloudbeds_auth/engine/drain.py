"""Before a process ends: wait until nothing that it began is under way (F78)."""

from __future__ import annotations

from typing import Protocol


class Drains(Protocol):
    """A part of the vault that does things behind its callers."""

    async def drain(self) -> bool:
        """Wait until what is under way is stored; whether there was anything to wait for."""
        ...


async def drained(*parts: Drains) -> None:
    """Until one round finds nothing to wait for: while one part ends, another may begin something.

    A hotel is moved to an API key while the last refresh comes back; a refused call that is looked at asks for one.
    """
    while any([await part.drain() for part in parts]):
        pass
