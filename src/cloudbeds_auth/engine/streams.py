"""Bodies under way that cannot be sent again: a refresh that is due waits for them, up to its margin (rule-10).

A refresh kills the access token at once. A call whose body is kept heals by being sent again; one whose body streams
through would be lost, and a refresh nobody waits for can as well come a little later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from cloudbeds_auth.rules.model import AccessToken, Grant
from cloudbeds_auth.rules.refresh import Timing

MARGIN = 4  # leases: upkeep looks at a grant again after two and its pause, and one refresh takes up to one


class Streams:
    """Counts them by grant. `carrying` may be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def carrying(self, token: AccessToken) -> Iterator[None]:
        """While such a body is sent with this token, and until its answer has come."""
        with self._lock:
            self._under_way[token.grant_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[token.grant_id] -= 1
                if not self._under_way[token.grant_id]:
                    del self._under_way[token.grant_id]

    def put_off(self, row: Grant, timing: Timing) -> bool:
        """Whether a due refresh of this grant should wait: this process streams, and there is time for it later."""
        return row.id in self._under_way and row.valid_for > MARGIN * timing.lease
