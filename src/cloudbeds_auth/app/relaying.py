"""One call to the vendor, healing 401s: drives `rules.auth_flow` with the vault and the upstream client.

And its body: kept if it is small enough to be sent again, else streamed once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from starlette.types import Receive

from cloudbeds_auth.app.http_connections import ClientGone
from cloudbeds_auth.app.limits import Limits, Shares
from cloudbeds_auth.app.problems import BodyTooLarge, RequestTimedOut
from cloudbeds_auth.errors import BodyNotReplayable, UpstreamError, UpstreamFailed
from cloudbeds_auth.ports import Broken, Lost, Unsent, Upstream, UpstreamAnswer
from cloudbeds_auth.rules.api_errors import PassingBody
from cloudbeds_auth.rules.auth_flow import (
    Answered,
    Effect,
    Fetch,
    Note,
    PassOn,
    Pause,
    Send,
    TakeTurn,
    Unanswered,
    auth_flow,
    unanswered,
)
from cloudbeds_auth.rules.credential import header_of
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.permissions import Caller
from cloudbeds_auth.rules.rate_limit import TOO_MANY, pause_of

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

VERDICT_FOR = 60.0  # seconds
MOST_VERDICTS = 10_000
VENDOR_REQUEST_ID = re.compile(rb"[!-~]{1,200}")
AT_HAND = nullcontext()  # a body that can be sent again delays no refresh


class Body:
    """Owns `receive`. `length`: the announced Content-Length, None without one, 0 without a body. Limits are bytes.

    After `fill`, either the whole body is here (`replayable`) or the rest is streamed once by `content`.
    `failure` is what ended a streamed body early: it is the cause, whichever error the upstream client raises.
    """

    def __init__(self, receive: Receive, *, length: int | None, keep: int, limit: int) -> None:
        self._receive = receive
        self._length = length
        self._keep = keep
        self._limit = limit
        self._kept = b""
        self._size = 0
        self._ended = length == 0
        self._streamed = False
        self.failure: Exception | None = None

    @property
    def replayable(self) -> bool:
        """Whether the whole body is here and can be sent as often as needed."""
        return self._ended and not self._streamed

    @property
    def kept(self) -> bytes | None:
        """The whole body; None where it is not all here."""
        return self._kept if self.replayable else None

    async def fill(self) -> None:
        """Read what may be kept. Raises BodyTooLarge, RequestTimedOut, ClientGone."""
        if self._length is not None and self._length > self._limit:
            raise BodyTooLarge(f"the body has {self._length} bytes, more than {self._limit}")
        if self._length is not None and self._length > self._keep:
            return
        parts: list[bytes] = []
        while not self._ended and self._size <= self._keep:
            parts.append(await self._next())
        self._kept = b"".join(parts)

    def content(self) -> bytes | AsyncIterator[bytes]:
        """What is sent: the bytes, or a stream that is good for one sending."""
        if self.replayable:
            return self._kept
        self._streamed = True
        return self

    def __aiter__(self) -> Body:
        return self  # a plain iterator: an abandoned generator would have to be finalised

    async def __anext__(self) -> bytes:
        if self._kept:
            kept, self._kept = self._kept, b""
            return kept
        while not self._ended:
            try:
                chunk = await self._next()
            except (ClientGone, BodyTooLarge, RequestTimedOut) as error:
                self.failure = error
                raise
            if chunk:
                return chunk
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        self._size += len(chunk)
        if self._size > self._limit:
            raise BodyTooLarge(f"the body has more than {self._limit} bytes")
        if not message.get("more_body", False):
            self._ended = True
        return chunk


@dataclass(slots=True)
class ProxiedCall:
    """The call to send: `path` begins with `/` and is encoded; `body` is None if there is none.

    `sharing`: with whom `caller` shares its turns (`limits.sharing`).
    """

    caller: Caller
    sharing: str
    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    body: Body | None = None

    @property
    def target(self) -> str:
        """Path and query, as they go into the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def replayable(self) -> bool:
        """Whether it can be sent once more."""
        return self.body is None or self.body.replayable


