"""What the vendor's answers to resource calls say about a connection, processed in the background.

A body alone marks no grant (rule-12). A body that names a dead grant has the grant checked in the usual way: by
`/userinfo`, or a refused pass, counted twice an interval apart. A body that says what this hotel did not allow is kept
as the connection's problem; the hotel stays healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.errors import ConnectionDisconnected, Error, ReauthorizationRequired
from cloudbeds_auth.rules.api_errors import Act, Refusal
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.refusals import note_problem

AGAIN = 3600.0  # seconds until the same problem of the same generation is written again, if it went away meanwhile
MOST_REMEMBERED = 10_000

Key = tuple[str, int, str]  # grant, generation, reason


class RefusedCalls:
    """Applies refusals: for each grant, asks the vendor, and writes, at most once in a lease's time."""

    def __init__(self, world: World, access: Access, refresher: Refresher, candidates: Candidates) -> None:
        self._world = world
        self._access = access
        self._refresher = refresher
        self._candidates = candidates
        self._not_before: dict[Key, float] = {}

    def note_refusal(self, token: AccessToken, refusal: Refusal, method: str, path: str) -> None:
        """Apply the refusal in the answer to a call with this token; no caller waits for it."""
        if refusal.act in {Act.SUSPECT, Act.LOOK}:
            key, work = (token.grant_id, 0, ""), partial(self._look_at, token, refusal)
        elif refusal.act is Act.REPORT:
            key = (token.grant_id, token.generation, refusal.reason)
            work = partial(self._report, key, refusal, {"method": method, "path": path, "said": refusal.said})
        else:
            return
        if not self._resting(key):
            self._world.tasks.begin(f"look into {key}", work)

    def _resting(self, key: Key) -> bool:
        """Whether such a refusal was applied a moment ago; if not, it counts as applied now."""
        now = self._world.clock.steady()
        if self._not_before.get(key, now) > now:
            return True
        if len(self._not_before) >= MOST_REMEMBERED:
            self._not_before.clear()
        self._not_before[key] = now + self._world.timing.lease
        return False

    async def _look_at(self, token: AccessToken, refusal: Refusal) -> None:
        """Ask whether the grant is alive, as if its token had been rejected; after a proof nothing more is sent."""
        world = self._world
        with suppress(Error):  # reported by the flight; if nothing was learnt, a later body has it asked again
            row = await world.db.read(read_grant(token.grant_id))
            if row is None:
                return
            if row.generation != token.generation or row.reauth:  # nothing about a newer token; a mark is known
                self._access.forget(row.connection_id)
                return
            world.observer.happened(Happening.GRANT_SUSPECTED, connection_id=row.connection_id, reason=refusal.reason)
            try:
                seen, connection_id = row.generation, row.connection_id
                await self._refresher.refresh(Ask(row.id, seen, seen, patient=False, connection_id=connection_id))
            except (ReauthorizationRequired, ConnectionDisconnected):
                self._access.forget(row.connection_id)
            except GrantSuperseded:
                self._access.forget(row.connection_id)
                await self._candidates.resume(row.connection_id)

    async def _report(self, key: Key, refusal: Refusal, said: Mapping[str, str]) -> None:
        """Record what this hotel did not allow, for people to see."""
        world, (grant_id, generation, reason) = self._world, key
        with suppress(Error):  # only an aid: the caller has the body itself
            connection_id = await world.db.write(note_problem(grant_id, generation, reason, said))
            if connection_id is not None:
                self._not_before[key] = world.clock.steady() + AGAIN
                world.observer.happened(Happening.CALL_REFUSED, connection_id=connection_id, reason=reason)
