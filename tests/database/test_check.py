"""The scan of a database, with the databases that ship: what does not open, and hotels that would not come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.installation import HOTELS, filled, opened, settings, silent
from tests.support.keys import KEY, KEY_TEXT, OTHER_KEY, OTHER_KEY_TEXT
from tests.support.shown import show_no_more, show_twice

from cloudbeds_auth.database import check, maintenance, opening, sealed_values
from cloudbeds_auth.database.sealed_values import IN_META
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.ports import Place
from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import rotate_secret
from cloudbeds_auth.transactions.caller_keys import add_caller_key
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.statements import Row, Rows, Statement, Transaction

# --- the scan


@pytest.fixture(params=["sqlite", "postgresql"])
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """One database of either kind."""
    kind = request.param
    return settings(request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/1.db")


async def test_a_sound_database(one: Settings) -> None:
    """Everything opens, everything is counted."""
    await filled(one)
    found = await check.scan(one, silent)
    assert found.apps == 1
    assert (found.connections, found.grants, found.problems) == (HOTELS, HOTELS, [])
    assert found.sealed_values == 2 * HOTELS + 3 + len(IN_META)


async def test_the_keys(one: Settings) -> None:
    """Of each key: how many values are stored that it sealed, and how many it has sealed at most."""
    await filled(one)
    both = one.model_copy(update={"encryption_keys": (Secret(OTHER_KEY_TEXT), Secret(KEY_TEXT))})
    async with opened(both) as store:
        assert await store.write(rotate_secret("aurora", Secret("third")))
    found = await check.scan(both, silent)
    first, other = AesGcmSealer([OTHER_KEY]).key_id, AesGcmSealer([KEY]).key_id
    assert found.key_id == first
    assert (found.values, found.seals) == ({first: 1, other: 2 * HOTELS + 2 + len(IN_META)}, {first: 256, other: 256})
    lines = {text for name, text in found.fields() if name == "key"}
    assert lines == {
        f"{first} sealed 256 of at most 4294967296 values, 1 are stored; it seals new values",
        f"{other} sealed 256 of at most 4294967296 values, {2 * HOTELS + 2 + len(IN_META)} are stored",
    }


async def test_a_further_sealed_value(one: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of `meta` is opened, too."""
    await filled(one)
    monkeypatch.setitem(sealed_values.IN_META, "another", Place("meta", "another", 0, 0))
    assert (await check.scan(one, silent)).problems == []
    driver, _ = await opening.open_driver(one)
    await driver.write(lambda now: _statement("INSERT INTO meta (name, value) VALUES ('another', '01ab12')"))
    await driver.close()
    found = await check.scan(one, silent)
    assert (found.sealed_values, found.problems) == (
        2 * HOTELS + 3 + len(IN_META), ["the value another does not open (meta, position 0)"]
    )  # fmt: skip


SEALED = (  # of gra_1's refresh token, of its access token, of another hotel's refresh token, of a client secret
    "SELECT t.sealed AS own, g.access_sealed AS access, o.sealed AS other, a.secret_sealed AS secret "
    "FROM tokens t, grants g, tokens o, apps a WHERE t.grant_id = 'gra_1' AND g.id = 'gra_1' AND o.grant_id = 'gra_2'"
)
EDITS: dict[str, Callable[[Row], bytes]] = {
    "another row's": lambda row: row["other"],
    "another column's": lambda row: row["access"],
    "another table's": lambda row: row["secret"],
    "truncated": lambda row: row["own"][:-1],
    "a head alone": lambda row: row["own"][:5],
    "empty": lambda row: b"",
    "another key's id": lambda row: row["own"][:1] + bytes.fromhex(AesGcmSealer([OTHER_KEY]).key_id) + row["own"][9:],
    "an earlier format": lambda row: b"\0" + row["own"][1:],
    "another nonce": lambda row: row["own"][:9] + bytes(12) + row["own"][21:],
}


