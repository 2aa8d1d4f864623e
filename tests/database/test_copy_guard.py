"""`database copy` interrupted, overtaken, or begun beside a service: two databases never refresh the same hotel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg import AsyncConnection
from tests.support.fakes import pair
from tests.support.installation import HOTELS, connected, filled, opened, secrets, settings, silent
from tests.support.keys import OTHER_KEY_TEXT
from tests.support.processes import leased, row

from cloudbeds_auth.database import check, copy, maintenance, opening
from cloudbeds_auth.database.clone_guard import Identity
from cloudbeds_auth.database.copy import Side
from cloudbeds_auth.database.maintenance import HandOver
from cloudbeds_auth.doctor.database import moving
from cloudbeds_auth.doctor.examination import Level, Subject
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.system import SystemClock, random_bytes
from cloudbeds_auth.transactions.connections import list_connections
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, write_intent
from cloudbeds_auth.transactions.runner import Driver
from cloudbeds_auth.transactions.seals import SEEN, SEEN_FOR, note_seen
from cloudbeds_auth.transactions.statements import Instant, Statement, Transaction
from cloudbeds_auth.vault import TokenVault


@pytest.fixture(params=["sqlite to sqlite", "postgresql to sqlite"])
def ways(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Settings, Settings]:
    """Source and target. What guards a source has to hold for either kind."""
    source = f"sqlite:///{tmp_path}/source.db"
    if request.param.startswith("postgresql"):
        source = str(request.getfixturevalue("postgres_url"))
    return settings(source), settings(f"sqlite:///{tmp_path}/target.db")


class Killed(Exception):
    """The process ends here."""


def killed_at(step: str) -> Callable[[str, int, int], None]:
    """A progress that ends the process when this step is done."""

    def show(what: str, done: int, total: int) -> None:
        if (what, done) == (step, total):
            raise Killed

    return show


def meanwhile(step: str, *work: Callable[[], object]) -> Callable[[str, int, int], None]:
    """A progress that does this at the beginning of a step, once, as another process would."""
    todo = list(work)

    def show(what: str, done: int, total: int) -> None:
        if what == step:
            while todo:
                with ThreadPoolExecutor(1) as aside:
                    aside.submit(todo.pop(0)).result()

    return show


async def refreshed(where: Settings) -> None:
    """A service here refreshes a hotel: the tokens that were copied are dead from now on."""
    async with opened(where) as store:
        grant = await row(store, "gra_1")
        fence = await leased(store, grant)
        assert await store.write(write_intent(fence, 1, lease=30.0, hold=0.0))
        new = commit_pair(fence, grant.tokens[-1], pair("1-2"), stale_after=3240.0)
        assert await store.write(new) is Written.DONE
        await store.write(release_lease(grant.id, fence.epoch))  # or a copy waits until it has expired


async def is_read_only(where: Settings) -> bool:
    """Whether nothing is refreshed from here."""
    async with opened(where) as store:
        return store.read_only


# --- the source is adopted, or copied elsewhere, while it is copied


@pytest.mark.row("F74")
@pytest.mark.parametrize("step", ["connections", "grants", "newest events"])
async def test_the_source_is_adopted_while_it_is_copied(ways: tuple[Settings, Settings], step: str) -> None:
    """What stood still and goes on hands nothing over: the target, whose tokens are dead by now, stays read-only, and
    the source goes on refreshing.
    """
    source, target = ways
    await filled(source)

    def adopt() -> None:
        asyncio.run(maintenance.adopt(source, silent))
        asyncio.run(refreshed(source))

    with pytest.raises(ConfigurationError, match="was adopted"):
        await maintenance.copy(source, target.database_url, meanwhile(step, adopt))
    assert (await is_read_only(target), await is_read_only(source)) == (True, False)
    assert await maintenance.hand_over(source, target.database_url) is HandOver.NONE, "no hotel is latched again"
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert not there.read_only
        assert (await row(there, "gra_1")).access.reveal() == "A-1-2"


@pytest.mark.row("F74")
async def test_the_source_is_adopted_between_the_last_two_steps(
    ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was closed, and the target is not open yet: it stays closed."""
    source, target = ways
    await filled(source)
    keys, asked = copy._keys, list[str]()

    def adopting(now: Instant) -> Transaction[dict[str, str]]:
        asked.append("")
        if len(asked) == 2:  # after the source was closed
            with ThreadPoolExecutor(1) as aside:
                aside.submit(asyncio.run, maintenance.adopt(source, silent)).result()
        return (yield from keys(now))

    monkeypatch.setattr(copy, "_keys", adopting)
    with pytest.raises(ConfigurationError, match="was adopted"):
        await maintenance.copy(source, target.database_url, silent)
    assert (await is_read_only(target), await is_read_only(source)) == (True, False)


