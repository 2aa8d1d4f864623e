"""How the service stops behind a load balancer: it announces the stop, continues for a while, and only then stops
listening (F109).

After SIGTERM `/readyz` answers 503 `draining`, and each answer ends its connection. A balancer that asks `/readyz` then
sends no new requests; those that still come are served as usual. If nothing asks `/readyz`, the stop is immediate.
"""

from __future__ import annotations

import asyncio
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from types import FrameType
from typing import TYPE_CHECKING

from cloudbeds_auth.rules.happenings import Happening

if TYPE_CHECKING:
    from cloudbeds_auth.app.http_connections import Connections
    from cloudbeds_auth.ports import Clock, Observer

ASKS_AGAIN = 15.0  # seconds: what asked `/readyz` within them is taken for a balancer
OPEN = 7.0  # seconds from the signal until the port is closed: three questions of a balancer that asks every two
SAME = 2.0  # seconds in which a signal that comes again is the same one: of a process group, and of the parent


class Draining:
    """The end of one process: what it reports to balancers, and how long it waits for them."""

    def __init__(self, connections: Connections, clock: Clock, observer: Observer) -> None:
        self._connections = connections
        self._clock = clock
        self._observer = observer
        self._asked = self._told = -math.inf

    @property
    def begun(self) -> bool:
        """Whether the service is about to stop."""
        return self._connections.ending

    def asked(self) -> None:
        """Record that `/readyz` was asked."""
        self._asked = self._clock.steady()

    @contextmanager
    def put_off(self, number: signal.Signals) -> Iterator[None]:
        """Inside this block, the signal takes effect `OPEN` seconds later; immediately if nothing asks `/readyz`, or if
        the signal comes again.
        """
        stop = signal.getsignal(number)
        if threading.current_thread() is not threading.main_thread() or not callable(stop):
            yield  # no signal comes to another thread; one that the program does not handle ends it
            return
        loop = asyncio.get_running_loop()

        def received(number: int, frame: FrameType | None) -> None:
            now = self._clock.steady()
            if self.begun and now - self._told < SAME:
                return
            if self.begun or now - self._asked > ASKS_AGAIN:
                stop(number, frame)
                return
            self._told, self._connections.ending = now, True
            # A signal comes while any request is served, and is no part of it.
            loop.call_soon_threadsafe(self._wait, loop, lambda: stop(number, frame), context=Context())

        signal.signal(number, received)
        try:
            yield
        finally:
            signal.signal(number, stop)

    def _wait(self, loop: asyncio.AbstractEventLoop, stop: Callable[[], object]) -> None:
        self._observer.happened(Happening.DRAINING, seconds=OPEN)
        loop.call_later(OPEN, stop)
