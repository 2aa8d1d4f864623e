"""One flight per grant and process: callers join the refresh that is running, and never cancel it.

A thousand callers with an expired token cost one refresh, which continues even if the first of them hangs up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import Error, RefreshPending, VaultClosed
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.refresh import Ask, reference


class GrantSuperseded(Exception):
    """A newer grant took over: the caller has to read the connection again."""


@dataclass(frozen=True, slots=True)
class ServedToken:
    """The result of a refresh: the row whose access token is good to use.

    `asked`: when `/userinfo` was asked, by the steady clock, if it has just proven that token good.
    """

    grant: Grant
    asked: float | None = None

    @property
    def proven(self) -> bool:
        """Whether the token was proven just now."""
        return self.asked is not None

    def proven_since(self, moment: float) -> bool:
        """Whether the proof was asked for then or later: an earlier one says nothing about a token rejected since."""
        return self.asked is not None and self.asked >= moment


class Flight:
    """One running refresh. `published` is set as soon as callers may continue; the proof may still run after that.

    `connection_id` is None until the grant has been read.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.connection_id: str | None = None
        self.sending = False
        self.published: asyncio.Future[ServedToken] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None]

    @property
    def killing(self) -> bool:
        """Whether the stored access token may die: a refresh token is being sent, and no new pair is published yet."""
        return self.sending and not self.published.done()

    def publish(self, served: ServedToken) -> None:
        """Give callers their answer, so that they continue."""
        if not self.published.done():
            self.published.set_result(served)

    def fail(self, error: BaseException) -> None:
        """Raise the error to each waiting caller; if there is none, asyncio reports no unretrieved exception."""
        if not self.published.done():
            self.published.set_exception(error)
            self.published.exception()


class Flights:
    """Starts and joins refreshes. `fly` carries one out, and may publish its answer before it has finished."""

    def __init__(self, world: World, fly: Callable[[Flight], Awaitable[ServedToken]]) -> None:
        self._world = world
        self._do = fly
        self._flights: dict[str, Flight] = {}
        self._closed = False

    def running(self, grant_id: str) -> Flight | None:
        """This process's running refresh of the grant, if any."""
        return self._flights.get(grant_id)

    async def over(self, grant_id: str, *, at_most: float | None = None) -> None:
        """Wait until this process's refresh of the grant, if any, has ended, proof included; `at_most` seconds."""
        flight = self._flights.get(grant_id)
        if flight is not None:
            await asyncio.wait([flight.task], timeout=at_most)

    async def ask(self, ask: Ask) -> ServedToken:
        """A token newer than the one asked about, or one proven good; joins a flight that can answer.

        Cancelling the caller leaves the flight alone. Raises GrantSuperseded and the errors of the public contract;
        VaultClosed after `close`.
        """
        began = self._world.clock.steady()
        until = began + self._world.timing.wait
        while True:
            flight = self._flights.get(ask.grant_id)
            own = flight is None
            if flight is None:
                flight = self._take_off(ask)
            try:
                served = await self._within(until, flight)
            except Error:
                if own or flight.ask.patient or not ask.patient:
                    raise
                await self._landed(until, flight)  # it gave up sooner than this caller would: try once more
                continue
            if own or _answers(served, ask, began):
                return served
            await self._landed(until, flight)  # it brought the rejected token, or an older one: try once more

    async def drain(self) -> bool:
        """End the flights that only wait, and wait until those that send have an answer and it is committed. Returns
        whether there were any.
        """
        waited = bool(self._flights)
        while self._flights:
            for flight in self._flights.values():
                if not flight.sending:
                    flight.task.cancel()
            await asyncio.wait([flight.task for flight in self._flights.values()])
        return waited

    def close(self) -> None:
        """Start no more flights: nothing would wait for the pair that one brings (F78)."""
        self._closed = True

    def _take_off(self, ask: Ask) -> Flight:
        if self._closed:
            raise VaultClosed
        flight = Flight(ask)
        self._flights[ask.grant_id] = flight
        flight.task = asyncio.create_task(self._fly(flight), name=f"refresh {ask.grant_id}")
        # Not in a `finally` of the task: a task that is cancelled before it begins runs none of its code.
        flight.task.add_done_callback(lambda _: self._land(flight))
        return flight

    def _land(self, flight: Flight) -> None:
        del self._flights[flight.ask.grant_id]
        flight.fail(
            RefreshPending("this process is stopping", connection_id=flight.ask.connection_id)
        )  # unless it was answered

    async def _fly(self, flight: Flight) -> None:
        try:
            flight.publish(await self._do(flight))
        except Exception as error:  # noqa: BLE001 - raised to each caller that waits, and reported to the observer
            flight.fail(error)
            self._world.observer.happened(
                Happening.REFRESH_FAILED, connection_id=flight.connection_id, error=type(error).__name__
            )

    async def _within(self, until: float, flight: Flight) -> ServedToken:
        published = flight.published
        try:
            async with asyncio.timeout(max(0.0, until - self._world.clock.steady())):
                return await asyncio.shield(published)
        except TimeoutError:
            if published.done():  # the flight ended in the same instant: its answer says more than "pending"
                return published.result()
            raise RefreshPending(connection_id=flight.ask.connection_id) from None

    async def _landed(self, until: float, flight: Flight) -> None:
        done, _ = await asyncio.wait([flight.task], timeout=max(0.0, until - self._world.clock.steady()))
        if not done:
            raise RefreshPending(connection_id=flight.ask.connection_id)


def _answers(served: ServedToken, ask: Ask, began: float) -> bool:
    """Whether the result of another caller's flight answers `ask`, which began at `began`: the token is newer than the
    one asked about, or proven since.

    An operator needs a newer one, even while the proof of the stored pair still waits for its turn.
    """
    found, wanted = served.grant.generation, reference(ask)
    return found > wanted or (
        found == wanted and not ask.operator and (ask.rejected is None or served.proven_since(began))
    )
