"""Very many hotels, put into a database row by row: most are healthy, the older half has stale access tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import apsw
import psycopg

NOW = 1_800_000_000.0
HOUR = 3600.0
AGES = 20_000  # seconds: what grows is as old as this at most
APPS = 20  # beside `default`, to which nine of ten hotels belong
ODD = {  # of a thousand: role and state of the grant that is shown
    10: ("active", "reauthorization_required"), 20: ("candidate", "in_doubt"), 30: ("active", "backing_off"),
    40: ("disconnected", "disconnected"), 50: ("parked", "parked"), 60: ("superseded", "superseded"),
}  # fmt: skip
CONNECTIONS = ("id", "app", "reference", "active_grant", "created_at", "connected_at", "risks")
GRANTS = (
    "id", "connection_id", "app", "ordinal", "kind", "role", "state", "generation", "access_sealed", "expires_at",
    "lifetime", "stale_at", "clock_id", "property_ids", "received_at", "due_at", "due_from", "poll_at", "list_at",
    "subscribe_at", "retry_at", "marked_at", "problem", "reauth", "issuer", "client_id", "imported_hash", "shown",
)  # fmt: skip
Rows = Iterator[Sequence[object]]
Tables = dict[str, tuple[Sequence[str], Callable[[], Rows]]]


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
            NOW if proven else None, '{"not_renewable": "Cloudbeds gave none"}' if at % 5000 == 7 else "{}",
        )  # fmt: skip


def grants(hotels: int) -> Rows:
    """The grant that is shown of each hotel, and of one in ten the one before it."""
    for at in range(hotels):
        role, state = ODD.get(at % 1000, ("active", "fresh"))
        stale_at = NOW + HOUR * (1 if at >= hotels // 2 else -1)
        due_at = None if role in {"disconnected", "superseded"} else NOW + HOUR + at
        asked = NOW + HOUR + at % 3600 if role == "active" else None
        marked = NOW - HOUR if state == "reauthorization_required" else None
        problem = "missing_scope" if at % 5000 == 8 else "revoked" if marked else None
        home, app, reauth = f"con_{at:026}", app_of(at), "revoked" if marked else None
        if at % 10 == 1:
            yield (
                f"gra_former_{at:019}", home, app, 1, "oauth", "superseded", "superseded", 1, b"sealed", NOW, HOUR, NOW,
                "clock", f'["{100_000 + at}"]', NOW, *[None] * 9, "https://api.cloudbeds.com", "client-0", None, "",
            )  # fmt: skip
        yield (
            f"gra_{at:026}", home, app, 2, "oauth", role, state, 2, b"sealed", stale_at + HOUR, 8 * HOUR, stale_at,
            "clock", f'["{100_000 + at}"]', NOW, None if marked else due_at, NOW, asked, asked, asked,
            due_at if marked else None, marked, problem, reauth, "https://api.cloudbeds.com", "client-1",
            f"hash-{at}" if at % 4 == 3 else None, "" if role == "superseded" else None,
        )  # fmt: skip


def tables(hotels: int) -> Tables:
    """By table: its columns, and its rows; what refers to another table comes after it."""
    ids = range(hotels)
    return {
        "connections": (CONNECTIONS, lambda: connections(hotels)),
        "grants": (GRANTS, lambda: grants(hotels)),
        "tokens": (
            ("grant_id", "position", "generation", "sealed"),
            lambda: ((f"gra_{at:026}", 1, 2, b"sealed") for at in ids),
        ),
        "properties": (("grant_id", "property_id"), lambda: ((f"gra_{at:026}", str(100_000 + at)) for at in ids)),
    }


def around(rows: int) -> Tables:
    """As `tables`, of everything else that grows: links, approvals under way and done, messages, history, audit,
    apps.
    """
    ids = range(rows)
    return {
        "apps": (
            ("name", "client_id", "level", "redirect_uri", "redirect_path", "secret_sealed", "created_at"),
            lambda: (
                (f"hotel-{at}", f"client-h{at}", "property", f"https://h{at}.example/c{at}", f"/c{at}", b"sealed", NOW)
                for at in ids
            ),
        ),
        "issuers": (
            ("app", "issuer", "bound_at"),
            lambda: ((f"hotel-{at}", "https://api.cloudbeds.com", NOW) for at in ids),
        ),
        "links": (("hash", "app", "expires_at"), lambda: ((f"link-{at}", "default", NOW - at % AGES) for at in ids)),
        "authorizations": (
            ("id", "app", "state_hash", "link_hash", "expires_at", "spent_at", "outcome", "trusted"),
            lambda: (
                (f"aut_{at}", "default", f"state-{at}", f"link-{at}", NOW - at % AGES, NOW if at % 2 else None,
                 f"con_{at:026}" if at % 2 else None, 1)
                for at in ids
            ),
        ),
        "sign_in_codes": (
            ("hash", "made_by", "expires_at", "mac"),
            lambda: ((f"code-{at}", "operator", NOW - at % AGES, "") for at in ids),
        ),
        "sessions": (
            ("id", "hash", "how", "address", "created_at", "used_at", "expires_at", "mac"),
            lambda: ((f"S{at}", "hash", "link", "192.0.2.7", NOW, NOW, NOW - at % AGES, "") for at in ids),
        ),
        "outbox": (
            ("id", "connection_id", "sequence", "kind", "at", "body", "attempts", "due_at", "due_from"),
            lambda: (
                (f"msg_{at}", f"con_{at:026}", 1, "connection.connected", NOW - at % AGES, "{}", at % 3,
                 NOW + at if at % 3 else None, NOW)
                for at in ids
            ),
        ),
        "audit": (
            ("id", "at", "action", "actor", "subject", "data"),
            lambda: ((f"aud_{at:026}", NOW - at % AGES, "disconnected", "admin", f"con_{at:026}", "{}") for at in ids),
        ),
        "events": (
            ("connection_id", "sequence", "at", "kind", "actor", "data"),
            lambda: ((f"con_{at // 4:026}", at % 4, NOW - at % AGES, "proved", "vault", "{}") for at in ids),
        ),
        "calls": (
            ("connection_id", "span", "first_us", "generation", "line", "grant_id", "last_us", "count", "refused",
             "methods"),
            lambda: (
                (f"con_{at // 4:026}", 60 * (at % 2), at, 1, "", f"gra_{at // 4:026}", at, 1, 0, "{}") for at in ids
            ),
        ),
    }  # fmt: skip


def fill_sqlite(connection: apsw.Connection, rows_of: Tables) -> None:
    """Into a database of this version's schema."""
    with connection:
        for table, (columns, rows) in rows_of.items():
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows())


def fill_postgres(url: str, rows_of: Tables) -> None:
    """Into a database of this version's schema; as autovacuum leaves it a minute later."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table, (columns, rows) in rows_of.items():
            with connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in rows():
                    copy.write_row(row)
        connection.execute("VACUUM ANALYZE")
