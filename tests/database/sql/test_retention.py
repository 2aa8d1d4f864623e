"""What is too old is found over an index, however much there is, and an earlier schema's endings are known."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest

from cloudbeds_auth.database import schema as schemas
from cloudbeds_auth.transactions.statements import QUERIES

INDEXES = {
    "sweep_people": "grants_ended",
    "sweep_events": "events_at",
    "sweep_calls": "calls_age",
    "old_calls": "calls_age",
    "calls": "sqlite_autoindex_calls_1",
    "calls_within": "sqlite_autoindex_calls_1",
    "drop_calls": "sqlite_autoindex_calls_1",
    "events_from": "sqlite_autoindex_events_1",
    "drop_events": "sqlite_autoindex_events_1",
    "grants_called": "sqlite_autoindex_grants_1",
}
PARAMETERS = {
    "before": 5, "limit": 4, "span": 60, "connection_id": "con_1", "first_us": 9, "skip": 0, "sequence": 1,
    "periods": "[]", "lines": "[]", "events": "[]", "grants": "[]",
}  # fmt: skip
GRANT = (
    "INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime,"
    " stale_at, clock_id, received_at, user_id) VALUES (?, 'con_1', 'default', 1, 'oauth', ?, 'fresh', 1, 0, 1, 0,"
    " 'boot', 100, 'ada')"
)


def schema(files: int) -> apsw.Connection:
    """A database in memory with the first so many migrations."""
    connection = apsw.Connection(":memory:")
    for _, sql in schemas.migrations()[:files]:
        for statement in schemas.statements(sql):
            connection.execute(statement)
    connection.execute("INSERT INTO connections (id, app, created_at) VALUES ('con_1', 'default', 0)")
    return connection


@pytest.mark.parametrize("name", INDEXES)
def test_it_is_a_search_over_the_index(name: str) -> None:
    """No plan scans a table that grows, and none sorts."""
    with closing(schema(99)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", PARAMETERS)]
    plan = [line for line in plan if "VIRTUAL TABLE" not in line]  # the rows of a parameter
    assert any(f"INDEX {INDEXES[name]}" in line for line in plan), plan
    assert not [line for line in plan if line.startswith("SCAN") or "TEMP B-TREE" in line], plan


def test_what_had_ended_before() -> None:
    """With the last line of its history; where there is none any more, when it came in. What lives has no end."""
    number = next(at for at, (_, sql) in enumerate(schemas.migrations()) if "ended_at" in sql)
    with closing(schema(number)) as connection:
        for name, role in (("gra_1", "disconnected"), ("gra_2", "superseded"), ("gra_3", "active")):
            connection.execute(GRANT, (name, role))
        ended = "SELECT ended_at FROM grants ORDER BY id"
        connection.execute("SAVEPOINT before")
        for statement in schemas.statements(schemas.migrations()[number][1]):
            connection.execute(statement)
        assert [one for (one,) in connection.execute(ended)] == [100, 100, None]
        connection.execute("ROLLBACK TO before")
        connection.execute("INSERT INTO events VALUES ('con_1', 1, 900, 'disconnected', 'operator', 'gra_1', 1, '{}')")
        for statement in schemas.statements(schemas.migrations()[number][1]):
            connection.execute(statement)
        assert [one for (one,) in connection.execute(ended)] == [900, 900, None]
