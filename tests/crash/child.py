"""What a child of the warm parent does: open the vault, connect or call, and tell what became of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import apsw
from tests.acceptance.processes import Http
from tests.crash import marks

from cloudbeds_auth import TokenVault
from cloudbeds_auth.errors import Error
from cloudbeds_auth.settings import Need, load
from cloudbeds_auth.store.sql import sqlite

PATH = "/api/v1.3/userinfo"
LINGER = 60.0  # seconds that a victim waits to be killed


@dataclass(frozen=True)
class Plan:
    """One child. `work` is `connect`, `heal`, `lock`, or some of `call`, `refresh` and `check` joined by `+`.

    A `victim` then waits to be killed. `stop_at` and its like are a Marker's; SIGUSR1 empties a full disk. `patience`:
    seconds in which a healing process must have served every hotel.
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
    victim: bool = False
    old_sqlite: bool = False
    busy_milliseconds: int = 0
    patience: float = 20.0

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
    read = json.loads(line)
    return Plan(**{**read, "connections": tuple(read["connections"]), "hotels": tuple(read["hotels"])})


def run(plan: Plan) -> None:
    """Do it, and write the report behind the last mark."""
    marker = marks.Marker(os.open(plan.pipe, os.O_WRONLY), plan.stop_at, plan.stop_skip, plan.full_at, plan.starved_at)
    marks.install(marker, old_sqlite=plan.old_sqlite)
    signal.signal(signal.SIGUSR1, lambda *_: marks.empty_disk())
    if plan.busy_milliseconds:
        sqlite.BUSY_MILLISECONDS = plan.busy_milliseconds
    report = Report()
    try:
        asyncio.run(_lock(plan, marker) if plan.work == "lock" else _work(plan, marker, report))
    except Exception as error:  # noqa: BLE001 - told, and judged by whoever reads it
        report.errors.append(f"{type(error).__name__}: {error}")
    os.write(marker.handle, marks.FINISHED.encode() + json.dumps(asdict(report)).encode())
    os.close(marker.handle)


async def _lock(plan: Plan, marker: marks.Marker) -> None:
    """Hold the database as another program's long transaction does, until killed."""
    connection = apsw.Connection(plan.settings["CLOUDBEDS_AUTH_DATABASE_URL"].removeprefix("sqlite:///"))
    connection.execute("BEGIN EXCLUSIVE")
    marker.tell(marks.OPEN)
    await asyncio.sleep(LINGER)


async def _work(plan: Plan, marker: marks.Marker, report: Report) -> None:
    settings = load(plan.settings, None, need=Need.APP)
    async with TokenVault.open(settings, observers=[marks.Observing(marker)]) as vault:
        marker.tell(marks.OPEN)
        if plan.work == "connect":
            report.connections = [await _connect(vault, one) for one in plan.hotels]
        elif plan.work == "heal":
            until = time.monotonic() + plan.patience
            await asyncio.gather(*(_heal(vault, one, until, report) for one in plan.connections))
        else:
            for work in plan.work.split("+"):
                await _told(report, _deed(vault, plan, work))
            marker.tell(marks.SERVED)
        if plan.victim:
            await asyncio.sleep(LINGER)


def _deed(vault: TokenVault, plan: Plan, work: str) -> Callable[[], Awaitable[int]]:
    async def call() -> int:
        return (await vault.call(plan.connections[0], "GET", PATH)).status_code

    async def refresh() -> int:
        return (await vault.refresh(plan.connections[0])).generation or 0

    async def check() -> int:
        await vault.check()
        return 200

    return {"call": call, "refresh": refresh, "check": check}[work]


async def _told(report: Report, deed: Callable[[], Awaitable[int]]) -> bool:
    """Whether to go on: an error that a later call heals is noted, and does not end it."""
    try:
        report.statuses.append(await deed())
    except Error as error:
        report.errors.append(f"{type(error).__name__}: {error.detail}")
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
