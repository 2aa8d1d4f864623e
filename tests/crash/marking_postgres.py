"""Marks over PostgreSQL: inside the transaction that commits a pair, each time that it is run."""

from __future__ import annotations

from typing import TypeVar

from tests.crash.marking import instead_of
from tests.crash.marks import Marker, watched

from cloudbeds_auth.database.postgres import WITHIN, PostgresDriver
from cloudbeds_auth.transactions.statements import Body

T = TypeVar("T")


def install(marker: Marker) -> None:
    """Make this process leave them."""

    class Driver(PostgresDriver):
        """Marks the transaction that commits a pair: begun, and about to be committed."""

        async def _run(self, body: Body[T], begin: str, within: float = WITHIN) -> T:
            return await super()._run(watched(marker, body), begin, within)

    instead_of(PostgresDriver, Driver)
