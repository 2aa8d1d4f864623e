"""Which transactions of a refresh leave the marks of a commit."""

from __future__ import annotations

import asyncio
import os
from typing import Any, TypeVar

from tests.crash import marking
from tests.crash.marks import CURRENT, Marker, Refresh, watched
from tests.support.fakes import pair
from tests.support.keys import KEY

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.rules.model import Fence, StoredToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.grants import commit_pair, renew_lease
from cloudbeds_auth.transactions.statements import Body

T = TypeVar("T")
MARKER = Marker(os.open(os.devnull, os.O_WRONLY))


class Held:
    """A driver whose transactions end together; which of them would leave marks."""

    wakeups = None

    def __init__(self) -> None:
        self.watched: list[bool] = []
        self._end = asyncio.Event()

    async def write(self, body: Body[T], *, synced: bool = True) -> Any:
        """Wait for the second one."""
        self.watched.append(watched(MARKER, body) is not body)
        if len(self.watched) == 2:
            self._end.set()
        await self._end.wait()
        return None, 0

    async def read(self, body: Body[T]) -> T:
        """None is asked for."""
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_renewal_beside_a_commit_is_not_taken_for_it() -> None:
    """The lease of the refresh that is being stored is renewed at the same moment, in a task of the same refresh: its
    transaction, behind the commit, was taken for a second commit under way, where no intent rests any more.
    """
    driver = Held()
    database = marking._database(MARKER)(driver, AesGcmSealer([KEY]), lambda owner, clock: False)
    CURRENT.set(Refresh("a grant"))
    begun = asyncio.Event()

    async def renew() -> None:
        await begun.wait()
        await database.write(renew_lease("a grant", 1, 30.0))

    renewal = asyncio.create_task(renew())
    asyncio.get_running_loop().call_soon(begun.set)
    sent = StoredToken(1, Secret("a refresh token"))
    await database.write(commit_pair(Fence("a grant", 1, 1), sent, pair(2), stale_after=9.0))
    await renewal
    assert driver.watched == [True, False]
