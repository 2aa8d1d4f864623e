"""What a child of the warm parent does: open the vault, connect or call, and tell what became of it; or serve."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apsw
from tests.acceptance.processes import Http
from tests.crash import limits, marking, marking_postgres, marking_sqlite, marks

from cloudbeds_auth import TokenVault, system
from cloudbeds_auth.database import sqlite_file
from cloudbeds_auth.engine import commit
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.refresh import Timing, brake
from cloudbeds_auth.settings import Need, load

PATH = "/api/v1.3/userinfo"
STARVED = (RuntimeError, OSError, MemoryError)  # what a process without threads, descriptors or memory meets
HEALED = 60.0  # seconds in which a hotel must serve again
LINGER = 120.0  # seconds that a victim waits to be killed


@dataclass(frozen=True)
class Plan:
    """One child. `work` is `connect`, `heal`, `lock`, `serve`, or some of DEEDS joined by `+`.

    A `victim` then waits to be killed. `stop_at` and its like are a Marker's; SIGUSR1 lifts every limit. `patience`:
    seconds in which a healing process must have served every hotel. `log`: where a service writes what it says;
    `grants`: those of its hotels, in order. `skew`: seconds by which its machine's clocks are wrong.
    """

    work: str
    settings: dict[str, str]
    pipe: str
    connections: tuple[str, ...] = ()
    hotels: tuple[str, ...] = ()
    stop_at: str = ""
    stop_skip: int = 0
    full_at: str = ""
    starved_at: str = ""
    starved_of: str = "descriptors"
    victim: bool = False
    old_sqlite: bool = False
    busy_milliseconds: int = 0
    patience: float = HEALED
    log: str = ""
    grants: tuple[str, ...] = ()
    skew: float = 0.0

    def as_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self)) + "\n"


@dataclass
class Report:
    """What became of it."""

    statuses: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)


def plan_of(line: str) -> Plan:
    """The plan on this line."""
    parts: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(line).items()
    }
    return Plan(**parts)


def run(plan: Plan, pipe: int) -> None:
    """Do it, and write the report behind the last mark."""
    os.umask(0)  # what is private must be so by our own doing
    marker = marks.Marker(
        pipe,
        **{name: getattr(plan, name) for name in ("stop_at", "stop_skip", "full_at", "starved_at", "starved_of")},
        tags={grant: marks.tag(number) for number, grant in enumerate(plan.grants)},
    )
    marking.install(marker)
    marking_sqlite.install(marker, old_sqlite=plan.old_sqlite)
    marking_postgres.install(marker)
    if plan.skew:
        _set_clocks(plan.skew)
    _scale_the_brake()
    signal.signal(signal.SIGUSR1, lambda *_: limits.lift())
    if plan.busy_milliseconds:
        sqlite_file.BUSY_MILLISECONDS = plan.busy_milliseconds
    if plan.work == "serve":
        _serve(plan, marker)
    report = Report()
    try:
        asyncio.run(_lock(plan, marker) if plan.work == "lock" else _work(plan, marker, report))
    except Exception as error:  # noqa: BLE001 - told, and judged by whoever reads it
        report.errors.append(f"{type(error).__name__}: {error}")
    os.write(marker.handle, marks.FINISHED.encode() + json.dumps(asdict(report)).encode())
    os.close(marker.handle)


def _scale_the_brake() -> None:
    """Rule 11's brake is in proportion to the deadline here, like all other durations of the protocol.

    Under V0 a lost answer comes again when its access token has ended, and is braked for a minute, which is right, and
    longer than a trial has.
    """

    def scaled(denied: int, timing: Timing) -> float:
        return brake(denied, timing) * timing.deadline / Timing().deadline

    setattr(commit, "brake", scaled)  # noqa: B010 - a test's hand in it


def _set_clocks(skew: float) -> None:
    """As on a machine that believes it is another time, and was started at another one."""
    wall, steady = system.SystemClock.wall, system.SystemClock.steady
    setattr(system.SystemClock, "wall", lambda clock: wall(clock) + skew)  # noqa: B010 - a test's hand in it
    setattr(system.SystemClock, "steady", lambda clock: steady(clock) + abs(skew) + skew)  # noqa: B010


def _serve(plan: Plan, marker: marks.Marker) -> None:
    """What `cloudbeds-auth serve` does; in a process group of its own, because it has workers.

    The one difference: workers are forked from here, where everything is imported, instead of started afresh.
    """
    import uvicorn._subprocess

    from cloudbeds_auth.cli.main import main

    os.setsid()
    os.chdir(Path(plan.log).parent)
    os.environ.update(plan.settings, TMPDIR=str(Path(plan.log).parent))
    tempfile.tempdir = None  # what SIGKILL leaves behind goes with the lane's folder
    log = os.open(plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard, handle in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(handle, standard)
    setattr(uvicorn._subprocess, "spawn", multiprocessing.get_context("fork"))  # noqa: B010 - see above
    sys.stdin, sys.argv = os.fdopen(0, closefd=False), ["cloudbeds-auth", "serve"]
    marker.tell(marks.OPEN)
    main()


async def _lock(plan: Plan, marker: marks.Marker) -> None:
    """Hold the database as another program's long transaction does, until killed."""
    connection = apsw.Connection(plan.settings["CLOUDBEDS_AUTH_DATABASE_URL"].removeprefix("sqlite:///"))
    connection.execute("BEGIN EXCLUSIVE")
    marker.tell(marks.OPEN)
    await asyncio.sleep(LINGER)


