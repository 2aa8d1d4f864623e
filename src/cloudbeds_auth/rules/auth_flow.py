"""One call to Cloudbeds with a hotel's credential, as a generator: turns, 429s, counting, and 401s healed (rule-9).

    fetch → take a turn → send → 401 → the store's newer token → 401 → a refresh → the last try

At most three sendings are answered 401. The flow ends early if the token was proven good (the endpoint itself refuses)
or there is no newer one. The generator yields each step and is sent its outcome; it has no effects of its own. Every
client here is a loop over it: httpx2, requests, the vendor's SDK, the proxy. By hand:

    flow = auth_flow("GET", "/x", replayable=True)
    next(flow)                      → Fetch(rejected=None)
    flow.send(token_1)              → TakeTurn(token_1)
    flow.send(token_1)              → Send(token_1)
    flow.send(Answered(401))        → Note(token_1, "GET", "/x", 401)
    flow.send(None)                 → Fetch(rejected=token_1)
    flow.send(token_2)              → TakeTurn(token_2), and so on; after an answer that is passed on:
    flow.send(None)                 → PassOn(token_2, "GET", "/x"), the last
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cloudbeds_auth.errors import BodyNotReplayable, ForeignOrigin, OutcomeUnknown, RateLimited, UpstreamFailed
from cloudbeds_auth.rules.model import AccessToken

MOST_SENDS = 3
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that ask for no change (RFC 9110 section 9.2.1), and may be sent again whatever became of them."""
REDIRECTED = "was answered by a redirect, and the rate limit leaves no room to follow it"

# What is yielded and what is sent back. Not frozen: several are made for each call, and a frozen instance takes three
# times as long to create.


@dataclass(slots=True)
class Fetch:
    """Ask the vault for a token, naming the one that was rejected, if any; send back the token."""

    rejected: AccessToken | None


FIRST = Fetch(None)


@dataclass(slots=True)
class Renew:
    """Ask the vault to replace this token for later calls; if it cannot, this call does not fail.

    Nothing is sent back.
    """

    rejected: AccessToken


@dataclass(slots=True)
class TakeTurn:
    """Wait until one more request may go to the vendor; send back this token, or one that arrived meanwhile."""

    token: AccessToken


@dataclass(slots=True)
class Send:
    """Send the request with this token; send back `Answered` or `Unanswered`."""

    token: AccessToken


@dataclass(slots=True)
class Note:
    """Count one sending, for the connection's history; status 0: no answer came. Nothing is sent back."""

    token: AccessToken
    method: str
    path: str
    status: int


@dataclass(slots=True)
class Pause:
    """After a 429, no process sends anything for this client id for so many seconds. Nothing is sent back."""

    seconds: float


@dataclass(slots=True)
class PassOn:
    """The last step: the last answer is the caller's. What its body refuses concerns this token and this call."""

    token: AccessToken
    method: str
    path: str


@dataclass(slots=True)
class Answered:
    """The HTTP status of an answer; `pause`: for a 429, the result of `rate_limit.pause_of`.

    `led_to`: the final status, if the client followed a redirect (`status`) with another method. Then the write was
    carried out, and sending it again would double it.
    """

    status: int
    pause: float | None = None
    led_to: int | None = None


@dataclass(slots=True)
class Unanswered:
    """No answer came, but `error`. `broken`: the failure looks like a kept connection that the vendor just closed."""

    error: BaseException
    broken: bool = False


Effect = Fetch | Renew | TakeTurn | Note | Pause
Flow = Generator[Effect | Send | PassOn, Any, None]


def auth_flow(method: str, path: str, *, replayable: bool, sent: bool = False) -> Flow:
    """Drive one request to an answer that may be passed on.

    `replayable`: the body can be sent once more; `sent`: it was sent before, so a body that is not replayable is gone.
    Raises BodyNotReplayable instead of sending such a call, OutcomeUnknown if a write led to a 401, and the error of an
    `Unanswered`.
    """
    rejections = breaks = 0
    token: AccessToken = yield FIRST
    while True:
        if sent and not replayable:
            raise BodyNotReplayable
        token = yield TakeTurn(token)
        answer: Answered | Unanswered = yield Send(token)
        sent = True
        if isinstance(answer, Unanswered):
            yield Note(token, method, path, 0)
            breaks += answer.broken
            if answer.broken and breaks == 1 and replayable and is_safe(method):
                continue  # on another connection
            raise answer.error
        yield Note(token, method, path, answer.status)
        if answer.pause is not None:
            yield Pause(answer.pause)
        if answer.led_to == 401:
            yield Renew(token)
            raise OutcomeUnknown(f"the {method} was answered by a redirect ({answer.status}), which led to a 401")
        rejections += answer.status == 401
        if answer.status != 401 or rejections == MOST_SENDS:
            break
        renewed: AccessToken = yield Fetch(token)
        if renewed.is_same(token):
            break  # the token is proven good, or an API key: the endpoint itself refuses
        token = renewed
    yield PassOn(token, method, path)


def is_safe(method: str) -> bool:
    """Whether a request asks for no change, so that the caller may send it again, regardless of its outcome."""
    return method.upper() in SAFE_METHODS


def unanswered(method: str, why: str) -> UpstreamFailed | OutcomeUnknown:
    """The error after a request was sent and nothing usable came back: a write may have been carried out."""
    if is_safe(method):
        return UpstreamFailed(f"Cloudbeds gave no usable answer ({why})")
    return OutcomeUnknown(f"the {method.upper()} was sent and no usable answer came ({why})")


@contextmanager
def following(method: str, why: str = REDIRECTED) -> Iterator[None]:
    """Guards a request that follows one already sent, such as a redirect, and may find no turn.

    Raises OutcomeUnknown in place of RateLimited unless the method is safe: the caller must not send a write again.
    """
    try:
        yield
    except RateLimited as error:
        if is_safe(method):
            raise
        raise OutcomeUnknown(f"the {method} {why}") from error


def require_origin(asked: str | None, ours: str) -> None:
    """Raises ForeignOrigin unless the requested origin, None for what is no plain web address, is `ours`."""
    if asked != ours:
        raise ForeignOrigin(f"the credential is for {ours} and was asked for {asked or 'no plain web address'}")
