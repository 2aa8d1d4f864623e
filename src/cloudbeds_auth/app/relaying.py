"""One call to the vendor, its 401s healed: drives `rules.auth_flow` with the vault and the upstream client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NoReturn

from cloudbeds_auth.app.body import Body
from cloudbeds_auth.app.contracts import Vault
from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.app.shares import Shares
from cloudbeds_auth.errors import BodyNotReplayable, OutcomeUnknown, UpstreamFailed
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.ports.upstream import Broken, Lost, Unsent, Upstream, UpstreamAnswer
from cloudbeds_auth.rules.api_errors import Refusal
from cloudbeds_auth.rules.auth_flow import SAFE_METHODS, Answered, Fetch, heal
from cloudbeds_auth.rules.credential import header_of
from cloudbeds_auth.rules.glance import Glance
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.rate_limit import TOO_MANY, pause_of

VERDICT_FOR = 60.0  # seconds
MOST_VERDICTS = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent: `path` begins with `/` and is encoded; `body` None means that there is none."""

    method: str
    path: str
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: Body | None = None

    @property
    def target(self) -> str:
        """Path and query, as they go into the request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def replayable(self) -> bool:
        """Whether it can be sent once more."""
        return self.body is None or self.body.replayable


@dataclass(frozen=True, slots=True)
class Relayed:
    """The answer to pass on, to be closed by whoever asked; `sends` counts the requests that were made for it, the last
    one with `token`.
    """

    answer: UpstreamAnswer
    sends: int
    token: AccessToken


class Verdicts:
    """Which endpoints refuse a token that was proven good: remembered for a while, so that an endpoint that always
    answers 401 costs no proof call each time (F39, A60).
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refusing: dict[tuple[str, str, str], tuple[int, float]] = {}

    def remember(self, connection_id: str, call: Call, generation: int) -> None:
        """This endpoint refuses this generation although it works."""
        if len(self._refusing) >= MOST_VERDICTS:
            self._refusing.clear()
        key = (connection_id, call.method, call.path)
        self._refusing[key] = (generation, self._clock.steady() + VERDICT_FOR)

    def refuses(self, connection_id: str, call: Call, generation: int) -> bool:
        """Whether it is known already."""
        known = self._refusing.get((connection_id, call.method, call.path))
        return known is not None and known[0] == generation and self._clock.steady() < known[1]


