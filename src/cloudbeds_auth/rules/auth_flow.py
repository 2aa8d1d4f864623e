"""A call whose token may be rejected, as a generator (rule 9): at most three sends, and never a guess.

    401 → the store's newer token → 401 → a refresh → the last try

It stops early when the token was proven good (the endpoint itself refuses) or nothing newer exists. Every client of
ours drives this one generator: httpx2, requests, the vendor's SDK, the proxy. By hand, in a test:

    flow = heal()
    next(flow)                      → Fetch(rejected=None)
    flow.send(token_1)              → Send(token_1)
    flow.send(Answered(401))        → Fetch(rejected=token_1)
    flow.send(token_2)              → Send(token_2)
    flow.send(Answered(200))        raises StopIteration
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from cloudbeds_auth.rules.model import AccessToken

MOST_SENDS = 3
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""They ask for no change (RFC 9110 section 9.2.1): sent or not, nothing changed, and they may be sent again."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the vault for a token, naming the one that was rejected, if any; send it back into the generator."""

    rejected: AccessToken | None


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request with this token, or a newer one; send back what was answered."""

    token: AccessToken


@dataclass(frozen=True, slots=True)
class Answered:
    """The HTTP status of the answer. `token`: the newer one that it was sent with, if one came before the sending."""

    status: int
    token: AccessToken | None = None


def heal() -> Generator[Fetch | Send, AccessToken | Answered, None]:
    """Drive one request to an answer that may be passed on; whatever was answered last is the answer."""
    token = yield Fetch(None)
    assert isinstance(token, AccessToken)  # noqa: S101 - the protocol between us and our drivers
    for _ in range(MOST_SENDS - 1):
        answer = yield Send(token)
        if not isinstance(answer, Answered) or answer.status != 401:
            return
        token = answer.token or token
        renewed = yield Fetch(token)
        assert isinstance(renewed, AccessToken)  # noqa: S101
        if renewed.is_same(token):
            return  # proven good, or an API key: the endpoint itself refuses
        token = renewed
    yield Send(token)
