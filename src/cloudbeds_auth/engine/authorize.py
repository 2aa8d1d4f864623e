"""The authorization of a hotel: a state is issued and comes back once, with a code that is exchanged for a grant.

RFC 6749 section 4.1. The exchange is shielded from cancelled callers: a closed browser tab loses no code (F81), a
second click is shown the outcome of the first (F82), and one code is exchanged once (I12).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from cloudbeds_auth.engine.candidates import Candidates, why_turned_down
from cloudbeds_auth.engine.client_secrets import ClientSecrets
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.exchange import Exchange
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    Error,
    InvalidRequest,
    RateLimited,
    RefreshInDoubt,
    RefreshPending,
    StateMismatch,
)
from cloudbeds_auth.rules.code_challenge import challenge_of, checked_challenge
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.inputs import checked_code, checked_properties, checked_reference, checked_seconds
from cloudbeds_auth.rules.lifecycle import PROPERTY_UNKNOWN, State
from cloudbeds_auth.rules.links import LinkRequest
from cloudbeds_auth.rules.model import AuthorizationRequest, Finished, Link, moment
from cloudbeds_auth.rules.permissions import Caller
from cloudbeds_auth.rules.presentation import WAITING
from cloudbeds_auth.rules.redirects import MOST_PARKED, STATE_PREFIX, allowed_return
from cloudbeds_auth.transactions.authorizations import (
    Authorization,
    NewAuthorization,
    NewLink,
    Spending,
    add_authorization,
    add_link,
    app_first,
    link_over,
    read_authorization,
    read_challenge,
    read_link,
    read_link_outcome,
    settled_state,
    spend_state,
)
from cloudbeds_auth.transactions.marketplace import begin_arrival, claim
from cloudbeds_auth.transactions.reconnect import read_covered
from cloudbeds_auth.transactions.runner import Database

STATE_LIFETIME = 600.0  # seconds; as long as the vendor's codes live
FULL_FOR = 60.0  # seconds after which to try again when too many approvals are pending
DENIED = "denied"


def hashed(value: str) -> str:
    """The hash that is stored of a state, a browser id, a code or a link."""
    return hashlib.sha256(value.encode()).hexdigest()


Key = tuple[str, str | None, str]  # hashes of the state, the browser's id (where there is one) and the code


class Authorizer:
    """Begins and finishes authorizations."""

    def __init__(self, world: World, client_secrets: ClientSecrets, candidates: Candidates) -> None:
        self._world = world
        self._candidates = candidates
        self._exchange = Exchange(world, client_secrets)
        self._return_to: dict[Key, str | None] = {}  # of approvals being finished whose state is spent

    async def begin(
        self,
        *,
        app: str | None = None,
        reference: str | None = None,
        return_to: str | None = None,
        connection_id: str | None = None,
        browser: str | None = None,
        link: NewLink | None = None,
        trusted: bool = True,
        expected_properties: Collection[str] = (),
        code_challenge: str | None = None,
    ) -> AuthorizationRequest:
        """Issue a one-time state, bound to `browser` if given, and the address where the hotel approves.

        `app`: the registration that the hotel approves; None: the connection's own, else the default one. `trusted`:
        whether the reference comes from a program of the operator. `link`: the connect link used, whose `return_to` was
        checked when it was made. `expected_properties`: the approval has to cover one of them; none: any.
        `code_challenge`: the approval waits to be claimed unless it is finished with the verifier (RFC 7636).

        Raises InvalidRequest, InvalidReturnTo, and RateLimited while too many approvals are pending.
        """
        expected, challenge = checked_properties(expected_properties), checked_challenge(code_challenge)
        if return_to is not None and link is None:
            allowed_return(return_to, self._world.return_origins)
        reference = checked_reference(reference)
        if browser == "":
            raise InvalidRequest("`browser` is empty, so it does not identify a browser")
        world = self._world
        registration = await world.app_for(app, connection_id)
        await world.must_be_bound_here(registration)  # what the hotel approves could not be exchanged
        state = STATE_PREFIX + world.entropy.token()
        new = NewAuthorization(
            id=world.entropy.identifier("aut_"), app=registration.id, state_hash=hashed(state),
            browser_hash=None if browser is None else hashed(browser), reference=reference, return_to=return_to,
            connection_id=connection_id, link_hash=None if link is None else link.hash, lifetime=STATE_LIFETIME,
            trusted=trusted, expected=expected, challenge=challenge,
        )  # fmt: skip
        if await world.db.write(add_authorization(new)) is not None:
            raise RateLimited("too many approvals were begun and not finished", retry_after=FULL_FOR)
        url = world.vendor.authorization_url(registration, state)
        return AuthorizationRequest(url, state, moment(world.clock.wall() + STATE_LIFETIME), registration.redirect_uri)

    async def create_link(
        self,
        *,
        app: str | None,
        reference: str | None,
        return_to: str | None,
        connection_id: str | None,
        expires_in: float,
        expected_properties: Collection[str] = (),
        code_challenge: str | None = None,
        asked: bool = True,
    ) -> Link:
        """A link that leads to at most one connection; `expires_in` in seconds, the other parameters as for `begin`. It
        is in the audit if the actor `asked` for it. Raises InvalidRequest, InvalidReturnTo, RateLimited.
        """
        world, reference = self._world, checked_reference(reference)
        expected, challenge = checked_properties(expected_properties), checked_challenge(code_challenge)
        if return_to is not None:
            allowed_return(return_to, world.return_origins)
        checked_seconds("expires_in", expires_in)
        registration = await world.app_for(app, connection_id)
        token = world.entropy.token()
        link = NewLink(
            hashed(token), registration.id, reference, return_to, connection_id, expires_in, expected, challenge
        )
        await world.db.write(add_link(link, asked=asked))
        return Link(token, world.link_url(token), moment(world.clock.wall() + expires_in))

    async def begin_from_link(self, token: str, browser: str | None) -> AuthorizationRequest:
        """Begin the approval that the link is for; the link may be used until it has led to a connection."""
        link = await link_of(self._world, token)
        return await self.begin(
            app=link.app,
            reference=link.reference,
            return_to=link.return_to,
            connection_id=link.connection_id,
            browser=browser,
            link=link,
            expected_properties=link.expected,
            code_challenge=link.challenge,
        )

    async def read_link(self, token: str) -> LinkRequest:
        """What the link asks for; nothing is written. Raises AuthorizationExpired, ClientRefused."""
        link, world = await link_of(self._world, token), self._world
        app, reference = await world.app_for(link.app, link.connection_id), link.reference
        if link.connection_id is not None and reference is None:
            reference = (await world.known(link.connection_id)).reference
        expected = link.expected or await world.db.read(read_covered(link.connection_id))
        until = moment(world.clock.wall() + link.lifetime)
        return LinkRequest(
            app.id, reference, link.return_to, expected, app.scopes, app.credential.value, app.redirect_uri, until,
            takes_key=link.challenge is None, takes_approval=bool(app.client_id),
        )  # fmt: skip

    async def link_outcome(self, token: str) -> str | None:
        """The connection that the link led to; None: none yet. Raises PropertyMismatch where the last approval by it
        was for another hotel than expected.
        """
        found = await self._world.db.read(read_link_outcome(hashed(token)))
        if isinstance(found, Authorization):
            raise why_turned_down(found)
        return found

    async def finish(
        self, *, code: str, state: str, browser: str | None = None, code_verifier: str | None = None
    ) -> Finished:
        """Spend the state, exchange the code, store the grant as a candidate, prove it, move the pointer.

        An approval begun with a code challenge and finished without the verifier is parked until claimed with it.

        Raises InvalidRequest, StateMismatch, AuthorizationExpired, ClientRefused, TokenEndpointUnavailable,
        StoreUnavailable, RateLimited, RefreshPending, PropertyMismatch, and RefreshInDoubt while Cloudbeds does not say
        which property it is for. Once the state is spent, errors carry the `return_to` of the approval's begin.
        """
        key = (hashed(state), None if browser is None else hashed(browser), hashed(checked_code(code)))
        unproven = await self._unproven(key[0], code_verifier)
        return await self._shared(key, partial(self._finish, code, *key, unproven=unproven))

    async def _unproven(self, state_hash: str, code_verifier: str | None) -> bool:
        """Whether a required verifier is missing; raises StateMismatch for a wrong one, before anything is spent."""
        challenge = await self._world.db.read(read_challenge(state_hash))
        if code_verifier is not None and challenge != challenge_of(code_verifier):
            raise StateMismatch("this approval was begun with another code challenge, or with none")
        return challenge is not None and code_verifier is None

    async def arrive(self, *, code: str, app: str = "default") -> Finished:
        """The hotel began in the Marketplace: exchange the code, once, and park the approval until it is claimed.

        Raises as `finish`, and RateLimited while too many approvals wait to be claimed.
        """
        key = (hashed(f"arrival {app} {code}"), None, hashed(checked_code(code)))
        return await self._shared(key, partial(self._arrived, code, app, key))

    async def claim(
        self,
        connection_id: str,
        reference: str | None,
        code_verifier: str | None = None,
        *,
        caller: Caller | None = None,
    ) -> str:
        """Make a parked approval usable, once it is proven to work. Returns the connection that it belongs to now: the
        one that the hotel has already, else this one.

        `caller`: may be limited to some hotels; None: all hotels. Raises UnknownConnection, Forbidden, InvalidRequest
        if nothing waits, StateMismatch if the approval waits for another `code_verifier`, PropertyMismatch.
        """
        db, spare = self._world.db, self._world.entropy.identifier("gra_")
        challenge = None if code_verifier is None else challenge_of(code_verifier)
        home = await db.write(claim(connection_id, checked_reference(reference), spare, challenge, caller=caller))
        if home is None:
            await self._world.known(connection_id)
            raise InvalidRequest("nothing waits to be claimed here", connection_id=connection_id)
        self._world.observer.happened(Happening.CLAIMED, connection_id=home)
        promoted = await self._candidates.resume(home)
        return home if promoted is None else promoted.connection_id

    async def _shared(self, key: Key, work: Callable[[], Coroutine[Any, Any, Finished]]) -> Finished:
        """Do the work for one code once, however many callers wait for it, and however often they ask."""
        try:
            async with asyncio.timeout(2 * self._world.timing.wait):
                return await self._world.tasks.join(f"finish authorization {key}", work)
        except TimeoutError:
            raise RefreshPending(
                "the approval is still being stored; the connection appears when it is",
                return_to=self._return_to.get(key),
            ) from None

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        """The hotel denied the approval: spend the state. Returns where the browser wanted to go afterwards."""
        spent = await self._spend(hashed(state), None if browser is None else hashed(browser), hashed(DENIED))
        return spent.return_to

    async def _spend(self, state_hash: str, browser_hash: str | None, code_hash: str) -> Authorization:
        return _must_be_spent(await spend(self._world.db, state_hash, browser_hash, code_hash))

    async def _arrived(self, code: str, app: str, key: Key) -> Finished:
        await self._world.must_be_bound_here(await self._world.app(app))
        state_hash, _, code_hash = key
        new = NewAuthorization(
            id=self._world.entropy.identifier("aut_"), app=app, state_hash=state_hash, browser_hash=None,
            reference=None, return_to=None, connection_id=None, link_hash=None, lifetime=STATE_LIFETIME, parked=True,
        )  # fmt: skip
        begun = await self._world.db.write(begin_arrival(new, code_hash, most=MOST_PARKED))
        return await self._connect(_must_be_spent(begun), code)

    async def _finish(
        self, code: str, state_hash: str, browser_hash: str | None, code_hash: str, *, unproven: bool
    ) -> Finished:
        spent = await self._spend(state_hash, browser_hash, code_hash)
        key = state_hash, browser_hash, code_hash
        self._return_to[key] = spent.return_to
        try:
            return await self._connect(spent, code, unproven=unproven)
        except Error as error:
            error.return_to = spent.return_to
            raise
        finally:
            del self._return_to[key]

    async def _connect(self, spent: Authorization, code: str, *, unproven: bool = False) -> Finished:
        """The connection that the spent state leads to now, or led to before."""
        if spent.earlier is None and not spent.found:
            pair = await self._exchange.exchange(await self._world.app_of(spent), code)
            connection_id = await self._exchange.store(spent, pair, unproven=unproven)
            await self._candidates.resume(connection_id)
            spent = replace(spent, earlier=connection_id)
        elif spent.earlier is not None and spent.expected and not spent.found:
            await self._candidates.resume(spent.earlier)  # Cloudbeds had not said which property it is for
        return await self._finished(spent)

    async def _finished(self, spent: Authorization) -> Finished:
        """The connection that the approval belongs to by now: the one the hotel had, once its property is known."""
        world = self._world
        approval = await world.db.read(read_authorization(spent.id)) or spent
        if approval.earlier is None:
            raise why_turned_down(approval)
        connection = await world.known(approval.earlier)
        if approval.expected and not approval.found and connection.state is not State.PARKED:
            raise RefreshInDoubt(
                "the approval is stored, but Cloudbeds has not said yet which property it is for",
                connection_id=connection.id,
                next_step=WAITING[PROPERTY_UNKNOWN].text,
            )
        return Finished(connection, spent.return_to)


async def link_of(world: World, token: str) -> NewLink:
    """The request behind a link; raises AuthorizationExpired, and InvalidRequest while its app is not registered."""
    link = await world.db.read(read_link(hashed(token)))
    if link is None:
        raise link_over()
    if link.registration is not None:
        raise app_first()
    return link


def _must_be_spent(spent: Authorization | Spending) -> Authorization:
    match spent:
        case Authorization():
            return spent
        case Spending.EXPIRED:
            raise AuthorizationExpired("the approval took longer than ten minutes")
        case Spending.SPENT:
            raise StateMismatch("this approval was already used")
        case Spending.UNFINISHED:  # its process died, the vendor refused the code, or another process is at it
            raise AuthorizationExpired("this approval was received before, and has led to no connection so far")
        case Spending.FULL:
            raise RateLimited(
                f"{MOST_PARKED} approvals from the Marketplace wait to be claimed, and no more are taken",
                next_step="the operator claims or disconnects what waits; the hotel connects again then",
                retry_after=3600.0,
            )
        case _:
            raise StateMismatch


async def spend(db: Database, state_hash: str, browser_hash: str | None, code_hash: str) -> Authorization | Spending:
    """Spend a state once. A made-up state, which anyone can send, costs no write (A79)."""
    asked = (state_hash, browser_hash, code_hash)
    settled = None
    if not db.read_only:  # a copy spends no state at all
        settled = await db.read(settled_state(*asked))
    if settled is not None:
        return settled
    return await db.write(spend_state(*asked))
