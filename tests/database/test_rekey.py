"""`database rekey` over both databases: everything is sealed with the first key, killed at every row, beside a vault
that refreshes, and what keeps another key needed.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from tests.acceptance.processes import Process
from tests.support.fakes import pair
from tests.support.installation import HOTELS, filled, opened, secrets, settings, silent
from tests.support.keys import KEY, KEY_TEXT, OTHER_KEY, OTHER_KEY_TEXT
from tests.support.processes import leased, row

from cloudbeds_auth.database import bulk, maintenance, opening, rekey, sealed_values
from cloudbeds_auth.database.sealed_values import COLUMNS, IN_META, SealedColumn, count_values
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly, StoreUnavailable
from cloudbeds_auth.ports import Place
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import read_app
from cloudbeds_auth.transactions.grants import Written, commit_pair, release_lease, write_intent
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.rows import access_place, token_place
from cloudbeds_auth.transactions.runner import Database, Driver
from cloudbeds_auth.transactions.seals import CANARY, need_keys, note_seen
from cloudbeds_auth.transactions.statements import Body, Instant, Row, Rows, Statement, Transaction, query

T = TypeVar("T")

OLD, NEW = KEY_TEXT, OTHER_KEY_TEXT
OLD_ID, NEW_ID = AesGcmSealer([KEY]).key_id, AesGcmSealer([OTHER_KEY]).key_id
# Of the hotels of `filled`: an access and a refresh token each, one kept, and two secrets; and those of `meta`.
VALUES = 2 * HOTELS + 3 + len(IN_META)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty database is, of either kind."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/hotels.db"


def keyed(url: str, *keys: str) -> Settings:
    """An installation with these keys, the one that seals first."""
    return settings(url).model_copy(update={"encryption_keys": tuple(map(Secret, keys))})


@asynccontextmanager
async def driver(where: Settings) -> AsyncIterator[Driver]:
    """As bulk work has it."""
    made, _ = await opening.open_driver(where, bulk=True)
    try:
        yield made
    finally:
        await made.close()


async def held(where: Settings) -> Counter[str]:
    """How many values each key has sealed."""
    async with driver(where) as one:
        return await count_values(one, AesGcmSealer([KEY]), silent)


async def needed(where: Settings) -> set[str]:
    """The keys that have a canary."""
    async with driver(where) as one:
        rows = await one.read(lambda now: query("key_rows"))
        return {row["name"].removeprefix(CANARY) for row in rows if row["name"].startswith(CANARY)}


async def altered(where: Settings, sql: str, **values: object) -> Rows:
    """One statement, behind the back of the port."""

    def body(now: Instant) -> Transaction[Rows]:
        return (yield Statement("altered", sql, values))

    async with driver(where) as one:
        return await one.write(body)


async def content(where: Settings) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, without what is sealed."""
    sealed = {(column.table, column.name) for column in COLUMNS}
    found = {}
    async with driver(where) as one:
        for table in bulk.TABLES:
            rows = await one.read(partial(_all, table))
            found[table] = sorted(
                tuple(str(value) for name, value in sorted(row.items()) if (table, name) not in sealed) for row in rows
            )
    return found


def _all(table: str, now: Instant) -> Transaction[Rows]:
    return (yield Statement("all", f"SELECT * FROM {table}", {}))


async def run(where: Settings) -> rekey.Rekeyed:
    """The command where no service runs."""
    return await rekey.rekey(where, silent, offline=True)


async def seen(where: Settings) -> None:
    """A service that runs with these keys says so."""
    async with opened(where) as store:
        await store.write(note_seen())


async def said(where: Settings) -> list[dict[str, Any]]:
    """The data of the command's entries in the audit, the oldest first."""
    rows = await altered(where, "SELECT data FROM audit WHERE action = 'database_rekeyed' ORDER BY id")
    return [json.loads(row["data"]) for row in rows]


# --- what it does