@pytest.mark.row("F74")
async def test_two_copies_to_two_targets(ways: tuple[Settings, Settings], tmp_path: Path) -> None:
    """The one that began first hands nothing over; the other one ends, and its target alone refreshes."""
    source, target = ways
    second = settings(f"sqlite:///{tmp_path}/second.db")
    await filled(source)

    def other() -> None:
        asyncio.run(maintenance.copy(source, second.database_url, silent))

    with pytest.raises(ConfigurationError, match="another `database copy` began"):
        await maintenance.copy(source, target.database_url, meanwhile("grants", other))
    assert (await is_read_only(target), await is_read_only(second), await is_read_only(source)) == (True, False, True)


@pytest.mark.row("F74")
async def test_a_copy_that_begins_while_another_one_closes(
    ways: tuple[Settings, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had seen that the source is ours, and sees again when it records its run: it has been moved by now."""
    source, target = ways
    second = settings(f"sqlite:///{tmp_path}/second.db")
    await filled(source)
    overtaken(monkeypatch, lambda: asyncio.run(maintenance.copy(source, second.database_url, silent)))
    with pytest.raises(ConfigurationError, match="moved elsewhere"):
        await maintenance.copy(source, target.database_url, silent)
    assert (await is_read_only(target), await is_read_only(second)) == (False, False)
    async with opened(target) as empty:
        assert not (await empty.read(list_connections(states=list(State)))).connections


@pytest.mark.row("F74")
async def test_a_copy_to_the_same_target_that_ended_meanwhile(
    ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still since it looked: it takes nothing from the target, which serves by now."""
    source, target = ways
    await filled(source)

    def other() -> None:
        asyncio.run(maintenance.copy(source, target.database_url, silent))
        asyncio.run(refreshed(target))

    overtaken(monkeypatch, other)
    with pytest.raises(ConfigurationError, match="meanwhile"):
        await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (there.read_only, (await row(there, "gra_1")).access.reveal()) == (False, "A-1-2")
    assert await maintenance.copy(source, target.database_url, silent) == {}


@pytest.mark.row("F74")
async def test_a_target_that_came_into_use_meanwhile(
    ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hotels stay, as those of any target that is not empty."""
    source, target = ways
    await filled(source)
    overtaken(monkeypatch, lambda: asyncio.run(filled(target)), lambda: asyncio.run(refreshed(target)))
    with pytest.raises(ConfigurationError, match=r"holds .*connections"):
        await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (await row(there, "gra_1")).access.reveal() == "A-1-2"


def overtaken(monkeypatch: pytest.MonkeyPatch, *others: Callable[[], object]) -> None:
    """Let the next copy look at both databases, then have others do this, then record its run."""
    todo = list(others)

    def standing_still(size: int) -> bytes:
        while todo:
            with ThreadPoolExecutor(1) as aside:
                aside.submit(todo.pop(0)).result()
        return random_bytes(size)

    monkeypatch.setattr("cloudbeds_auth.database.copy.random_bytes", standing_still)


@pytest.mark.row("F74")
@pytest.mark.parametrize("step", ["tokens", "links", "newest events"])
async def test_a_hotel_that_is_connected_while_others_are_copied(ways: tuple[Settings, Settings], step: str) -> None:
    """It does not stay behind in a database that is closed: nothing is handed over, and all of them are when it is
    repeated.
    """
    source, target = ways
    await filled(source)

    async def connect() -> None:
        async with opened(source) as store:
            await connected(store, 9)

    with pytest.raises(ConfigurationError, match=r"a hotel was connected in .* while") as late:
        await maintenance.copy(source, target.database_url, meanwhile(step, lambda: asyncio.run(connect())))
    assert "run the same command again" in late.value.next_step
    assert await maintenance.hand_over(source, target.database_url) is HandOver.HELD
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (there.read_only, (await row(there, "gra_9")).connection_id) == (False, "con_9")


@pytest.mark.row("F74")
async def test_a_hotel_that_a_process_of_before_connects_afterwards(ways: tuple[Settings, Settings]) -> None:
    """It was open before the source was closed, and nobody saw it: `doctor` says that the target does not have it."""
    source, target = ways
    await filled(source)
    async with opened(source) as before:
        await maintenance.copy(source, target.database_url, silent)
        await connected(before, 9)
    async with TokenVault.open(source) as vault:
        (found,) = await moving(Subject(SystemClock(), source, unlocked=vault))
    assert (found.level, "1 hotel(s) were connected here after" in found.what) == (Level.PROBLEM, True)


@pytest.mark.row("F74")
async def test_a_hotel_whose_transaction_has_not_ended(tmp_path: Path, postgres_url: str) -> None:
    """PostgreSQL shows it to nobody yet: the source is closed when it has ended, and then it has been seen."""
    source, target = settings(postgres_url), settings(f"sqlite:///{tmp_path}/target.db")
    await filled(source)
    async with await AsyncConnection.connect(postgres_url) as other:
        copied = "SELECT * FROM grants WHERE id = 'gra_0'"
        await other.execute(f"CREATE TEMPORARY TABLE late AS {copied}")
        await other.execute("UPDATE late SET id = 'gra_9', role = 'superseded', latched = 0")
        await other.commit()
        begun = list[asyncio.Task[object]]()

        def insert(what: str, done: int, total: int) -> None:
            if (what, done) == ("newest events", 0) and not begun:
                begun.append(asyncio.ensure_future(late()))

        async def late() -> None:
            await other.execute("INSERT INTO grants SELECT * FROM late")
            await asyncio.sleep(0.5)
            await other.commit()

        with pytest.raises(ConfigurationError, match="a hotel was connected"):
            await maintenance.copy(source, target.database_url, insert)
        await begun[0]


async def test_another_name_of_the_installation(ways: tuple[Settings, Settings]) -> None:
    """The target is known again by what the move wrote, whatever the settings call the place where it is repeated."""
    source, target = ways
    await filled(source)
    await maintenance.copy(source, target.database_url, silent)
    renamed = source.model_copy(update={"instance": "prod-1"})
    assert await maintenance.copy(renamed, target.database_url, silent) == {}


@pytest.mark.row("F74")
async def test_two_sources_of_one_name(ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on a machine of its own: the second is not taken for an earlier attempt of the first."""
    source, target = ways
    namesake = settings(f"sqlite:///{target.database_path.parent}/namesake.db")
    await filled(source)
    await filled(namesake)
    there = str(target.database_path)

    def side(driver: Driver, identity: Identity, name: str, sealer: Sealer, is_postgres: bool) -> copy.Side:
        return Side(driver, identity, name if name == there else "hotels.db", sealer, is_postgres)

    monkeypatch.setattr(copy, "Side", side)
    with pytest.raises(Killed):
        await maintenance.copy(source, target.database_url, killed_at("grants"))
    with pytest.raises(ConfigurationError, match=r"holds .*connections"):
        await maintenance.copy(namesake, target.database_url, silent)
    assert (await maintenance.copy(source, target.database_url, silent))["grants"] == HOTELS


async def test_a_copy_that_begins_while_the_source_is_adopted(
    ways: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adoption goes no further, so no hotel is refreshed here that is copied at the same time."""
    source, target = ways
    await filled(source)
    with pytest.raises(Killed):
        await maintenance.copy(source, target.database_url, killed_at("connections"))

    def again() -> None:
        asyncio.run(maintenance.copy(source, target.database_url, silent))

    with pytest.raises(ConfigurationError, match="began to move"):
        await maintenance.adopt(source, meanwhile("hotels", again))
    assert (await is_read_only(target), await is_read_only(source)) == (False, True)


async def test_it_goes_on_after_a_kill(ways: tuple[Settings, Settings]) -> None:
    """Repeated to the same target, as often as it was killed."""
    source, target = ways
    await filled(source)
    async with opened(source) as here:
        before = await secrets(here)
    for step in ("hotels latched", "grants", "hotels closed"):
        with pytest.raises(Killed):
            await maintenance.copy(source, target.database_url, killed_at(step))
        assert await maintenance.hand_over(source, target.database_url) is HandOver.HELD
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert (there.read_only, await secrets(there)) == (False, before)


# --- a service is running


async def test_a_service_was_seen(ways: tuple[Settings, Settings]) -> None:
    """Refused before anything is latched or filled, whichever key that service has first; and again, until nobody was
    seen for three minutes, or `offline` says that nothing runs.
    """
    source, target = ways
    await filled(source)
    keys = (Secret(OTHER_KEY_TEXT), *source.encryption_keys)
    for service in (source, source.model_copy(update={"encryption_keys": keys})):
        async with opened(service) as running:
            await running.write(note_seen())
        with pytest.raises(ConfigurationError, match="within the last three minutes") as refused:
            await maintenance.copy(source, target.database_url, silent)
        assert "--offline" in refused.value.next_step
        await refreshed_by_nobody(source, target)
        await _three_minutes_pass(source)
    assert (await maintenance.copy(source, target.database_url, silent))["grants"] == HOTELS


async def refreshed_by_nobody(source: Settings, target: Settings) -> None:
    """Neither side was touched."""
    assert await maintenance.hand_over(source, target.database_url) is HandOver.NONE
    async with opened(target) as there:
        assert not there.read_only


async def _three_minutes_pass(where: Settings) -> None:
    """Since each report of a service."""
    driver, _ = await opening.open_driver(where)
    sql = f"UPDATE meta SET value = CAST(CAST(value AS BIGINT) - {SEEN_FOR + 1:.0f} AS TEXT) WHERE name LIKE '{SEEN}%'"

    def body(now: Instant) -> Transaction[None]:
        yield Statement("later", sql, {})

    await driver.write(body)
    await driver.close()


async def test_nothing_runs_although_a_service_was_seen(ways: tuple[Settings, Settings]) -> None:
    """It was stopped a moment ago, and `offline` says so."""
    source, target = ways
    await filled(source)
    async with opened(source) as running:
        await running.write(note_seen())
    assert (await maintenance.copy(source, target.database_url, silent, offline=True))["grants"] == HOTELS
    assert await maintenance.copy(source, target.database_url, silent) == {}, "moved: nobody is served there"


async def test_a_service_was_seen_at_the_target(ways: tuple[Settings, Settings]) -> None:
    """It would go on with the key of its own with which the rows that it holds were authenticated."""
    source, target = ways
    await filled(source)
    async with opened(target) as running:
        await running.write(note_seen())
    with pytest.raises(ConfigurationError, match=r"a service used .*target\.db within the last three minutes"):
        await maintenance.copy(source, target.database_url, silent)
    assert await maintenance.hand_over(source, target.database_url) is HandOver.NONE
    assert (await maintenance.copy(source, target.database_url, silent, offline=True))["grants"] == HOTELS


# --- what is at the target


@pytest.mark.row("F67")
async def test_a_target_that_was_opened_with_a_key_of_its_own(ways: tuple[Settings, Settings]) -> None:
    """Nothing of it is left that this key would be needed for."""
    source, target = ways
    await filled(source)
    async with opened(target.model_copy(update={"encryption_keys": (Secret(OTHER_KEY_TEXT),)})):
        pass
    await maintenance.copy(source, target.database_url, silent)
    async with opened(target) as there:
        assert not there.read_only


@pytest.mark.row("F74")
async def test_a_target_that_is_filled_halfway(ways: tuple[Settings, Settings]) -> None:
    """Its rows are not authentic yet, which is nobody's attack, and it is not adopted: it is filled again."""
    source, target = ways
    await filled(source)
    with pytest.raises(Killed):
        await maintenance.copy(source, target.database_url, killed_at("links"))
    with pytest.raises(ConfigurationError, match=r"database copy` from .* fills this database") as refused:
        await maintenance.adopt(target, silent)
    found = await check.scan(target, silent)
    assert found.problems == [f"{refused.value.detail}: {refused.value.next_step}"]
    await maintenance.copy(source, target.database_url, silent)
    assert (await check.scan(target, silent)).problems == []


# --- which database an error is about


async def test_a_target_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """By the option: the setting names the source, which is well."""
    source = settings(f"sqlite:///{tmp_path}/source.db")
    await filled(source)
    with pytest.raises(StoreUnavailable, match="cannot be reached") as error:
        await maintenance.copy(source, "postgresql://127.0.0.1:1/x", silent)
    assert error.value.detail.startswith("--to: ")
    assert "--to" in error.value.next_step
    assert "CLOUDBEDS_AUTH_DATABASE_URL" not in error.value.next_step


async def test_a_relative_path_names_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that was begun with one is found again from another folder, by the whole path."""
    source = settings(f"sqlite:///{tmp_path}/source.db")
    await filled(source)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="in use"):
        await maintenance.copy(source, "sqlite:///source.db", silent)
    await maintenance.copy(source, "sqlite:///target.db", silent)
    monkeypatch.chdir("/")
    assert await maintenance.copy(source, f"sqlite:///{tmp_path}/target.db", silent) == {}
