"""The limiters of a process: one for each client id that is in use, and no more for hotels with keys of their own."""

from __future__ import annotations

from collections.abc import Callable

from cloudbeds_auth.engine.rate_limiter import RateLimiter, Shared

MANY = 1_000  # limiters, of which those that are idle are forgotten before one more is made


class Limiters(dict[tuple[str, str], RateLimiter]):
    """By app and client id; a key for callers that has a rate of its own, by its id and no app."""

    def __init__(self) -> None:
        super().__init__()
        self.shared: Shared = Shared()
        self._most: int = MANY

    def of(self, key: tuple[str, str], make: Callable[[Shared], RateLimiter]) -> RateLimiter:
        """The limiter of this client id. Whoever has one uses it at once: idle, it may be forgotten."""
        found = self.get(key)
        if found is None:
            if len(self) >= self._most:
                self._forget_idle()
            found = self[key] = make(self.shared)
        return found

    def _forget_idle(self) -> None:
        for key in [key for key, limiter in self.items() if limiter.idle]:
            del self[key]
        self._most = max(MANY, 2 * len(self))  # they are looked through only when they have doubled