@pytest.mark.row("F69")
async def test_everything_is_sealed_with_the_first_key(url: str) -> None:
    """Every value, and nothing else changes; then the old key is not needed any more: the service starts without it."""
    await filled(keyed(url, OLD))
    async with opened(keyed(url, NEW, OLD)) as store:
        before = await secrets(store)
    rows = await content(keyed(url, OLD))
    shown: list[tuple[str, int, int]] = []
    done = await rekey.rekey(keyed(url, NEW, OLD), lambda *step: shown.append(step), offline=True)
    assert (done.key_id, done.sealed_anew, done.retired, done.problems) == (NEW_ID, VALUES, [OLD_ID], [])
    assert {("tokens", HOTELS + 1, HOTELS + 1), ("grants, again", HOTELS, HOTELS)} <= set(shown)
    assert await held(keyed(url, NEW)) == {NEW_ID: VALUES}
    assert await needed(keyed(url, NEW)) == {NEW_ID}
    now, former = await content(keyed(url, NEW)), rows.pop("audit")
    assert len(now.pop("audit")) == len(former) + 2
    assert await said(keyed(url, NEW)) == [
        {"key": NEW_ID, "begun": True}, {"key": NEW_ID, "sealed_anew": VALUES, "retired": 1, "problems": 0},
    ]  # fmt: skip
    assert now == rows
    async with opened(keyed(url, NEW)) as store:
        assert await secrets(store) == before
        app = await store.read(read_app("aurora"))
        assert app is not None
        assert [secret.reveal() for secret in app.secrets] == ["second", "first"]
    again = await run(keyed(url, NEW))
    assert (again.sealed_anew, again.retired, again.problems) == (0, [], [])


@pytest.mark.row("F69")
async def test_a_key_that_no_service_has(url: str) -> None:
    """A service without it would not open what is sealed anew: nothing is changed, unless one was seen with the key
    first in the last minutes.
    """
    await filled(keyed(url, OLD))
    await seen(keyed(url, OLD, NEW))
    before = await content(keyed(url, OLD))
    with pytest.raises(ConfigurationError, match=f"seen with the key {NEW_ID} first") as raised:
        await rekey.rekey(keyed(url, NEW, OLD), silent)
    assert "--offline" in raised.value.diagnosis().next_step
    assert (await content(keyed(url, OLD)), await held(keyed(url, OLD))) == (before, {OLD_ID: VALUES})
    await seen(keyed(url, NEW, OLD))
    last = f"UPDATE meta SET value = CAST(CAST(value AS BIGINT) - 181 AS TEXT) WHERE name = 'key_seen:{NEW_ID}'"
    await altered(keyed(url, OLD), last)
    with pytest.raises(ConfigurationError, match="was seen with"):
        await rekey.rekey(keyed(url, NEW, OLD), silent)
    await seen(keyed(url, NEW, OLD))
    done = await rekey.rekey(keyed(url, NEW, OLD), silent)
    assert (done.sealed_anew, done.retired) == (VALUES, [OLD_ID])
    assert (await rekey.rekey(keyed(url, NEW), silent)).sealed_anew == 0


async def test_a_service_without_the_new_key(url: str) -> None:
    """What is sealed anew all the same, it does not open; the error asks for the key, and not for the hotel."""
    await filled(keyed(url, OLD))
    async with opened(keyed(url, OLD)) as store:
        await run(keyed(url, NEW, OLD))
        with pytest.raises(StoreUnavailable, match=f"it needs the key {NEW_ID}") as raised:
            await row(store, "gra_1")
        assert "give the missing key" in (raised.value.next_step or "")
        assert "connecting" not in (raised.value.next_step or "")


