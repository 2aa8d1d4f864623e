"""Exchanges a code for a pair, once, and stores the pair as a grant, which is kept for as long as storing takes.

RFC 6749 section 4.1.3.
"""

from __future__ import annotations

from dataclasses import replace

from cloudbeds_auth.engine.client_secrets import ClientSecrets
from cloudbeds_auth.engine.commit import until_stored
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.proofs import properties_of
from cloudbeds_auth.errors import AuthorizationExpired, ClientRefused, TokenEndpointUnavailable
from cloudbeds_auth.rules.credential import GrantType
from cloudbeds_auth.rules.model import App, CredentialKind, Pair
from cloudbeds_auth.rules.refresh import backoff, stale_after
from cloudbeds_auth.rules.token_response import Issued, NotSent, Refused, RefusedClient, UnauthorizedClient
from cloudbeds_auth.transactions.authorizations import Authorization
from cloudbeds_auth.transactions.candidates import add_candidate

TRIES_UNSENT = 3  # attempts while nothing was sent, which leaves the code unspent


class Exchange:
    """Exchanges codes, and stores what is issued for them."""

    def __init__(self, world: World, client_secrets: ClientSecrets) -> None:
        self._world = world
        self._client_secrets = client_secrets

    async def exchange(self, app: App, code: str) -> Pair:
        """The code's pair or key, with its scopes, and with the properties of a key where they can be learnt.

        Raises AuthorizationExpired, ClientRefused, TokenEndpointUnavailable, RateLimited, StoreUnavailable.
        """
        pair = await self._pair(app, code)
        if pair.kind is CredentialKind.API_KEY and not pair.property_ids:
            pair = replace(pair, property_ids=await properties_of(self._world, app, pair))
        if pair.scopes is None:  # the vendor names none: those that were asked for
            pair = replace(pair, scopes=app.scopes)
        return pair

    async def _pair(self, app: App, code: str) -> Pair:
        """One exchange, repeated only if nothing was sent or if the vendor refused the client itself."""
        world = self._world
        unsent = 0
        while True:
            # As long as the caller waits who brought the code, which is good once, for ten minutes.
            await self._world.limiter(app).spend(2 * world.timing.wait)
            chosen = await self._client_secrets.choose(app)
            await self._client_secrets.trying(chosen)
            begun = world.clock.steady()
            answer = await world.token_endpoint.exchange(chosen.app, chosen.secret, code)
            asked = GrantType.CODE_FOR_KEY if chosen.app.credential is CredentialKind.API_KEY else GrantType.CODE
            world.report_answer(asked, answer, begun)
            match answer:
                case Issued(pair):
                    await self._client_secrets.accepted(chosen)
                    return replace(pair, source=world.source(chosen.app))
                case Refused(reason):
                    raise AuthorizationExpired(f"Cloudbeds refused the authorization code ({reason})")
                case UnauthorizedClient(reason):
                    raise ClientRefused(f"Cloudbeds does not let this client id use the code ({reason})")
                case RefusedClient(reason):
                    if not await self._client_secrets.refused(chosen):
                        raise self._client_secrets.error(
                            app, f"Cloudbeds refuses this app's client id or secret ({reason})"
                        )
                case NotSent(reason):
                    unsent += 1
                    if unsent == TRIES_UNSENT:
                        raise _unavailable(f"Cloudbeds could not be reached ({reason})")
                    await world.clock.sleep(backoff(unsent, world.timing, world.entropy.unit()))
                case _:
                    await self._world.limiter(app).pause(answer.pause)
                    raise _unavailable(f"Cloudbeds' token endpoint gave no usable answer ({answer.reason})")

    async def store(self, spent: Authorization, pair: Pair, *, unproven: bool) -> str:
        """The grant is only in memory: storing it is retried as long as needed. Returns its connection.

        `unproven`: the grant waits to be claimed with the verifier of its approval's code challenge.
        """
        world = self._world
        connection_id, grant_id = world.entropy.identifier("con_"), world.entropy.identifier("gra_")
        stale = stale_after(pair.lifetime, world.entropy.unit())
        return await until_stored(
            world,
            connection_id,
            lambda: world.db.write(
                add_candidate(spent.id, connection_id, grant_id, pair, stale_after=stale, unproven=unproven)
            ),
        )


def _unavailable(detail: str) -> TokenEndpointUnavailable:
    return TokenEndpointUnavailable(detail, next_step="start again from the Connect link: a code is good for one try")
