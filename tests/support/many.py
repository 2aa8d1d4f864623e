"""Very many hotels, put into a database row by row: most are healthy, the older half has stale access tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import apsw
import psycopg

NOW = 1_800_000_000.0
HOUR = 3600.0
APPS = 20  # beside `default`, to which nine of ten hotels belong
ODD = {  # of a thousand: role and state of the grant that is shown
    10: ("active", "reauthorization_required"), 20: ("candidate", "in_doubt"), 30: ("active", "backing_off"),
    40: ("disconnected", "disconnected"), 50: ("parked", "parked"), 60: ("superseded", "superseded"),
}  # fmt: skip
CONNECTIONS = ("id", "app", "reference", "active_grant", "created_at", "connected_at", "risks")
GRANTS = (
    "id", "connection_id", "app", "ordinal", "kind", "role", "state", "generation", "access_sealed", "expires_at",
    "lifetime", "stale_at", "clock_id", "property_ids", "received_at", "due_at", "due_from", "poll_at", "list_at",
    "subscribe_at", "retry_at", "marked_at", "problem", "reauth", "issuer", "client_id", "shown",
)  # fmt: skip
Rows = Iterator[Sequence[object]]


def app_of(number: int) -> str:
    """The app of this hotel."""
    return f"app-{number // 10 % APPS:02}" if number % 10 == 9 else "default"


def connections(hotels: int) -> Rows:
    """A row of each hotel."""
    for at in range(hotels):
        role, _ = ODD.get(at % 1000, ("active", ""))
        proven = role in {"active", "disconnected"}
        yield (
            f"con_{at:026}", app_of(at), f"tenant-{at // 3}", f"gra_{at:026}" if proven else None, NOW,
            NOW if proven else None, '{"no_refresh_token": "Cloudbeds gave none"}' if at % 5000 == 7 else "{}",
        )  # fmt: skip


def grants(hotels: int) -> Rows:
    """The grant that is shown of each hotel, and of one in ten the one before it."""
    for at in range(hotels):
        role, state = ODD.get(at % 1000, ("active", "fresh"))
        stale_at = NOW + HOUR * (1 if at >= hotels // 2 else -1)
        due_at = None if role in {"disconnected", "superseded"} else NOW + HOUR + at
        asked = NOW + HOUR + at if role == "active" else None
        marked = NOW - HOUR if state == "reauthorization_required" else None
        problem = "missing_scope" if at % 5000 == 8 else "revoked" if marked else None
        home, app, reauth = f"con_{at:026}", app_of(at), "revoked" if marked else None
        if at % 10 == 1:
            yield (
                f"gra_former_{at:019}", home, app, 1, "oauth", "superseded", "superseded", 1, b"sealed", NOW, HOUR, NOW,
                "clock", f'["{100_000 + at}"]', NOW, *[None] * 9, "https://api.cloudbeds.com", "client-0", 0,
            )  # fmt: skip
        yield (
            f"gra_{at:026}", home, app, 2, "oauth", role, state, 2, b"sealed", stale_at + HOUR, 8 * HOUR, stale_at,
            "clock", f'["{100_000 + at}"]', NOW, None if marked else due_at, NOW, asked, asked, asked,
            due_at if marked else None, marked, problem, reauth, "https://api.cloudbeds.com", "client-1",
            int(role != "superseded"),
        )  # fmt: skip


def tables(hotels: int) -> dict[str, tuple[Sequence[str], Callable[[], Rows]]]:
    """By table: its columns, and its rows."""
    ids = range(hotels)
    return {
        "connections": (CONNECTIONS, lambda: connections(hotels)),
        "grants": (GRANTS, lambda: grants(hotels)),
        "tokens": (
            ("grant_id", "position", "generation", "sealed"),
            lambda: ((f"gra_{at:026}", 1, 2, b"sealed") for at in ids),
        ),
        "properties": (
            ("grant_id", "property_id"),
            lambda: ((f"gra_{at:026}", str(100_000 + at)) for at in ids),
        ),
    }


def fill_sqlite(path: Path, hotels: int) -> None:
    """Into a file of this version's schema."""
    with closing(apsw.Connection(str(path))) as connection, connection:
        for table, (columns, rows) in tables(hotels).items():
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows())


def fill_postgres(url: str, hotels: int) -> None:
    """Into a database of this version's schema; as autovacuum leaves it a minute later."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table, (columns, rows) in tables(hotels).items():
            with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows():
                    copy.write_row(row)
        connection.execute("VACUUM ANALYZE")