@dataclass(slots=True)
class Relayed:
    """The answer to pass on, to be closed by the caller; `sends` counts the requests that were made for it.

    `passing` sees the body as it passes, and then knows what it refuses. `turn_seconds` were spent waiting for turns
    under the rate limit, `vendor_seconds` waiting for the heads of Cloudbeds' answers.
    """

    answer: UpstreamAnswer
    sends: int
    passed: PassOn
    passing: PassingBody
    turn_seconds: float
    vendor_seconds: float

    async def read(self, limit: int) -> tuple[bytes, bool]:
        """At most `limit` bytes of the body, which `passing` is shown, and whether these are all; the answer is closed.

        Raises UpstreamFailed when it breaks off before.
        """
        read = bytearray()
        try:
            async with asyncio.timeout(60):
                async for chunk in self.answer.chunks():
                    read += chunk
                    if len(read) > limit:
                        break
        except (Lost, TimeoutError) as error:
            raise UpstreamFailed("the answer broke off") from error
        finally:
            self.answer.close()
        body = bytes(read[:limit])
        self.passing.see(body)
        return body, len(read) <= limit


class Relay:
    """Makes the proxied calls of all routes, each in a place of `shares`.

    It remembers for a while which endpoints refuse a token that was proven good, so that an endpoint that always
    answers 401 does not cost a proof call each time (F39, A60).
    """

    def __init__(self, vault: TokenVault, upstream: Upstream, limits: Limits) -> None:
        self.shares: Final = Shares(limits)
        self._vault = vault
        self._upstream = upstream
        self._clock = vault.engine.world.clock
        self._refusing: dict[tuple[str, str, str], tuple[int, float]] = {}  # endpoint to the token's generation, until
        self._keys = vault.settings.credential_header

    async def call(self, connection_id: str, call: ProxiedCall) -> Relayed:
        """Send `call` for this connection, at most three times (rule-9).

        Raises what the vault raises, BodyNotReplayable when the token was renewed and the body is gone,
        UpstreamFailed and OutcomeUnknown. A write is repeated only after a 401.
        """
        flow = auth_flow(call.method, call.path, replayable=call.replayable)
        step = next(flow)
        answer: UpstreamAnswer | None = None
        sends, turn_seconds, vendor_seconds, now = 0, 0.0, 0.0, self._clock.steady
        try:
            while not isinstance(step, PassOn):
                begun = now()
                if isinstance(step, Send):
                    if answer is not None:
                        answer.close()
                    sends += 1
                    answer, came = await self._send(call, step.token)
                    vendor_seconds += now() - begun
                    step = flow.send(came)
                else:
                    waits = isinstance(step, TakeTurn)
                    done = await self._perform(connection_id, call, step)
                    turn_seconds += now() - begun if waits else 0.0
                    step = flow.send(done)
            answer = _usable(call, answer)
            return Relayed(answer, sends, step, _passing_body(answer), turn_seconds, vendor_seconds)
        except BaseException as error:
            if answer is not None:
                answer.close()
            if isinstance(error, UpstreamError | BodyNotReplayable):
                error.connection_id = connection_id
            raise

    def report(
        self, connection_id: str, call: ProxiedCall, relayed: Relayed, *, complete: bool, address: str, begun: float
    ) -> None:
        """The answer was passed on, if `complete` its whole body: what it refused is noted, and that the call was made.

        `begun`: the steady second since which it lasts.
        """
        if complete:
            self.note_refusal(relayed)
        self._vault.engine.world.observer.happened(
            Happening.PROXIED, connection_id=connection_id, method=call.method, path=call.path, caller=call.caller.name,
            status=relayed.answer.status, sends=relayed.sends, complete=complete, address=address,
            vendor_request_id=vendor_request_id(relayed.answer),  # what the vendor's support asks for
            seconds=self._clock.steady() - begun, turn_seconds=relayed.turn_seconds,
            vendor_seconds=relayed.vendor_seconds,
        )  # fmt: skip

    def note_refusal(self, relayed: Relayed) -> None:
        """Report what the answer refused, if anything, to the connection's health; its whole body has passed."""
        refusal, passed = relayed.passing.refusal(), relayed.passed
        if refusal is not None:
            self._vault.note_refusal(passed.token, refusal, passed.method, passed.path)

    async def _perform(self, connection_id: str, call: ProxiedCall, step: Effect) -> AccessToken | None:
        """Do what `rules.auth_flow` asks for; returns what the flow is sent."""
        if isinstance(step, Fetch):
            if step.rejected is None:
                return await self._vault.access_token(connection_id)
            return await self._renewed(connection_id, call, step.rejected)
        if isinstance(step, TakeTurn):
            left = await self._vault.engine.turn_of_key(call.caller, connection_id, call.sharing)
            await self._vault.turn(connection_id, call.sharing, left)
            return self._vault.newest(connection_id, step.token)
        if isinstance(step, Note):
            self._vault.note_call(step.token, step.method, step.path, step.status)
        elif isinstance(step, Pause):
            await self._vault.note_pause(connection_id, step.seconds)
        return None

    async def _renewed(self, connection_id: str, call: ProxiedCall, rejected: AccessToken) -> AccessToken:
        """The next token to try; the rejected one itself when the endpoint is what refuses."""
        endpoint = (connection_id, call.method, call.path)
        generation, until = self._refusing.get(endpoint, (None, 0.0))
        if generation == rejected.generation and self._clock.steady() < until:
            return rejected
        token = await self._vault.access_token(connection_id, rejected=rejected)
        if token.is_same(rejected):
            if len(self._refusing) >= MOST_VERDICTS:
                self._refusing.clear()
            self._refusing[endpoint] = (token.generation, self._clock.steady() + VERDICT_FOR)
        return token

    async def _send(self, call: ProxiedCall, token: AccessToken) -> tuple[UpstreamAnswer | None, Answered | Unanswered]:
        """The answer, and what the flow is sent of it: an error too, which it raises when the sending is counted."""
        headers = [*call.headers, header_of(token, self._keys)]
        try:
            content = b"" if call.body is None else call.body.content()
            with AT_HAND if call.replayable else self._vault.carrying(token):
                answer = await self._upstream.send(call.method, call.target, headers, content)
        except BaseException as error:  # noqa: BLE001
            return None, Unanswered(_failure(call, error), broken=isinstance(error, Broken))
        if answer.status != TOO_MANY:
            return answer, Answered(answer.status)
        said = {name.decode("latin-1").title(): value.decode("latin-1") for name, value in answer.headers}
        return answer, Answered(TOO_MANY, pause_of(TOO_MANY, said))


