"""`auth=` for a user's own httpx2 client: the credential for the vendor's origin only, and 401s healed.

httpx2 is httpx's successor, and its classes have the same names. `ClientAuth` is written against these names and
given the module; `cloudbeds_auth.contrib.httpx` gives it httpx.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Final, Generic, Never, NoReturn, Self, TypeVar

import httpx2

from cloudbeds_auth.rules.api_errors import PassingBody, legible
from cloudbeds_auth.rules.auth_flow import (
    Answered,
    Flow,
    PassOn,
    Send,
    auth_flow,
    following,
    is_safe,
    require_origin,
)
from cloudbeds_auth.rules.credential import KeyHeader, in_key_header, show
from cloudbeds_auth.rules.inputs import count_of
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.rate_limit import pause_of
from cloudbeds_auth.wire.lender import Lender
from cloudbeds_auth.wire.seen_passing import SeenPassing, SeenPassingLater

SENT = "cloudbeds_auth.sent"  # marks a request that was answered, and whose body is used up
AT_HAND: Final = nullcontext()  # a body in memory is sent
LEAVING = "send_request_headers.started"
ANSWERED = "receive_response_headers.complete"
WATCHED = ("connect_tcp.started", "connect_unix_socket.started", LEAVING, ANSWERED)  # of the ten events of a call
ANOTHER_CLIENT = (
    "this auth is for another library's client: httpx2 takes `vault.auth(id)`, "
    "httpx `cloudbeds_auth.contrib.httpx.HttpxAuth(vault, id)`, "
    "requests `cloudbeds_auth.contrib.requests.RequestsAuth(vault, id)`"
)

Q = TypeVar("Q", bound=Any)  # the request of a client, as its module has it
A = TypeVar("A", bound=Any)  # the answer


class Library:
    """`httpx2`, or its predecessor `httpx`, with the subclasses made here of its classes."""

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module
        self.shown: Any = type("Shown", (_Shown, module.Headers), {"plain": module.Headers})
        self.seen: Any = type("Seen", (SeenPassing, module.SyncByteStream), {})
        self.seen_later: Any = type("SeenLater", (SeenPassingLater, module.AsyncByteStream), {})

    def in_memory(self, request: httpx2.Request) -> bool:
        """Whether the request's body is in memory and can be sent again."""
        try:
            return request.content is not None
        except self.module.RequestNotRead:
            return False


class ClientAuth(Generic[Q, A]):
    """Drives `rules.auth_flow` for both kinds of client; a request is sent at most three times.

    Raises ForeignOrigin before anything is sent to an origin other than `base_url`'s, even if the client follows a
    redirect there, and BodyNotReplayable when a 401 came and the body was a stream that cannot be sent again (a body of
    at most `replay_limit` bytes always can).
    """

    library: ClassVar[Library]

    def __init__(self, base_url: str, lender: Lender, *, replay_limit: int) -> None:
        self._origin = _Origin(httpx2.URL(base_url))
        self._lender = lender
        self._replay_limit = replay_limit

    def __call__(self, request: Never, /) -> NoReturn:
        """Other libraries call an auth that they do not know, before anything is sent. Raises TypeError."""
        raise TypeError(ANOTHER_CLIENT)

    async def async_auth_flow(self, request: Q) -> AsyncGenerator[Q, A]:
        """For an `AsyncClient`."""
        self._origin.require(request.url)
        if self._worth_keeping(request):
            await request.aread()
        with self._sending(request, awaited=True) as sending:
            step = next(sending.flow)
            while not isinstance(step, PassOn):
                if isinstance(step, Send):
                    with sending.carrying(step.token):
                        response = yield request
                    step = sending.flow.send(sending.answered(response))
                else:
                    step = sending.flow.send(await self._lender.perform(step))
            sending.look_at(response, step)

    def sync_auth_flow(self, request: Q) -> Generator[Q, A, None]:
        """For a `Client`."""
        self._origin.require(request.url)
        if self._worth_keeping(request):
            request.read()
        with self._sending(request, awaited=False) as sending:
            step = next(sending.flow)
            while not isinstance(step, PassOn):
                if isinstance(step, Send):
                    with sending.carrying(step.token):
                        response = yield request
                    step = sending.flow.send(sending.answered(response))
                else:
                    step = sending.flow.send(self._lender.perform_blocking(step))
            sending.look_at(response, step)

    def _sending(self, request: httpx2.Request, *, awaited: bool) -> _Sending:
        return _Sending(self.library, self._origin, self._lender, request, awaited=awaited)

    def _worth_keeping(self, request: httpx2.Request) -> bool:
        """Whether a streamed body of known length is small enough to be kept for a repetition."""
        if self.library.in_memory(request):
            return False
        return count_of(request.headers.get("content-length", "")) <= self._replay_limit