class Relay:
    """The proxied call of every route, made in a place of `shares`; between calls it holds only `Verdicts`."""

    def __init__(self, vault: Vault, upstream: Upstream, limits: Limits) -> None:
        self.shares = Shares(limits)
        self._vault = vault
        self._upstream = upstream
        self._verdicts = Verdicts(vault.clock)
        self._keys = vault.settings.credential_header

    async def call(self, connection_id: str, call: Call) -> Relayed:
        """Send `call` for this connection, at most three times (ROTATION rule 9).

        Raises what the vault raises, BodyNotReplayable when the token was renewed and the body is gone,
        UpstreamFailed and OutcomeUnknown. A write is repeated only after a 401.
        """
        flow = heal()
        step = next(flow)
        answer: UpstreamAnswer | None = None
        token: AccessToken | None = None
        sends = 0
        # Where a kept connection turns out to be closed, what only reads goes once more, on another.
        anew = call.method in SAFE_METHODS and call.replayable
        try:
            while True:
                if isinstance(step, Fetch):
                    step = flow.send(await self._token(connection_id, call, step.rejected))
                    continue
                if answer is not None:
                    if not call.replayable:
                        raise BodyNotReplayable(connection_id=connection_id, retry_after=1)
                    answer.close()
                    answer = None
                sends += 1
                await self._vault.turn(connection_id)
                token = self._vault.newest(connection_id, step.token)
                try:
                    answer = await self._send(connection_id, token, call)
                except Broken as error:
                    if not anew:
                        self._lost(connection_id, call, str(error), error)
                    anew = False
                    continue
                step = flow.send(Answered(answer.status, token))
        except StopIteration:
            assert answer is not None  # noqa: S101 - the generator ends after an answer only
            assert token is not None  # noqa: S101
            return Relayed(answer, sends, token)
        except BaseException:
            if answer is not None:
                answer.close()
            raise

    def heed(self, call: Call, relayed: Relayed, refusal: Refusal | None) -> None:
        """What the answer refused, if anything, for the connection's health."""
        if refusal is not None:
            self._vault.heed(relayed.token, refusal, call.method, call.path)

    async def _token(self, connection_id: str, call: Call, rejected: AccessToken | None) -> AccessToken:
        """The next token to try; the rejected one itself when the endpoint is what refuses."""
        if rejected is None:
            return await self._vault.access_token(connection_id)
        if self._verdicts.refuses(connection_id, call, rejected.generation):
            return rejected
        token = await self._vault.access_token(connection_id, rejected=rejected)
        if token.is_same(rejected):
            self._verdicts.remember(connection_id, call, token.generation)
        return token

    async def _send(self, connection_id: str, token: AccessToken, call: Call) -> UpstreamAnswer:
        headers = [*call.headers, header_of(token, self._keys)]
        status = 0
        try:
            content = b"" if call.body is None else call.body.content()
            with nullcontext() if call.replayable else self._vault.carrying(token):
                answer = await self._upstream.send(call.method, call.target, headers, content)
            status = answer.status
        except Unsent as error:
            raise UpstreamFailed(
                f"no connection to Cloudbeds came about ({error}); nothing was sent", connection_id=connection_id
            ) from error
        except Broken:
            raise
        except Lost as error:
            self._lost(connection_id, call, str(error), error)
        finally:
            self._vault.note_call(token, call.method, call.path, status)
        try:
            await self._hear(connection_id, answer)
        except BaseException:  # the caller hung up
            answer.close()
            raise
        if not 200 <= status <= 599:
            answer.close()
            self._lost(connection_id, call, f"status {status}", None)
        return answer

    async def _hear(self, connection_id: str, answer: UpstreamAnswer) -> None:
        """A 429 is passed on as it is, and heeded by everybody of this client id."""
        if answer.status == TOO_MANY:
            found = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
            pause = pause_of(answer.status, found.get(b"retry-after"), found.get(b"date"))
            assert pause is not None  # noqa: S101 - it is a 429
            await self._vault.heed_pause(connection_id, pause)

    def _lost(self, connection_id: str, call: Call, why: str, cause: Exception | None) -> NoReturn:
        """Say what is known when something was sent and nothing usable came back."""
        if call.body is not None and call.body.failure is not None:
            raise call.body.failure from None  # the caller's own body broke off: the vendor got half a request
        if call.method in SAFE_METHODS:
            raise UpstreamFailed(f"Cloudbeds gave no usable answer ({why})", connection_id=connection_id) from cause
        raise OutcomeUnknown(
            f"the {call.method} was sent and no usable answer came ({why})", connection_id=connection_id
        ) from cause


def glance_at(answer: UpstreamAnswer) -> Glance:
    """A look at the answer, begun with its head."""
    found = {b"content-type": "", b"content-encoding": "", b"content-length": ""}
    for name, value in answer.headers:
        known = name.lower()
        if known in found:
            found[known] = value.decode("latin-1")
    return Glance(answer.status, *found.values())


async def read_all(answer: UpstreamAnswer, limit: int) -> bytes:
    """A small answer as a whole; raises UpstreamFailed when it is larger than `limit` bytes or breaks off."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(60):
            async for chunk in answer.chunks():
                size += len(chunk)
                if size > limit:
                    raise UpstreamFailed("the answer is larger than it may be here")
                parts.append(chunk)
    except (Lost, TimeoutError) as error:
        raise UpstreamFailed("the answer broke off") from error
    finally:
        answer.close()
    return b"".join(parts)
