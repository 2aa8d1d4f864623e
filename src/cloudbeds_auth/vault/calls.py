"""What each token carried: counted in memory, written behind, never one row a call.

A generation's first call is written within a second, so that people see it; after that once a minute. A killed process
loses the counts of its last minute and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cloudbeds_auth.core.nouns import AccessToken
from cloudbeds_auth.errors import StoreReadOnly, StoreUnavailable
from cloudbeds_auth.ports.grants import Calls
from cloudbeds_auth.vault.world import World

SOON = 1.0  # seconds until a generation's first calls are written
LATER = 60.0  # seconds between the lines after that
MOST_PATHS = 50  # distinct method-and-path pairs told apart in one line


@dataclass(slots=True)
class _Bucket:
    """The calls of one generation since the last line."""

    due: float
    first: float
    last: float = 0.0
    count: int = 0
    refused: int = 0
    methods: dict[str, int] = field(default_factory=dict)

    def add(self, line: str, count: int) -> None:
        """Count calls of one method and path; those of one path too many are told together."""
        if line not in self.methods and len(self.methods) >= MOST_PATHS:
            line = "other"
        self.methods[line] = self.methods.get(line, 0) + count

    def merge(self, later: _Bucket) -> None:
        """Take in what was counted since this one was taken away to be written."""
        self.last = later.last
        self.count += later.count
        self.refused += later.refused
        for line, count in later.methods.items():
            self.add(line, count)


class CallRecorder:
    """Counts calls; `flush` writes what is due."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buckets: dict[tuple[str, int], _Bucket] = {}
        self._written: dict[str, int] = {}

    def note(self, token: AccessToken, method: str, path: str, status: int) -> None:
        """One call went out with this token and was answered with this HTTP status."""
        key, now = (token.grant_id, token.generation), self._world.clock.wall()
        bucket = self._buckets.get(key)
        if bucket is None:
            known = self._written.get(token.grant_id) == token.generation
            due = self._world.clock.steady() + (LATER if known else SOON)
            bucket = self._buckets[key] = _Bucket(due, now)
        bucket.last = now
        bucket.count += 1
        bucket.refused += status == 401
        bucket.add(f"{method} {path}", 1)

    async def flush(self, *, everything: bool = False) -> None:
        """Write the lines that are due; what the store does not take now stays for the next time."""
        now = self._world.clock.steady()
        due = [key for key, bucket in self._buckets.items() if everything or bucket.due <= now]
        if not due:
            return
        taken = {key: self._buckets.pop(key) for key in due}
        try:
            await self._world.store.record_calls([_line(key, bucket) for key, bucket in taken.items()])
        except StoreReadOnly:
            return  # a copy keeps no history of its own
        except StoreUnavailable:
            for key, bucket in taken.items():
                if key in self._buckets:
                    bucket.merge(self._buckets[key])
                self._buckets[key] = bucket
            return
        self._written.update(taken.keys())


def _line(key: tuple[str, int], bucket: _Bucket) -> Calls:
    return Calls(*key, bucket.first, bucket.last, bucket.count, bucket.refused, bucket.methods)