async def test_a_further_sealed_value(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value of `meta` that is sealed is one entry: counted, sealed anew, and kept where it does not open."""
    place = Place("meta", "another", 0, 0)
    monkeypatch.setitem(sealed_values.IN_META, "another", place)
    await filled(keyed(url, OLD))
    value = AesGcmSealer([KEY]).seal(Secret("another value"), place).hex()
    await altered(keyed(url, OLD), "INSERT INTO meta (name, value) VALUES ('another', :value)", value=value)
    assert await held(keyed(url, OLD)) == {OLD_ID: VALUES + 1}
    assert (await run(keyed(url, NEW, OLD))).sealed_anew == VALUES + 1
    ((found,),) = [
        row.values() for row in await altered(keyed(url, NEW), "SELECT value FROM meta WHERE name = 'another'")
    ]
    assert AesGcmSealer([OTHER_KEY]).open(bytes.fromhex(found), place) == Secret("another value")
    assert (await run(keyed(url, NEW))).sealed_anew == 0
    broken = f"{value[:-1]}{int(value[-1], 16) ^ 1:x}"
    await altered(keyed(url, NEW), "UPDATE meta SET value = :value WHERE name = 'another'", value=broken)
    done = await run(keyed(url, NEW, OLD))
    assert done.problems == ["a value of meta another does not open"]


# --- killed


class Killed(Exception):
    """The process ends here."""


class Dying:
    """A driver whose process ends in the transaction of the `at`-th statement whose name begins so, after it."""

    def __init__(self, driver: Driver, name: str, at: int) -> None:
        self._driver = driver
        self._name = name
        self._left = at
        self.wakeups = driver.wakeups
        self.close = driver.close

    async def read(self, body: Body[T]) -> T:
        return await self._driver.read(partial(self._watched, body))

    async def write(self, body: Body[T], *, synced: bool = True) -> T:
        return await self._driver.write(partial(self._watched, body), synced=synced)

    def _watched(self, body: Body[T], now: Instant) -> Transaction[T]:
        running = body(now)
        rows: Rows | None = None
        while True:
            try:
                statement = next(running) if rows is None else running.send(rows)
            except StopIteration as done:
                result: T = done.value
                return result
            rows = yield statement
            self._left -= statement.name.startswith(self._name)
            if self._left == 0:
                raise Killed


async def killed(where: Settings, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> bool:
    """Run it in a process that ends like this; whether it did."""
    open_driver = opening.open_driver

    async def dying(settings: Settings, *, bulk: bool = False) -> tuple[Any, Any]:
        made, identity = await open_driver(settings, bulk=bulk)
        return Dying(made, name, at), identity

    with monkeypatch.context() as patched:
        patched.setattr(opening, "open_driver", dying)
        try:
            done = await run(where)
        except Killed:
            return True
        assert done.retired == [OLD_ID]
        return False


@pytest.mark.long
@pytest.mark.row("F69")
async def test_killed_at_every_row(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run seals one row, and is killed in the transaction of the next: every value opens after each kill, the old
    key is needed to the end, and the last run seals what is left.
    """
    monkeypatch.setattr(sealed_values, "BATCH", 1)
    await filled(keyed(url, OLD))
    async with opened(keyed(url, NEW, OLD)) as store:
        before = await secrets(store)
    runs = 0
    while await killed(keyed(url, NEW, OLD), monkeypatch, "bulk_update_", 2):
        runs += 1
        found = await held(keyed(url, OLD))
        assert found == {OLD_ID: VALUES - len(IN_META) - runs, NEW_ID: len(IN_META) + runs}
        assert await needed(keyed(url, OLD)) == {OLD_ID, NEW_ID}
        assert await said(keyed(url, OLD)) == [{"key": NEW_ID, "begun": True}] * runs
        async with opened(keyed(url, NEW, OLD)) as store:
            assert await secrets(store) == before
    assert runs == VALUES - len(IN_META) - 1
    assert await held(keyed(url, OLD)) == {NEW_ID: VALUES}
    assert await needed(keyed(url, OLD)) == {NEW_ID}


@pytest.mark.row("F69")
@pytest.mark.parametrize(
    ("name", "at"), [("retire_keys", 1), ("canary_locked", 1), ("count_seals", 1), ("bulk_count", 30)]
)
async def test_killed_at_the_end(url: str, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """Where keys are retired and seals are counted, too: run again it finishes."""
    await filled(keyed(url, OLD))
    assert await killed(keyed(url, NEW, OLD), monkeypatch, name, at)
    assert set(await held(keyed(url, OLD))) <= await needed(keyed(url, OLD)) | {NEW_ID}
    assert (await run(keyed(url, NEW, OLD))).problems == []
    assert await held(keyed(url, OLD)) == {NEW_ID: VALUES}
    assert await needed(keyed(url, OLD)) == {NEW_ID}


@pytest.mark.long
@pytest.mark.row("F69")
@pytest.mark.timeout(300)
async def test_the_command_is_killed(url: str, tmp_path: Path) -> None:
    """SIGKILL again and again while it seals thousands of values; in the end everything is sealed with the new key."""
    hotels = 800
    await filled(keyed(url, OLD))
    await multiplied(keyed(url, OLD), hotels)
    values, kills = VALUES + 2 * hotels, 0
    async with driver(keyed(url, OLD)) as looking:
        for share in range(4):
            command = rekeying(url, tmp_path)
            while command.popen.poll() is None and await _sealed_anew(looking) <= share * values // 5:
                await asyncio.sleep(0.002)
            kills += command.stop(signal.SIGKILL) == -signal.SIGKILL
            found = await count_values(looking, AesGcmSealer([KEY]), silent)
            assert found.total() == values
    assert kills > 0
    command = rekeying(url, tmp_path)
    assert command.popen.wait(120) == 0, command.output
    command.stop()
    assert f"the key {OLD_ID} is no longer needed" in command.output
    assert await held(keyed(url, NEW)) == {NEW_ID: values}
    async with opened(keyed(url, NEW)) as store:
        assert len(await secrets(store)) == HOTELS
        assert (await row(store, f"gra_1_{hotels - 1}")).access.reveal() == "A-1-1"


async def _sealed_anew(looking: Driver) -> int:
    def body(now: Instant) -> Transaction[int]:
        (row,) = yield Statement("sealed_anew", SEALED_ANEW, {"key_id": bytes.fromhex(NEW_ID)})
        return int(row["number"])

    return await looking.read(body)


SEALED_ANEW = """SELECT (SELECT COUNT(*) FROM grants WHERE substr(access_sealed, 2, 8) = :key_id)
    + (SELECT COUNT(*) FROM tokens WHERE substr(sealed, 2, 8) = :key_id) AS number"""


def rekeying(url: str, folder: Path) -> Process:
    """The command as an operator types it."""
    environment = {
        "CLOUDBEDS_AUTH_DATABASE_URL": url,
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": f"{NEW},{OLD}",
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": "an-admin-token-of-more-than-32-characters",
    }
    return Process("cloudbeds_auth", "database", "rekey", "--offline", env=environment, cwd=folder)


async def multiplied(where: Settings, number: int) -> None:
    """So many more hotels like gra_1, each sealed for its place."""
    sealer = AesGcmSealer([KEY])
    by_table = {column.table: column for column in COLUMNS if column.table in {"grants", "tokens"}}
    async with driver(where) as one:
        for table in ("connections", "grants", "tokens"):
            (like,) = [row for row in await one.read(partial(_all, table)) if {"con_1", "gra_1"} & set(row.values())]
            column = by_table.get(table)
            made = [_copy(like, copy, column, sealer) for copy in range(number)]
            for first in range(0, number, 250):
                await one.write(lambda now, table=table, some=made[first : first + 250]: bulk.insert(table, some))  # type: ignore[misc]


def _copy(like: Row, copy: int, column: SealedColumn | None, sealer: AesGcmSealer) -> Row:
    names = {"con_1": f"con_1_{copy}", "gra_1": f"gra_1_{copy}"}
    made = {name: names.get(value, value) if isinstance(value, str) else value for name, value in like.items()}
    if column is None:
        return made
    secret = sealer.open(like[column.name], column.place(like))
    return {**made, column.name: sealer.seal(secret, column.place(made))}


# --- beside a service


@pytest.mark.row("F69")
@pytest.mark.parametrize("keys", [(NEW, OLD), (OLD, NEW)], ids=["restarted", "not restarted"])
async def test_a_vault_that_refreshes_beside_it(
    url: str, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest pair of each hotel is what is stored in the end, and every key that has sealed something stored is
    needed, also where the vault still seals with the old one.
    """
    monkeypatch.setattr(sealed_values, "BATCH", 1)
    await filled(keyed(url, OLD))
    newest: dict[str, str] = {}
    async with opened(keyed(url, *keys)) as store:
        await (await _opened_once(keyed(url, NEW, OLD))).close()
        work = asyncio.ensure_future(run(keyed(url, NEW, OLD)))
        number = 0
        while not work.done() or number < 3 * HOTELS:
            number += 1
            await refreshed(store, f"gra_{number % HOTELS}", f"{number}-new", newest)
        done = await work
        for grant_id, name in newest.items():
            grant = await row(store, grant_id)
            assert (grant.access.reveal(), grant.tokens[-1].value.reveal()) == (f"A-{name}", f"R-{name}")
    found = set(await held(keyed(url, OLD)))
    assert found <= await needed(keyed(url, OLD))
    if keys[0] == NEW:
        assert (found, done.retired, done.problems) == ({NEW_ID}, [OLD_ID], [])
    else:
        assert (await run(keyed(url, NEW, OLD))).problems == [], "when the vault has ended"
        assert await held(keyed(url, OLD)) == {NEW_ID: sum((await held(keyed(url, OLD))).values())}
        assert await needed(keyed(url, OLD)) == {NEW_ID}


async def _opened_once(where: Settings) -> Database:
    return await opening.open_database(where)


async def refreshed(store: Database, grant_id: str, name: str, newest: dict[str, str]) -> None:
    """A refresh with its proof, as a vault stores them."""
    grant = await row(store, grant_id)
    fence = await leased(store, grant)
    sent = grant.tokens[-1]
    assert await store.write(write_intent(fence, sent.position, lease=30.0, hold=0.0))
    assert await store.write(commit_pair(fence, sent, pair(name), stale_after=3240.0)) is Written.DONE
    await store.write(confirm(grant_id, (await row(store, grant_id)).generation))
    await store.write(release_lease(grant_id, fence.epoch))
    newest[grant_id] = name


async def test_a_row_that_another_transaction_holds(postgres_url: str) -> None:
    """It is not waited for, nor overwritten: it is left to the next pass, and what is stored then is sealed."""
    where = keyed(postgres_url, NEW, OLD)
    await filled(keyed(postgres_url, OLD))
    with psycopg.connect(postgres_url) as holding:
        newer = AesGcmSealer([KEY]).seal(Secret("A-newer"), access_place("gra_1", 1))
        holding.execute("UPDATE grants SET access_sealed = %s WHERE id = 'gra_1'", (newer,))
        holding.execute("SELECT 1 FROM tokens WHERE grant_id = 'gra_2' FOR UPDATE")
        done = await run(where)
        assert (done.sealed_anew, done.retired) == (VALUES - 2, [])
        assert [OLD_ID in problem and "restart every process" in problem for problem in done.problems] == [True]
        assert await needed(where) == {OLD_ID, NEW_ID}
    free: list[psycopg.Connection[Any]] = [psycopg.connect(postgres_url)]
    free[0].execute("SELECT 1 FROM grants WHERE id = 'gra_1' FOR UPDATE")

    def progress(what: str, done: int, total: int) -> None:
        if what.endswith(", again"):
            free[0].close()

    found = await rekey.rekey(where, progress, offline=True)
    assert (found.sealed_anew, found.retired, found.problems) == (2, [OLD_ID], [])
    async with opened(keyed(postgres_url, NEW)) as store:
        assert (await row(store, "gra_1")).access.reveal() == "A-newer"


async def test_a_value_that_is_stored_while_its_key_is_retired(postgres_url: str) -> None:
    """A transaction that has sealed with the old key and not ended yet is waited for, and what it stored is found."""
    await filled(keyed(postgres_url, OLD))
    sealed = AesGcmSealer([KEY]).seal(Secret("R-late"), token_place("gra_1", 9, 1))
    with psycopg.connect(postgres_url) as late, psycopg.connect(postgres_url, autocommit=True) as looking:
        late.execute(
            "INSERT INTO tokens (grant_id, position, generation, sealed) VALUES ('gra_1', 9, 1, %s)", (sealed,)
        )
        late.execute("SELECT 1 FROM meta WHERE name = %s FOR KEY SHARE", (CANARY + OLD_ID,))
        work = asyncio.ensure_future(run(keyed(postgres_url, NEW, OLD)))
        while not looking.execute(WAITING).fetchall():
            assert not work.done()
            await asyncio.sleep(0.01)
        late.commit()
        done = await work
    assert (done.sealed_anew, done.retired) == (VALUES + 1, [OLD_ID])
    assert await held(keyed(postgres_url, NEW)) == {NEW_ID: VALUES + 1}


WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM meta%'"


async def test_a_value_that_is_sealed_with_the_old_key_when_it_was_retired(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass after that finds it, puts the old key's canary back, and seals it anew."""
    await filled(keyed(url, OLD))
    newest: dict[str, str] = {}
    async with opened(keyed(url, OLD, NEW)) as stale:
        retired: list[str] = []
        original = rekey._one_pass

        async def one_pass(*args: Any) -> Any:
            if await needed(keyed(url, OLD)) == {NEW_ID} and not retired:
                await refreshed(stale, "gra_1", "late", newest)
                retired.append(OLD_ID)
            return await original(*args)

        monkeypatch.setattr(rekey, "_one_pass", one_pass)
        done = await run(keyed(url, NEW, OLD))
        assert retired == [OLD_ID]
        assert (done.retired, done.problems) == ([OLD_ID], [])
        assert (await row(stale, "gra_1")).tokens[-1].value.reveal() == "R-late"
    assert await needed(keyed(url, OLD)) == {NEW_ID}
    assert set(await held(keyed(url, OLD))) == {NEW_ID}


# --- what keeps a key needed, or stops it


@pytest.mark.row("F70")
async def test_a_key_that_is_missing(url: str) -> None:
    """The start, and this command, stop with the number of values that are sealed with each key; nothing is written."""
    await filled(keyed(url, OLD))
    async with opened(keyed(url, NEW, OLD)) as store:
        await refreshed(store, "gra_1", "new", {})
    before = await content(keyed(url, OLD))
    kept = (await held(keyed(url, OLD)))[OLD_ID]
    assert kept == VALUES - 2
    for keys, missing, values in (([OLD], NEW_ID, 2), ([NEW], OLD_ID, kept)):
        for work in (_opened_once, run):
            with pytest.raises(ConfigurationError) as raised:
                await work(keyed(url, *keys))
            assert f"the key {missing} is missing, with which {values} stored values are sealed" in raised.value.detail
            assert "behind the first" in raised.value.diagnosis().next_step
    assert await content(keyed(url, OLD)) == before
    assert await needed(keyed(url, OLD)) == {OLD_ID, NEW_ID}


async def test_a_key_that_is_lost_and_of_which_nothing_is_left(url: str) -> None:
    """A start stops, and says that this command forgets it; then the start goes well."""
    await filled(keyed(url, OLD))
    async with opened(keyed(url, OLD)) as store:
        await store.write(need_keys([NEW_ID]))
    with pytest.raises(ConfigurationError, match=f"{NEW_ID} is missing, with which 0 stored values") as raised:
        await _opened_once(keyed(url, OLD))
    assert "forgets a key" in raised.value.diagnosis().next_step
    assert (await run(keyed(url, OLD))).retired == [NEW_ID]
    async with opened(keyed(url, OLD)):
        pass


@pytest.mark.row("F71")
async def test_a_value_that_does_not_open(url: str) -> None:
    """It is named and stays as it is, the others are sealed anew, and the old key stays needed."""
    await filled(keyed(url, OLD))
    moved = "UPDATE tokens SET sealed = (SELECT sealed FROM tokens WHERE grant_id = 'gra_2') WHERE grant_id = 'gra_1'"
    await altered(keyed(url, OLD), moved)
    done = await run(keyed(url, NEW, OLD))
    assert (done.sealed_anew, done.retired) == (VALUES - 1, [])
    assert done.problems == ["a value of tokens gra_1 does not open"]
    numbers = {"sealed_anew": VALUES - 1, "retired": 0, "problems": 1}
    assert await said(keyed(url, OLD)) == [{"key": NEW_ID, "begun": True}, {"key": NEW_ID, **numbers}]
    assert await held(keyed(url, OLD)) == {OLD_ID: 1, NEW_ID: VALUES - 1}
    async with opened(keyed(url, NEW, OLD)) as store:
        assert (await row(store, "gra_2")).access.reveal() == "A-2-1"


async def test_a_value_that_names_no_key(url: str) -> None:
    """Its head was altered: no key is missing for that, and the others are sealed anew."""
    await filled(keyed(url, OLD))
    await altered(keyed(url, OLD), "UPDATE tokens SET sealed = :sealed WHERE grant_id = 'gra_1'", sealed=b"altered")
    done = await run(keyed(url, NEW, OLD))
    assert (done.sealed_anew, done.problems) == (VALUES - 1, ["a value of tokens gra_1 does not open"])


@pytest.mark.row("F69")
async def test_opening_a_database_writes_nothing(url: str) -> None:
    """Not even with a key first that it has not seen, of a command in an environment of its own: the service that has
    the old key alone is ready, and starts. Nor in a copy of another installation's database.
    """
    await filled(keyed(url, OLD))
    async with opened(keyed(url, OLD)) as service:
        before = await content(keyed(url, OLD))
        async with opened(keyed(url, NEW, OLD)):
            pass
        assert await content(keyed(url, OLD)) == before
        await service.check()
    async with opened(keyed(url, OLD)):
        pass
    await altered(keyed(url, OLD), COPIED)
    before = await content(keyed(url, OLD))
    async with opened(keyed(url, NEW, OLD)) as copy:
        assert copy.read_only
    assert await content(keyed(url, OLD)) == before


COPIED = "UPDATE meta SET value = 'elsewhere' WHERE name IN ('instance', 'place')"


async def test_a_copy_of_another_installation(url: str) -> None:
    """It is read-only: its original may be in use."""
    await filled(keyed(url, OLD))
    await altered(keyed(url, OLD), COPIED)
    with pytest.raises(StoreReadOnly):
        await run(keyed(url, NEW, OLD))


async def test_a_named_installation_whose_database_moved(url: str) -> None:
    """The operator vouches for the name (CLOUDBEDS_AUTH_INSTANCE): it is recognised where it is now, as at a start."""
    named = keyed(url, NEW, OLD).model_copy(update={"instance": "hotels of ours"})
    await filled(named.model_copy(update={"encryption_keys": (Secret(OLD),)}))
    await altered(named, "UPDATE meta SET value = 'elsewhere' WHERE name = 'place'")
    assert (await run(named)).retired == [OLD_ID]


async def test_hotels_that_are_being_moved(url: str) -> None:
    """A move copies what is sealed as it is: the two do not run at once."""
    await filled(keyed(url, OLD))
    await altered(keyed(url, OLD), "UPDATE grants SET latched = latched + 2")
    with pytest.raises(ConfigurationError, match="database copy"):
        await run(keyed(url, NEW, OLD))


@pytest.mark.row("F70")
async def test_a_database_that_was_moved_needs_the_same_keys(url: str, tmp_path: Path) -> None:
    """Canaries and counts move with what is sealed."""
    await filled(keyed(url, OLD))
    async with opened(keyed(url, NEW, OLD)) as store:
        await refreshed(store, "gra_1", "new", {})
    target = f"sqlite:///{tmp_path}/target.db"
    await maintenance.copy(keyed(url, NEW, OLD), target, silent)
    for keys, missing in (([OLD], NEW_ID), ([NEW], OLD_ID)):
        with pytest.raises(ConfigurationError, match=missing):
            await _opened_once(keyed(target, *keys))
    async with opened(keyed(target, NEW, OLD)) as store:
        report = await store.report()
    assert (report[f"seals:{OLD_ID}"], report[f"seals:{NEW_ID}"]) == ("256", "256")
    assert (await run(keyed(target, NEW, OLD))).retired == [OLD_ID]