@pytest.mark.row("A50")
@pytest.mark.parametrize("edit", EDITS)
async def test_an_edited_database(one: Settings, edit: str) -> None:
    """A sealed value with which a row was edited does not open: an error for that hotel, which is named, and for no
    other; nothing is marked, and nothing sent.
    """
    await filled(one)
    both = one.model_copy(update={"encryption_keys": (Secret(KEY_TEXT), Secret(OTHER_KEY_TEXT))})
    driver, _ = await opening.open_driver(one)
    (row,) = await driver.read(lambda now: _statement(SEALED))
    update = "UPDATE tokens SET sealed = :sealed WHERE grant_id = 'gra_1'"
    await driver.write(lambda now: _statement(update, sealed=EDITS[edit](row)))
    await driver.close()
    async with opened(both) as store:
        with pytest.raises(StoreUnavailable, match="does not open"):
            await store.read(read_grant("gra_1"))
        for sound in ("gra_0", "gra_2"):
            assert await store.read(read_grant(sound)) is not None
    (problem,) = (await check.scan(both, silent)).problems
    assert problem.startswith("a sealed value of con_1 does not open")


@pytest.mark.row("F71", "F72")
async def test_values_that_do_not_open(one: Settings) -> None:
    """A flipped bit and a token moved to another hotel are each named by connection; the others are sound."""
    await filled(one)
    driver, _ = await opening.open_driver(one)
    for sql in (
        "UPDATE grants SET access_sealed = (SELECT access_sealed FROM grants WHERE id = 'gra_1') WHERE id = 'gra_2'",
        "UPDATE tokens SET sealed = (SELECT sealed FROM tokens WHERE grant_id = 'gra_2') WHERE grant_id = 'gra_1'",
        "UPDATE apps SET previous_sealed = secret_sealed",
    ):
        await driver.write(lambda now, sql=sql: _statement(sql))  # type: ignore[misc]
    await driver.close()
    found = await check.scan(one, silent)
    assert [problem.split(" does not open")[0] for problem in found.problems] == [
        "a client secret of the app aurora", "a sealed value of con_1", "a sealed value of con_2",
    ]  # fmt: skip


def _statement(sql: str, **values: object) -> Transaction[Rows]:
    return (yield Statement("altered", sql, values))


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("UPDATE grants SET due_at = NULL WHERE id = 'gra_1'", "nothing is planned to look after it"),
        ("UPDATE grants SET marked_at = 1, retry_at = NULL WHERE id = 'gra_1'", "no retry is planned"),
        ("DELETE FROM tokens WHERE grant_id = 'gra_1'", "no refresh token of it is stored"),
        ("UPDATE grants SET latched = 1 WHERE id = 'gra_1'", "no move to an API key is under way"),
        ("UPDATE grants SET due_at = 9e9 WHERE id = 'gra_1'", "later than any grant should be"),
        ("UPDATE grants SET role = 'superseded' WHERE id = 'gra_1'", "it has no grant in use"),
    ],
)
async def test_a_hotel_that_would_not_come_back(one: Settings, sql: str, why: str) -> None:
    """What a living grant lacks to come back by itself is named by connection (I15)."""
    await filled(one)
    driver, _ = await opening.open_driver(one)
    await driver.write(lambda now: _statement(sql))
    await driver.close()
    problem, *others = (await check.scan(one, silent)).problems
    assert all("was altered" in other for other in others)  # no product wrote that
    assert problem.startswith("con_1 does not come back by itself: ")
    assert problem.endswith(why)


async def test_connections_that_lists_do_not_find(one: Settings) -> None:
    """A process of an earlier version writes no mark: each is named once, with what mends it; nothing is written."""
    await filled(one)
    async with opened(one) as store:
        await store.write(show_twice("con_1"))
        await store.write(show_no_more("con_2"))
    for _ in range(2):
        problems = [found for found in (await check.scan(one, silent)).problems if "was altered" not in found]
        assert [problem.split(" is not in the lists")[0] for problem in problems] == ["con_1", "con_2"]
        assert all("repairs that" in problem for problem in problems)


