"""The migrations: what an earlier schema's rows have in the columns that came later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.support.bench import SqliteBench, about
from tests.support.template import migrated

from cloudbeds_auth.database import durability
from cloudbeds_auth.database import schema as schemas
from cloudbeds_auth.rules.rate_limit import WINDOW, Rate
from cloudbeds_auth.transactions.rate_limit import reserve_turn

DAY = 86400.0


GRANT = (
    "INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime,"
    " stale_at, clock_id, received_at, user_id) VALUES (?, 'con_1', 'default', 1, 'oauth', ?, 'fresh', 1, 0, 1, 0,"
    " 'boot', 100, 'ada')"
)


def test_what_had_ended_before() -> None:
    """With the last line of its history; where there is none any more, when it came in. What lives has no end."""
    number = next(at for at, (_, sql) in enumerate(schemas.migrations()) if "ended_at" in sql)
    with closing(migrated(number)) as connection:
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


async def test_turns_of_an_earlier_database(tmp_path: Path) -> None:
    """Its one arrival time says nothing of a window: one is waited out, by each client id that had a row."""
    number = next(at for at, (_, sql) in enumerate(schemas.migrations()) if "DROP COLUMN arrival" in sql)
    path = tmp_path / "former"
    with closing(apsw.Connection(str(path))) as connection:
        durability.claim_file(connection, str(path))
        durability.settle_pragmas(connection, version=durability.version_number())
        for _, sql in schemas.migrations()[:number]:
            for statement in schemas.statements(sql):
                connection.execute(statement)
        connection.execute("INSERT INTO meta (name, value) VALUES ('schema_version', ?)", (str(number),))
        for name, measured_at in (("client-1", 990.0), ("client-2", None)):
            connection.execute("INSERT INTO budgets VALUES (?, 1e9, 'boot-1', ?)", (name, measured_at))
    db = SqliteBench(path)
    await db.open()
    for name, wait in (("client-1", WINDOW), ("client-2", WINDOW), ("client-3", 0.0)):
        assert await db.store.write(reserve_turn(name, Rate(9), 5.0)) == about(wait)
    await db.close()


def test_what_is_shown_of_earlier_connections() -> None:
    """The grant in use, a candidate after a disconnect, what was disconnected; nothing of a dropped candidate. Another
    app than the connection's lists none.
    """
    number = next(at for at, (_, sql) in enumerate(schemas.migrations()) if "ADD COLUMN shown" in sql)
    made = {
        "con_a": ("superseded", "active*", "candidate"), "con_b": ("disconnected*", "candidate", "candidate"),
        "con_c": ("superseded", "disconnected*"), "con_d": ("superseded",), "con_e": ("set_aside",),
    }  # fmt: skip
    with closing(migrated(number)) as connection:
        for home, roles in made.items():
            connection.execute("INSERT INTO connections (id, app, created_at) VALUES (?, 'default', 0)", (home,))
            for ordinal, role in enumerate(roles):
                name = f"{home}_{ordinal}"
                connection.execute(GRANT, (name, role.rstrip("*")))
                connection.execute(
                    "UPDATE grants SET connection_id = ?, ordinal = ? WHERE id = ?", (home, ordinal, name)
                )
                if role.endswith("*"):
                    connection.execute("UPDATE connections SET active_grant = ? WHERE id = ?", (name, home))
        connection.execute("UPDATE grants SET app = 'other' WHERE id IN ('con_a_0', 'con_b_2')")
        for statement in schemas.statements(schemas.migrations()[number][1]):
            connection.execute(statement)
        shown = dict(connection.execute("SELECT id, shown FROM grants WHERE COALESCE(shown, app) <> '' ORDER BY id"))
    assert shown == {"con_a_1": None, "con_b_2": "default", "con_c_1": None, "con_e_0": None}


@pytest.fixture
def former(tmp_path: Path) -> Iterator[Path]:
    """A database of the first schema with grants of every sort."""
    path = tmp_path / "former"
    connection = apsw.Connection(str(path))
    durability.claim_file(connection, str(path))
    durability.settle_pragmas(connection, version=durability.version_number())
    for statement in schemas.statements(schemas.migrations()[0][1]):
        connection.execute(statement)
    connection.execute("INSERT INTO meta (name, value) VALUES ('schema_version', '1')")
    connection.execute("INSERT INTO connections (id, app, created_at) VALUES ('con_1', 'default', 0)")
    for at, (kind, role, used, reauth) in enumerate([
        ("oauth", "active", 900, None), ("oauth", "active", None, None), ("api_key", "active", 900, None),
        ("oauth", "candidate", None, None), ("oauth", "superseded", 900, None), ("oauth", "active", 900, "revoked"),
    ]):  # fmt: skip
        connection.execute(
            "INSERT INTO grants (id, connection_id, app, ordinal, kind, role, state, generation, expires_at, lifetime,"
            " stale_at, clock_id, received_at, used_at, reauth)"
            " VALUES (?, 'con_1', 'default', ?, ?, ?, 'fresh', 1, 1100, 1000, 1000, 'boot', 100, ?, ?)",
            (f"gra_{at}", at, kind, role, used, reauth),
        )
    yield path
    connection.close()


async def test_an_earlier_database(former: Path) -> None:
    """Grants in use are due when they turn stale, idle ones later, candidates now, what is over never. Of those in use
    it is asked which properties they cover: at once where none is known, else within a day.
    """
    with closing(apsw.Connection(str(former))) as connection:
        connection.execute("UPDATE grants SET property_ids = '[\"1000\"]' WHERE id = 'gra_1'")
    db = SqliteBench(former)
    db.attacked = True  # the rows are no product's
    await db.open()
    listed = [at for (at,) in db.sql("SELECT list_at FROM grants ORDER BY id")]
    assert listed == [100, 100 + DAY, 100, None, None, 100]
    found = [due for (due,) in db.sql("SELECT due_at FROM grants ORDER BY id")]
    assert found == [1000, 100 + 30 * DAY, 900 + 20 * DAY, 100, None, None]
    await db.close()
