"""Lends tokens to a client and performs the steps of `rules.auth_flow`, asynchronously or blocking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.api_errors import Refusal
from cloudbeds_auth.rules.auth_flow import Effect, Fetch, Note, PassOn, Pause, Renew, TakeTurn
from cloudbeds_auth.rules.credential import KeyHeader, show
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.threads import Elsewhere, result_of

X_PROPERTY_ID = "x-property-id"  # cloudbeds-facts.md section 6


async def _nothing(*what: object) -> None:
    """A turn, or a note of a 429, without a rate limit."""


@dataclass(frozen=True, slots=True)
class Lender:
    """The source of tokens, asynchronous or blocking, and the record of the calls made with them.

    `carrying` is entered while a body that cannot be sent again is being sent. `note_refusal` is given what an answer
    refused. `turn` is called before every request, after which `newest` may return a newer token; `note_pause` after
    each 429. `keys` says in which header an API key is sent; `property_id` names the property to Cloudbeds.
    """

    fetch: Callable[[AccessToken | None], Coroutine[Any, Any, AccessToken]]
    fetch_blocking: Callable[[AccessToken | None], AccessToken]
    note: Callable[[AccessToken, str, str, int], None]
    carrying: Callable[[AccessToken], AbstractContextManager[None]] = lambda token: nullcontext()
    note_refusal: Callable[[AccessToken, Refusal, str, str], None] = lambda *refused: None
    turn: Callable[[], Coroutine[Any, Any, None]] = _nothing
    turn_blocking: Callable[[], None] = lambda: None
    newest: Callable[[AccessToken], AccessToken] = lambda token: token
    note_pause: Callable[[float], Coroutine[Any, Any, None]] = _nothing
    note_pause_blocking: Callable[[float], None] = lambda pause: None
    keys: str = KeyHeader.BEARER
    property_id: str | None = None

    async def perform(self, step: Effect) -> AccessToken | None:
        """Do what `rules.auth_flow` asks for; returns what to send back to the flow."""
        match step:
            case Fetch():
                return await self.fetch(step.rejected)
            case Renew():
                with suppress(Error):
                    await self.fetch(step.rejected)
            case TakeTurn():
                await self.turn()
                return self.newest(step.token)
            case Note():
                self.note(step.token, step.method, step.path, step.status)
            case Pause():
                await self.note_pause(step.seconds)
        return None

    def perform_blocking(self, step: Effect) -> AccessToken | None:
        """As `perform`."""
        match step:
            case Fetch():
                return self.fetch_blocking(step.rejected)
            case Renew():
                with suppress(Error):
                    self.fetch_blocking(step.rejected)
            case TakeTurn():
                self.turn_blocking()
                return self.newest(step.token)
            case Note():
                self.note(step.token, step.method, step.path, step.status)
            case Pause():
                self.note_pause_blocking(step.seconds)
        return None

    def learn(self, passed: PassOn, refusal: Refusal | None) -> None:
        """Give `note_refusal` the refusal in the body of the answer that was passed on, if any."""
        if refusal is not None:
            self.note_refusal(passed.token, refusal, passed.method, passed.path)

    def show(self, headers: MutableMapping[str, Any], token: AccessToken) -> None:
        """Put the credential into these headers, in the one header that carries it, and no other credential."""
        show(headers, token, self.keys)
        self.name_property(headers)

    def name_property(self, headers: MutableMapping[str, Any]) -> None:
        """Name the property, unless the caller has."""
        if self.property_id is not None and not any(name.lower() == X_PROPERTY_ID for name in headers):
            headers[X_PROPERTY_ID] = self.property_id


P = ParamSpec("P")
R = TypeVar("R")


def blocking(
    loop: asyncio.AbstractEventLoop,
    ask: Callable[P, Coroutine[Any, Any, R]],
    at_once: Callable[P, R | None] = lambda *args, **kwargs: None,
) -> Callable[P, R]:
    """Ask from a thread other than the vault's, which would wait for itself forever.

    `at_once` may have the answer in the caller's own thread.
    """

    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        if asyncio._get_running_loop() is loop:
            raise RuntimeError(
                "a blocking client in the vault's own event loop: use an asynchronous client (AsyncClient) here"
            )
        found = at_once(*args, **kwargs)
        return result_of(partial(Elsewhere, loop, ask(*args, **kwargs))) if found is None else found

    return asked
