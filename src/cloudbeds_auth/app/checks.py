"""A credential is checked here, wherever it is given: wrong ones make their address wait (decision 0019)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from cloudbeds_auth.app.http_connections import stay
from cloudbeds_auth.app.limits import Guesses, Limits, address_of, hash_of
from cloudbeds_auth.ports import Clock

if TYPE_CHECKING:
    from starlette.types import Scope

T = TypeVar("T")
Known = Callable[[str, bytes, str], Awaitable[T | None]]
"""By a credential, its hash (`hash_of`), and the address that it comes from."""


class CredentialChecks:
    """Those of one process: a guess is counted for its address, whatever it is given for."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._guesses = Guesses(limits, clock)
        self._clock = clock

    async def check(self, scope: Scope, text: str, known: Known[T]) -> T | None:
        """What `known` finds by this credential; after wrong ones from the same address, not at once (A23).

        Raises TooManyGuesses; ClientGone when the connection is closed meanwhile.
        """
        address, given = address_of(scope), hash_of(text)
        if wait := self._guesses.wait(address, given):
            with self._guesses.waiting(address):
                await stay(scope, self._clock.sleep(wait))
        with self._guesses.checking(address, given) as counted:
            found = await known(text, given, address)
        if found is not None:
            self._guesses.right(address, given, counted=counted)
        elif not counted:
            self._guesses.wrong(address, given)
        return found
