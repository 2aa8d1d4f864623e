"""`auth=` for a user's own httpx2 client: the credential for the vendor's origin only, and 401s healed.

httpx2 is httpx's successor and its classes have the same names. `ClientAuth` is written against them and
given the module; `cloudbeds_auth.contrib.httpx` gives it the other one.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Generator,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Generic, Never, NoReturn, TypeVar

import httpx2

from cloudbeds_auth.rules.api_errors import PassingBody, legible
from cloudbeds_auth.rules.auth_flow import (
    Answered,
    Flow,
    PassOn,
    Send,
    auth_flow,
    following,
    require_origin,
)
from cloudbeds_auth.rules.credential import KeyHeader, show
from cloudbeds_auth.rules.inputs import count_of
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.rate_limit import pause_of
from cloudbeds_auth.wire.lender import Lender

SENT = "cloudbeds_auth.sent"  # marks a request that was answered once
LEAVING = "send_request_headers.started"
GOING_OUT = ("connect_tcp.started", "connect_unix_socket.started", LEAVING)
ANSWERED = "receive_response_headers.complete"
ANOTHER_CLIENT = (
    "this auth is for another library's client: httpx2 takes `vault.auth(id)`, "
    "httpx `cloudbeds_auth.contrib.httpx.HttpxAuth(vault, id)`, "
    "requests `cloudbeds_auth.contrib.requests.RequestsAuth(vault, id)`"
)

Q = TypeVar("Q", bound=Any)  # the request of a client, as its module has it
A = TypeVar("A", bound=Any)  # the answer


class Library:
    """`httpx2`, or the `httpx` before it, and our own kinds of its classes."""

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module
        self.shown: Any = type("Shown", (_Shown, module.Headers), {"plain": module.Headers})
        self.seen: Any = type("Seen", (_Seen, module.SyncByteStream), {})
        self.seen_later: Any = type("SeenLater", (_SeenLater, module.AsyncByteStream), {})


class ClientAuth(Generic[Q, A]):
    """Drives `rules.auth_flow` for both kinds of client; at most three sends a request.

    Raises ForeignOrigin before anything is sent to another origin than `base_url`'s, also where the client follows a
    redirect there, and BodyNotReplayable when a 401 came and the body was a stream that cannot be sent again (a body of
    at most `replay_limit` bytes always can).
    """

    library: ClassVar[Library]

    def __init__(self, base_url: str, lender: Lender, *, replay_limit: int) -> None:
        self._origin = _origin(httpx2.URL(base_url))
        self._lender = lender
        self._replay_limit = replay_limit

    def __call__(self, request: Never, /) -> NoReturn:
        """What another library does with an auth that it does not know, before anything is sent."""
        raise TypeError(ANOTHER_CLIENT)

    async def async_auth_flow(self, request: Q) -> AsyncGenerator[Q, A]:
        """For an `AsyncClient`."""
        require_origin(_origin(request.url), self._origin)
        if self._worth_keeping(request):
            await request.aread()
        flow = self._flow_of(request)
        step = next(flow)
        with self._staying(request, awaited=True):
            while not isinstance(step, PassOn):
                if isinstance(step, Send):
                    with self._sending(request, step.token):
                        response = yield request
                    step = flow.send(self._answered(request, response))
                else:
                    step = flow.send(await self._lender.perform(step))
            self._look_at(response, step)

    def sync_auth_flow(self, request: Q) -> Generator[Q, A, None]:
        """For a `Client`."""
        require_origin(_origin(request.url), self._origin)
        if self._worth_keeping(request):
            request.read()
        flow = self._flow_of(request)
        step = next(flow)
        with self._staying(request, awaited=False):
            while not isinstance(step, PassOn):
                if isinstance(step, Send):
                    with self._sending(request, step.token):
                        response = yield request
                    step = flow.send(self._answered(request, response))
                else:
                    step = flow.send(self._lender.perform_blocking(step))
            self._look_at(response, step)

    @contextmanager
    def _staying(self, request: httpx2.Request, *, awaited: bool) -> Iterator[None]:
        """While the request is with the client, which may follow redirects, nothing goes out to another origin."""
        given = request.extensions
        watch = _Watch(self._origin, request, self._lender, self.library.module)
        request.extensions = {**given, "trace": watch.observe_later if awaited else watch.observe}
        try:
            yield
        finally:
            watch.over = True
            request.headers = self.library.module.Headers(request.headers.raw)  # as they were sent
            kept = {name: value for name, value in request.extensions.items() if name != "trace"}
            request.extensions = kept | {name: value for name, value in given.items() if name == "trace"}

    def _worth_keeping(self, request: httpx2.Request) -> bool:
        """Whether a streamed body of known length is small enough to be kept for another sending."""
        length = request.headers.get("content-length", "")
        return not self._in_memory(request) and count_of(length) <= self._replay_limit

    def _sending(self, request: httpx2.Request, token: AccessToken) -> AbstractContextManager[None]:
        """The credential is put into the request; to be entered while it is under way."""
        request.headers = self.library.shown(request.headers, self._lender, token)
        if (accepted := request.headers.get("accept-encoding")) is not None:
            request.headers["accept-encoding"] = legible(accepted)
        return nullcontext() if self._in_memory(request) else self._lender.carrying(token)

    def _answered(self, request: httpx2.Request, response: httpx2.Response) -> Answered:
        request.extensions = {**request.extensions, SENT: True}
        for hop in (*response.history, response):  # where a transport sends `_Watch` no events
            require_origin(_origin(hop.request.url), self._origin)
        return Answered(response.status_code, pause_of(response.status_code, response.headers))

    def _look_at(self, response: httpx2.Response, passed: PassOn) -> None:
        """Learn a refusal from the body while the caller reads it."""
        headers = response.headers
        passing = PassingBody(
            response.status_code,
            headers.get("content-type", ""),
            headers.get("content-encoding", ""),
            headers.get("content-length", ""),
        )
        if passing.looking:
            awaited = isinstance(response.stream, self.library.module.AsyncByteStream)
            kind = self.library.seen_later if awaited else self.library.seen
            response.stream = kind(response.stream, passing, lambda: self._lender.learn(passed, passing.refusal()))

    def _flow_of(self, request: httpx2.Request) -> Flow:
        in_memory, sent = self._in_memory(request), SENT in request.extensions
        return auth_flow(request.method, request.url.path, replayable=in_memory, sent=sent)

    def _in_memory(self, request: httpx2.Request) -> bool:
        try:
            return request.content is not None
        except self.library.module.RequestNotRead:
            return False


class _Shown(MutableMapping[str, str]):
    """Mixed into `Headers`: with the credential as a bearer, which leaves in the header that the setting names.

    A client that follows a redirect copies them, and takes `Authorization` out for another origin, no other header. The
    copy for our own origin carries a key as a bearer, which is as good there.
    """

    plain: type[httpx2.Headers]  # which it is mixed into

    def __init__(self, headers: httpx2.Headers, lender: Lender, token: AccessToken) -> None:
        super().__init__(headers)  # type: ignore[call-arg]
        self._show = partial(lender.show, token=token)
        show(self, token, KeyHeader.BEARER)
        lender.name_property(self)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """What a transport sends."""
        leaving = self.plain(self)
        self._show(leaving)
        return leaving.raw


@dataclass(slots=True)
class _OnItsWay:
    """An answer's bytes, inspected as the caller reads them; `at_end` is called once the last one has passed."""

    stream: Any
    passing: PassingBody
    at_end: Callable[[], None]

    @property
    def elapsed(self) -> Any:
        """What httpx2 asks its own stream for."""
        return self.stream.elapsed


