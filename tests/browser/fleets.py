"""What pictures are drawn of: a service with no hotel, with three, and with two thousand in every state, of every name.

The many are copies of one that was connected by the product; what differs is written over them, and taken as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import quote

from benchmarks.copies import Plain, copy_id, multiply
from tests.acceptance.processes import Http, World, world
from tests.acceptance.test_bad_hour import a_minute_passes

from cloudbeds_auth.database import maintenance
from cloudbeds_auth.settings import Need, load

MANY = 2_000
NAMES = (
    "Hotel Aurora", "Harbour House", "Pine Lodge", "Casa Miramar", "The Old Mill", "Lakeside Inn", "Pousada São João",
    "Ξενοδοχείο Ήλιος", "Gästehaus zur Linde", "B&B <Il Giardino>", "فندق النخيل",
    "The Grand Imperial Palace Hotel, Conference Centre and Thermal Spa at Bad Sankt Leonhard-Obergurgl am Wildensee",
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch-Seaside-Guesthouse",
)  # fmt: skip
HOUR = 3_600.0
ODD: dict[int, dict[str, object]] = {  # of every fifty copies: what is written over which
    3: {"state": "reauthorization_required", "reauth": "revoked", "problem": "revoked"},
    9: {"state": "reauthorization_required", "reauth": "user_inactive", "problem": "user_inactive"},
    14: {"state": "backing_off"},
    19: {"state": "in_doubt"},
    24: {"problem": "missing_scope"},
    29: {"role": "disconnected", "state": "disconnected", "access_sealed": None},
    34: {"issuer": "https://elsewhere.example"},
    39: {"role": "parked", "state": "parked", "proven": 0},
    44: {"role": "superseded", "state": "superseded", "shown": None},
}


@contextmanager
def no_hotel(folder: Path) -> Iterator[World]:
    """An installation that was just made."""
    with _made(folder) as made:
        made.start()
        yield made


@contextmanager
def three_hotels(folder: Path) -> Iterator[World]:
    """One in use for a while, one that Cloudbeds refuses, one that was not expected; and keys for callers."""
    with _made(folder) as made:
        made.start()
        _connected(made, "100001", "Hotel Aurora")
        _a_while_later(made)
        yield made


@contextmanager
def many_hotels(folder: Path) -> Iterator[World]:
    """Two thousand."""
    with _made(folder) as made:
        made.start()
        _connected(made, "100001", "Hotel Aurora")
        made.services.pop().stop()
        _copies(made)
        made.start()
        _a_while_later(made)
        yield made


FLEETS: dict[str, Callable[[Path], AbstractContextManager[World]]] = {
    "none": no_hotel, "few": three_hotels, "many": many_hotels,
}  # fmt: skip


def first_hotel(made: World) -> str | None:
    """The connection id of the one whose history is the longest; None where there is none."""
    found = made.admin.get("/api/v1/connections?property=100001").json["connections"]
    return found[0]["id"] if found else None


@contextmanager
def _made(folder: Path) -> Iterator[World]:
    scopes = "read:hotel read:reservation write:reservation read:guest write:guest read:rate read:room"
    extra = {"CLOUDBEDS_SCOPES": scopes, "CLOUDBEDS_AUTH_MARKETPLACE": "park", "CLOUDBEDS_AUTH_RATE_LIMIT": "10"}
    with world(folder, "--hotels", "3", "--app-name", "Breakfast Club", **extra) as made:
        yield made


def _connected(made: World, property_id: str, name: str) -> None:
    made.vendor.control("settings", auto_approve=True)
    made.vendor.control("choose", property_ids=[property_id])
    Http(made.base).get(f"/connect?reference={quote(name)}", follow=True)
    made.vendor.control("settings", auto_approve=False)


def _a_while_later(made: World) -> None:
    """The first hotel is in use, and two more came."""
    vendor, hotel = made.vendor, first_hotel(made)
    _connected(made, "100002", "Harbour House")
    for _ in range(3):
        for _ in range(4):
            made.admin.get("/proxy/100001/api/v1.3/getHotels")
        vendor.control("expire", property="100001")
        made.admin.get("/proxy/100001/api/v1.3/userinfo")
        made.admin.post(f"/api/v1/connections/{hotel}/refresh")
    vendor.control("revoke", property="100002")
    for _ in range(2):
        made.admin.get("/proxy/100002/api/v1.3/userinfo")
        a_minute_passes(made)
    vendor.control("settings", auto_approve=True)
    vendor.control("choose", property_ids=["100003"])
    asked = {"reference": "Pine Lodge", "expected_properties": ["100004"]}
    Http(made.base).start(made.admin.post("/api/v1/authorizations", json_body=asked).json["connect_url"], follow=True)
    vendor.control("settings", auto_approve=False)
    for name, scope in (("breakfast-app", "proxy"), ("a nightly report with a name that is rather long", "read")):
        made.run("keys", "create", name, "--scope", scope)


def _copies(made: World) -> None:
    settings = load(made.settings, None, need=Need.APP)
    with Plain(settings) as sql:
        (first,) = sql(f"SELECT id FROM connections WHERE reference = '{NAMES[0]}'")[0]
    multiply(settings, MANY)
    now = time.time()
    with Plain(settings) as sql, sql.connection:
        for at in range(1, MANY + 1):
            home, name = copy_id(first, at), f"{NAMES[at % len(NAMES)]} {at if at >= len(NAMES) else ''}".strip()
            sql.connection.execute("UPDATE connections SET reference = ? WHERE id = ?", (name, home))
            _write(sql, home, ODD.get(at % 50, {}), now)
    with ThreadPoolExecutor(1) as aside:  # the browser's loop runs here
        aside.submit(asyncio.run, maintenance.accept_all(settings)).result()


def _write(sql: Plain, home: str, odd: dict[str, object], now: float) -> None:
    if odd.get("role") in {"parked", "superseded"}:
        sql.connection.execute("UPDATE connections SET active_grant = NULL, connected_at = NULL WHERE id = ?", (home,))
    if "reauth" in odd:
        odd = {**odd, "marked_at": now - HOUR, "retry_at": now + HOUR, "due_at": None}
    if odd.get("role") in {"disconnected", "superseded"}:
        odd = {**odd, "due_at": None, "poll_at": None, "list_at": None, "subscribe_at": None}
    if odd:
        columns = ", ".join(f"{name} = ?" for name in odd)
        sql.connection.execute(f"UPDATE grants SET {columns} WHERE connection_id = ?", (*odd.values(), home))
