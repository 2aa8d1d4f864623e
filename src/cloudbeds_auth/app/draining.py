"""How the service stops behind a balancer: it says that it is about to, goes on for a while, and only then stops to
listen (F109).

At SIGTERM `/readyz` answers 503 `draining`, and each answer ends its connection. A balancer that asks `/readyz` sends
nothing new from then on; what comes meanwhile is served as ever. Where nothing asks `/readyz`, nothing is waited for.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from cloudbeds_auth.rules.happenings import Happening

if TYPE_CHECKING:
    from cloudbeds_auth.app.http_connections import Connections
    from cloudbeds_auth.ports import Clock, Observer

ASKS_AGAIN = 30.0  # seconds: what asked `/readyz` within them is taken for a balancer
OPEN = 10.0  # seconds from the signal until the port is closed: five questions of a balancer that asks every two


class Draining:
    """One process on its way to its end: what it says to balancers, and how long it waits for them."""

    def __init__(self, connections: Connections, clock: Clock, observer: Observer) -> None:
        self._connections = connections
        self._clock = clock
        self._observer = observer
        self._asked: float | None = None

    @property
    def begun(self) -> bool:
        """Whether the service is about to stop."""
        return self._connections.ending

    def asked(self) -> None:
        """`/readyz` was asked."""
        self._asked = self._clock.steady()

    @contextmanager
    def put_off(self, number: signal.Signals) -> Iterator[None]:
        """Meanwhile, this signal does `OPEN` seconds later what it does now; at once where nothing asks `/readyz`, or
        when it comes again.
        """
        if threading.current_thread() is not threading.main_thread():  # no signal comes to any other
            yield
            return
        loop, stop = asyncio.get_running_loop(), signal.getsignal(number)

        def received(number: int, frame: FrameType | None) -> None:
            if not callable(stop):
                return
            if self.begun or not self._is_watched():
                stop(number, frame)
            else:
                self._connections.ending = True
                loop.call_soon_threadsafe(self._wait, loop, lambda: stop(number, frame))

        signal.signal(number, received)
        try:
            yield
        finally:
            signal.signal(number, stop)

    def _is_watched(self) -> bool:
        return self._asked is not None and self._clock.steady() - self._asked <= ASKS_AGAIN

    def _wait(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], object]) -> None:
        self._observer.happened(Happening.DRAINING, seconds=OPEN)
        loop.call_later(OPEN, stop)
