"""The plan of every query over both databases, among many rows: none reads a whole table that grows, or a whole index,
unless it is listed here with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import apsw
import psycopg
import pytest
from tests.support.many import NOW, around, fill_postgres, fill_sqlite, tables
from tests.support.postgres import database
from tests.support.postgres_stage import Elsewhere
from tests.support.template import migrated

from cloudbeds_auth.database.postgres import PLACEHOLDER, PostgresDriver, placeholders
from cloudbeds_auth.rules.origins import Cohort, Source
from cloudbeds_auth.transactions.statements import as_keys, load

SIZES = [20_000, pytest.param(100_000, marks=pytest.mark.long)]  # hotels, and rows of each other table that grows
HOME, GRANT = f"con_{11:026}", f"gra_{11:026}"
COHORT = Cohort("default", "default", "oauth", Source("https://api.cloudbeds.com", "client-1")).key
LINES = [{"connection_id": HOME, "span": 60, "first_us": 5, "generation": 1, "line": "", "grant_id": GRANT}]
GIVEN: dict[str, Any] = {
    "connection_id": HOME, "connection_ids": as_keys([HOME]), "grant_id": GRANT, "grant_ids": as_keys([GRANT]),
    "grants": json.dumps([GRANT]), "id": "aut_1", "hash": "link-1", "link_hash": "link-1", "state_hash": "state-1",
    "app": "hotel-1", "name": "hotel-1", "names": as_keys(["hotel-1"]), "client_ids": as_keys(["client-1"]), "origins": as_keys(["https://a.example"]),
    "cursor": "z", "reference": "tenant-3",
    "property_id": "100011", "property_ids": as_keys(["100011"]), "cohorts": as_keys([COHORT]),
    "either": HOME,
    "states": " fresh ", "state": "refreshing", "former": HOME, "token_hash": "h", "now": NOW, "limit": 20,
    "most": 20, "lines": json.dumps(LINES), "events": json.dumps([{"connection_id": HOME, "sequence": 1}]),
    "periods": json.dumps([{"connection_id": HOME, "generation": 1, "begins": 0, "ends": 9}]), "horizon": NOW + 1e9,
    "full": json.dumps(["hotel-1"]), "chains": json.dumps([{"id": HOME, "chain": "[]"}]),
    "macs": json.dumps([{"sequence": 1, "mac": "m"}]), "ends": json.dumps([{"connection_id": HOME, "sequence": 1}]),
    "before": NOW - 19_000, "untried": NOW - 19_990, "shown": NOW - 19_998, "since": NOW - 10,
} | dict.fromkeys(
    ("access_sealed", "action", "actor", "address", "body", "browser_hash", "chain", "challenge", "client_id",
     "clock_id", "code_hash", "counts_for", "created_by", "credential", "data", "elsewhere", "expected",
     "expected_properties", "fingerprint", "found", "given", "how", "issuer", "kind", "level", "mac", "made_by",
     "methods", "owner", "parent",
     "problem", "reach", "reason", "redirect_path", "redirect_uri", "registration", "return_to", "risks", "role",
     "said_of", "scopes", "sealed", "seals", "secret_sealed", "started", "subject", "subscriptions", "unrecognized",
     "user_email", "user_id", "user_name", "value", "work"), "text",
)  # fmt: skip
FRESH = {"state": "fresh", "after": NOW, "until": NOW * 2}
HEALTHY = {"state": "fresh", "after": 0, "until": NOW * 2, "cursor": ""}  # as people ask, stale or not
SOME = {"after": f"gra_{10:026}", "to": GRANT}
OF_ONE: dict[str, dict[str, Any]] = {
    "page_of_state": FRESH, "page_of_app_and_state": {**FRESH, "app": "default"}, "page_of_cohorts": FRESH,
    "page_of_state_oldest": HEALTHY, "page_of_cohorts_oldest": HEALTHY,
    "page_oldest": {"cursor": ""}, "page_of_unproven_oldest": {"app": None, "cursor": ""}, "page_of_id": {"app": None},
    "apps": {"after": ""},
    "page_of_app": {"app": "default"}, "cohorts": {"after": ""}, "connections_after": {"after": HOME},
    "page_of_property": {"app": None, "reference": None}, "page_of_reference": {"app": None},
    "page_of_unproven": {"app": None}, "count_shown": {"after": HOME},
    "caller_keys": {"before": "z"}, "caller_keys_of": {"before": "z"},
    "audit": {"before": "z"}, "sweep_audit": {"before": f"aud_{1000:026}"},
    "latch_grants": SOME, "close_grants": SOME, "unlatch_grants": SOME,
    "newest_events": {"after": f"con_{10:026}", "to": HOME},
    "grants_after": {"after": GRANT}, "issued_after": {"after": GRANT},
    "calls_by_generation": {"since": 0, "until": 10**18},
    "old_calls": {"before": 500}, "sweep_calls": {"before": 500}, "meta": {"name": "schema_version"},
}  # fmt: skip
EVERY_APP = "what is asked for is every app; read again only where one came or went"
CHECK = "`database check` and `doctor` read everything once"
COPY = "`database copy` moves everything"
META = "`meta` has a few rows"
PARKED = "the index has those alone that wait to be claimed, and no more are let in than may wait"
LIMITED = "as far as its limit, over an index that has nothing else"
WHOLE = {
    "apps": EVERY_APP, "redirect_uris": EVERY_APP, "bound_elsewhere": EVERY_APP,
    "count_all": CHECK, "pointless": CHECK, "held_by_a_copy": CHECK, "sources": CHECK, "longest_list": CHECK,
    "integrity": CHECK, "exposed_grants": CHECK, "exposed_rest": CHECK,
    "circuits_of": "there is a row only of a secret that Cloudbeds refused",
    "held_leases": COPY,
    "key_rows": META, "retire_keys": META,
    "parked_too_long": PARKED, "count_parked": PARKED,
    "cohorts": LIMITED, "outbox_depth": LIMITED, "last_given_up": LIMITED,
    "tables": "the database's own list of its tables",
    "compare_all": "the settings are new: every hotel is compared with them",
    "issued_after": "all pages together read the key once: an app's grants move where the vendor moved",
}  # fmt: skip
# Rows of a step before.
NO_TABLE = (
    "CONSTANT ROW",
    "VIRTUAL TABLE",
    "SCAN late",
    "SCAN waiting",
    "SCAN part",
    "SCAN found",
    "SCAN counted",
    "SCAN living",
    "SCAN (subquery-",
    "SCAN looked_at",
    "SCAN fair",
)
MOST_STEPS = 5_000  # of SQLite's machine; a scan of the smallest table here takes 60,000


def parameters(name: str, sql: str) -> dict[str, Any]:
    """Something that may be asked of this query; a number, where it is no text."""
    return {one: OF_ONE.get(name, {}).get(one, GIVEN.get(one, 5)) for one in PLACEHOLDER.findall(sql)}


@pytest.fixture(scope="module", params=SIZES)
def sqlite(request: pytest.FixtureRequest) -> Iterator[apsw.Connection]:
    """As a program has it: never analyzed."""
    with closing(migrated()) as connection:
        connection.execute("DELETE FROM connections")
        fill_sqlite(connection, {**tables(request.param), **around(request.param)})
        yield connection


async def migrate(url: str) -> None:
    """An empty database has this version's schema from now on."""
    driver = PostgresDriver(url)
    await driver.open()
    await driver.close()


