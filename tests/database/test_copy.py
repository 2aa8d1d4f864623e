"""Moving a database to another one, a backup and its restore, and the scan: with the databases that ship."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.postgres.processes import leased, row
from tests.support.fakes import pair
from tests.support.keys import KEY_TEXT, OTHER_KEY_TEXT

from cloudbeds_auth.database import backup, check, copy, opening
from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.usage import record_calls
from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.model import App, Grant
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import add_app, read_app, rotate_secret
from cloudbeds_auth.transactions.authorizations import NewAuthorization, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, take_lease, write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.runner import Database

HOTELS = 3
APP = App("aurora", "client-2", (Secret("first"),), "https://a.example/callback/aurora", level="property")


def settings(url: str, *, key: str = KEY_TEXT) -> Settings:
    """Of an installation with its database there."""
    return Settings(
        database_url=url,
        encryption_keys=(Secret(key),),
        admin_token=Secret("an-admin-token-of-more-than-32-characters"),
    )


def silent(what: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


@asynccontextmanager
async def opened(where: Settings) -> AsyncIterator[Database]:
    """The store of one process."""
    store = await opening.open_database(where)
    try:
        yield store
    finally:
        await store.close()


async def filled(where: Settings) -> list[Grant]:
    """A database with hotels: the first has a kept token and a history."""
    async with opened(where) as store:
        found = []
        for number in range(HOTELS):
            new = NewAuthorization(f"aut_{number}", "default", f"state-{number}", None, None, None, None, None, 600.0)
            await store.write(add_authorization(new))
            await spend(store, new.state_hash, None, "code")
            first = pair(f"{number}-1", property_ids=(str(1000 + number),))
            home = await store.write(add_candidate(new.id, f"con_{number}", f"gra_{number}", first, stale_after=3240.0))
            assert await store.write(promote(home, f"gra_{number}", None, ()))
            found.append(await row(store, f"gra_{number}"))
        assert await store.write(add_app(APP)) is None
        assert await store.write(rotate_secret(APP.id, Secret("second")))
        fence = await leased(store, found[0])
        assert await store.write(write_intent(fence, found[0].tokens[-1].position, lease=30.0, hold=0.0))
        written = await store.write(commit_pair(fence, found[0].tokens[-1], pair("0-2"), stale_after=3240.0))
        assert written is Written.DONE
        await store.write(release_lease("gra_0", fence.epoch))
        await record_calls(
            store, [Calls("gra_0", 1, 1e9, 1e9 + number, 1, 0, {"GET /a": 1}, f"x/{number}") for number in range(3)]
        )
        return [await row(store, grant.id) for grant in found]


async def secrets(store: Database) -> list[tuple[str, int, list[str]]]:
    """What each hotel can be called and refreshed with."""
    found = [await row(store, f"gra_{number}") for number in range(HOTELS)]
    return [(one.access.reveal(), one.generation, [token.value.reveal() for token in one.tokens]) for one in found]


@pytest.fixture(params=["sqlite to postgresql", "postgresql to sqlite", "sqlite to sqlite"])
def ways(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    """Source and target."""
    kinds, made = request.param.split(" to "), []
    for number, kind in enumerate(kinds):
        url = request.getfixturevalue("postgres_url") if kind == "postgresql" else f"sqlite:///{tmp_path}/{number}.db"
        made.append(settings(url))
    return made[0], made[1]


async def test_everything_moves(ways: tuple[Settings, Settings]) -> None:
    """Tokens, kept ones too, histories and connections are in the target; only the target refreshes from then on."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)
        history = await running.read(read_history("con_0"))
        assert [event.kind for event in history].count("calls") == 3
        told: list[str] = []
        copied = await opening.copy(source, target.database_url, lambda what, done, total: told.append(what))
        assert (copied["connections"], copied["grants"], copied["tokens"]) == (HOTELS, HOTELS, HOTELS + 1)
        assert list(dict.fromkeys(told)) == list(copy.TABLES)
        fence = await leased(running, await row(running, "gra_1"))
        assert not await running.write(write_intent(fence, 1, lease=30.0, hold=0.0)), (
            "a process that still runs is latched"
        )
    async with opened(source) as again:
        assert again.read_only
    async with opened(target) as there:
        assert not there.read_only
        assert await secrets(there) == before
        moved = await there.read(read_app(APP.id))
        assert moved is not None
        assert [secret.reveal() for secret in moved.secrets] == ["second", "first"], "sealed as they rested"
        assert await there.read(read_history("con_0")) == history
        fence = await leased(there, await row(there, "gra_1"))
        assert await there.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_once_more(ways: tuple[Settings, Settings]) -> None:
    """Run again after it was done, it copies nothing: the target may have moved on."""
    source, target = ways
    await filled(source)
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        grant = await row(there, "gra_1")
        fence = await leased(there, grant)
        assert await there.write(write_intent(fence, 1, lease=30.0, hold=0.0))
        await there.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))
        moved_on = await secrets(there)
    assert await opening.copy(source, target.database_url, silent) == {}
    async with opened(target) as there:
        assert await secrets(there) == moved_on


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("table", copy.TABLES)
async def test_killed_while_copying(ways: tuple[Settings, Settings], table: str) -> None:
    """At each table: neither side refreshes, and the whole is simply run again."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)

    def kill(what: str, done: int, total: int) -> None:
        if what == table:
            raise Killed

    with pytest.raises(Killed):
        await opening.copy(source, target.database_url, kill)
    async with opened(target) as there:
        assert there.read_only
        with pytest.raises(StoreReadOnly):
            await there.write(take_lease("gra_0", "us", 30.0))
    async with opened(source) as here:
        fence = await leased(here, await row(here, "gra_1"))
        assert not await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))
        await here.write(release_lease("gra_1", fence.epoch))
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert await secrets(there) == before


@pytest.mark.parametrize("step", ["_close", "_open"])
async def test_killed_at_the_end(ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Before the source is closed, or before the target is opened: run again, it ends as it would have."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        before = await secrets(running)
    with monkeypatch.context() as patch:
        patch.setattr(copy, step, _killed)
        with pytest.raises(Killed):
            await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert there.read_only
    await opening.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (there.read_only, await secrets(there)) == (False, before)


def _killed(now: object, **parts: object) -> None:
    raise Killed


async def test_a_refresh_under_way_commits_first(ways: tuple[Settings, Settings]) -> None:
    """A pair that is in hand when the copy begins is committed, and copied."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=30.0)
        assert await running.write(write_intent(fence, 1, lease=30.0, hold=0.0))

        async def comes_back(seconds: float) -> None:
            assert (
                await running.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0))
                is Written.DONE
            )
            await running.write(release_lease(grant.id, fence.epoch))

        await copied_with(source, target, comes_back)
    async with opened(target) as there:
        assert (await row(there, "gra_1")).access.reveal() == "A-1-2"


