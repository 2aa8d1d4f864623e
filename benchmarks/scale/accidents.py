"""What must not disturb callers, or no longer than it has to: restarts, kills, a database or a disk that is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
import apsw
from tests.crash import disks

from benchmarks import stage
from benchmarks.herds import PROTECTED
from benchmarks.hotels import PROPERTIES
from benchmarks.scale import calls
from benchmarks.scale.place import BOTH_CORES, Found, NotMeasured, Place

RUSH = 50.0  # calls a second during a restart
BALANCER = 2.0  # seconds between two questions of a balancer
AWAY, FULL, A_SECOND = 12.0, 10.0, 6.0  # seconds, and calls in each
CALLERS = 5  # of the hotel whose refresh is killed
PATIENCE = 60.0  # seconds until a caller is served again
AGAIN = 0.5  # seconds after which a caller who was refused asks again


# --- a restart


def rolling_restart(place: Place) -> Iterator[Found]:
    """Two services behind a balancer, restarted one after the other under calls; nobody calls twice."""
    answers = asyncio.run(_restarted(place))
    yield Found("refused", len(answers) - calls.served(answers), calls.told(answers))


class Balancer:
    """Sends calls in turn to the services whose `/readyz` said last that they are ready."""

    def __init__(self, place: Place, http: aiohttp.ClientSession) -> None:
        self._place, self._http = place, http
        self._numbers = count()
        self.running: list[tuple[AbstractContextManager[stage.Target], stage.Target]] = []
        self.ready: list[stage.Target] = []

    async def start(self) -> None:
        """One more service, with the rate limit off."""
        more = {"CLOUDBEDS_AUTH_RATE_LIMIT": "0"}
        service = stage.service(self._place.vendor, core=BOTH_CORES, **more)
        self.running.append((service, await asyncio.to_thread(service.__enter__)))

    async def stop(self) -> None:
        """SIGTERM to the one that has run longest, and wait for its end."""
        service, _ = self.running[0]
        await asyncio.to_thread(service.__exit__, None, None, None)
        del self.running[0]

    async def watch(self) -> None:
        """Ask them, again and again."""
        while True:
            targets = [target for _, target in self.running]
            answers = [await calls.ask(self._http, f"{one.base}/readyz", {}) for one in targets]
            self.ready = [one for one, answer in zip(targets, answers, strict=True) if answer.status == 200]
            await asyncio.sleep(BALANCER)

    async def call(self) -> calls.Answer:
        """One call by one of them."""
        if not self.ready:
            return calls.Answer(0.0, 0, "none was ready")
        target = self.ready[next(self._numbers) % len(self.ready)]
        return await calls.ask(self._http, target.url + PROTECTED, target.headers)

    async def all_ready(self) -> None:
        """Wait until both are."""
        async with asyncio.timeout(PATIENCE):
            while len(self.ready) < 2:  # noqa: ASYNC110 - it changes every two seconds
                await asyncio.sleep(0.05)

    async def roll(self) -> None:
        """Restart one after the other."""
        for _ in range(2):
            await self.all_ready()
            await self.stop()
            await self.start()
        await self.all_ready()


async def _restarted(place: Place) -> Sequence[calls.Answer]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        balancer = Balancer(place, http)
        watching = asyncio.create_task(balancer.watch())
        try:
            await balancer.start()
            await balancer.start()
            await balancer.all_ready()
            _, answers = await calls.during(balancer.roll(), RUSH, balancer.call)
        finally:
            watching.cancel()
            for _, target in balancer.running:
                os.kill(target.pid, signal.SIGINT)  # nobody calls any more
            while balancer.running:
                await balancer.stop()
        return answers


# --- a database or a disk that is gone


def database_away(place: Place) -> Iterator[Found]:
    """The server stands still, or another program holds the file's lock, while a hotel is called."""
    with place.serving() as target:
        answers = asyncio.run(_called(target, AWAY, partial(_away, place)))
    yield Found("answered", calls.served(answers), calls.told(answers))


def disk_full(place: Place) -> Iterator[Found]:
    """The disk of the database's file is full, while a hotel is called."""
    try:
        with TemporaryDirectory(dir=place.folder) as folder, disks.small_disk(Path(folder) / "disk") as disk:
            fleet = replace(place.fleet, database_url=f"sqlite:///{disk}/vault.sqlite3")
            there = replace(place, fleet=fleet, first=fleet.connect(PROPERTIES[1]))
            with there.serving() as target:
                answers = asyncio.run(_called(target, FULL, partial(_full, there, disk)))
    except PermissionError:
        raise NotMeasured("this user may not mount a small disk") from None
    yield Found("answered", calls.served(answers), calls.told(answers))


async def _called(
    target: stage.Target, seconds: float, trouble: Callable[[], AbstractContextManager[None]]
) -> Sequence[calls.Answer]:
    """So often while the trouble lasts, after a call that brought token and property into memory."""
    async with aiohttp.ClientSession() as http:
        call = partial(calls.ask, http, target.url + PROTECTED, target.headers)
        await call()
        with trouble():
            _, answers = await calls.during(asyncio.sleep(seconds), A_SECOND, call)
        return answers


@contextmanager
def _away(place: Place) -> Iterator[None]:
    if place.fleet.settings.is_postgres:
        place.server.pause()
        try:
            yield
        finally:
            place.server.resume()
    else:
        with closing(apsw.Connection(str(place.fleet.settings.database_path))) as connection:
            connection.set_busy_timeout(5_000)
            connection.execute("BEGIN EXCLUSIVE")
            yield


@contextmanager
def _full(place: Place, disk: Path) -> Iterator[None]:
    with closing(apsw.Connection(str(place.fleet.settings.database_path))) as connection:
        connection.set_busy_timeout(5_000)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a log that was large before has room of its own
    filler = disks.fill(disk)
    try:
        yield
    finally:
        filler.unlink()


# --- a kill


def killed(place: Place) -> Iterator[Found]:
    """Kill -9 of a process that waits for Cloudbeds' answer to a refresh; callers of another one want that hotel."""
    waits = asyncio.run(_killed(place))
    yield Found("longest wait", max(waits), f"{len(waits)} callers")


async def _killed(place: Place) -> Sequence[float]:
    simulator = place.fleet.simulator
    with place.serving() as survivor, stage.service(place.vendor, core=BOTH_CORES) as victim:
        async with aiohttp.ClientSession() as http:
            for target in (victim, survivor):
                await calls.ask(http, target.url + PROTECTED, target.headers)
            simulator.expire()
            simulator.fault("hang_before", "token")
            last = simulator.control("GET", "requests")["last"]
            calling = asyncio.create_task(calls.ask(http, victim.url + PROTECTED, victim.headers))
            if await asyncio.to_thread(simulator.wait_for, after=last, target="token") is None:
                raise NotMeasured("no refresh began")
            os.kill(victim.pid, signal.SIGKILL)
            simulator.clear_faults()
            waits = await asyncio.gather(*(_until_served(http, survivor) for _ in range(CALLERS)))
            await calling
            return waits


async def _until_served(http: aiohttp.ClientSession, target: stage.Target) -> float:
    begun = time.perf_counter()
    while (await calls.ask(http, target.url + PROTECTED, target.headers)).status != 200:
        if time.perf_counter() - begun > PATIENCE:
            raise NotMeasured(f"not served within {PATIENCE:.0f} s")
        await asyncio.sleep(AGAIN)
    return time.perf_counter() - begun
