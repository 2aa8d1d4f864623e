"""The rate limit where a client sends: what an answer asks for, what a redirect means, and what is done without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from cloudbeds_auth.errors import OutcomeUnknown, RateLimited
from cloudbeds_auth.rules.auth_flow import SAFE_METHODS
from cloudbeds_auth.rules.rate_limit import pause_of


async def at_once() -> None:
    """A turn where no rate is kept."""


async def nobody_hears(pause: float) -> None:
    """A 429 where no rate is kept."""


def pause_in(status: int, headers: Mapping[str, str]) -> float | None:
    """As `rules.rate_limit.pause_of`; `headers` are found whatever their case."""
    return pause_of(status, headers.get("Retry-After"), headers.get("Date"))


REDIRECTED = "was answered by a redirect, and the rate limit leaves no room to follow it"


@contextmanager
def following(method: str, told: str = REDIRECTED) -> Iterator[None]:
    """While a request that was sent goes on with another: what was a write is not to be sent again by whoever asked."""
    try:
        yield
    except RateLimited as error:
        if method in SAFE_METHODS:
            raise
        raise OutcomeUnknown(f"the {method} {told}") from error
