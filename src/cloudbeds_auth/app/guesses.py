"""Wrong credentials: each makes the next one from its address wait, and none locks a right one out (A23)."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.app.problems import TooManyGuesses
from cloudbeds_auth.ports.clock import Clock

K = TypeVar("K")
V = TypeVar("V")
MOST = 10_000  # addresses with wrong credentials, and right credentials by address, that are remembered


class Guesses:
    """A credential waits before it is checked, so that hanging up on the wait reveals nothing (decision 0019).

    One that was right from the same address before does not wait: a caller that shares its address with an attacker
    is not slowed down.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._spent: dict[str, float] = {}  # by address: the moment at which its wrong credentials are forgiven
        self._right: dict[tuple[str, bytes], None] = {}
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def waiting(self, address: str) -> Iterator[None]:
        """While one of this address waits. Raises TooManyGuesses: of those that wait none is driven out by the next."""
        if self._waiting[address] >= self._limits.guesses_waiting:
            raise TooManyGuesses(retry_after=1)
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def wait(self, address: str, credential: str) -> float:
        """Seconds until this credential may be checked."""
        if (address, _digest(credential)) in self._right:
            return 0.0
        every = self._limits.guess_every
        ahead = self._spent.get(address, 0.0) - self._clock.steady() - (self._limits.guesses - 1) * every
        return min(max(ahead, 0.0), self._limits.guess_wait)

    def wrong(self, address: str, credential: str) -> None:
        """It was checked, and is unknown."""
        self._right.pop((address, _digest(credential)), None)
        limits, now = self._limits, self._clock.steady()
        spent = max(self._spent.pop(address, now), now) + limits.guess_every
        _room(self._spent)[address] = min(spent, now + limits.guesses * limits.guess_every + limits.guess_wait)

    def right(self, address: str, credential: str) -> None:
        """It was checked, and is known."""
        _room(self._right)[address, _digest(credential)] = None


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()


def _room(remembered: dict[K, V]) -> dict[K, V]:
    """Forget the oldest where there is no room for one more."""
    if len(remembered) >= MOST:
        del remembered[next(iter(remembered))]
    return remembered