def _usable(call: ProxiedCall, answer: UpstreamAnswer | None) -> UpstreamAnswer:
    assert answer is not None  # noqa: S101 - the flow ends after an answer only
    if not 200 <= answer.status <= 599:
        raise unanswered(call.method, f"status {answer.status}")
    return answer


def _failure(call: ProxiedCall, error: BaseException) -> BaseException:
    """The error of ours for an answer that did not come; an error that is not the upstream's is returned as it is."""
    failure: BaseException = error
    if isinstance(error, Unsent):
        failure = UpstreamFailed(f"no connection to Cloudbeds came about ({error}); nothing was sent")
    elif isinstance(error, Lost):
        if call.body is not None and call.body.failure is not None:
            return call.body.failure  # the caller's own body broke off: the vendor got half a request
        failure = unanswered(call.method, str(error))
    if failure is not error:
        failure.__cause__ = error
    return failure


def _passing_body(answer: UpstreamAnswer) -> PassingBody:
    """The `PassingBody` of this answer, made from its head."""
    head = dict(answer.headers)
    names = (b"content-type", b"content-encoding", b"content-length")
    return PassingBody(answer.status, *(head.get(name, b"").decode("latin-1") for name in names))


def vendor_request_id(answer: UpstreamAnswer) -> str | None:
    """The vendor's `X-Request-ID`; None where it sent none, or something that is no short line of text."""
    found = next((value for name, value in answer.headers if name == b"x-request-id"), b"")
    return found.decode("ascii") if VENDOR_REQUEST_ID.fullmatch(found) else None