async def test_a_refresh_that_comes_back_too_late(ways: tuple[Settings, Settings]) -> None:
    """A pair that comes in when everything is copied is dropped unused: its parent, in the target, works on."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        grant = await row(running, "gra_1")
        fence = await leased(running, grant, seconds=0.01)
        assert await running.write(write_intent(fence, 1, lease=0.01, hold=0.0))

        async def passes(seconds: float) -> None:
            """The lease runs out: whoever held it is paused."""

        await copied_with(source, target, passes)
        assert (
            await running.write(commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0)) is Written.GONE
        )
    async with opened(target) as there:
        assert [token.value.reveal() for token in (await row(there, "gra_1")).tokens] == ["R-1-1"]


async def copied_with(source: Settings, target: Settings, pause: Callable[[float], object]) -> None:
    """As `opening.copy`, with our own pause."""
    here, mine = await opening.open_driver(source)
    there, theirs = await opening.open_driver(target)
    try:
        await copy.copy(copy.Side(here, mine, "source"), copy.Side(there, theirs, "target"), silent, pause)  # type: ignore[arg-type]
    finally:
        await here.close()
        await there.close()


async def test_giving_up_the_move(ways: tuple[Settings, Settings]) -> None:
    """When the target is gone for good, the source is adopted and refreshes again, every latch as it was."""
    source, target = ways
    await filled(source)
    await opening.copy(source, target.database_url, silent)
    await opening.adopt(source)
    async with opened(source) as here:
        assert not here.read_only
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_a_target_in_use(ways: tuple[Settings, Settings]) -> None:
    """A target that holds hotels of its own is left alone, and so is the source."""
    source, target = ways
    await filled(source)
    await filled(target)
    with pytest.raises(ConfigurationError, match="connections of its own"):
        await opening.copy(source, target.database_url, silent)
    async with opened(source) as here:
        fence = await leased(here, await row(here, "gra_1"))
        assert await here.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_a_copy_is_not_moved(tmp_path: Path) -> None:
    """What is itself a copy of another installation has nothing to move."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    backup.back_up(source.database_path, tmp_path / "copy.db", silent)
    with pytest.raises(ConfigurationError, match="copy of another installation"):
        await opening.copy(settings(f"sqlite:///{tmp_path}/copy.db"), f"sqlite:///{tmp_path}/two.db", silent)


