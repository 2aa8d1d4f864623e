"""`auth=` for a user's own httpx2 client: the credential for the vendor's origin only, and 401s healed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import httpx2

from cloudbeds_auth.core.heal import Answered, Fetch, Send, heal
from cloudbeds_auth.core.nouns import AccessToken
from cloudbeds_auth.errors import BodyNotReplayable, ForeignOrigin

SENT = "cloudbeds_auth.sent"  # marks a request that was answered once


@dataclass(frozen=True, slots=True)
class Lender:
    """Where tokens come from, asked asynchronously or blocking, and the history of what they carried.

    `carrying` is entered while a body that cannot be sent again is under way.
    """

    fetch: Callable[[AccessToken | None], Coroutine[Any, Any, AccessToken]]
    fetch_blocking: Callable[[AccessToken | None], AccessToken]
    note: Callable[[AccessToken, str, str, int], None]
    carrying: Callable[[AccessToken], AbstractContextManager[None]] = lambda token: nullcontext()


class CloudbedsAuth(httpx2.Auth):
    """Drives `core.heal` for both kinds of client; at most three sends a request.

    Raises ForeignOrigin before anything is sent to another origin than `base_url`'s, and BodyNotReplayable when a 401
    came and the body was a stream that cannot be sent again (a body of at most `replay_limit` bytes always can).
    """

    def __init__(self, base_url: str, lender: Lender, *, replay_limit: int) -> None:
        self._origin = _origin(httpx2.URL(base_url))
        self._lender = lender
        self._replay_limit = replay_limit

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """For `httpx2.AsyncClient`."""
        self._must_be_ours(request)
        if self._worth_keeping(request):
            await request.aread()
        flow = heal()
        step = next(flow)
        with suppress(StopIteration):
            while True:
                if isinstance(step, Fetch):
                    step = flow.send(await self._lender.fetch(step.rejected))
                else:
                    self._prepare(request, step)
                    with self._carrying(request, step):
                        response = yield request
                    step = flow.send(self._answered(request, step, response))

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """For `httpx2.Client`."""
        self._must_be_ours(request)
        if self._worth_keeping(request):
            request.read()
        flow = heal()
        step = next(flow)
        with suppress(StopIteration):
            while True:
                if isinstance(step, Fetch):
                    step = flow.send(self._lender.fetch_blocking(step.rejected))
                else:
                    self._prepare(request, step)
                    with self._carrying(request, step):
                        response = yield request
                    step = flow.send(self._answered(request, step, response))

    def _must_be_ours(self, request: httpx2.Request) -> None:
        if _origin(request.url) != self._origin:
            raise ForeignOrigin(f"the credential is for {self._origin} and was asked for {_origin(request.url)}")

    def _worth_keeping(self, request: httpx2.Request) -> bool:
        """Whether a streamed body of known length is small enough to be kept for another sending."""
        length = request.headers.get("content-length", "")
        return not _in_memory(request) and length.isdigit() and int(length) <= self._replay_limit

    def _prepare(self, request: httpx2.Request, step: Send) -> None:
        if SENT in request.extensions and not _in_memory(request):
            raise BodyNotReplayable
        request.headers["Authorization"] = f"Bearer {step.token.reveal()}"

    def _carrying(self, request: httpx2.Request, step: Send) -> AbstractContextManager[None]:
        return nullcontext() if _in_memory(request) else self._lender.carrying(step.token)

    def _answered(self, request: httpx2.Request, step: Send, response: httpx2.Response) -> Answered:
        request.extensions = {**request.extensions, SENT: True}
        self._lender.note(step.token, request.method, request.url.path, response.status_code)
        return Answered(response.status_code)


def _in_memory(request: httpx2.Request) -> bool:
    try:
        return request.content is not None
    except httpx2.RequestNotRead:
        return False


def _origin(url: httpx2.URL) -> str:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return f"{url.scheme}://{url.host}:{port}"


def blocking(
    loop: asyncio.AbstractEventLoop, fetch: Callable[[AccessToken | None], Coroutine[Any, Any, AccessToken]]
) -> Callable[[AccessToken | None], AccessToken]:
    """Ask from another thread than the vault's; in the vault's own thread it would wait for itself for ever."""

    def ask(rejected: AccessToken | None) -> AccessToken:
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is loop:
            raise RuntimeError("a blocking httpx2.Client in the vault's own event loop: use httpx2.AsyncClient here")
        return asyncio.run_coroutine_threadsafe(fetch(rejected), loop).result()

    return ask