class _Seen(_OnItsWay):
    """Mixed into `SyncByteStream`."""

    def __iter__(self) -> Iterator[bytes]:
        for part in self.stream:
            self.passing.see(part)
            yield part
        self.at_end()

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()


class _SeenLater(_OnItsWay):
    """Mixed into `AsyncByteStream`."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self.stream.__aiter__()
        try:
            async for part in parts:
                self.passing.see(part)
                yield part
        finally:
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()
        self.at_end()

    async def aclose(self) -> None:
        """Close the stream."""
        await self.stream.aclose()


class _Watch:
    """Receives the transport's events (the `trace` extension), and stops a request that would leave our origin.

    A client follows redirects without the flow, with the request's extensions: each redirected request takes a turn of
    its own.
    """

    def __init__(self, origin: str, request: httpx2.Request, lender: Lender, module: Any) -> None:
        self._module = module
        self._origin = origin
        self._lender = lender
        self._url = request.url
        self._method = request.method
        self._given = request.extensions.get("trace")
        self._next: httpx2.URL | None = None
        self.over = False

    def observe(self, event: str, info: Mapping[str, Any]) -> None:
        """For a `Client`; raises ForeignOrigin before a connection is made for another origin."""
        if self._goes_on(event, info):
            with following(self._method):
                self._lender.turn_blocking()
        if self._given is not None:
            self._given(event, info)

    async def observe_later(self, event: str, info: Mapping[str, Any]) -> None:
        """For an `AsyncClient`."""
        if self._goes_on(event, info):
            with following(self._method):
                await self._lender.turn()
        if self._given is not None:
            await self._given(event, info)

    def _goes_on(self, event: str, info: Mapping[str, Any]) -> bool:
        """Whether a request that a redirect led to leaves now."""
        if self.over:
            return False
        if event.endswith(ANSWERED):
            self._next = self._led_to(info["return_value"])
        elif event.endswith(GOING_OUT) and self._next is not None:
            require_origin(_origin(self._next), self._origin)
            return event.endswith(LEAVING)
        return False

    def _led_to(self, answer: Sequence[Any]) -> httpx2.URL | None:
        """Where a redirect leads; `answer` is HTTP/1.1's or HTTP/2's, both hold the status and end in the headers."""
        status = next(part for part in answer if isinstance(part, int))
        response = httpx2.Response(status, headers=answer[-1])
        if not response.has_redirect_location:
            return None
        try:
            return self._url.join(response.headers["location"])
        except self._module.InvalidURL:
            return None  # the client says so itself, and follows nothing


def _origin(url: httpx2.URL) -> str:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return f"{url.scheme}://{url.host}:{port}"


class CloudbedsAuth(ClientAuth[httpx2.Request, httpx2.Response], httpx2.Auth):
    """`auth=` for `httpx2.Client` and `httpx2.AsyncClient`: what `vault.auth()` returns."""

    library: ClassVar[Library] = Library(httpx2)
