"""How much of the service one caller, and all callers together, may use: the numbers, each with its reason.

And what counts by them, for one process (the database bounds what all processes keep): calls under way at Cloudbeds,
approvals, the time that a body takes. Who shares a limit is decided by address, of calls by key, and
what may be refused thousands of times a second is reported once in a while, with how often.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from cloudbeds_auth.app.problems import RequestTimedOut, TooManyCalls
from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.ports import Clock, Fact, Observer
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.permissions import ADMIN, Caller
from cloudbeds_auth.rules.redirects import MOST_PENDING

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

LONGEST_TARGET = 16 * 1024  # bytes of path and query
LONGEST_PATH = 2 * 1024  # bytes of a path at Cloudbeds, with our own before it: it is read in several forms
MOST_HEADERS = 100
LARGEST_HEADERS = 64 * 1024  # bytes of all names and values
LARGEST_BODY = 64 * 1024  # bytes, outside the proxy
LARGEST_EXTENSIONS = 16 * 1024  # bytes of chunk extensions and trailers in a body


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
    """How long an answer is held for a caller that reads it too slowly, …"""
    reading_rate: int = 1024
    """… unless this many bytes per second went out meanwhile: a program may process what it reads as it arrives."""
    linger: float = 2.0
    """After the last answer of a connection, for the caller to read it and to stop sending, …"""
    linger_bytes: int = 256 * 1024
    """… and how much of what it still sends is discarded before it is cut off."""

    calls_per_caller: int = 50
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


MOST_REPORTED = 100  # different ones at a time; those of further addresses are reported together
OTHERS = "others"


class Tally:
    """The first is reported at once; those that follow within `every` seconds together, each kind with its `times`."""

    def __init__(self, observer: Observer, *, every: float) -> None:
        self._observer = observer
        self._every = every
        self._counts: dict[tuple[Happening, str, Fact], int] = {}  # what happened, to which address, why
        self._timer: asyncio.TimerHandle | None = None

    def add(self, what: Happening, *, address: str, why: Fact = None) -> None:
        """It happened once more."""
        key = (what, address, why)
        if key not in self._counts and len(self._counts) >= MOST_REPORTED:
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
        # Of many requests, so in no one's context: what is reported names none.
        again = asyncio.get_running_loop().call_later
        self._timer = again(self._every, self._report, context=Context()) if counts else None


class Arriving:
    """A `receive` that gives up a body which comes too slowly: raises RequestTimedOut (A71, A72).

    What counts is the time in which the caller is waited for, and not that in which nothing is read. An answer that
    streams events to its caller has no body to wait for, so nothing here ends it.
    """

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._waited = 0.0
        self._came = 0
        self._ended = False

    async def __call__(self) -> Message:
        """The next message; after the body's end no time limit applies."""
        if self._ended:
            return await self._receive()
        now = asyncio.get_running_loop().time
        begun = now()
        left = self._limits.body + min(0.0, self._came / self._limits.body_rate - self._waited)
        try:
            async with asyncio.timeout(left):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimedOut from None
        self._waited += now() - begun
        self._came += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message


def sharing(scope: Scope) -> str:
    """The name under which callers share their limits: a key and its children, or all admin callers of an address."""
    caller: Caller = scope["state"]["caller"]
    return address_of(scope) if caller is ADMIN else caller.root.name


class Shares:
    """How many calls are under way at Cloudbeds, by those who share them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # while a call refers to them

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """One call of this caller (`sharing`), from its body's first byte to its answer's last. Raises TooManyCalls."""
        places = self._places.get(caller)
        if places is None:
            places = self._places[caller] = asyncio.Semaphore(self._limits.calls_per_caller)
        if places.locked():
            await self._wait_for(places)
        else:
            await places.acquire()  # at once
        try:
            yield
        finally:
            places.release()

    async def _wait_for(self, places: asyncio.Semaphore) -> None:
        """A place, in the order in which the calls came."""
        try:
            async with asyncio.timeout(self._limits.call_wait):
                await places.acquire()
        except TimeoutError:
            raise TooManyCalls(
                f"{self._limits.calls_per_caller} calls of this caller are under way; nothing was sent", retry_after=1
            ) from None


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
        while self._recent and self._recent[0][0] <= now - WINDOW:
            _, past = self._recent.popleft()
            self._counts[past] -= 1
            if not self._counts[past]:
                del self._counts[past]
        if self._counts[source] >= self._of_one:
            where, oldest = "from this address", next(since for since, one in self._recent if one == source)
        elif len(self._recent) >= self._of_all:
            where, oldest = "at once", self._recent[0][0]
        else:
            self._recent.append((now, source))
            self._counts[source] += 1
            return
        raise RateLimited(
            f"too many approvals {self._what} {where}",
            next_step="start again in ten minutes",
            retry_after=oldest + WINDOW - now,
        )


def hash_of(credential: str) -> bytes:
    """What is kept of a credential, and what is compared: hashes of one length, whatever was given (A24)."""
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
