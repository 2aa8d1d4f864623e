"""Turns at the vendor: one rate for all processes of a client id, kept in the store (I11).

    requests ─► lines, one for each hotel of a caller ─► one place at a time, of the store ─► the next when it comes

Every request first takes a turn here: tokens, proofs, `getHotels`, `postAppState`, and calls with a lent token.

A process reserves at most one place ahead, so no process's queue is ahead of the others at the store. Which request
uses the place is decided when it comes, so no caller's queue is ahead of another caller, and no hotel's ahead of the
caller's other hotels. A caller that hangs up takes no place with it. Where c callers wait, each for h hotels, in one of
P processes that all wait, the next call of each of these hotels goes with one of the next 2 c h (P + N) places: every
second place may be for tokens and proofs, and the quickest process may take all of a window's N that are not reserved.

While the store gives no places, because it does not answer or cannot be written, a process sends callers' requests at a
slow pace of its own: the tokens in its memory are good (F62, F110), and the limit has room for one such process
(ADR 0014).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import TypeVar

from cloudbeds_auth.engine.tasks import seen
from cloudbeds_auth.errors import RateLimited, StoreReadOnly, StoreUnavailable, TryAgain, VaultClosed
from cloudbeds_auth.ports import Clock, Observer, Throttled
from cloudbeds_auth.rules.api_errors import Inconclusive, Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.rate_limit import ALONE, OURS, FairQueue, Limit, Rate, TurnLine
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn
from cloudbeds_auth.transactions.runner import Database

T = TypeVar("T")
BEHIND = 5.0  # seconds that a request waits for its turn when no caller waits for its answer
CALL = 5.0  # seconds that a caller's request waits for its turn
OBSERVED = 1.0  # seconds that an observed rate counts ahead: switched on later, it begins with no longer queue
SURE = 1.0  # seconds without the store before a process goes alone: places that the store gave before are over
AGAIN = 5.0  # seconds for which a store that was just away is still taken to be away
MOST_COUNTING = 100  # requests being counted at an observed rate, while the store does not answer
GLANCE = 0.1  # seconds to wait for its answer in that time: longer than a working store takes
SILENT = StoreUnavailable(f"the database has not answered for {SURE:g} s")


@dataclass(eq=False, slots=True)
class Waiter:
    """A request waiting in its line, `until` a steady moment. `answer` ends the wait: None, or the error to raise."""

    line: TurnLine
    until: float
    answer: asyncio.Future[Exception | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Shared:
    """What the limiters of a process share. `waiting`: how many requests of our own, tokens and proofs, wait for their
    turn, by app; `stored`: the client ids that have a row in the store, synced to its disk.
    """

    waiting: Counter[str] = field(default_factory=Counter)
    stored: set[str] = field(default_factory=set)


class RateLimiter:
    """The turns of one client id in this process; without a limit every request goes, and the store is not asked.

    `app` is its name in reports. A caller's key with a rate of its own has a limiter, too, with the key's id for both
    names.
    """

    def __init__(
        self, db: Database, clock: Clock, observer: Observer, shared: Shared, limit: Limit | None, *, app: str,
        client_id: str,
    ) -> None:  # fmt: skip
        self._db, self._clock, self._observer, self._shared = db, clock, observer, shared
        self._app, self._client_id = app, client_id
        self._limit = limit
        self._rate = Rate(1, 0.0) if limit is None else limit.rate
        self._pace = self._rate  # at which requests go, as far as known
        self._queue: FairQueue[Waiter] = FairQueue(lambda waiter: waiter.answer.done())
        # Moments of the steady clock:
        self._coming = -math.inf  # when the next place comes, at the earliest
        self._paused = -math.inf  # until when nothing is sent
        self._went = -math.inf  # when a request last went alone
        self._away: float | None = None  # since when the store is away
        self._away_until = -math.inf  # until when it is taken to be away: asked, but not waited for
        self._why: StoreUnavailable | StoreReadOnly = SILENT
        self._asked = -math.inf  # when the store was last asked for a place
        self._at_most = 0.0  # how many seconds away the place may be
        self._place: asyncio.Task[float] | None = None  # the answer, pending or not yet read
        self._serving: asyncio.Task[None] | None = None
        self._counting: set[asyncio.Task[None]] = set()  # at an observed rate

    @property
    def waiting(self) -> int:
        """How many requests of our own, tokens and proofs, wait for their turn in this process."""
        return self._queue.length(OURS)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is asked here, and nothing is known here that is not in the store."""
        asking = self._place is not None or bool(self._counting)
        serving = self._serving is not None and not self._serving.done()
        known_until = max(self._coming, self._paused, self._away_until, self._went + AGAIN)
        return not asking and not serving and self._away is None and self._clock.steady() >= known_until

    async def spend(self, patience: float, line: TurnLine = OURS) -> None:
        """Wait for a turn, at most `patience` seconds; then exactly one request may be sent, at once.

        A caller's request waits in a line of its own; while the store gives no places it is still sent, slowly. Raises
        RateLimited with the seconds to wait, as soon as it is known that the turn would come too late. If that is
        because the store cannot be written, raises StoreUnavailable or StoreReadOnly for a request of our own, or if
        the limit is too low to send beside other processes. A limit that is only observed never waits or raises.
        """
        if self._limit is None:
            return
        if self._limit.observed:
            await self._watch()
            return
        with self._told(line):
            await self._turn(patience, line)

    def foresee(self, patience: float, line: TurnLine) -> None:
        """Raise what `spend` would raise at once, as far as this process knows; takes no place."""
        if self._limit is not None and not self._limit.observed:
            with self._told(line):
                self._must_come_within(patience, line)

    async def ask(self, patience: float, request: Callable[[], Awaitable[T]]) -> T:
        """Make one request of our own when its turn comes; a 429 pauses this client id in every process.

        Raises what `spend` raises, and RateLimited for a 429.
        """
        await self.spend(patience)
        try:
            return await request()
        except Throttled as throttled:
            await self.pause(throttled.pause)
            raise RateLimited(retry_after=throttled.pause) from None

    async def pause(self, seconds: float | None) -> None:
        """After a 429 of the vendor: no request of this client id gets a turn for `seconds`, in any process. None: the
        answer was no 429.
        """
        if seconds is None:
            return
        self._observer.happened(Happening.VENDOR_RATE_LIMITED, app=self._app, pause=seconds)
        if self._limit is None or self._limit.observed:
            return
        self._paused = max(self._paused, self._clock.steady() + seconds)
        with suppress(StoreUnavailable, StoreReadOnly):  # this process still keeps the pause
            await self._db.write(pause_turns(self._client_id, seconds))

    async def pause_after(self, verdict: Verdict) -> None:
        """As `pause`, after an answer of `/userinfo`."""
        await self.pause(verdict.pause if isinstance(verdict, Inconclusive) else None)

    async def stop(self) -> None:
        """Stop asking the store; VaultClosed is raised to callers that still wait."""
        running = [task for task in (self._serving, self._place, *self._counting) if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for waiter in self._queue.waiting():
            waiter.answer.set_result(VaultClosed())

    @contextmanager
    def _told(self, line: TurnLine) -> Iterator[None]:
        """Report a request of this line that gets no turn, and name its hotel in the error."""
        try:
            yield
        except TryAgain as error:
            error.connection_id = line.hotel or None
            if isinstance(error, RateLimited):
                self._observer.happened(Happening.RATE_LIMITED, app=self._app, wait=error.retry_after)
            raise

    async def _watch(self) -> None:
        """Count the request, which is sent even if it cannot be counted, or not at once."""
        if len(self._counting) >= MOST_COUNTING:
            return
        counting = asyncio.create_task(self._count())
        self._counting.add(counting)
        counting.add_done_callback(self._counting.discard)
        await asyncio.wait([counting], timeout=GLANCE)

    async def _count(self) -> None:
        with suppress(StoreUnavailable, StoreReadOnly):
            wait = await self._reserve(OBSERVED)
            if wait > 0:
                self._observer.happened(Happening.RATE_EXCEEDED, app=self._app, wait=wait)

    async def _turn(self, patience: float, line: TurnLine) -> None:
        self._must_come_within(patience, line)
        waiter = Waiter(line, self._clock.steady() + patience)
        self._queue.join(line, waiter)
        if self._serving is None or self._serving.done():
            # It serves all that wait, so it runs in an empty context: its reports name no caller's request.
            self._serving = asyncio.create_task(self._serve(), name="turns at the vendor", context=Context())
        self._shared.waiting[self._app] += line == OURS
        try:
            error = await waiter.answer
        except asyncio.CancelledError:
            if not waiter.answer.cancelled() and waiter.answer.result() is None:
                self._give()  # its place came at the moment it gave up
            raise
        finally:
            self._shared.waiting[self._app] -= line == OURS
        if error is not None:
            raise error

    def _must_come_within(self, patience: float, line: TurnLine) -> None:
        now = self._clock.steady()
        # Each request ahead in its own line takes one of the places to come, and the next place has its moment.
        wait = max(self._pace.wait_behind(self._queue.length(line)), self._coming - now, self._paused - now)
        if wait > max(0.0, patience):
            raise self._too_late(wait)

    async def _serve(self) -> None:
        try:
            while waiting := self._queue.waiting():
                await self._serve_one(max(waiter.until for waiter in waiting))
        except Exception as error:  # noqa: BLE001 - raised to those that wait
            for waiter in self._queue.waiting():
                waiter.answer.set_result(error)
        self._pace = self._rate  # the store is asked again before it counts as away

    async def _serve_one(self, last: float) -> None:
        """Ask for the next place, wait until it comes, and give it to the request that is next by then."""
        asked = self._clock.steady()
        if self._paused > asked:
            self._refuse(asked, self._paused - asked)
            await self._sleep(self._paused - asked)
            return
        patience = max(0.0, last - asked)
        wait = await self._asked_for(patience)
        if wait is None:
            await self._go_alone(asked)
            return
        self._refuse(asked, wait)
        if wait > patience:  # not taken; for a more patient request that joined meanwhile, the store is asked again
            self._coming = asked + wait
            return
        await self._sleep(wait)
        if self._paused <= self._clock.steady():  # else the place is void: the vendor has asked for a pause
            self._give()

    async def _asked_for(self, at_most: float) -> float | None:
        """The seconds until the place that the store gives, which is taken unless they exceed `at_most`; None while the
        store gives no places.

        Wait for the store for `SURE` seconds, without cancelling the question, which could take as long as the store
        hangs. A place that is answered later may be over already, and is void.
        """
        while True:
            if self._place is None:
                self._asked, self._at_most = self._clock.steady(), at_most
                self._place = asyncio.create_task(self._reserve(at_most))
                self._place.add_done_callback(self._answered)
            patience = GLANCE if self._clock.steady() < self._away_until else SURE
            await asyncio.wait([self._place], timeout=self._asked + patience - self._clock.steady())
            if not self._place.done():
                self._is_away(SILENT)
                return None
            place, self._place = self._place, None
            if self._clock.steady() <= self._asked + SURE:
                try:
                    wait = place.result()
                except (StoreUnavailable, StoreReadOnly) as error:
                    self._is_away(error)
                    return None
                if not self._at_most < wait <= at_most:  # else it was not taken, and would be now
                    return wait

    def _answered(self, place: asyncio.Task[float]) -> None:
        """A store that answers in time is no longer away, even if nothing waited that long for the answer."""
        seen(place)
        in_time = self._clock.steady() <= self._asked + SURE
        if in_time and not place.cancelled() and place.exception() is None:
            self._away, self._away_until, self._pace = None, -math.inf, self._rate

    def _is_away(self, why: StoreUnavailable | StoreReadOnly) -> None:
        self._why = why
        self._away = self._asked if self._away is None else self._away
        self._away_until = self._clock.steady() + AGAIN

    async def _reserve(self, patience: float) -> float:
        """Reserve a turn. It outlives this process, but need not outlive the machine: after a boot a window is waited
        out if there is a row of the boot before. So the first turn that a process asks for is synced.
        """
        synced = self._client_id not in self._shared.stored
        wait = await self._db.write(reserve_turn(self._client_id, self._rate, patience), synced=synced)
        self._shared.stored.add(self._client_id)
        return wait

    async def _go_alone(self, asked: float) -> None:
        """The store gives no place: let one caller go at the pace of `Rate.alone`, or wait for that and ask again."""
        now, alone = self._clock.steady(), self._rate.alone
        for waiter in self._queue.waiting():
            if not alone or waiter.line == OURS:
                waiter.answer.set_result(StoreUnavailable(self._why.detail, retry_after=self._why.retry_after))
        if not alone:
            return
        assert self._away is not None  # noqa: S101 - set by `_is_away`
        slow = 1 / alone
        if now >= self._away + SURE:  # before that it may be a single failure: no slow pace yet
            self._pace = Rate(1, slow)
        wait = max(self._away + SURE, self._went + slow, self._paused) - now
        if wait > 0:
            self._refuse(asked, wait)
            await self._sleep(min(wait, SURE))
            return
        goes = self._give()
        if goes is not None:
            self._went = now
            self._observer.happened(Happening.WENT_ALONE, app=self._app, connection_id=goes.line.hotel or None)
            self._refuse(now, slow)

    async def _sleep(self, wait: float) -> None:
        if wait > 0 and self._queue.waiting():
            self._coming = self._clock.steady() + wait
            await self._clock.sleep(wait)

    def _refuse(self, asked: float, wait: float) -> None:
        """End the wait of requests that would have to wait longer than they may, from when the store was asked."""
        for waiter in self._queue.waiting():
            if max(0.0, waiter.until - asked) < wait:
                waiter.answer.set_result(self._too_late(wait))

    def _too_late(self, wait: float) -> TryAgain:
        """The error for a request whose turn would come too late: the rate's, or that of a store that said why it gives
        none.
        """
        if self._clock.steady() >= self._away_until:
            return RateLimited(retry_after=wait)
        if self._why is SILENT:
            return RateLimited(f"{SILENT.detail}: this process continues at {ALONE:.0%} of the rate", retry_after=wait)
        return type(self._why)(self._why.detail, retry_after=wait)

    def _give(self) -> Waiter | None:
        waiter = self._queue.next()
        if waiter is not None:
            waiter.answer.set_result(None)
        return waiter
