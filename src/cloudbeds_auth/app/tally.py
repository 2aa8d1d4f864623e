"""What may be refused thousands of times a second is reported once in a while, with how often."""

from __future__ import annotations

import asyncio

from cloudbeds_auth.ports.observer import Fact, Observer
from cloudbeds_auth.rules.happenings import Happening

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
        """Report the rest."""
        self._report()
        if self._timer is not None:
            self._timer.cancel()

    def _report(self) -> None:
        counts, self._counts = self._counts, {}
        for (what, address, why), times in counts.items():
            reason = {} if why is None else {"why": why}
            self._observer.happened(what, address=address, **reason, times=times)
        self._timer = asyncio.get_running_loop().call_later(self._every, self._report) if counts else None
