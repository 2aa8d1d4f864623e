"""What operators run: the schema brought up to date, a look at everything, a backup, a move."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from benchmarks import service
from benchmarks.copies import Plain
from benchmarks.herds import PROTECTED
from benchmarks.scale import calls, fill
from benchmarks.scale.place import DATABASES, Command, Found, NotMeasured, Place, new_database

A_SECOND = 6.0  # calls beside a backup
BACKUP, DOCTOR, COPY = 120.0, 120.0, 240.0  # seconds of patience
SERVED, WHOLE = "until a call is served there", "until all is there"
MOVED = "start the service"  # from this line on the other database may be used


def built(place: Place) -> Iterator[Found]:
    """How long it took to make, and how large it is."""
    yield Found("built", place.took, f"{fill.size(place.fleet.settings) / 1e9:.2f} GB")


def migrate(place: Place) -> Iterator[Found]:
    """`database migrate`. After it a server looks at its tables, as autovacuum does a minute later."""
    done = place.run("database", "migrate")
    yield Found("migrate", done.seconds, done.said.strip().rpartition(" was upgraded ")[2])
    with Plain(place.fleet.settings) as sql:
        sql.analyze()


def ready(place: Place) -> Iterator[Found]:
    """From the start of the process to the first 200 of /readyz."""
    yield Found("ready", service.until_ready(place.vendor))


def doctor(place: Place) -> Iterator[Found]:
    """`doctor`, of hotels of which none needs a person: whatever it finds is wrong."""
    yield Found("doctor", place.run("doctor", patience=DOCTOR).seconds, "no problem found")


def backup(place: Place) -> Iterator[Found]:
    """`database backup` while the service is called and writes."""
    done, answers = asyncio.run(_backed_up(place))
    yield Found("backup", done.seconds)
    yield Found("longest call meanwhile", max(one.seconds for one in answers), calls.told(answers))


async def _backed_up(place: Place) -> tuple[Command, list[calls.Answer]]:
    with TemporaryDirectory(dir=place.folder) as folder, place.serving() as target:
        async with aiohttp.ClientSession() as http:
            call = partial(calls.ask, http, target.url + PROTECTED, target.headers)
            await call()
            run = partial(place.run, "database", "backup", str(Path(folder) / "backup.sqlite3"), patience=BACKUP)
            done, answers = await calls.during(asyncio.to_thread(run), A_SECOND, call)
            return done, list(answers)


def copy(place: Place) -> Iterator[Found]:
    """`database copy` to the other database: until a service over that one has served a call, and until all is there.

    The service is started as soon as the command says that it may be. No process uses the database that is moved: it
    is not waited whether one that was there three minutes before comes back.
    """
    (other,) = set(DATABASES) - {place.database}
    with new_database(place.server, other, place.folder) as url:
        begun = time.perf_counter()
        with place.begun("database", "copy", "--to", url, "--offline", patience=COPY) as copying:
            copying.until(MOVED)
            with place.serving(CLOUDBEDS_AUTH_DATABASE_URL=url) as target:
                answer = asyncio.run(_once(target.url + PROTECTED, target.headers))
                served = time.perf_counter() - begun
                if answer.status != 200:
                    raise NotMeasured(f"a call of the service over {other} is answered {answer.status} {answer.code}")
                yield Found(SERVED, served)
                copying.end()
        yield Found(WHOLE, time.perf_counter() - begun)


async def _once(url: str, headers: Mapping[str, str]) -> calls.Answer:
    async with aiohttp.ClientSession() as http:
        return await calls.ask(http, url, headers)