class _Sending:
    """One request while the client has it: the credential is put into it, and nothing of it is sent elsewhere.

    A client follows redirects without the flow, but with the request's extensions: `trace` receives the transport's
    events, stops a request that would go to another origin, and gives each redirected request a turn of its own.
    """

    __slots__ = (
        "_awaited", "_given", "_in_memory", "_lender", "_library", "_next", "_origin", "_over", "_request", "_sent",
        "_told", "_tunnel", "_url", "flow",
    )  # fmt: skip

    def __init__(
        self, library: Library, origin: _Origin, lender: Lender, request: httpx2.Request, *, awaited: bool
    ) -> None:
        self._library = library
        self._origin = origin
        self._lender = lender
        self._request = request
        self._url = request.url
        self._given = request.extensions
        self._told = self._given.get("trace")
        self._in_memory = library.in_memory(request)
        self._awaited = awaited
        self._next: httpx2.URL | None = None
        self._tunnel = False  # whether the last request was a CONNECT to a proxy, whose answer is not the vendor's
        self._over = False
        self._sent = SENT in self._given
        self.flow: Flow = auth_flow(request.method, self._url.path, replayable=self._in_memory, sent=self._sent)

    def __enter__(self) -> Self:
        self._request.extensions = dict(self._given)
        return self

    def __exit__(self, *raised: object) -> None:
        """Leave the request as it was given, so that it may be sent again."""
        self._over = True
        self._plain_headers()
        self._request.extensions = {**self._given, SENT: True} if self._sent and not self._in_memory else self._given

    def carrying(self, token: AccessToken) -> AbstractContextManager[None]:
        """Put the credential into the request, and watch what follows; to be entered while the request is sent."""
        self._request.extensions["trace"] = self.observe_later if self._awaited else self.observe
        headers = self._plain_headers()
        if in_key_header(token, self._lender.keys):
            headers = self._request.headers = self._library.shown(headers, self._lender, token)
        else:
            self._lender.show(headers, token)
        if (accepted := headers.get("accept-encoding")) is not None and (clear := legible(accepted)) != accepted:
            headers["accept-encoding"] = clear
        return AT_HAND if self._in_memory else self._lender.carrying(token)

    def _plain_headers(self) -> httpx2.Headers:
        """The headers as they are sent, in the library's own class."""
        headers = self._request.headers
        if type(headers) is self._library.shown:
            headers = self._request.headers = self._library.module.Headers(headers.raw)
        return headers

    def answered(self, response: httpx2.Response) -> Answered:
        """What the flow is given. Raises ForeignOrigin if a transport without events followed a redirect elsewhere."""
        self._sent = True
        if response.history or response.request.url is not self._url:
            for hop in (*response.history, response):
                self._origin.require(hop.request.url)
        status, method = response.status_code, self._request.method
        pause = pause_of(status, response.headers)
        if response.request.method == method or is_safe(method):
            return Answered(status, pause)
        ours = [status, *(hop.status_code for hop in response.history if hop.request.method == method)]
        return Answered(ours[-1], pause, led_to=status)  # a 303, or a redirect treated as one

    def look_at(self, response: httpx2.Response, passed: PassOn) -> None:
        """Look for a refusal in the body while the caller reads it."""
        headers = response.headers
        passing = PassingBody(
            response.status_code,
            headers.get("content-type", ""),
            headers.get("content-encoding", ""),
            headers.get("content-length", ""),
        )
        if passing.looking:
            kind = self._library.seen_later if self._awaited else self._library.seen
            response.stream = kind(response.stream, passing, lambda: self._lender.learn(passed, passing.refusal()))

    def observe(self, event: str, info: Mapping[str, Any]) -> None:
        """For a `Client`; raises ForeignOrigin before a connection is made for another origin."""
        if event.endswith(WATCHED) and self._follows(event, info):
            with following(self._request.method):
                self._lender.turn_blocking()
        if self._told is not None:
            self._told(event, info)

    async def observe_later(self, event: str, info: Mapping[str, Any]) -> None:
        """For an `AsyncClient`."""
        if event.endswith(WATCHED) and self._follows(event, info):
            with following(self._request.method):
                await self._lender.turn()
        if self._told is not None:
            await self._told(event, info)

    def _follows(self, event: str, info: Mapping[str, Any]) -> bool:
        """Whether a redirected request is about to be sent. A client's own hook may change the request's URL after the
        credential was put in.
        """
        if event.endswith(ANSWERED):
            if self._tunnel:
                return False
            self._next = self._led_to(info["return_value"])
            if self._next is None:
                self._request.extensions["trace"] = self._told  # further events concern only the user
            return False
        leaves = event.endswith(LEAVING)
        self._tunnel = leaves and info["request"].method == b"CONNECT"
        to = self._next or self._request.url
        if to is self._url or self._over:
            return False
        self._origin.require(to)
        return to is self._next and leaves and not self._tunnel

    def _led_to(self, answer: Sequence[Any]) -> httpx2.URL | None:
        """The target of a redirect. `answer` is HTTP/2's, or HTTP/1.1's, which begins with the version; both end with
        the headers.
        """
        status = answer[0] if isinstance(answer[0], int) else answer[1]
        if not 300 <= status < 400:
            return None
        response = httpx2.Response(status, headers=answer[-1])
        if not response.has_redirect_location:
            return None
        try:
            return self._url.join(response.headers["location"])
        except self._library.module.InvalidURL:
            return None  # the client reports that itself, and follows nothing


