"""Whose turn it is at the vendor: one rate for all processes of a client id, kept in the store (I11).

    requests ─► lines, one for each hotel of a caller ─► one place at a time, of the store ─► the next when it comes

Every request asks here first: tokens, proofs, `getHotels`, `postAppState`, and what callers send with a lent token.

A process holds at most one place ahead, so no queue of one process is before the others at the store; and which request
uses it is decided when it comes, so no caller's queue is before another caller, nor a hotel's before another of its
hotels. One that hangs up takes no place with it. Where c callers wait, each for h hotels, in one of P processes that
all wait, the next call of each of these hotels goes with one of the next 2 c h (P + N) places: every second one may be
for tokens and proofs, and of the N of a window the quickest process may take all that are not held.

While the store has no place to give, because it does not answer or cannot be written, callers' requests go at a slow
pace of this process's own: the tokens in its memory are good (F62, F110), and the limit has room for one such process
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
OBSERVED = 1.0  # a rate that is only watched stays this close: switched on later, it begins with no longer queue
SURE = 1.0  # seconds for which the store is away before a process goes alone: what it gave until then is over
AGAIN = 5.0  # seconds for which a store that has just been away is taken to be so yet
MOST_COUNTING = 100  # requests of a rate that is only observed, while the store does not answer
GLANCE = 0.1  # seconds for which its answer is waited for in that time: longer than one takes that is there
SILENT = StoreUnavailable(f"the database has not answered for {SURE:g} s")


@dataclass(eq=False, slots=True)
class Waiter:
    """A request in its line, until a moment of the steady clock. `answer` ends the wait: None, or why not."""

    line: TurnLine
    until: float
    answer: asyncio.Future[Exception | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Shared:
    """What the limiters of a process know together. `waiting`: how many requests of ours, tokens and proofs, wait for
    their turn, by app; `stored`: the client ids that have a row in the store, and on its disk.
    """

    waiting: Counter[str] = field(default_factory=Counter)
    stored: set[str] = field(default_factory=set)


class RateLimiter:
    """The turns of one client id in this process; without a limit every request goes, and no store is asked.

    `app` is what it is called in what is reported. A key for callers that has a rate of its own is one, too, with its
    id for both.
    """

    def __init__(
        self, db: Database, clock: Clock, observer: Observer, shared: Shared, limit: Limit | None, *, app: str,
        client_id: str,
    ) -> None:  # fmt: skip
        self._db, self._clock, self._observer, self._shared = db, clock, observer, shared
        self._app, self._client_id = app, client_id
        self._limit = limit
        self._rate = Rate(1, 0.0) if limit is None else limit.rate
        self._pace = self._rate  # at which requests go, as far as is known
        self._queue: FairQueue[Waiter] = FairQueue(lambda waiter: waiter.answer.done())
        # Moments of the steady clock:
        self._coming = -math.inf  # when the next place comes, at the earliest
        self._paused = -math.inf  # until when nothing is sent
        self._went = -math.inf  # when a request last went alone
        self._away: float | None = None  # since when the store is
        self._away_until = -math.inf  # until when that is taken to last: it is asked, and not waited for
        self._why: StoreUnavailable | StoreReadOnly = SILENT
        self._asked = -math.inf  # when the store was last asked for a place
        self._at_most = 0.0  # how many seconds away that may be
        self._place: asyncio.Task[float] | None = None  # its answer, if that is still to come or to be looked at
        self._serving: asyncio.Task[None] | None = None
        self._counting: set[asyncio.Task[None]] = set()  # of a rate that is only observed

    @property
    def waiting(self) -> int:
        """How many requests of ours, tokens and proofs, wait for their turn in this process."""
        return self._queue.length(OURS)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is asked here, and nothing is known that the store would not say as well."""
        asking = self._place is not None or bool(self._counting)
        serving = self._serving is not None and not self._serving.done()
        known_until = max(self._coming, self._paused, self._away_until, self._went + AGAIN)
        return not asking and not serving and self._away is None and self._clock.steady() >= known_until

    async def spend(self, patience: float, line: TurnLine = OURS) -> None:
        """Wait for a turn, at most `patience` seconds; afterwards exactly one request may go, at once.

        A caller's request waits in a line of its own; it is sent, slowly, while the store has no place to give. Raises
        RateLimited with the seconds to wait, as soon as it is known that the turn would come too late; StoreUnavailable
        or StoreReadOnly where that is so because the store cannot be written, for a request of ours, or where the limit
        is too low to send beside the others. A limit that is only observed never waits and raises none of them.
        """
        if self._limit is None:
            return
        if self._limit.observed:
            await self._watch()
            return
        with self._told(line):
            await self._turn(patience, line)

    def foresee(self, patience: float, line: TurnLine) -> None:
        """Raise what `spend` would raise at once, as far as this process knows; no place is taken."""
        if self._limit is not None and not self._limit.observed:
            with self._told(line):
                self._must_come_within(patience, line)

    async def ask(self, patience: float, request: Callable[[], Awaitable[T]]) -> T:
        """Make one request of ours when its turn comes; a 429 pauses this client id in every process.

        Raises what `spend` raises; RateLimited for a 429, too.
        """
        await self.spend(patience)
        try:
            return await request()
        except Throttled as throttled:
            await self.pause(throttled.pause)
            raise RateLimited(retry_after=throttled.pause) from None

    async def pause(self, seconds: float | None) -> None:
        """After an answer of the vendor: a 429 gives no request of this client id a turn for `seconds`, in any process.

        None: it was no 429.
        """
        if seconds is None:
            return
        self._observer.happened(Happening.VENDOR_RATE_LIMITED, app=self._app, pause=seconds)
        if self._limit is None or self._limit.observed:
            return
        self._paused = max(self._paused, self._clock.steady() + seconds)
        with suppress(StoreUnavailable, StoreReadOnly):  # this process keeps it all the same
            await self._db.write(pause_turns(self._client_id, seconds))

    async def pause_after(self, verdict: Verdict) -> None:
        """As `pause`, after an answer of `/userinfo`."""
        await self.pause(verdict.pause if isinstance(verdict, Inconclusive) else None)

    async def stop(self) -> None:
        """Ask the store no more; callers that still wait have VaultClosed raised."""
        running = [task for task in (self._serving, self._place, *self._counting) if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for waiter in self._queue.waiting():
            waiter.answer.set_result(VaultClosed())

    @contextmanager
    def _told(self, line: TurnLine) -> Iterator[None]:
        """Report that this line's request has no turn, and name its hotel in the error."""
        try:
            yield
        except TryAgain as error:
            error.connection_id = line.hotel or None
            if isinstance(error, RateLimited):
                self._observer.happened(Happening.RATE_LIMITED, app=self._app, wait=error.retry_after)
            raise

    async def _watch(self) -> None:
        """Count the request; it goes also where it cannot be counted, or not at once."""
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
            # For all that wait, so in no one's context: what it reports names no caller's request.
            self._serving = asyncio.create_task(self._serve(), name="turns at the vendor", context=Context())
        self._shared.waiting[self._app] += line == OURS
        try:
            error = await waiter.answer
        except asyncio.CancelledError:
            if not waiter.answer.cancelled() and waiter.answer.result() is None:
                self._give()  # its place came in the moment in which it gave up
            raise
        finally:
            self._shared.waiting[self._app] -= line == OURS
        if error is not None:
            raise error

    def _must_come_within(self, patience: float, line: TurnLine) -> None:
        now = self._clock.steady()
        # Of the places to come, those before it in its own line take one each, and the next one has its moment.
        wait = max(self._pace.wait_behind(self._queue.length(line)), self._coming - now, self._paused - now)
        if wait > max(0.0, patience):
            raise self._too_late(wait)

    async def _serve(self) -> None:
        try:
            while waiting := self._queue.waiting():
                await self._serve_one(max(waiter.until for waiter in waiting))
        except Exception as error:  # noqa: BLE001 - handed over to those that wait
            for waiter in self._queue.waiting():
                waiter.answer.set_result(error)
        self._pace = self._rate  # the store is asked before it is known again to be away

    async def _serve_one(self, last: float) -> None:
        """Ask for the next place, wait until it comes, and give it to the request that is next then."""
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
        if wait > patience:  # not taken; a request that joined meanwhile and is more patient has the store asked again
            self._coming = asked + wait
            return
        await self._sleep(wait)
        if self._paused <= self._clock.steady():  # else it is void: the vendor asked for a pause since
            self._give()

    async def _asked_for(self, at_most: float) -> float | None:
        """The seconds until the place that the store gives, taken unless that is more than `at_most`; None while it has
        none to give.

        It is waited for `SURE` seconds, and what it is asked is not taken back: that may take as long as it hangs. A
        place that is answered later than that may be over already, and is void.
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
        """A store that answers in time is not away any more, also where nobody waited for its answer as long."""
        seen(place)
        in_time = self._clock.steady() <= self._asked + SURE
        if in_time and not place.cancelled() and place.exception() is None:
            self._away, self._away_until, self._pace = None, -math.inf, self._rate

    def _is_away(self, why: StoreUnavailable | StoreReadOnly) -> None:
        self._why = why
        self._away = self._asked if self._away is None else self._away
        self._away_until = self._clock.steady() + AGAIN

    async def _reserve(self, patience: float) -> float:
        """A turn outlives this process, and need not outlive the machine: after its start a window is waited out, where
        there is a row that names the start before. So the first one that a process asks for is synced.
        """
        synced = self._client_id not in self._shared.stored
        wait = await self._db.write(reserve_turn(self._client_id, self._rate, patience), synced=synced)
        self._shared.stored.add(self._client_id)
        return wait

    async def _go_alone(self, asked: float) -> None:
        """The store has no place: let one caller go at the pace of `Rate.alone`, or wait for that and ask it again."""
        now, alone = self._clock.steady(), self._rate.alone
        for waiter in self._queue.waiting():
            if not alone or waiter.line == OURS:
                waiter.answer.set_result(StoreUnavailable(self._why.detail, retry_after=self._why.retry_after))
        if not alone:
            return
        assert self._away is not None  # noqa: S101 - since it was asked
        slow = 1 / alone
        if now >= self._away + SURE:  # until then one failure may have been all: nobody is refused for a slow pace
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
        """End the wait of those that would wait longer than they may, counted from when the store was asked."""
        for waiter in self._queue.waiting():
            if max(0.0, waiter.until - asked) < wait:
                waiter.answer.set_result(self._too_late(wait))

    def _too_late(self, wait: float) -> TryAgain:
        """The error of a request whose turn would come too late: the rate's, or that of a store that says why it cannot
        give one.
        """
        if self._clock.steady() >= self._away_until:
            return RateLimited(retry_after=wait)
        if self._why is SILENT:
            return RateLimited(f"{SILENT.detail}: this process goes on with {ALONE:.0%} of the rate", retry_after=wait)
        return type(self._why)(self._why.detail, retry_after=wait)

    def _give(self) -> Waiter | None:
        waiter = self._queue.next()
        if waiter is not None:
            waiter.answer.set_result(None)
        return waiter
