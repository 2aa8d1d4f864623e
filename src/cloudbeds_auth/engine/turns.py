"""Who waits in this process for the next requests of one client id, and which of them goes next.

    callers ─► lines, one for each hotel ─► one place at a time, asked of the store ─► whoever is next when it comes

A process holds at most one place ahead, so no queue of one process stands before the others at the store; and who uses
it is decided when it comes, so no hotel's queue stands before another hotel. A caller that hangs up takes no place
with it. Where callers of h hotels wait in one of P processes that all wait, the next call of each of these hotels goes
with one of the next 2 h P places: every second one may be for tokens and proofs.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from cloudbeds_auth.errors import Error, RateLimited, StoreReadOnly, StoreUnavailable, VaultClosed
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.rules.rate_limit import FairQueue, Rate, reserve
from cloudbeds_auth.transactions.rate_limit import reserve_turn
from cloudbeds_auth.transactions.runner import Database

NEARLY = 0.9  # of the time between two of these: their moments are sums of floats
SURE = 1.0  # seconds for which the store is away before a process goes alone: what it gave until then is over


@dataclass(eq=False, slots=True)
class Waiter:
    """Somebody in a line. `until`: the last moment at which its turn is of use; `told`: None to go, or why not."""

    until: float
    told: asyncio.Future[Error | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    going: bool = False

    def patience(self, now: float) -> float:
        """Seconds that it still waits."""
        return max(0.0, self.until - now)

    def tell(self, why_not: Error | None) -> None:
        """Once."""
        self.told.set_result(why_not)
        self.going = why_not is None


class Turns:
    """The places of one client id in this process; moments are of the steady clock."""

    def __init__(self, db: Database, clock: Clock, client_id: str, rate: Rate) -> None:
        self._db = db
        self._clock = clock
        self._client_id = client_id
        self._rate = rate
        self._queue: FairQueue[Waiter] = FairQueue(lambda waiter: waiter.told.done())
        self._coming = -math.inf  # when the next place comes, at the earliest
        self._paused = -math.inf  # until when nothing is sent
        self._arrival = -math.inf  # that this process keeps for itself
        self._went = -math.inf  # when somebody last went alone
        self._away: float | None = None  # since when the store is
        self._serving: asyncio.Task[None] | None = None

    async def take(self, line: str, patience: float) -> None:
        """Wait for a turn, at most `patience` seconds; afterwards one request goes, at once.

        Raises RateLimited as soon as it is known that the turn would come too late, and StoreUnavailable.
        """
        self._must_come_in_time(line, patience)
        waiter = Waiter(self._clock.steady() + patience)
        self._queue.join(line, waiter)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve(), name="turns at the vendor")
            # Not in a `finally` of the task: one that is cancelled before it began runs no line of its own.
            self._serving.add_done_callback(self._ended)
        try:
            why_not = await waiter.told
        except asyncio.CancelledError:
            if waiter.going:
                self._give()  # its place came in the moment in which it gave up
            raise
        if why_not is not None:
            raise why_not

    async def wait_alone(self, patience: float) -> float:
        """While the store cannot be asked, this process's own slow pace (`Rate.alone`): wait for the next turn of it.

        The patience that is left, for asking the store once more. Raises RateLimited.
        """
        now = self._clock.steady()
        away = now if self._away is None else self._away
        turn = reserve(max(self._arrival, self._paused, away + SURE), now, 1 / self._rate.alone, patience)
        if not turn.taken:
            raise RateLimited(retry_after=turn.wait)
        self._arrival = turn.arrival
        await self._clock.sleep(turn.wait)
        return patience - turn.wait

    def goes_alone(self) -> bool:
        """Whether nobody of this process has just gone alone; then whoever asks goes now."""
        now = self._clock.steady()
        if now < self._went + NEARLY / self._rate.alone:
            return False
        self._went = now
        return True

    def pause(self, seconds: float) -> None:
        """Nothing goes from this process for so long; the store tells the others."""
        self._paused = max(self._paused, self._clock.steady() + seconds)

    async def stop(self) -> None:
        """Ask the store no more; callers that still wait have VaultClosed raised."""
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait([self._serving])

    def _must_come_in_time(self, line: str, patience: float) -> None:
        """Of the places to come, those before it in its own line take one each, and the next one has its moment."""
        ahead = self._queue.length(line) * self._rate.interval
        wait = max(ahead, max(self._coming, self._paused) - self._clock.steady())
        if wait > patience:
            raise RateLimited(retry_after=wait)

    async def _serve(self) -> None:
        try:
            while waiting := self._queue.waiting():
                await self._serve_one(waiting)
        except Exception as error:  # noqa: BLE001 - handed over to whoever waits
            for waiter in self._queue.waiting():
                waiter.told.set_exception(error)

    def _ended(self, serving: asyncio.Task[None]) -> None:
        """It was stopped: nobody comes to whoever waits still. One that ended by itself left nobody behind."""
        if serving.cancelled():
            for waiter in self._queue.waiting():
                waiter.tell(VaultClosed())

    async def _serve_one(self, waiting: list[Waiter]) -> None:
        """Ask for the next place, wait until it comes, and give it to whoever is next then."""
        asked = self._clock.steady()
        if self._paused > asked:
            self._refuse(asked, self._paused - asked)
            await self._until_it_comes(self._paused - asked)
            return
        longest = max(waiter.patience(asked) for waiter in waiting)
        try:
            turn = await self._db.write(reserve_turn(self._client_id, self._rate, longest))
        except (StoreUnavailable, StoreReadOnly) as error:
            self._away = self._clock.steady() if self._away is None else self._away
            for waiter in self._queue.waiting():
                waiter.tell(StoreUnavailable(error.detail, retry_after=error.retry_after))
            return
        self._away = None
        self._refuse(asked, turn.wait)
        if not turn.taken:  # whoever joined meanwhile and is more patient, has the store asked once more
            return
        await self._until_it_comes(turn.wait)
        if self._paused <= self._clock.steady():  # else it is void: the vendor asked for a pause since
            self._give()

    async def _until_it_comes(self, wait: float) -> None:
        if self._queue.waiting() and wait > 0:
            self._coming = self._clock.steady() + wait
            await self._clock.sleep(wait)

    def _refuse(self, asked: float, wait: float) -> None:
        """Tell those who would wait longer than they may."""
        for waiter in self._queue.waiting():
            if waiter.patience(asked) < wait:
                waiter.tell(RateLimited(retry_after=wait))

    def _give(self) -> None:
        waiter = self._queue.next()
        if waiter is not None:
            waiter.tell(None)
