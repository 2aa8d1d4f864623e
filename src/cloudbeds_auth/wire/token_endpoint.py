"""The vendor's token endpoint over HTTP (RFC 6749 sections 4.1.3 and 6; cloudbeds-facts.md section 2).

The client secret is sent in the form body, never in a header, as Cloudbeds documents. Every request has a connection of
its own, so that no part of an earlier answer can be taken for this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cloudbeds_auth.ports import MaySend
from cloudbeds_auth.rules.credential import GrantType
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.rate_limit import pause_of, seconds_of
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import (
    Ambiguous,
    Answer,
    KeyAnswer,
    NotSent,
    Sent,
    TooLate,
    classify,
    classify_exchange,
)
from cloudbeds_auth.wire import http_client

if TYPE_CHECKING:
    import httpx2

A = TypeVar("A")


class HttpTokenEndpoint:
    """ports.TokenEndpoint at `token_url`.

    `transport` replaces the network in tests and simulations; it is shared by all requests and never closed here.
    """

    def __init__(self, token_url: str, timing: Timing, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._url = token_url
        self._timing = timing
        self._transport = transport
        self._under_way = 0
        self._answered = asyncio.Event()
        self._answered.set()

    @property
    def asking(self) -> bool:
        """Whether an answer is awaited."""
        return self._under_way > 0

    async def answered(self) -> None:
        """Return once no answer is awaited, which takes no longer than the deadline of pending requests."""
        await self._answered.wait()

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        """`grant_type=authorization_code`, or the one for API keys, with the authorization request's redirect URI."""
        asked = GrantType.CODE_FOR_KEY if app.credential is CredentialKind.API_KEY else GrantType.CODE
        form = {"grant_type": asked.value, "redirect_uri": app.redirect_uri, "code": code}
        return await self._ask(app, secret, form, partial(classify, sent=Sent.CODE))

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        """`grant_type=refresh_token`."""
        form = {"grant_type": GrantType.REFRESH.value, "refresh_token": token.reveal()}
        return await self._ask(app, secret, form, partial(classify, sent=Sent.TOKEN), may_send)

    async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
        """`grant_type=refresh_token_exchange`."""
        form = {"grant_type": GrantType.EXCHANGE.value, "refresh_token": token.reveal()}
        return await self._ask(app, secret, form, classify_exchange, may_send)

    async def _ask(
        self,
        app: App,
        secret: Secret,
        form: dict[str, str],
        judge: Callable[[int, str, bytes], A],
        may_send: MaySend = http_client.at_any_time,
    ) -> A | NotSent | Ambiguous:
        """One request; every failure is returned as a value, because a lost answer must not lose its intent."""
        form |= {"client_id": app.client_id, "client_secret": secret.reveal()}
        try:
            with self._awaited():
                reply = await http_client.ask(
                    self._timing, self._transport, "POST", self._url, data=form,
                    limit=http_client.TOKEN_BODY_LIMIT, may_send=may_send,
                )  # fmt: skip
        except http_client.StoodStill:
            return TooLate()
        except http_client.no_connection() as error:
            return NotSent(f"no connection ({type(error).__name__})")
        except http_client.Unusable as why:
            return Ambiguous(str(why))
        except TimeoutError:
            return Ambiguous(f"no complete answer within {self._timing.deadline:g} s")
        except Exception as error:  # noqa: BLE001  # after any error, the server may have acted
            return Ambiguous(f"the answer was lost ({type(error).__name__})")
        answer = judge(reply.status, reply.content_type, reply.body)
        if isinstance(answer, Ambiguous):
            wait = seconds_of(reply.headers.get("retry-after"), reply.headers.get("date")) or 0.0
            return replace(
                answer,
                retry_after=min(wait, self._timing.backoff_cap),
                pause=pause_of(reply.status, reply.headers),
            )
        return answer

    @contextmanager
    def _awaited(self) -> Iterator[None]:
        self._under_way += 1
        self._answered.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._answered.set()
