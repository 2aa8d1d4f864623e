"""How hotels come in: approvals, links, the Marketplace, another program."""

from __future__ import annotations

from cloudbeds_auth.facade.looking import Looking
from cloudbeds_auth.rules.model import Begun, Connection, Finished, Handover, Imported, Link


class Connecting(Looking):
    """Begins and ends approvals."""

    async def begin_authorization(
        self,
        *,
        reference: str | None = None,
        return_to: str | None = None,
        app: str | None = None,
        connection_id: str | None = None,
        browser: str | None = None,
        trusted: bool = True,
    ) -> Begun:
        """Begin an approval (RFC 6749 section 4.1.1): send the hotel to `.url` within ten minutes.

        `reference` is your own name for the hotel; `browser` an unguessable value that the same browser brings back;
        `app` the registration that the hotel approves: None is the connection's own, else the default one. Say
        `trusted=False` where the reference comes from an address that anybody may have made: it is taken only where the
        hotel has none. Raises InvalidRequest, and RateLimited while too many approvals wait to be finished.
        """
        return await self._engine.authorizer.begin(
            app=app,
            reference=reference,
            return_to=return_to,
            connection_id=connection_id,
            browser=browser,
            trusted=trusted,
        )

    async def finish_authorization(self, *, code: str, state: str, browser: str | None = None) -> Connection:
        """Exchange the code that came back (RFC 6749 section 4.1.3), once; the connection it led to.

        Raises StateMismatch, AuthorizationExpired, ClientRefused, TokenEndpointUnavailable.
        """
        return (await self.finish(code=code, state=state, browser=browser)).connection

    async def finish(self, *, code: str, state: str, browser: str | None = None) -> Finished:
        """As `finish_authorization`, telling also where the browser wanted to go."""
        engine = self._engine
        finished = await engine.authorizer.finish(code=code, state=state, browser=browser)
        return Finished(await engine.shown(finished.connection.id), finished.return_to)

    async def arrive(self, *, code: str, app: str = "default") -> Connection:
        """The hotel began in Cloudbeds' Marketplace, so its browser brings a code and no state of ours.

        The code is exchanged, and what comes of it is parked: used by nobody until `claim`, deleted after a day.
        """
        engine = self._engine
        return await engine.shown((await engine.authorizer.arrive(code=code, app=app)).connection.id)

    async def claim(self, connection_id: str, reference: str | None = None) -> Connection:
        """Take what is parked there for yours; `reference` is your own name for the hotel.

        The connection that it is from now on: the one that this hotel has already, else this one.
        """
        engine = self._engine
        return await engine.shown(await engine.authorizer.claim(connection_id, reference))

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        """The hotel said no: the state is spent; where the browser wanted to go."""
        return await self._engine.authorizer.deny(state=state, browser=browser)

    async def create_link(
        self,
        *,
        app: str | None = None,
        reference: str | None = None,
        return_to: str | None = None,
        connection_id: str | None = None,
        expires_in: float = 7 * 86400.0,
    ) -> Link:
        """A link for a hotel, good for one connection and `expires_in` seconds; the hotel opens its `url`."""
        return await self._engine.authorizer.create_link(
            app=app, reference=reference, return_to=return_to, connection_id=connection_id, expires_in=expires_in
        )

    async def begin_from_link(self, token: str, browser: str) -> Begun:
        """Begin what the link was made for; raises AuthorizationExpired."""
        return await self._engine.authorizer.begin_from_link(token, browser)

    async def link_outcome(self, token: str) -> str | None:
        """The id of the connection that this one-time link led to; None while it led to none.

        Known from the moment its tokens are stored, whether they were seen to work yet or not, and for a day.
        """
        return await self._engine.authorizer.link_outcome(token)

    async def import_hotel(self, hotel: Handover) -> Imported:
        """Take a hotel over from another program: its token is stored, refreshed once, and seen to work.

        The same token again goes on where it stands; one that was renewed is never sent again. The other program must
        not refresh any more. Raises InvalidRequest, ClientRefused, StoreReadOnly and StoreUnavailable; whatever is this
        hotel's own is the outcome.
        """
        return await self._engine.importer.bring_in(hotel)
