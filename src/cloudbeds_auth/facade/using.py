"""Tokens lent out, and calls made with them."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cloudbeds_auth.errors import ReauthorizationRequired, VaultClosed
from cloudbeds_auth.facade.opened import Opened
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.runtime import http_client

if TYPE_CHECKING:
    import httpx2

    from cloudbeds_auth.rules.api_errors import Refusal
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
    from cloudbeds_auth.wire.lender import Lender


class Using(Opened):
    """Lends tokens, and makes calls."""

    _http: httpx2.AsyncClient | None = None

    async def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        """A token with `min_valid` seconds left (at most half its lifetime); waits for a refresh where one is needed.

        `rejected` names the token (or its generation) that an endpoint answered 401 to. The same generation back means
        that it was proven good: the endpoint itself refuses. Raises UnknownConnection, ReauthorizationRequired,
        ConnectionDisconnected, ClientRefused, and TryAgain's when a later call heals.
        """
        engine = self._engine
        try:
            return await engine.access.access_token(connection_id, min_valid, rejected)
        except ReauthorizationRequired as error:
            await engine.mender.explain(error)
            raise

    def cached(self, connection_id: str, min_valid: float = 60.0) -> AccessToken | None:
        """The token in this process's memory, if it is fresh: no waiting, from any thread."""
        return self._engine.access.cached(connection_id, min_valid)

    def newest(self, connection_id: str, token: AccessToken) -> AccessToken:
        """A token that came while a request with `token` waited for its turn; else `token`. From any thread."""
        return self.cached(connection_id, 0.0) or token

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for `httpx2.AsyncClient`, and for `httpx2.Client` in another thread than this vault's.

        The credential is added for `base_url`'s origin only; anything else raises ForeignOrigin before it is sent.
        """
        from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

        return CloudbedsAuth(self.base_url, self.lender(connection_id), replay_limit=self.settings.replay_limit)

    def lender(self, connection_id: str) -> Lender:
        """What an adapter for a client of another library is made with; `cloudbeds_auth.contrib` has some."""
        from cloudbeds_auth.wire.lender import Lender, blocking

        async def fetch(rejected: AccessToken | None) -> AccessToken:
            return await self.access_token(connection_id, rejected=rejected)

        turn, heed_pause = partial(self.turn, connection_id), partial(self.heed_pause, connection_id)
        lender = Lender(
            fetch,
            blocking(self._loop, fetch),
            self.note_call,
            self.carrying,
            self.heed,
            heed_pause=heed_pause,
            heed_pause_blocking=blocking(self._loop, heed_pause),
            newest=partial(self.newest, connection_id),
            keys=self._engine.settings.credential_header,
        )
        if self.settings.limit is None:
            return lender
        return replace(lender, turn=turn, turn_blocking=blocking(self._loop, turn))

    async def call(self, connection_id: str, method: str, path: str, **parts: Any) -> httpx2.Response:
        """One protected call, healed; `parts` are httpx2's `params`, `data`, `json`, `files`, `headers`, `content`.

        `path` is a path, a full address at the vendor, or a bare method name: `userinfo` is `/api/v1.3/userinfo`.
        Raises ForeignOrigin before anything is sent elsewhere; UpstreamFailed when nothing was sent, or no answer came
        to a GET, HEAD or OPTIONS; OutcomeUnknown when no answer came to another method; and as `access_token` does.
        """
        from cloudbeds_auth.wire import protected

        url = protected.address(path, self.base_url, self.settings.api_version)
        if self._http is None:
            self._http = http_client(self._engine.world.timing)
        return await protected.call(self._http, self.auth(connection_id), method, url, parts)

    async def turn(self, connection_id: str) -> None:
        """Wait for this hotel's next turn at the vendor; then exactly one request may go with a token lent before.

        `lender()` and the proxy do this for every request. Raises RateLimited after at most 5 seconds.
        """
        await self._engine.call_budget.spend(connection_id)

    async def heed_pause(self, connection_id: str, pause: float) -> None:
        """A call for this hotel was answered 429: nobody of its client id has a turn for `pause` seconds.

        `lender()` and the proxy do this at every 429. `rules.rate_limit.pause_of` reads the pause from an answer. The
        call was made, so this raises nothing when the vault was closed; nor do `note_call` and `heed`.
        """
        with suppress(VaultClosed):
            await self._engine.call_budget.heed(connection_id, pause)

    def note_call(self, token: AccessToken, method: str, path: str, status: int) -> None:
        """Count a call that went out with this token, for the connection's history. May be called from any thread."""
        with suppress(VaultClosed, RuntimeError):  # RuntimeError: the loop is closed
            self._loop.call_soon_threadsafe(self._engine.calls.note, token, method, path, status)

    def heed(self, token: AccessToken, refusal: Refusal, method: str, path: str) -> None:
        """A call that went out with this token was refused: the connection's health learns from it, behind the caller.

        May be called from any thread. `rules.api_errors` reads a refusal from an answer on its way.
        """
        with suppress(VaultClosed, RuntimeError):  # RuntimeError: the loop is closed
            self._loop.call_soon_threadsafe(self._engine.health.heed, token, refusal, method, path)

    def carrying(self, token: AccessToken) -> AbstractContextManager[None]:
        """While a body is under way that cannot be sent again: a refresh that is due waits for it, up to its margin.

        May be used from any thread.
        """
        return self._engine.world.streams.carrying(token)
