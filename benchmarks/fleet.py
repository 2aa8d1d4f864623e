"""Groups of many hotels: callers at an expiry, upkeep, what a refresh costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any, ParamSpec

import uvloop
from tests.support.far import far
from tests.support.processes import copies

from benchmarks import cold, hotels, stage, upkeep
from benchmarks.herds import Herd, Process, client_of, counted, processes, rush, span
from benchmarks.measure import Aim, Group, Subject
from cloudbeds_auth.pytest_plugin.process import Simulator

CALLERS, PROCESSES = 10_000, 8
THREADS = 200  # of one process: each has a connection and a stack of its own
LATENCY = 0.3  # seconds of the token endpoint
LIFETIME = 60  # seconds of an access token: less is not believed
COLD = 2_000  # hotels, and callers
EACH_WAY = 0.002  # seconds to the database
HOTELS = 20  # that are refreshed in turn
SIZES = (1_000, 100_000, 1_000_000)  # grants

P = ParamSpec("P")


@contextmanager
def expiry() -> Iterator[Sequence[Subject]]:
    """Ours over both databases, and others' clients: shared in one process, and one in each process."""
    with ExitStack() as stack:
        simulator = stack.enter_context(hotels.cloudbeds(expires_in=LIFETIME))
        simulator.fault("delay", grant_type="refresh_token", times=None, seconds=LATENCY)
        subjects = [
            _subject(
                f"cloudbeds-auth, {name}",
                stack.enter_context(ours(hotels.Fleet(simulator, stack.enter_context(made())))),
            )
            for name, made in hotels.DATABASES.items()
        ]
        for name, program, number, callers in (
            ("Authlib, a client for all tasks", "Authlib, tasks", 1, CALLERS),
            (f"Authlib, a client for {THREADS} threads", "Authlib, threads", 1, THREADS),
            ("Authlib, a client per process", "Authlib, tasks", PROCESSES, CALLERS // PROCESSES),
        ):
            herd = stack.enter_context(processes(program, number, callers, {}))
            subjects.append(_subject(name, partial(_theirs, simulator, herd)))
        yield subjects


def _subject(name: str, run: Callable[[], Herd]) -> Subject:
    herds: list[Herd] = []

    def measured() -> float:
        herds.append(run())
        return herds[-1].p99

    return Subject(name, measured, partial(counted, herds))


@contextmanager
def ours(fleet: hotels.Fleet) -> Iterator[Callable[[], Herd]]:
    """Each herd asks for the next hotel, once its token has expired; all processes have held it before."""
    connections = [fleet.connect(one).id for one in hotels.PROPERTIES]
    ends = dict.fromkeys(connections, time.time() + LIFETIME)
    following = cycle(connections)
    with processes("cloudbeds-auth", PROCESSES, CALLERS // PROCESSES, fleet.environment) as herd:
        for connection in connections:
            rush(fleet.simulator, herd, connection=connection)

        def run() -> Herd:
            connection = next(following)
            found = rush(fleet.simulator, herd, ends[connection], connection=connection)
            ends[connection] = time.time() + LIFETIME
            return found

        yield run


def _theirs(simulator: Simulator, herd: Sequence[Process]) -> Herd:
    return rush(simulator, herd, client=client_of(simulator))


@contextmanager
def cold_hotels() -> Iterator[Sequence[Subject]]:
    """Each round begins with a process that knows none of them; the rate limit would let ten of them go a second."""
    with stage.vendor() as vendor, hotels.postgresql() as database, far(database, EACH_WAY) as url:
        near = hotels.Fleet(vendor.simulator, database, vendor.url)
        connection = near.connect(hotels.PROPERTIES[0])
        homes = copies(database, COLD)
        fleet = replace(near, database_url=url)
        place = replace(vendor, settings=fleet.settings, connection=connection)

        def proxy() -> cold.Answers:
            with stage.service(place, **{**fleet.environment, "CLOUDBEDS_AUTH_RATE_LIMIT": "0"}) as target:
                return asyncio.run(cold.through_the_proxy(target, homes))

        yield [
            _answered("cloudbeds-auth, vault", lambda: asyncio.run(cold.through_the_vault(fleet, homes))),
            _answered("cloudbeds-auth, proxy", proxy),
        ]


def _answered(name: str, run: Callable[[], cold.Answers]) -> Subject:
    failed: list[int] = []

    def measured() -> float:
        answers = run()
        failed.append(answers.failed)
        return answers.p99

    return Subject(name, measured, lambda: f"callers without an answer: {span(failed)}")


def _ticks(database: str) -> Callable[[], AbstractContextManager[Sequence[Subject]]]:
    @contextmanager
    def opened() -> Iterator[Sequence[Subject]]:
        with ExitStack() as stack:
            simulator, subjects = stack.enter_context(hotels.cloudbeds()), []
            for size in SIZES:
                fleet = hotels.Fleet(simulator, stack.enter_context(hotels.DATABASES[database]()))
                chosen = upkeep.fill(fleet, size)
                subjects += [
                    Subject(f"cloudbeds-auth, {size:,}", partial(_run, upkeep.nothing_due, fleet)),
                    Subject(
                        f"cloudbeds-auth, {size:,}, {len(chosen)} due", partial(_run, upkeep.some_due, fleet, chosen)
                    ),
                ]
            yield subjects

    return opened


def _run(measured: Callable[P, Coroutine[Any, Any, float]], *args: P.args, **kwargs: P.kwargs) -> float:
    """On the loop that the service runs on."""
    return uvloop.run(measured(*args, **kwargs))


def _upkeep(database: str) -> Group:
    return Group(
        f"upkeep-{database.lower()}", f"Upkeep over {database}", "ms",
        "With so many grants: how long does a tick of every job take that finds nothing due? And where some are, until"
        " they are claimed?",
        _ticks(database), f"cloudbeds-auth, {SIZES[0]:,}",
        (Aim(f"cloudbeds-auth, {SIZES[-1]:,}", 1.5, f"cloudbeds-auth, {SIZES[0]:,}"),),
    )  # fmt: skip


@contextmanager
def refreshing() -> Iterator[Sequence[Subject]]:
    """Upkeep over both databases, with hotels that are due in turn."""
    with ExitStack() as stack:
        simulator, subjects = stack.enter_context(hotels.cloudbeds()), []
        names = [str(200_000 + at) for at in range(HOTELS)]
        for name in names:
            simulator.add_hotel(name)
        for database, made in hotels.DATABASES.items():
            fleet = hotels.Fleet(simulator, stack.enter_context(made()))
            fleet.connect(*names)
            subjects.append(Subject(f"cloudbeds-auth, {database}", partial(_run, upkeep.refreshes, fleet)))
        yield subjects


OVER = [f"cloudbeds-auth, {database}" for database in hotels.DATABASES]
GROUPS: tuple[Group, ...] = (
    Group(
        "expiry", "Many callers at one expiry", "ms",
        f"{CALLERS:,} callers on both cores ask at one moment for a token that has expired: in {PROCESSES} processes,"
        f" but for the two that say otherwise (one process; of the blocking client {THREADS} callers). The token"
        f" endpoint takes {LATENCY * 1e3:.0f} ms. Within what time from that moment have 99 of 100 a token? The"
        " simulator rotates by the reading V2/n, in which a refresh token dies as soon as the new access token is"
        " used; processes of Authlib share nothing.",
        expiry, aims=tuple(Aim(one, LATENCY * 1e3 + 100) for one in OVER),
    ),
    Group(
        "cold", "Many hotels at once, none in memory", "ms",
        f"{COLD:,} callers at one moment, each of another hotel that the process knows nothing of, PostgreSQL"
        f" {EACH_WAY * 1e3:.0f} ms away in each direction, the rate limit off, callers from 40 addresses. Within what"
        " time from that moment are 99 of 100 answered?",
        cold_hotels, aims=(Aim("cloudbeds-auth, vault", 3_000), Aim("cloudbeds-auth, proxy", 3_000)),
    ),
    *map(_upkeep, hotels.DATABASES),
    Group(
        "refresh", "A refresh", "ms of CPU",
        f"Upkeep refreshes {upkeep.PER_SECOND} hotels a second, the rate limit off, without TLS: what does the process"
        " spend on one, with its proof and all that is stored? At 10 ms that is a tenth of a core. A server's own time"
        " is not in it.",
        refreshing, aims=tuple(Aim(one, 10) for one in OVER),
    ),
)  # fmt: skip