class _Origin:
    """The only origin that is served. URLs are compared by their parts, which is fast: it is done on every request."""

    def __init__(self, url: httpx2.URL) -> None:
        self._parts = url.scheme, url.raw_host, url.port

    def require(self, url: httpx2.URL) -> None:
        """Raises ForeignOrigin unless the URL is there. httpx2 normalizes hosts, and leaves out default ports."""
        if (url.scheme, url.raw_host, url.port) != self._parts:
            require_origin(_written(url.scheme, url.raw_host, url.port), _written(*self._parts))


def _written(scheme: str, host: bytes, port: int | None) -> str:
    return f"{scheme}://{host.decode()}:{port or {'http': 80, 'https': 443}.get(scheme)}"


class _Shown(MutableMapping[str, str]):
    """Mixed into `Headers`: shows the credential as a bearer, but sends it in the header that the setting names.

    A client that follows a redirect copies the headers, and removes only `Authorization` for another origin. The copy
    for the vendor's origin carries a key as a bearer, which works there as well.
    """

    plain: type[httpx2.Headers]  # the class it is mixed into

    def __init__(self, headers: httpx2.Headers, lender: Lender, token: AccessToken) -> None:
        super().__init__(headers)  # type: ignore[call-arg]
        self._show = partial(lender.show, token=token)
        show(self, token, KeyHeader.BEARER)
        lender.name_property(self)

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The headers that a transport sends."""
        leaving = self.plain(self)
        self._show(leaving)
        return leaving.raw


class CloudbedsAuth(ClientAuth[httpx2.Request, httpx2.Response], httpx2.Auth):
    """`auth=` for `httpx2.Client` and `httpx2.AsyncClient`: what `vault.auth()` returns."""

    library: ClassVar[Library] = Library(httpx2)
