"""Credentials are checked here, wherever they are given: wrong ones make their address wait (decision 0019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from cloudbeds_auth.app.http_connections import stay
from cloudbeds_auth.app.limits import Limits, address_of, hash_of
from cloudbeds_auth.app.problems import TooManyGuesses
from cloudbeds_auth.ports import Clock

if TYPE_CHECKING:
    from starlette.types import Scope

T = TypeVar("T")
MOST_REMEMBERED = 10_000  # addresses with wrong credentials, and right credentials by address, that are remembered
Known = Callable[[str, bytes, str], Awaitable[T | None]]
"""Looks up a credential, given its text, its hash (`hash_of`), and the address that it comes from."""


class CredentialChecks:
    """The checks of one process. A wrong guess counts for its address, wherever it was given. A credential waits before
    it is checked, so that a caller that hangs up meanwhile learns nothing (decision 0019).

    A credential that was right from the same address before does not wait: a caller that shares its address with an
    attacker is not slowed down.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._spent: dict[str, float] = {}  # by address: the moment at which its wrong credentials are forgiven
        self._right: dict[tuple[str, bytes], None] = {}
        self._waiting: Counter[str] = Counter()
        self._checked: set[tuple[str, bytes]] = set()  # now, which count as wrong

    async def check(self, scope: Scope, text: str, known: Known[T]) -> T | None:
        """What `known` finds by this credential; after wrong ones from the same address, not at once (A23).

        Raises TooManyGuesses; ClientGone when the connection is closed meanwhile.
        """
        address, given = address_of(scope), hash_of(text)
        if wait := self.wait(address, given):
            with self.waiting(address):
                await stay(scope, self._clock.sleep(wait))
        with self.checking(address, given) as counted:
            found = await known(text, given, address)
        if found is not None:
            self.right(address, given, counted=counted)
        elif not counted:
            self.wrong(address, given)
        return found

    @contextmanager
    def waiting(self, address: str) -> Iterator[None]:
        """Held while a credential of this address waits. Raises TooManyGuesses if too many wait: none is displaced."""
        if self._waiting[address] >= self._limits.guesses_waiting:
            raise TooManyGuesses(retry_after=1)
        self._waiting[address] += 1
        try:
            yield
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def wait(self, address: str, credential: bytes) -> float:
        """Seconds until this credential, by its hash, may be checked."""
        if (address, credential) in self._right:
            return 0.0
        every = self._limits.guess_every
        ahead = self._spent.get(address, 0.0) - self._clock.steady() - (self._limits.guesses - 1) * every
        return min(max(ahead, 0.0), self._limits.guess_wait)

    @contextmanager
    def checking(self, address: str, credential: bytes) -> Iterator[bool]:
        """Held while a credential is checked; yields whether it counts as wrong until it is found to be `right`.

        So a guess counts even if the caller hangs up, or the database does not answer (A79). A credential that was
        right before does not count, nor do further requests with one that is being checked.
        """
        key = address, credential
        if key in self._right or key in self._checked:
            yield False
            return
        self._checked.add(key)
        self.wrong(address, credential)
        try:
            yield True
        finally:
            self._checked.remove(key)

    def wrong(self, address: str, credential: bytes) -> None:
        """The credential was checked and is unknown."""
        self._right.pop((address, credential), None)
        limits, now = self._limits, self._clock.steady()
        spent = max(self._spent.pop(address, now), now) + limits.guess_every
        _make_room(self._spent)
        self._spent[address] = min(spent, now + limits.guesses * limits.guess_every + limits.guess_wait)

    def right(self, address: str, credential: bytes, *, counted: bool = False) -> None:
        """The credential was checked and is known; `counted`: as wrong, until then."""
        if counted and address in self._spent:
            self._spent[address] -= self._limits.guess_every
        _make_room(self._right)
        self._right[address, credential] = None


def _make_room(remembered: dict[Any, Any]) -> None:
    """Forget the oldest where there is no room for one more."""
    if len(remembered) >= MOST_REMEMBERED:
        del remembered[next(iter(remembered))]