@pytest.fixture(scope="module", params=SIZES)
def postgres(
    request: pytest.FixtureRequest, postgres_server: str, elsewhere: Elsewhere
) -> Iterator[psycopg.Connection[Any]]:
    """A database of its own."""
    with database(postgres_server) as url:
        elsewhere.run(migrate(url))
        fill_postgres(url, {**tables(request.param), **around(request.param)})
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute("SET enable_seqscan = off")  # it reads a table only where no index serves
            yield connection


def scans_of_sqlite(connection: apsw.Connection, name: str, sql: str) -> list[str]:
    """The steps of the plan that read all of a table, or of an index."""
    lines = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters(name, sql))]
    return [line for line in lines if line.startswith("SCAN") and not any(one in line for one in NO_TABLE)]


def steps_of_sqlite(connection: apsw.Connection, name: str, sql: str) -> int:
    """Instructions that it takes; what it writes is taken back."""
    counted = 0

    def one() -> bool:
        nonlocal counted
        counted += 1
        return False

    connection.execute("SAVEPOINT before")
    connection.set_progress_handler(one, 1)
    with suppress(apsw.ConstraintError):  # a row that is there
        connection.execute(sql, parameters(name, sql)).fetchall()
    connection.set_progress_handler(None)
    connection.execute("ROLLBACK TO before")
    return counted


