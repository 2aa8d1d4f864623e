"""Reading a history page by page, newest first: events by their number, and lines of calls by when they began.

The two are stored apart, and lines of calls are merged later on; so the place that a reader has come to names both.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from cloudbeds_auth.errors import InvalidRequest

BEYOND = 10**18 - 1  # no event has this number, and no call was made that late, in microseconds
FORM = re.compile(r"(\d{1,18})_(\d{1,18})_(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class HistoryPlace:
    """What is left to read: events numbered below `sequence`, and lines of calls that began at `first_us` or before.

    `skip` lines that began at that very microsecond were read already. The default is the newest end.
    """

    sequence: int = BEYOND
    first_us: int = BEYOND
    skip: int = 0

    @classmethod
    def parse(cls, cursor: str | None) -> HistoryPlace:
        """The place that `cursor` writes out; None is the newest end. Raises InvalidRequest."""
        if cursor is None:
            return cls()
        found = FORM.fullmatch(cursor)
        if found is None:
            raise InvalidRequest("the cursor is not one that an earlier page of a history gave")
        return cls(*(int(part) for part in found.groups()))

    @property
    def cursor(self) -> str:
        """For `parse`."""
        return f"{self.sequence}_{self.first_us}_{self.skip}"

    def after_event(self, sequence: int, at_us: int) -> HistoryPlace:
        """Behind this event: lines of calls that began after it came before it in the reading."""
        if self.first_us <= at_us:
            return HistoryPlace(sequence, self.first_us, self.skip)
        return HistoryPlace(sequence, at_us)

    def after_calls(self, first_us: int) -> HistoryPlace:
        """Behind a line that began at that microsecond."""
        return HistoryPlace(self.sequence, first_us, self.skip + 1 if first_us == self.first_us else 1)


NEWEST = HistoryPlace()


def microseconds(seconds: float) -> int:
    """Of unix seconds; a moment that is compared for equality is kept as a whole number."""
    return math.floor(seconds * 1e6 + 0.5)
