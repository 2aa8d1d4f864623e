"""The queries: each name once, for both databases; what is due or too old is found over an index, among many rows."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from importlib import resources
from typing import Any

import apsw
import pytest
from tests.support.template import migrated

from cloudbeds_auth.transactions.statements import OWN, QUERIES, load, named

OF_DUE: dict[str, Any] = {
    "now": 5.0, "steady": 5.0, "clock_id": "boot", "until": 65.0, "limit": 4, "horizon": 1e9,
    "of_one": 4, "full": "[]", "since": 0.0, "looked_at": 1000,
}  # fmt: skip
DUE = {
    "claim_due": "grants_due", "pull_due": "grants_due_from", "next_due": "grants_due",
    "claim_listings": "grants_list", "pull_listings": "grants_list", "claim_subscriptions": "grants_subscribe",
    "pull_comparisons": "grants_subscribe", "compare_all": "grants_subscribe", "claim_polls": "grants_poll",
    "pull_polls": "grants_poll",
}  # fmt: skip
OF_FEW = {"claim_due"}  # shares out the rows that the search found, at most `LOOKED_AT`
OF_THE_LIMIT = "SCAN late"  # over those that the search found, and no more than its limit


def with_grants(rows: int) -> apsw.Connection:
    """A database in memory with so many grants, a few of them due and a few too far ahead."""
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", _content(rows))
    return connection


@cache
def _content(rows: int) -> bytes:
    """Made once in a process."""
    connection = migrated()
    connection.executemany(
        "INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime,"
        " stale_at, clock_id, received_at, due_at, list_at, subscribe_at, poll_at, due_from, measured_at)"
        " VALUES (?1, 'con_1', 'default', 1, 'oauth', 'active', 'fresh', 1, 0, 1, 0, 'boot', 0, ?2, ?2, ?2, ?2,"
        " CASE WHEN ?2 = 2e9 THEN 1e9 ELSE 1 END, CASE WHEN ?2 = 2e9 THEN 1e9 END)",
        ((f"gra_{at:07d}", at if at < 8 else 2e9 if at < 16 else None if at % 3 else 1e6 + at) for at in range(rows)),
    )
    connection.execute("ANALYZE")
    with closing(connection):
        return connection.serialize("main")


def steps(connection: apsw.Connection, name: str) -> int:
    """Instructions of SQLite's machine that a query takes."""
    counted = 0

    def one() -> bool:
        nonlocal counted
        counted += 1
        return False

    connection.set_progress_handler(one, 1)
    connection.execute(QUERIES[name], OF_DUE).fetchall()
    connection.set_progress_handler(None)
    return counted


@pytest.mark.parametrize("name", DUE)
def test_what_is_due_is_a_search_over_the_index(name: str) -> None:
    """No plan scans the table, and none sorts."""
    with closing(with_grants(1000)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", OF_DUE)]
    index = DUE[name]
    assert any(f"USING INDEX {index}" in line or f"USING COVERING INDEX {index}" in line for line in plan), plan
    scans = [line for line in plan if line.startswith("SCAN") and line != OF_THE_LIMIT]
    sorts = [line for line in plan if "TEMP B-TREE" in line]
    assert not [line for line in (*scans, *sorts) if name not in OF_FEW or "grants" in line], plan


@pytest.mark.parametrize("name", DUE)
def test_the_work_does_not_grow(name: str) -> None:
    """Twenty times the grants, the same number of steps."""
    with closing(with_grants(1000)) as small, closing(with_grants(20_000)) as large:
        assert steps(small, name) == steps(large, name)


@pytest.mark.parametrize("name", ["parked_too_long", "count_parked"])
def test_what_waits_to_be_claimed_is_an_index_of_its_own(name: str) -> None:
    """An approval that comes in from the Marketplace reads those alone, however many hotels there are."""
    for analyzed in (False, True):
        with closing(with_grants(1000) if analyzed else migrated()) as connection:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", OF_DUE)]
        assert plan == ["SCAN grants USING INDEX grants_parked"]


OLD = {
    "sweep_people": "grants_ended",
    "old_events": "events_at",
    "events_up_to": "sqlite_autoindex_events_1",
    "events_behind": "sqlite_autoindex_events_1",
    "sweep_calls": "calls_age",
    "old_calls": "calls_age",
    "calls": "sqlite_autoindex_calls_1",
    "calls_within": "sqlite_autoindex_calls_1",
    "drop_calls": "sqlite_autoindex_calls_1",
    "events_from": "sqlite_autoindex_events_1",
    "drop_events": "sqlite_autoindex_events_1",
    "grants_called": "sqlite_autoindex_grants_1",
}
OF_OLD = {
    "before": 5, "limit": 4, "span": 60, "connection_id": "con_1", "first_us": 9, "skip": 0, "sequence": 1,
    "periods": "[]", "lines": "[]", "events": "[]", "ends": "[]", "grants": "[]",
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_what_is_old_is_a_search_over_the_index(name: str) -> None:
    """No plan scans a table that grows, and none sorts."""
    with closing(migrated()) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", OF_OLD)]
    plan = [line for line in plan if "VIRTUAL TABLE" not in line]  # the rows of a parameter
    assert any(f"INDEX {OLD[name]}" in line for line in plan), plan
    assert not [line for line in plan if line.startswith("SCAN") or "TEMP B-TREE" in line], plan


def test_both_databases_have_every_query() -> None:
    """The texts that differ have the same names; a name that two queries have is refused where they are loaded."""
    assert load("sqlite.sql").keys() == load("postgres.sql").keys()
    everywhere = load("neither").keys()
    for own in OWN:
        text = resources.files("cloudbeds_auth.transactions").joinpath("queries", own).read_text("utf-8")
        names = {block.partition("\n")[0] for block in text.split("-- name: ")[1:]}
        assert names == load(own).keys() - everywhere
    with pytest.raises(ValueError, match="second query"):
        named("twice.sql", "-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n", {})