def scans_of_postgres(connection: psycopg.Connection[Any], name: str, sql: str) -> list[str]:
    """The same."""
    asked = connection.execute(f"EXPLAIN (FORMAT JSON) {placeholders(sql)}", parameters(name, sql) or None)
    ((plan,),) = asked.fetchall()
    return [
        f"{node['Node Type']} {node.get('Relation Name')} {node.get('Index Name', '')}".strip()
        for node in nodes(plan[0]["Plan"])
        if node["Node Type"] == "Seq Scan" or ("Index Name" in node and "Index Cond" not in node)
    ]


OF_A_REFRESH: dict[str, dict[str, Any]] = {
    "take_lease": {"epoch": 0, "until": 30}, "renew_lease": {"epoch": 1, "until": 40},
    "write_intent": {"position": 1, "epoch": 1, "not_before": 20, "until": 50, "state": "refreshing", "latched": 0,
                     "seals": "seals:ab12", "most_seals": 1 << 32},
    "commit_pair": {
        "epoch": 1, "sent_under": 1, "next_generation": 3, "expires_at": NOW * 2, "lifetime": 3600,
        "stale_at": NOW * 2, "state": "fresh", "wall": NOW, "kind": "oauth", "client_id": "client-1",
        "access_sealed": b"s", "mac": "m",
    },
    "confirm": {"generation": 3, "state": "fresh", "issuer": "https://api.cloudbeds.com", "mac": "m"},
    "release_lease": {"epoch": 1}, "set_used": {"at": NOW + 1},
}  # fmt: skip


@pytest.fixture
def roomy(postgres_server: str, elsewhere: Elsewhere) -> Iterator[psycopg.Connection[Any]]:
    """A few hotels in PostgreSQL, whose pages have room for another version of each row."""
    with database(postgres_server) as url, psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection:
        elsewhere.run(migrate(url))
        connection.execute("ALTER TABLE grants SET (fillfactor = 40)")
        connection.commit()
        fill_postgres(url, tables(20))
        yield connection


def test_what_a_refresh_writes_to_indexes(roomy: psycopg.Connection[Any]) -> None:
    """A lease, a proof and a use write none; that it is under way, and its pair, do: by its state it is listed."""
    found: dict[str, bool] = {}
    before = (0, 0)
    for name, given in OF_A_REFRESH.items():
        one = {"grant_id": f"gra_{7:026}", "generation": 2, "owner": "us", "now": NOW, **given}
        roomy.execute(placeholders(load("postgres.sql")[name]), one)
        after = roomy.execute(
            "SELECT pg_stat_get_xact_tuples_updated('grants'::regclass), "
            "pg_stat_get_xact_tuples_hot_updated('grants'::regclass)"
        ).fetchone()
        assert after is not None
        assert after[0] == before[0] + 1, name
        found[name] = after[1] == before[1]
        before = after
    assert [name for name, indexed in found.items() if indexed] == ["write_intent", "commit_pair"]


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All steps of a plan."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def test_sqlite(sqlite: apsw.Connection) -> None:
    """Every query that there is."""
    found = {name: scans_of_sqlite(sqlite, name, sql) for name, sql in load("sqlite.sql").items()}
    assert {name: scans for name, scans in found.items() if scans and name not in WHOLE} == {}


def test_what_is_listed_is_there() -> None:
    """A reason is given for no query that is gone."""
    assert WHOLE.keys() <= load("sqlite.sql").keys()


def test_steps(sqlite: apsw.Connection) -> None:
    """A search, too, may read much behind the index; none does."""
    found = {name: steps_of_sqlite(sqlite, name, sql) for name, sql in load("sqlite.sql").items() if name not in WHOLE}
    assert {name: steps for name, steps in found.items() if steps > MOST_STEPS} == {}


def test_postgresql(postgres: psycopg.Connection[Any]) -> None:
    """Every query that there is."""
    found = {name: scans_of_postgres(postgres, name, sql) for name, sql in load("postgres.sql").items()}
    assert {name: scans for name, scans in found.items() if scans and name not in WHOLE} == {}
