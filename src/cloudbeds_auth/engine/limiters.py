"""The limiters of a process: one for each client id in use; where they are many, idle ones are forgotten."""

from __future__ import annotations

from collections.abc import Callable

from cloudbeds_auth.engine.rate_limiter import RateLimiter, Shared

MANY = 1_000  # limiters; beyond that, idle ones are forgotten before another is made


class Limiters(dict[tuple[str, str], RateLimiter]):
    """Limiters by app and client id; that of a caller's key with a rate of its own by the key's id, without an app."""

    def __init__(self) -> None:
        super().__init__()
        self.shared: Shared = Shared()
        self._most: int = MANY

    def of(self, key: tuple[str, str], make: Callable[[Shared], RateLimiter]) -> RateLimiter:
        """The limiter of this client id, to be used at once: an idle limiter may be forgotten."""
        found = self.get(key)
        if found is None:
            if len(self) >= self._most:
                self._forget_idle()
            found = self[key] = make(self.shared)
        return found

    def _forget_idle(self) -> None:
        for key in [key for key, limiter in self.items() if limiter.idle]:
            del self[key]
        self._most = max(MANY, 2 * len(self))  # the next scan is due only when they have doubled
