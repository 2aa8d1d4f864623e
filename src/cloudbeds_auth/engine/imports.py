"""Import of hotels from another program: their tokens are stored, then refreshed once, as any grant is refreshed.

    hash known? ── yes → resume where it was; a committed token is never sent again
        │ no
    stored as a candidate without an access token → lease → intent → send → commit → proof → the vendor names the
    property → the pointer moves

So a process that is killed in between loses nothing: the candidate is resumed by a repeated import, by upkeep, or by
the next request for a token of its connection. A refusal has to come twice before it counts (rule-12).
"""

from __future__ import annotations

from cloudbeds_auth.engine.authorize import hashed
from cloudbeds_auth.engine.candidates import Candidates
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.engine.views import Views
from cloudbeds_auth.errors import ClientRefused, Error, InvalidRequest, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.rules.imports import MEANINGS, Handover, Imported, Outcome
from cloudbeds_auth.rules.inputs import checked_reference, is_property
from cloudbeds_auth.rules.lifecycle import LifecycleEvent, State
from cloudbeds_auth.rules.model import Connection, Grant, Pair, Role
from cloudbeds_auth.rules.refresh import Ask, Timing, unresolved
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.imports import NewImport, add_import, read_refused

OF_EVERYBODY = (ClientRefused, StoreReadOnly, StoreUnavailable)  # not the hotel's own: the next one would meet it, too
LAST_EVENTS = 50


class Importer:
    """Imports one hotel at a time; a repeated import resumes."""

    def __init__(self, world: World, refresher: Refresher, candidates: Candidates, views: Views) -> None:
        self._world = world
        self._refresher = refresher
        self._candidates = candidates
        self._views = views

    async def bring_in(self, hotel: Handover) -> Imported:
        """Store the token, refresh it once, prove the result.

        Raises InvalidRequest, ClientRefused, StoreReadOnly, StoreUnavailable; a failure of this hotel alone is returned
        as the outcome.
        """
        new, entropy = await self._new(hotel), self._world.entropy
        placed = await self._world.db.write(add_import(new, entropy.identifier("con_"), entropy.identifier("gra_")))
        if placed.grant_id is None:
            return _imported(Outcome.ALREADY_CONNECTED, await self._views.connection(placed.connection_id))
        error = await self._go_on(placed.connection_id, placed.grant_id)
        return await self._outcome(await self._row(placed.grant_id), error)

    async def was_refused(self, hotel: Handover) -> bool:
        """Whether an import of this token would end in its earlier refusal; nothing is sent or written."""
        return await self._world.db.read(read_refused(hashed(hotel.refresh_token.reveal())))

    async def _new(self, hotel: Handover) -> NewImport:
        reference = checked_reference(hotel.reference)
        registration = await self._world.app(hotel.app)
        if not is_property(hotel.property_id) or hotel.property_id.startswith("con_") or not hotel.refresh_token:
            raise InvalidRequest("an import names a property of Cloudbeds and its refresh token")
        await self._world.must_be_bound_here(registration)
        valid_for = 0.0
        if hotel.access_token and hotel.expires_at is not None:
            valid_for = hotel.expires_at.timestamp() - self._world.clock.wall()
        pair = Pair(
            hotel.access_token or Secret(""),
            hotel.refresh_token,
            valid_for,
            scopes=registration.scopes if hotel.scopes is None else hotel.scopes,  # most likely those asked for
            source=self._world.source(registration),
        )
        return NewImport(hashed(hotel.refresh_token.reveal()), hotel.app, reference, hotel.property_id, pair)

    async def _go_on(self, connection_id: str, grant_id: str) -> Error | None:
        """Prove the candidate; then its refresh token, too, if there was an access token to prove it by."""
        try:
            row = await self._row(grant_id)
            if row.role is Role.CANDIDATE:
                await self._candidates.resume(connection_id)
                row = await self._row(grant_id)
            if row.role is Role.ACTIVE and not await self._renewed(connection_id):
                await self._refresher.refresh(Ask(grant_id, row.generation, connection_id=row.connection_id))
        except OF_EVERYBODY:
            raise
        except GrantSuperseded:
            return None
        except Error as error:
            return error
        return None

    async def _row(self, grant_id: str) -> Grant:
        row = await self._world.db.read(read_grant(grant_id))
        assert row is not None  # noqa: S101 - a grant's row is never deleted
        return row

    async def _renewed(self, connection_id: str) -> bool:
        return (await self._views.connection(connection_id)).refreshed_at is not None

    async def _outcome(self, row: Grant, error: Error | None) -> Imported:
        connection = await self._views.connection(row.connection_id)
        if row.reauth:
            return _imported(Outcome.REFUSED, await self._views.with_link(connection))
        if row.role is Role.ACTIVE and connection.refreshed_at is not None:
            return _imported(Outcome.CONNECTED, connection)
        if row.role in {Role.ACTIVE, Role.CANDIDATE}:
            asked = error.retry_after if error is not None and error.retry_after is not None else 0.0
            wait = max(row.held_back, asked, self._world.timing.backoff_first)
            return Imported(
                Outcome.IN_DOUBT, connection, _doubt(row, self._world.timing) if error is None else error.detail, wait
            )
        if connection.state is State.DISCONNECTED:
            if row.role is Role.SUPERSEDED and row.said_of is not None:
                return Imported(Outcome.OTHER_PROPERTY, connection, await self._why_dropped(row))
            return _imported(Outcome.DISCONNECTED, connection)
        return _imported(Outcome.ALREADY_CONNECTED, connection)

    async def _why_dropped(self, row: Grant) -> str:
        history = await self._world.db.read(read_history(row.connection_id, limit=LAST_EVENTS))
        superseded = (
            event for event in history if event.kind == LifecycleEvent.SUPERSEDED and event.grant_id == row.id
        )
        return next((str(event.data["reason"]) for event in superseded), MEANINGS[Outcome.OTHER_PROPERTY])


def _imported(outcome: Outcome, connection: Connection) -> Imported:
    return Imported(outcome, connection, MEANINGS[outcome])


def _doubt(row: Grant, timing: Timing) -> str:
    """Why a token is neither proven nor refused yet."""
    if row.refused_as is not None:
        return "Cloudbeds refused it once; it is asked again before that is believed"
    if unresolved(row, timing):
        return "the answer to its refresh was lost; it is asked again"
    if row.valid_for > 0 and row.said_of is not None:
        return "it works, but Cloudbeds has not said yet which property it is for"
    return "it is stored, but could not be proven to work yet"