async def test_a_copy_with_its_mark_is_not_moved(tmp_path: Path) -> None:
    """Read-only where it is, it does not become writable by being moved elsewhere, as long as it is not adopted."""
    source, copied = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "copy"))
    await filled(source)
    for made in ("", ".instance"):
        shutil.copy(f"{source.database_path}{made}", f"{copied.database_path}{made}")
    with pytest.raises(ConfigurationError, match="copy of another installation"):
        await opening.copy(copied, f"sqlite:///{tmp_path}/two.db", silent)
    await opening.adopt(copied)
    assert (await opening.copy(copied, f"sqlite:///{tmp_path}/two.db", silent))["grants"] == HOTELS


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///", "postgresql://host"])
async def test_a_target_that_is_none(tmp_path: Path, url: str) -> None:
    """A URL that names no database is refused before anything is latched."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    with pytest.raises(ConfigurationError, match="--to"):
        await opening.copy(source, url, silent)
    with pytest.raises(ConfigurationError, match="in use"):
        await opening.copy(source, source.database_url, silent)


# --- backups


@pytest.mark.row("F73", "F74")
async def test_a_backup_and_its_restore(tmp_path: Path) -> None:
    """Taken while a process writes, 0600, whole; restored it is read-only until it is adopted, then it is in use."""
    source, restored = (settings(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "restored"))
    await filled(source)
    told: list[tuple[int, int]] = []
    async with opened(source) as running:
        before = await secrets(running)
        backup.back_up(source.database_path, restored.database_path, lambda _, done, total: told.append((done, total)))
        await running.check()
    assert restored.database_path.stat().st_mode & 0o777 == 0o600
    assert told[-1][0] == told[-1][1] > 0
    assert not list(tmp_path.glob("*.part"))
    async with opened(restored) as copy:
        assert (copy.read_only, await secrets(copy)) == (True, before)
    await opening.adopt(restored)
    async with opened(restored) as copy:
        assert not copy.read_only
        await leased(copy, await row(copy, "gra_0"))


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    """A file that is there stays as it is; a folder that is not there is said so."""
    source = settings(f"sqlite:///{tmp_path}/one.db")
    await filled(source)
    (tmp_path / "there").write_text("precious")
    with pytest.raises(ConfigurationError, match="there already"):
        backup.back_up(source.database_path, tmp_path / "there", silent)
    assert (tmp_path / "there").read_text() == "precious"
    with pytest.raises(ConfigurationError, match="cannot be made"):
        backup.back_up(source.database_path, tmp_path / "no" / "folder", silent)


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
    assert (found.connections, found.grants, found.sealed, found.problems) == (HOTELS, HOTELS, 2 * HOTELS + 3, [])


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


def _statement(sql: str):  # type: ignore[no-untyped-def]
    from cloudbeds_auth.transactions.statements import Statement

    yield Statement("altered", sql, {})


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
    (problem,) = (await check.scan(one, silent)).problems
    assert problem.startswith("con_1 does not come back by itself: ")
    assert problem.endswith(why)


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
    with pytest.raises(ConfigurationError, match="does not open this database"):
        await check.scan(settings(one.database_url, key=OTHER_KEY_TEXT), silent)


async def test_migrate_tells_both_schemas(one: Settings, tmp_path: Path) -> None:
    """What it was and what it is."""
    newest = (await opening.migrate(one))[1]
    assert await opening.migrate(one) == (newest, newest)
    assert await opening.migrate(settings(f"sqlite:///{tmp_path}/new.db")) == (0, newest)