async def test_hotels_that_an_interrupted_copy_holds(one: Settings) -> None:
    """They are refreshed by nobody until the copy is repeated: one finding says so, with their number (I15)."""
    await filled(one)
    driver, _ = await opening.open_driver(one)
    await driver.write(lambda now: _statement("UPDATE grants SET latched = latched + 2"))
    await driver.close()
    (problem,) = (await check.scan(one, silent)).problems
    assert problem.startswith(f"{HOTELS} hotels are not refreshed here")


async def test_the_wrong_key(one: Settings) -> None:
    """One error that says so, not one a row."""
    await filled(one)
    with pytest.raises(ConfigurationError, match="do not open this database"):
        await check.scan(settings(one.database_url, key=OTHER_KEY_TEXT), silent)


async def test_migrate_tells_both_schemas(one: Settings, tmp_path: Path) -> None:
    """What it was and what it is."""
    newest = (await opening.migrate(one))[1]
    assert await opening.migrate(one) == (newest, newest)
    assert await opening.migrate(settings(f"sqlite:///{tmp_path}/new.db")) == (0, newest)


ATTACKS = {
    "UPDATE connections SET active_grant = 'gra_2' WHERE id = 'con_1'": "con_1: what links it to its app",
    "UPDATE connections SET reference = 'tenant-2' WHERE id = 'con_1'": "con_1: what links it to its app",
    "UPDATE grants SET app = 'other' WHERE id = 'gra_1'": "con_1: its grant gra_1 was altered",
    "UPDATE grants SET connection_id = 'con_2' WHERE id = 'gra_1'": "con_2: its grant gra_1 was altered, or moved here",
    "UPDATE properties SET grant_id = 'gra_2' WHERE grant_id = 'gra_1'": "con_2: the property 1001 leads to it",
    "DELETE FROM events WHERE connection_id = 'con_0' AND sequence = 2": "con_0: event 2 is missing",
    "UPDATE events SET actor = 'nobody' WHERE connection_id = 'con_0' AND sequence = 2": "con_0: event 2 was altered",
    "UPDATE caller_keys SET scopes = '[\"admin\"]'": "the key key_1 for callers was altered",
}  # fmt: skip


@pytest.mark.parametrize("sql", ATTACKS)
@pytest.mark.row("A59", "A76")
async def test_rows_that_something_else_wrote(one: Settings, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is named; a connection that is accepted is as it should be."""
    monkeypatch.setattr(check, "VERIFIED", 1)
    monkeypatch.setattr(check, "CHUNK", 1)
    await filled(one)
    async with opened(one) as store:
        new = NewKey("a job", frozenset({Scope.READ}))
        assert await store.write(add_caller_key("key_1", "hash", new, parent=None))
    assert (await check.scan(one, silent)).problems == []
    driver, _ = await opening.open_driver(one)
    await driver.write(lambda now: _statement(sql))
    await driver.close()
    problems = (await check.scan(one, silent)).problems
    assert any(problem.startswith(ATTACKS[sql]) for problem in problems), problems
    home = ATTACKS[sql].split(":")[0]
    if home.startswith("con_"):
        assert await maintenance.accept(one, home)
        problems = (await check.scan(one, silent)).problems
        assert not any(problem.startswith(ATTACKS[sql]) for problem in problems), problems


@pytest.mark.row("A76")
async def test_everything_is_taken_as_it_is_where_the_key_is_gone(one: Settings) -> None:
    """Nothing opens the database before."""
    await filled(one)
    driver, _ = await opening.open_driver(one)
    await driver.write(lambda now: _statement("DELETE FROM meta WHERE name = 'mac_key'"))
    await driver.close()
    with pytest.raises(ConfigurationError, match="accept --all"):
        await check.scan(one, silent)
    await maintenance.accept_all(one)
    assert (await check.scan(one, silent)).problems == []


@pytest.mark.row("F70")
async def test_nothing_is_taken_as_it_is_without_the_keys(one: Settings) -> None:
    """An encryption key was not given: what authenticates the rows is there, and stays."""
    await filled(one)
    with pytest.raises(ConfigurationError, match="is missing"):
        await maintenance.accept_all(one.model_copy(update={"encryption_keys": (Secret(OTHER_KEY_TEXT),)}))
    assert (await check.scan(one, silent)).problems == []
