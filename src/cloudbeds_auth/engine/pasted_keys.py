"""API keys that hotels make at Cloudbeds themselves and enter here (cloudbeds-facts.md section 4).

    `/userinfo` → `getHotels` → stored and in use

A key may be used before it is stored: it has no parent that its first use would kill (rule-1). So Cloudbeds is asked
first, and a key that it refuses, or names no property for, is not stored. Neither such a key nor its calls belong to a
client id of this service: each key has the rate of a client of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from cloudbeds_auth.engine.authorize import hashed, link_of
from cloudbeds_auth.engine.context import World, of_key, resolve
from cloudbeds_auth.engine.proofs import listed, tell_changes, verdict_of
from cloudbeds_auth.errors import (
    Error,
    InvalidRequest,
    KeyRefused,
    PropertyMismatch,
    RefreshPending,
    StoreReadOnly,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.ports import Listed
from cloudbeds_auth.rules.api_errors import SCOPE_REFUSED, Inconclusive, Proof
from cloudbeds_auth.rules.credential import API_KEY_PREFIX, FOREVER, is_api_key
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.inputs import checked_properties, checked_reference, is_token
from cloudbeds_auth.rules.model import App, CredentialKind, Pair
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.permissions import Caller
from cloudbeds_auth.rules.properties import fits
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.authorizations import NewLink
from cloudbeds_auth.transactions.pasted_keys import ANOTHER_KEY, PastedKey, PlacedKey, add_pasted_key

ASKING: Final = "pasted keys"  # the client that all questions about keys not yet stored count for
LOOK_AGAIN = 1.0  # seconds between two checks whether a refresh is over
SCOPE_MISSING = (
    "the hotel makes a new API key that has the scope read:hotel: without it Cloudbeds names no property, and the "
    "scopes of a key cannot be changed"
)


class PastedKeys:
    """Adds pasted keys. `promoted(connection_id)` is called when a key is taken into use."""

    def __init__(self, world: World, promoted: Callable[[str], None]) -> None:
        self._world = world
        self._promoted = promoted

    async def add(
        self,
        key: Secret,
        *,
        app: str | None,
        reference: str | None,
        connection_id: str | None,
        expected_properties: Collection[str] = (),
        link_hash: str | None = None,
        caller: Caller | None = None,
    ) -> str:
        """Ask Cloudbeds about the key, then take it into use; returns the id of its connection. `link_hash`, `caller`:
        see `PastedKey`.

        Raises KeyRefused, PropertyMismatch, Forbidden, InvalidRequest, Unclaimed, UnknownConnection, StoreReadOnly, and
        further subclasses of TryAgain if Cloudbeds or the database cannot be asked. After an error nothing was
        stored.
        """
        try:
            if self._world.db.read_only:
                raise StoreReadOnly
            _must_look_like_a_key(key)
            expected = checked_properties(expected_properties)
            new = await self._asked_about(key, app, connection_id, expected)
            return self._in_use(
                await self._stored(
                    replace(new, reference=checked_reference(reference), link_hash=link_hash, caller=caller)
                )
            )
        except Error as error:
            error.connection_id = error.connection_id or connection_id
            raise

    async def add_from_link(self, token: str, key: Secret) -> str:
        """As `add`, for what the link was made for; it uses the link up."""
        link = await link_for_key(self._world, token)
        app = None if link.app == "default" else link.app  # "default": the link's maker named none, so the hotel's own
        return await self.add(
            key, app=app, reference=link.reference, connection_id=link.connection_id,
            expected_properties=link.expected, link_hash=link.hash,
        )  # fmt: skip

    async def _asked_about(
        self, key: Secret, app: str | None, connection_id: str | None, expected: Sequence[str]
    ) -> PastedKey:
        """The key, with what Cloudbeds says about it."""
        world = self._world
        registration = await world.app_for(app, connection_id)
        asking = of_key(registration, ASKING)
        proof = await self._proof(asking, key)
        named = await self._named(asking, key) or proof.property_ids
        _must_be_named(named, expected)
        if app is None and connection_id is None:
            registration = await self._app_of_hotel(named) or registration
        pair = Pair(key, None, FOREVER, named, (), CredentialKind.API_KEY, Source(world.issuer))
        return PastedKey(
            hashed(key.reveal()),
            registration.id,
            pair,
            proof.user,
            connection_id=connection_id,
            expected=bool(expected),
        )

    async def _proof(self, asking: App, key: Secret) -> Proof:
        """The proof from `/userinfo` that the key works; raises if there is none."""
        verdict = await verdict_of(self._world, asking, key, self._world.timing.wait)
        match verdict:
            case Error():
                raise verdict
            case Proof():
                return verdict
            case Inconclusive(reason):
                raise _unavailable(reason)
        raise KeyRefused("Cloudbeds refuses this API key: it was mistyped or revoked, or is no longer in use")

    async def _named(self, asking: App, key: Secret) -> tuple[str, ...]:
        """The properties that Cloudbeds lists for the key; empty if it lists none."""
        answer = await listed(self._world, asking, key)
        if isinstance(answer, Listed):
            return answer.property_ids
        refusal = answer.refusal
        if refusal.reason in SCOPE_REFUSED:
            raise KeyRefused(
                f"this API key works but lacks the scope read:hotel, so Cloudbeds names no property ({refusal.said})",
                next_step=SCOPE_MISSING,
            )
        if not answer.final:
            raise _unavailable(refusal.reason)
        return ()

    async def _app_of_hotel(self, named: Sequence[str]) -> App | None:
        """The registration of the one connection in use that covers one of these properties."""
        found = {one for property_id in named for one in await resolve(self._world.db, property_id)}
        return await self._world.find((await self._world.known(found.pop())).app) if len(found) == 1 else None

    async def _stored(self, new: PastedKey) -> PlacedKey:
        """Store the key once no refresh of the hotel's tokens is running; RefreshPending after a caller's patience."""
        world, entropy = self._world, self._world.entropy
        until = world.clock.steady() + world.timing.wait
        add = add_pasted_key(new, entropy.identifier("con_"), entropy.identifier("gra_"))
        while True:
            try:
                return await world.db.write(add)
            except RefreshPending:
                if world.clock.steady() >= until:
                    raise
            await world.clock.sleep(LOOK_AGAIN)

    def _in_use(self, placed: PlacedKey) -> str:
        self._promoted(placed.connection_id)
        if placed.moved:
            self._world.observer.happened(Happening.MIGRATED, connection_id=placed.connection_id)
        elif placed.new:
            self._world.observer.happened(Happening.CONNECTED, connection_id=placed.connection_id)
        tell_changes(self._world, placed.connection_id, placed.changed)
        return placed.connection_id


async def link_for_key(world: World, token: str) -> NewLink:
    """What the link was made for. Raises AuthorizationExpired, and InvalidRequest for a link with a code challenge: the
    page for a key asks for no verifier.
    """
    link = await link_of(world, token)
    if link.challenge is not None:
        raise InvalidRequest(
            "this link was made with a code challenge, so it accepts no key, only an approval",
            next_step="connect by an approval, or ask for another link from where this one came",
        )
    return link


def _must_look_like_a_key(key: Secret) -> None:
    """Checked before anything is sent: what was pasted may be some other secret."""
    if not is_api_key(key.reveal()) or not is_token(key.reveal()):
        raise KeyRefused(f"this is no API key of Cloudbeds: such a key begins with {API_KEY_PREFIX} and has no spaces")


def _must_be_named(named: Sequence[str], expected: Sequence[str]) -> None:
    if not named:
        raise KeyRefused("this API key works, but Cloudbeds names no property for it", next_step=SCOPE_MISSING)
    if not fits(expected, named):
        raise PropertyMismatch(expected=expected, found=named, next_step=ANOTHER_KEY)


def _unavailable(reason: str) -> TokenEndpointUnavailable:
    return TokenEndpointUnavailable(f"Cloudbeds could not be asked about this key ({reason})")
