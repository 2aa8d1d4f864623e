"""Who asks, and how often: addresses, approvals that begin here or come from the Marketplace, and wrong credentials.

Anybody can open `/connect`, which stores a state, and call a callback with a made-up code, which costs a request at
Cloudbeds: the bound comes before both. Wrong credentials make the next one from their address wait, and lock no right
one out (A23). All of it is this process's own; the database bounds what all processes keep.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

from starlette.types import Scope

from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.app.problems import TooManyGuesses
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.ports import Clock
from cloudbeds_auth.rules.redirects import MOST_PENDING

LONGEST = 64  # characters of something that is no address


def address_of(scope: Scope) -> str:
    """The caller's address: the one that a trusted proxy forwarded, else the connection's own."""
    client = scope.get("client")
    return counted(client[0]) if client else "local"


@lru_cache(maxsize=4096)
def counted(host: str) -> str:
    """What shares a limit: an IPv4 address, or an IPv6 network of the 64 bits that one customer is given (RFC 6177)."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:LONGEST]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


class Networks:
    """Addresses and networks, as the settings have them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(name, strict=False) for name in names]

    def __contains__(self, host: object) -> bool:
        try:
            found = ipaddress.ip_address(str(host))
        except ValueError:
            return False
        return any(found in network for network in self._networks)


WINDOW = 600.0  # seconds; as long as a state lives
OF_ONE, OF_ALL = 5, 60  # approvals from the Marketplace in any such window
STARTS_OF_ONE, STARTS_OF_ALL = 100, MOST_PENDING  # approvals that are begun here


class Arrivals:
    """Remembers what came in the last ten minutes, by address; never more than `of_all`."""

    def __init__(self, clock: Clock, what: str, *, of_one: int, of_all: int) -> None:
        self._clock = clock
        self._what = what
        self._of_one = of_one
        self._of_all = of_all
        self._recent: deque[tuple[float, str]] = deque()
        self._counts: Counter[str] = Counter()

    def admit(self, source: str) -> None:
        """Count one from this address (`address_of`); raises RateLimited when it, or all together, brought too many."""
        now = self._clock.steady()
        self._forget(now - WINDOW)
        if self._counts[source] >= self._of_one:
            raise self._too_many("from this address", self._oldest(source) + WINDOW - now)
        if len(self._recent) >= self._of_all:
            raise self._too_many("at once", self._recent[0][0] + WINDOW - now)
        self._recent.append((now, source))
        self._counts[source] += 1

    def _forget(self, before: float) -> None:
        while self._recent and self._recent[0][0] <= before:
            _, source = self._recent.popleft()
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]

    def _oldest(self, source: str) -> float:
        return next(since for since, one in self._recent if one == source)

    def _too_many(self, where: str, wait: float) -> RateLimited:
        return RateLimited(
            f"too many approvals {self._what} {where}", next_step="start again in ten minutes", retry_after=wait
        )


def starts(clock: Clock) -> Arrivals:
    """For approvals that are begun here."""
    return Arrivals(clock, "were begun", of_one=STARTS_OF_ONE, of_all=STARTS_OF_ALL)


def from_marketplace(clock: Clock) -> Arrivals:
    """For approvals that a hotel began in the Marketplace."""
    return Arrivals(clock, "came from the Marketplace", of_one=OF_ONE, of_all=OF_ALL)


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
        """While a credential of this address waits. Raises TooManyGuesses when too many wait: none is displaced."""
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
        """The credential was checked and is unknown."""
        self._right.pop((address, _digest(credential)), None)
        limits, now = self._limits, self._clock.steady()
        spent = max(self._spent.pop(address, now), now) + limits.guess_every
        _room(self._spent)[address] = min(spent, now + limits.guesses * limits.guess_every + limits.guess_wait)

    def right(self, address: str, credential: str) -> None:
        """The credential was checked and is known."""
        _room(self._right)[address, _digest(credential)] = None


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()


def _room(remembered: dict[K, V]) -> dict[K, V]:
    """Forget the oldest where there is no room for one more."""
    if len(remembered) >= MOST:
        del remembered[next(iter(remembered))]
    return remembered
