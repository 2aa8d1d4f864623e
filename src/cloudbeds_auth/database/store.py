"""The store port over any driver: each method is one transaction of `grants`, `authorizations` or `connections`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from cloudbeds_auth.database.base import Base, opening
from cloudbeds_auth.database.driver import Driver
from cloudbeds_auth.database.together import Together
from cloudbeds_auth.ports.apps import Taken
from cloudbeds_auth.ports.authorizations import Authorization, NewAuthorization, NewLink, Spending
from cloudbeds_auth.ports.connections import Page
from cloudbeds_auth.ports.grants import Attempt, Busy, Counted, Leased, Settled, Written
from cloudbeds_auth.ports.importing import NewImport, Placed
from cloudbeds_auth.ports.outbox import Message, Outbox
from cloudbeds_auth.ports.sealer import Sealer
from cloudbeds_auth.rules.calls import STEPS, Calls
from cloudbeds_auth.rules.history import NEWEST, Place
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Connection, Event, Fence, Grant, Pair, StoredToken, User
from cloudbeds_auth.rules.origins import Held
from cloudbeds_auth.rules.properties import Relisted
from cloudbeds_auth.rules.rate_limit import Rate, Turn
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions import (
    api_keys,
    apps,
    authorizations,
    connections,
    grants,
    history,
    imports,
    issuers,
    marketplace,
    outbox,
    properties,
    reconnect,
    retention,
    upkeep,
    usage,
)
from cloudbeds_auth.transactions.grants import IsDead


class SqlStore(Base):
    """`ports.store.Store` over a driver."""

    def __init__(self, driver: Driver, sealer: Sealer, is_dead: IsDead) -> None:
        super().__init__(driver, sealer, is_dead)
        self._resolved = Together(lambda ids: self._read(lambda now: connections.resolve(now, ids)))
        self._current = Together(lambda ids: self._read(lambda now: connections.current_grants(now, ids)))

    # --- grants

    async def grant(self, grant_id: str) -> Grant | None:
        """See ports.grants."""
        return await self._read(lambda now: grants.read_grant(now, grant_id, self._sealer))

    async def take_lease(self, grant_id: str, owner: str, seconds: float) -> Leased | Busy | None:
        """See ports.grants."""
        return await self._write(lambda now: grants.take_lease(now, grant_id, owner, seconds, self._is_dead))

    async def renew_lease(self, grant_id: str, epoch: int, seconds: float) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.renew_lease(now, grant_id, epoch, seconds))

    async def release_lease(self, grant_id: str, epoch: int) -> None:
        """See ports.grants."""
        await self._write(lambda now: grants.release_lease(now, grant_id, epoch))

    async def write_intent(
        self, fence: Fence, position: int, *, lease: float, hold: float, exchange: bool = False
    ) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.write_intent(now, fence, position, lease, hold, exchange))

    async def settle(
        self,
        fence: Fence,
        attempt: Attempt,
        *,
        hold: float = 0.0,
        detail: str = "",
        unrecognized: str | None = None,
    ) -> Settled:
        """See ports.grants."""
        return await self._write(lambda now: grants.settle(now, fence, attempt, hold, detail, unrecognized))

    async def commit_pair(self, fence: Fence, sent: StoredToken, pair: Pair, *, stale_after: float) -> Written:
        """See ports.grants."""
        return await self._write(lambda now: grants.commit_pair(now, fence, sent, pair, stale_after, self._sealer))

    async def confirm(self, grant_id: str, generation: int, *, issuer: str | None = None) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.confirm(now, grant_id, generation, issuer))

    async def note_denied(self, grant_id: str, generation: int, hold: float) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.note_denied(now, grant_id, generation, hold))

    async def note_disabled(self, grant_id: str, generation: int) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.note_disabled(now, grant_id, generation))

    async def reprieve(self, fence: Fence, reason: str, hold: float, *, issuer: str | None = None) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.reprieve(now, fence, reason, hold, issuer))

    async def count_refusal(self, fence: Fence, reason: str, *, may_mark: bool, interval: float) -> Counted:
        """See ports.grants."""
        return await self._write(lambda now: grants.count_refusal(now, fence, reason, may_mark, interval))

    async def note_problem(self, grant_id: str, generation: int, problem: str, said: Mapping[str, str]) -> bool:
        """See ports.grants."""
        return await self._write(lambda now: grants.note_problem(now, grant_id, generation, problem, said))

    async def record_calls(self, counted: Sequence[Calls]) -> None:
        """See ports.grants."""
        used = await self._write(lambda now: usage.add_calls(now, counted))
        for grant_id, at in used.items():
            await self._write(partial(usage.note_use, grant_id=grant_id, at=at))

    # --- the move to an API key

    async def begin_migration(self, fence: Fence, client_id: str) -> bool:
        """See ports.migration."""
        return await self._write(lambda now: api_keys.begin_migration(now, fence, client_id))

    async def end_migration(self, fence: Fence, *, in_doubt: bool = False) -> bool:
        """See ports.migration."""
        return await self._write(lambda now: api_keys.end_migration(now, fence, in_doubt))

    async def add_key(self, old_grant_id: str, grant_id: str, app: str, pair: Pair) -> bool:
        """See ports.migration."""
        return await self._write(lambda now: api_keys.add_key(now, old_grant_id, grant_id, app, pair, self._sealer))

    # --- upkeep

    async def reserve_turn(self, client_id: str, rate: Rate, patience: float) -> Turn:
        """See ports.upkeep."""
        return await self._write(lambda now: upkeep.reserve_turn(now, client_id, rate, patience))

    async def pause_turns(self, client_id: str, seconds: float) -> None:
        """See ports.upkeep."""
        await self._write(lambda now: upkeep.pause_turns(now, client_id, seconds))

    async def claim_due(self, limit: int, hold: float) -> Sequence[str]:
        """See ports.upkeep."""
        return await self._write(lambda now: upkeep.claim_due(now, limit, hold))

    async def claim_retries(self, limit: int, hold: float) -> Sequence[str]:
        """See ports.upkeep."""
        return await self._write(lambda now: upkeep.claim_retries(now, limit, hold))

    async def retry_all(self, app: str, limit: int) -> int:
        """See ports.upkeep."""
        return await self._write(lambda now: upkeep.retry_all(now, app, limit))

    async def claim_polls(self, limit: int, every: float) -> Sequence[str]:
        """See ports.upkeep."""
        return await self._write(lambda now: upkeep.claim_polls(now, limit, every))

    async def claim_listings(self, limit: int, hold: float) -> Sequence[str]:
        """See ports.groups."""
        return await self._write(lambda now: properties.claim_listings(now, limit, hold))

    async def relist(self, grant_id: str, named: tuple[str, ...]) -> Relisted | None:
        """See ports.groups."""
        return await self._write(lambda now: properties.relist(now, grant_id, named))

    async def next_due(self) -> float | None:
        """See ports.upkeep."""
        return await self._read(upkeep.next_due)

    # --- webhooks out

    async def claim_messages(self, limit: int, hold: float) -> Sequence[Message]:
        """See ports.outbox."""
        return await self._write(lambda now: outbox.claim_messages(now, limit, hold))

    async def next_message(self) -> float | None:
        """See ports.outbox."""
        return await self._read(outbox.next_message)

    async def message_delivered(self, message_id: str) -> None:
        """See ports.outbox."""
        await self._write(lambda now: outbox.message_delivered(now, message_id))

    async def message_failed(self, message_id: str, problem: str, again_in: float | None) -> None:
        """See ports.outbox."""
        await self._write(lambda now: outbox.message_failed(now, message_id, problem, again_in))

    async def outbox(self) -> Outbox:
        """See ports.outbox."""
        return await self._read(outbox.read_outbox)

    # --- circuits

    async def open_circuits(self, app: str) -> Mapping[str, float]:
        """See ports.grants."""
        return await self._read(lambda now: grants.open_circuits(now, app))

    async def open_circuit(self, app: str, fingerprint: str, *, trial_after: float) -> None:
        """See ports.grants."""
        await self._write(lambda now: grants.open_circuit(now, app, fingerprint, trial_after))

    async def close_circuit(self, app: str, fingerprint: str) -> None:
        """See ports.grants."""
        await self._write(lambda now: grants.close_circuit(now, app, fingerprint))

    # --- authorizations

    async def add_link(self, link: NewLink) -> None:
        """See ports.authorizations."""
        await self._write(lambda now: authorizations.add_link(now, link))

    async def link(self, link_hash: str) -> NewLink | None:
        """See ports.authorizations."""
        return await self._read(lambda now: authorizations.read_link(now, link_hash))

    async def link_outcome(self, link_hash: str) -> str | None:
        """See ports.authorizations."""
        return await self._read(lambda now: authorizations.read_link_outcome(now, link_hash))

    async def add_authorization(self, new: NewAuthorization) -> Spending | None:
        """See ports.authorizations."""
        return await self._write(lambda now: authorizations.add_authorization(now, new))

    async def spend_state(self, state_hash: str, browser_hash: str | None, code_hash: str) -> Authorization | Spending:
        """See ports.authorizations. Anybody may come with a state that is made up: it costs no write (A79)."""
        asked = (state_hash, browser_hash, code_hash)
        settled = None
        if not self.read_only:  # a copy spends none, whatever it is
            settled = await self._read(lambda now: authorizations.settled_state(now, *asked))
        if settled is not None:
            return settled
        return await self._write(lambda now: authorizations.spend_state(now, *asked))

    async def add_candidate(
        self, authorization_id: str, connection_id: str, grant_id: str, pair: Pair, *, stale_after: float
    ) -> str:
        """See ports.authorizations."""
        return await self._write(
            lambda now: authorizations.add_candidate(
                now, authorization_id, connection_id, grant_id, pair, stale_after, self._sealer
            )
        )

    async def begin_arrival(self, new: NewAuthorization, code_hash: str, *, most: int) -> Authorization | Spending:
        """See ports.authorizations."""
        return await self._write(lambda now: marketplace.begin_arrival(now, new, code_hash, most))

    async def claim(self, connection_id: str, reference: str | None, grant_id: str) -> str | None:
        """See ports.authorizations."""
        return await self._write(lambda now: marketplace.claim(now, connection_id, reference, grant_id, self._sealer))

    async def discard_parked(self, grant_id: str) -> bool:
        """See ports.authorizations."""
        return await self._write(lambda now: marketplace.discard_parked(now, grant_id))

    async def bring_home(self, grant_id: str, generation: int, named: tuple[str, ...], new_grant_id: str) -> str | None:
        """See ports.returning."""
        return await self._write(
            lambda now: reconnect.bring_home(now, grant_id, generation, named, new_grant_id, self._sealer)
        )

    async def outcome(self, authorization_id: str) -> str | None:
        """See ports.returning."""
        return await self._read(lambda now: reconnect.read_outcome(now, authorization_id))

    async def covered(self, connection_id: str) -> tuple[str, ...]:
        """See ports.returning."""
        return await self._read(lambda now: reconnect.read_covered(now, connection_id))

    async def candidate(self, connection_id: str) -> Grant | None:
        """See ports.authorizations."""
        return await self._read(lambda now: authorizations.read_candidate(now, connection_id, self._sealer))

    async def promote(
        self, connection_id: str, grant_id: str, user: User | None, property_ids: tuple[str, ...]
    ) -> bool:
        """See ports.authorizations."""
        return await self._write(lambda now: authorizations.promote(now, connection_id, grant_id, user, property_ids))

    async def note_unnamed(
        self, grant_id: str, generation: int, problem: str, said: Mapping[str, str], *, again_in: float | None
    ) -> bool:
        """See ports.authorizations."""
        return await self._write(
            lambda now: authorizations.note_unnamed(now, grant_id, generation, problem, said, again_in)
        )

    async def drop_candidate(self, grant_id: str, reason: str) -> None:
        """See ports.authorizations."""
        await self._write(lambda now: authorizations.drop_candidate(now, grant_id, reason))

    async def add_import(self, new: NewImport, connection_id: str, grant_id: str) -> Placed:
        """See ports.importing."""
        return await self._write(lambda now: imports.add_import(now, new, connection_id, grant_id, self._sealer))

    # --- connections

    async def resolve(self, connection_or_property: str) -> Sequence[str]:
        """See ports.connections."""
        return await self._resolved.ask(connection_or_property) or []

    async def current_grant(self, connection_id: str) -> Grant | None:
        """See ports.connections."""
        sealed = await self._current.ask(connection_id)
        if sealed is None:
            return None
        with opening():
            return sealed(self._sealer)

    async def connection(self, connection_id: str) -> Connection | None:
        """See ports.connections."""
        return await self._read(lambda now: connections.read_connection(now, connection_id))

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
        """See ports.connections."""
        return await self._read(
            lambda now: connections.list_connections(now, states, reference, property_id, app, cursor, limit)
        )

    async def count_states(self) -> Mapping[State, int]:
        """See ports.connections."""
        return await self._read(connections.count_states)

    async def events(self, connection_id: str, *, place: Place = NEWEST, limit: int = 100) -> Sequence[Event]:
        """See ports.connections."""
        return await self._read(lambda now: history.read_history(now, connection_id, place, limit))

    async def disconnect(self, connection_id: str, *, actor: str, detail: str = "") -> bool:
        """See ports.connections."""
        return await self._write(lambda now: connections.disconnect(now, connection_id, actor, detail))

    # --- apps

    async def app(self, name: str) -> App | None:
        """See ports.apps."""
        return await self._read(lambda now: apps.read_app(now, name, self._sealer))

    async def apps(self) -> Sequence[App]:
        """See ports.apps."""
        return await self._read(lambda now: apps.read_apps(now, self._sealer))

    async def redirect_uris(self) -> Mapping[str, str]:
        """See ports.apps."""
        return await self._read(apps.read_redirect_uris)

    async def add_app(self, app: App) -> Taken | None:
        """See ports.apps."""
        return await self._write(lambda now: apps.add_app(now, app, self._sealer))

    async def rotate_secret(self, name: str, secret: Secret) -> bool:
        """See ports.apps."""
        return await self._write(lambda now: apps.rotate_secret(now, name, secret, self._sealer))

    async def drop_previous_secret(self, name: str) -> bool:
        """See ports.apps."""
        return await self._write(lambda now: apps.drop_previous_secret(now, name))

    async def remove_app(self, name: str) -> int | None:
        """See ports.apps."""
        return await self._write(lambda now: apps.remove_app(now, name))

    async def issuer(self, app: str) -> str | None:
        """See ports.apps."""
        return await self._read(lambda now: issuers.read_issuer(now, app))

    async def issuers(self) -> Mapping[str, str]:
        """See ports.apps."""
        return await self._read(issuers.read_issuers)

    async def held(self) -> Sequence[Held]:
        """See ports.apps."""
        return await self._read(issuers.read_held)

    async def move_grants(
        self, app: str, former: str, issuer: str, *, actor: str, after: str, limit: int
    ) -> tuple[str | None, int]:
        """See ports.apps."""
        return await self._write(lambda now: issuers.move_grants(now, app, former, issuer, actor, after, limit))

    async def move_app(self, app: str, former: str, issuer: str) -> None:
        """See ports.apps."""
        await self._write(lambda now: issuers.move_app(now, app, former, issuer))

    # --- forgetting

    async def forget(self, connection_id: str, *, actor: str) -> bool:
        """See ports.retention."""
        return await self._write(lambda now: retention.forget(now, connection_id, actor))

    async def sweep(self, age: float, limit: int) -> int:
        """See ports.retention."""
        return await self._write(lambda now: retention.sweep(now, age, limit))

    async def roll_up(self, limit: int) -> bool:
        """See ports.retention."""
        more = [await self._write(lambda now: usage.take_over(now, limit))]
        for span, coarser, age in STEPS:
            more.append(await self._write(partial(usage.roll_up, span=span, coarser=coarser, age=age, limit=limit)))
        return any(more)