async def _work(plan: Plan, marker: marks.Marker, report: Report) -> None:
    settings = load(plan.settings, None, need=Need.APP)
    marker.tell(marks.BORN)
    async with TokenVault.open(settings) as vault:
        marker.tell(marks.OPEN)
        if plan.work == "connect":
            report.connections = [await _connect(vault, one) for one in plan.hotels]
        elif plan.work == "heal":
            until = time.monotonic() + plan.patience
            await asyncio.gather(*(_heal(vault, one, until, report) for one in plan.connections))
        else:
            for work in plan.work.split("+"):
                await _told(report, partial(DEEDS[work], vault, plan), STARVED if plan.starved_at else ())
            marker.tell(marks.SERVED)
        if plan.victim:
            await asyncio.sleep(LINGER)


async def _call(vault: TokenVault, plan: Plan) -> int:
    return (await vault.call(plan.connections[0], "GET", PATH)).status_code


async def _refresh(vault: TokenVault, plan: Plan) -> int:
    return (await vault.refresh(plan.connections[0])).generation or 0


async def _migrate(vault: TokenVault, plan: Plan) -> int:
    return 200 if (await vault.migrate_to_api_key(plan.connections[0])).credential == "api_key" else 500


async def _check(vault: TokenVault, _: Plan) -> int:
    await vault.check()
    return 200


async def _pause(_: TokenVault, __: Plan) -> int:
    """Stopped until somebody says SIGCONT."""
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    return 0


def _forked(vault: TokenVault, times: int) -> int:
    """A process forked from this one as it stands, which writes to the database through the same objects; its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        for _ in range(times):
            asyncio.run(vault.check())
        status = 0
    except Exception:  # noqa: BLE001 - nobody else would tell
        traceback.print_exc()
    finally:
        os._exit(status)


async def _end_of(pid: int) -> int:
    return os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])


async def _fork(vault: TokenVault, _: Plan) -> int:
    return await _end_of(_forked(vault, 1))


async def _call_beside_a_fork(vault: TokenVault, plan: Plan) -> int:
    """The forked process writes all the while, and is killed."""
    pid = _forked(vault, sys.maxsize)
    call = asyncio.create_task(_call(vault, plan))
    await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    assert await _end_of(pid) == -signal.SIGKILL
    return await call


Deed = Callable[[TokenVault, Plan], Awaitable[int]]
DEEDS: dict[str, Deed] = {
    "call": _call,
    "call_beside_a_fork": _call_beside_a_fork,
    "check": _check,
    "fork": _fork,
    "migrate": _migrate,
    "pause": _pause,
    "refresh": _refresh,
}


async def _told(report: Report, deed: Callable[[], Awaitable[int]], passing: tuple[type[Exception], ...] = ()) -> bool:
    """Whether to go on: an error that a later call heals is noted, and does not end it."""
    try:
        report.statuses.append(await deed())
    except Exception as error:
        if not isinstance(error, (Error, *passing)):
            raise
        report.errors.append(f"{type(error).__name__}: {error}")
        await asyncio.sleep(max(0.01, min(getattr(error, "retry_after", None) or 0.0, 0.2)))
        return False
    return True


async def _heal(vault: TokenVault, connection: str, until: float, report: Report) -> None:
    """Call until the hotel is served: at once, or after the 503s with Retry-After that the catalogue allows."""

    async def call() -> int:
        return (await vault.call(connection, "GET", PATH)).status_code

    while not await _told(report, call):
        if time.monotonic() > until or report.errors[-1].startswith("ReauthorizationRequired"):
            report.statuses.append(0)
            return


async def _connect(vault: TokenVault, hotel: str) -> str:
    await asyncio.to_thread(_choose, vault.base_url, hotel)
    begun = await vault.begin_authorization(reference=hotel)
    answer: Any = await asyncio.to_thread(Http().get, begun.url)
    back = parse_qs(urlsplit(answer.headers["Location"]).query)
    return (await vault.finish_authorization(code=back["code"][0], state=back["state"][0])).id


def _choose(base: str, hotel: str) -> None:
    answer = Http().post(f"{base}/_control/choose", json_body={"property_ids": [hotel]})
    assert answer.status == 200, answer.text
