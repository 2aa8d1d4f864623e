"""How much one caller, and all of them together, may take of the service: the numbers, each with its reason.

Of the connections to Cloudbeds no caller has more than its share, and those that it has do not wait for it (A72). What
may be refused thousands of times a second is reported once in a while, with how often.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cloudbeds_auth.app.problems import TooManyCalls
from cloudbeds_auth.ports import Fact, Observer
from cloudbeds_auth.rules.happenings import Happening


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, seconds and bytes, for one process."""

    connections: int = 2000
    """In all, where the machine's limit of open files leaves room for them."""
    connections_per_address: int = 500
    """A quarter of them; a trusted proxy, behind which there are many callers, is exempt."""

    head: float = 20.0
    """From a connection, or the first byte of a head, to the head's end."""
    pipelined: int = 10
    """Requests that wait on a connection for the one before them to be answered: no browser sends any (RFC 9112 section
    9.3.2), and as many heads of the largest size are less than a megabyte."""
    body: float = 20.0
    """How long a body is waited for in all, …"""
    body_rate: int = 16 * 1024
    """… and a second more for so many bytes that came: any program's network is faster."""
    reading: float = 30.0
    """How long an answer is held for a caller that is behind with reading it, …"""
    reading_rate: int = 1024
    """… unless so many bytes a second went out meanwhile: a program may work on what it reads as it comes."""
    linger: float = 2.0
    """After the last answer of a connection, for the caller to read it and to stop sending, …"""
    linger_bytes: int = 256 * 1024
    """… and how much of what it sends all the same is thrown away before it is cut off."""

    calls_per_address: int = 50
    """Calls under way at Cloudbeds: a quarter of the pool, and five seconds' worth of a partner's rate limit."""
    call_wait: float = 5.0
    """How long a call waits for one of them to end: as long as for a turn under the rate limit."""

    guesses: int = 10
    """Wrong credentials of one address that cost nothing, …"""
    guess_every: float = 1.0
    """… after which each makes the next one wait so much longer before it is checked, …"""
    guess_wait: float = 5.0
    """… and so much at most: a right one gets in."""
    guesses_waiting: int = 250
    """Credentials of one address that wait at a time: half of its connections, so that those of its callers that need
    not wait find room, and no guess drives out one that waits."""

    report_every: float = 10.0
    """Between two reports of how often something was refused."""


@dataclass(slots=True)
class _Share:
    """Of one address: its free places, and how many calls have or want one."""

    places: asyncio.Semaphore
    calls: int = 0


class Shares:
    """By address, for as long as callers have no keys of their own."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def place(self, address: str) -> AsyncIterator[None]:
        """One call of this address, from its body's first byte to its answer's last. Raises TooManyCalls."""
        share = self._shares.setdefault(address, _Share(asyncio.Semaphore(self._limits.calls_per_address)))
        share.calls += 1
        try:
            if share.places.locked():
                await self._waited_for(share)
            else:
                await share.places.acquire()  # at once
            try:
                yield
            finally:
                share.places.release()
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[address]

    async def _waited_for(self, share: _Share) -> None:
        """A place, in the order in which they came."""
        try:
            async with asyncio.timeout(self._limits.call_wait):
                await share.places.acquire()
        except TimeoutError:
            raise TooManyCalls(
                f"{self._limits.calls_per_address} calls of this address are under way; nothing was sent", retry_after=1
            ) from None


MOST = 100  # different ones at a time; those of further addresses are reported together
OTHERS = "others"

_Key = tuple[Happening, str, Fact]  # what happened, to which address, why


class Tally:
    """The first is reported at once; those that follow within `every` seconds together, each kind with its `times`."""

    def __init__(self, observer: Observer, *, every: float) -> None:
        self._observer = observer
        self._every = every
        self._counts: dict[_Key, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, what: Happening, *, address: str, why: Fact = None) -> None:
        """It happened once more."""
        key = (what, address, why)
        if key not in self._counts and len(self._counts) >= MOST:
            key = (what, OTHERS, why)
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._timer is None:
            self._report()

    def close(self) -> None:
        """Report what was not reported yet."""
        self._report()
        if self._timer is not None:
            self._timer.cancel()

    def _report(self) -> None:
        counts, self._counts = self._counts, {}
        for (what, address, why), times in counts.items():
            reason = {} if why is None else {"why": why}
            self._observer.happened(what, address=address, **reason, times=times)
        self._timer = asyncio.get_running_loop().call_later(self._every, self._report) if counts else None
