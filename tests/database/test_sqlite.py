"""SQLite under the store: durable settings, private files, whose file it is, damage, several processes, fork."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.support.bench import HandClock, SqliteBench
from tests.support.fakes import pair
from tests.support.keys import KEY

from cloudbeds_auth.database import durability, schema, sqlite_file
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import READERS, SqliteDriver
from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable, VaultClosed
from cloudbeds_auth.rules.model import App, Fence
from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import add_app, read_apps, rotate_secret
from cloudbeds_auth.transactions.connections import read_connection
from cloudbeds_auth.transactions.grants import Busy, Leased, Written, commit_pair, read_grant, take_lease
from cloudbeds_auth.transactions.rate_limit import reserve_turn
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, as_keys, query_one

OTHER_KEY = bytes(range(1, 33))
OLD_SQLITE = 3_046_001


async def ask(path: Path, *pragmas: str, version: int | None = None) -> list[object]:
    """What the driver's own connection says to these pragmas."""
    driver = SqliteDriver(path, HandClock().instant, version=version)
    await driver.open()
    found = await driver.read(asking(pragmas))
    await driver.close()
    return found


def asking(pragmas: Sequence[str]) -> Body[list[object]]:
    """A transaction that asks for them."""

    def body(now: Instant) -> Transaction[list[object]]:
        found: list[object] = []
        for pragma in pragmas:
            rows = yield Statement(pragma, f"PRAGMA {pragma}", {})
            found.extend(rows[0].values())
        return found

    return body


# --- settings that a power cut does not forgive


@pytest.mark.row("A49")
async def test_durable_settings(tmp_path: Path) -> None:
    """WAL with FULL, foreign keys, secure delete, temporary tables in memory; read back on the connection itself."""
    asked = ["journal_mode", "synchronous", "foreign_keys", "secure_delete", "temp_store", "fullfsync"]
    assert await ask(tmp_path / "db", *asked) == ["wal", 2, 1, 1, 2, 1]


@pytest.mark.row("F12")
@pytest.mark.parametrize(
    ("version", "unsynced", "synced"), [(None, ["wal", 1], ["wal", 2]), (OLD_SQLITE, ["delete", 3], ["delete", 3])]
)
async def test_what_need_not_be_synced(
    tmp_path: Path, version: int | None, unsynced: list[object], synced: list[object]
) -> None:
    """It has a connection of its own, and over the rollback journal none: whatever else is read or written is synced,
    also after it. In every other setting the two are alike.
    """
    driver = SqliteDriver(tmp_path / "db", HandClock().instant, version=version)
    await driver.open()
    alike = ["foreign_keys", "secure_delete", "temp_store", "fullfsync", "checkpoint_fullfsync"]
    body = asking(["journal_mode", "synchronous", *alike])
    for _ in range(2):
        assert await driver.write(body, synced=False) == [*unsynced, 1, 1, 2, 1, 1]
        assert await driver.write(body) == await driver.read(body) == [*synced, 1, 1, 2, 1, 1]
    await driver.close()


def test_a_statement_is_prepared_once(tmp_path: Path) -> None:
    """Whatever is bound to it: that takes many times as long as to run it."""
    file = SqliteFile(tmp_path / "db", HandClock().instant)
    file.open()
    assert file._connection is not None
    looked_at: list[object] = []  # while a statement is prepared, SQLite asks about each column of it

    def allowed(*what: object) -> int:
        looked_at.append(what)
        return apsw.SQLITE_OK

    file._connection.authorizer = allowed
    file.run(lambda now: query_one("current", connection_ids=as_keys(["con_1"])), "BEGIN")
    first = len(looked_at)
    file.run(lambda now: query_one("current", connection_ids=as_keys(["con_2"])), "BEGIN")
    assert len(looked_at) == first > 0
    file.close()


async def test_an_old_sqlite(tmp_path: Path) -> None:
    """A build with the WAL-reset bug: rollback journal and EXTRA, also on a file that was in WAL mode."""
    assert await ask(tmp_path / "db", "journal_mode", "synchronous", version=OLD_SQLITE) == ["delete", 3]
    assert await ask(tmp_path / "db", "journal_mode", "synchronous") == ["wal", 2]
    assert await ask(tmp_path / "db", "journal_mode", "synchronous", version=OLD_SQLITE) == ["delete", 3]


async def test_everything_works_on_an_old_sqlite(tmp_path: Path) -> None:
    """The same transactions over the rollback journal."""
    db = SqliteBench(tmp_path / "db")
    await db.open(version=OLD_SQLITE)
    grant = await db.connected(pair(1))
    fence = await db.leased(grant)
    assert await db.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0)) is Written.DONE
    await db.close()


def test_the_first_sound_version() -> None:
    """3.51.3 and newer; the number is counted as SQLite counts."""
    assert durability.FIRST_SOUND_WAL == 3_051_003
    assert durability.version_number() == sqlite_version(apsw.sqlite_lib_version())
    assert durability.version_number() >= durability.FIRST_SOUND_WAL, "apsw brings its own, newer one"


def sqlite_version(text: str) -> int:
    """As sqlite3_libversion_number()."""
    major, minor, patch = (int(part) for part in text.split("."))
    return (major * 1000 + minor) * 1000 + patch


async def test_a_setting_that_would_not_be_set(tmp_path: Path) -> None:
    """A journal mode that cannot be had is named, and the start refused."""
    connection = apsw.Connection(":memory:")
    with pytest.raises(ConfigurationError, match="journal_mode is 'memory'"):
        durability.settle_pragmas(connection, version=durability.FIRST_SOUND_WAL)
    connection.close()


async def test_what_the_database_says_about_itself(db: SqliteBench) -> None:
    """For the doctor: version, file, what is in effect, which key seals; no secret."""
    report = await db.store.report()
    assert report["sqlite"] == apsw.sqlite_lib_version()
    assert Path(report["file"]).name == db.path.name
    assert (report["journal_mode"], report["synchronous"]) == ("wal", "full")
    assert report["key_id"] == AesGcmSealer([KEY]).key_id
    more = {"longest_token_list", "longest_token_list_of", f"seals:{report['key_id']}"}
    assert set(report) == {"sqlite", "file", "journal_mode", "synchronous", "key_id"} | more
    assert KEY.hex() not in str(report)


# --- whose file


async def test_a_new_file_is_private(tmp_path: Path) -> None:
    """0600 in a folder 0700, whatever the umask; the log beside it too."""
    before = os.umask(0)
    try:
        db = SqliteBench(tmp_path / "new" / "db")
        await db.open()
    finally:
        os.umask(before)
    await db.connected()
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(db.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in db.path.parent.iterdir()} == {0o600}
    await db.close()


async def test_somebody_elses_database(tmp_path: Path) -> None:
    """A file with tables of another program, or with another application id: refused, and not touched."""
    for number, statement in enumerate(("CREATE TABLE theirs (a)", "PRAGMA application_id = 77")):
        path = tmp_path / f"db-{number}"
        with closing(apsw.Connection(str(path))) as connection:
            connection.execute(statement)
        before = path.read_bytes()
        with pytest.raises(ConfigurationError, match="not one of cloudbeds-auth"):
            await SqliteBench(path).open()
        assert path.read_bytes() == before


async def test_what_is_no_database(tmp_path: Path) -> None:
    """Text, a folder, a symbolic link, a folder that cannot be made: named, refused."""
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 20)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("text", "folder", "link", "text/below"):
        with pytest.raises(ConfigurationError, match="cannot be opened"):
            await SqliteBench(tmp_path / name).open()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.row("F89")
async def test_a_newer_schema(tmp_path: Path) -> None:
    """A database of a later version is refused: upgrade, or restore."""
    db = SqliteBench(tmp_path / "db")
    await db.open()
    await db.close()
    db.sql("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(ConfigurationError, match="schema 99"):
        await SqliteBench(db.path).open()


def opened_file(path: Path) -> SqliteFile:
    """Migrated, as the product does it."""
    file = SqliteFile(path, HandClock().instant)
    file.open()
    return file


NEWEST = schema.migrations()[-1]
KILLED = """
import os, signal, sys
sys.path.insert(0, os.getcwd())
from pathlib import Path
from tests.database import test_sqlite
from cloudbeds_auth.database import schema

path, kill_at, step = Path(sys.argv[1]), int(sys.argv[2]), schema.step

def killed(now, *, number, sql):
    running, found, done = step(now, number=number, sql=sql), None, 0
    while True:
        try:
            statement = running.send(found)
        except StopIteration:
            os.kill(os.getpid(), signal.SIGKILL)
        writes = statement.name.startswith("migration_") or statement.parameters.get("value") == str(number)
        if writes and done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        done += writes
        found = yield statement

schema.step = killed
test_sqlite.opened_file(path)
"""


@pytest.mark.row("F89")
@pytest.mark.parametrize("position", range(len(schema.statements(NEWEST[1])) + 2))
async def test_an_upgrade_killed_at_each_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    """SIGKILL before this statement, before the note that it is done, or before the commit: nothing of it is there, and
    the next start does all of it.
    """
    path, whole, steps = tmp_path / "db", SqliteBench(tmp_path / "whole"), schema.migrations()
    with monkeypatch.context() as before:
        before.setattr(schema, "migrations", lambda: steps[:-1])
        opened_file(path).close()
    arguments = [sys.executable, "-W", "ignore", "-c", KILLED, str(path), str(position)]
    done = subprocess.run(arguments, capture_output=True, timeout=60, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL, done.stderr
    noted, tables = "SELECT value FROM meta WHERE name = 'schema_version'", "SELECT sql FROM sqlite_schema ORDER BY 1"
    db = SqliteBench(path)
    assert db.sql(noted) == [(str(steps[-2][0]),)]
    await db.open()
    await whole.open()
    assert db.sql(noted) == [(str(NEWEST[0]),)]
    assert db.sql(tables) == whole.sql(tables)
    assert (await db.connected()).generation == 1
    await db.close()
    await whole.close()


async def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    """The second start finds the schema and the canary."""
    db = SqliteBench(tmp_path / "db")
    await db.open()
    grant = await db.connected()
    schema = db.sql("SELECT sql FROM sqlite_schema")
    meta = db.sql("SELECT name, value FROM meta")
    again = await db.open()
    assert await again.read(read_grant(grant.id)) == grant
    assert db.sql("SELECT sql FROM sqlite_schema") == schema
    assert db.sql("SELECT name, value FROM meta") == meta
    assert f"key_canary:{AesGcmSealer([KEY]).key_id}" in dict(meta)
    await db.close()


# --- rows that were altered


async def test_an_altered_row_is_that_hotels_alone(db: SqliteBench) -> None:
    """One bit of one sealed token: StoreUnavailable for that hotel, the others are served, nobody is marked."""
    bad, good = await db.connected(), await db.connected()
    ((sealed,),) = db.sql("SELECT sealed FROM tokens WHERE grant_id = ?", bad.id)
    for position in range(0, len(sealed) * 8, 7):
        broken = bytearray(sealed)
        broken[position // 8] ^= 1 << position % 8
        db.sql("UPDATE tokens SET sealed = ? WHERE grant_id = ?", bytes(broken), bad.id)
        with pytest.raises(StoreUnavailable, match="does not open"):
            await db.store.read(read_grant(bad.id))
    assert await db.store.read(read_grant(good.id)) == good
    connection = await db.store.read(read_connection(bad.connection_id))
    assert connection is not None
    assert connection.problem is None


@pytest.mark.row("F72")
@pytest.mark.parametrize("what", ["another hotel's", "an older version", "another position", "the access token's"])
async def test_a_swapped_row_is_that_hotels_alone(db: SqliteBench, what: str) -> None:
    """Sealed bytes open only at their place: table, grant, position, generation."""
    bad, good = await db.connected(pair(1)), await db.connected(pair(2))
    (older,) = db.sql("SELECT access_sealed FROM grants WHERE id = ?", bad.id)[0]
    fence = await db.leased(bad)
    await db.store.write(commit_pair(fence, bad.tokens[0], pair(3), stale_after=9.0))
    sealed = dict(db.sql("SELECT position, sealed FROM tokens WHERE grant_id = ?", bad.id))
    if what == "another hotel's":
        db.sql("UPDATE tokens SET sealed = (SELECT sealed FROM tokens WHERE grant_id = ?)", good.id)
    elif what == "an older version":
        db.sql("UPDATE grants SET access_sealed = ? WHERE id = ?", older, bad.id)
    elif what == "another position":
        db.sql("UPDATE tokens SET sealed = ? WHERE grant_id = ? AND position = 2", sealed[1], bad.id)
    else:
        db.sql("UPDATE tokens SET sealed = (SELECT access_sealed FROM grants g WHERE g.id = ?) WHERE grant_id = ?",
               bad.id, bad.id)  # fmt: skip
    with pytest.raises(StoreUnavailable, match="altered"):
        await db.store.read(read_grant(bad.id))
    assert (await db.row(good.id)).access.reveal() == "A-2"


@pytest.mark.row("F72")
@pytest.mark.parametrize("what", ["another app's", "the former one", "a flipped bit"])
async def test_a_client_secret_opens_only_at_its_place(db: SqliteBench, what: str) -> None:
    """Moved, rolled back or altered it is left out: never is one app's secret taken for another's."""
    for name in ("aurora", "boreal"):
        uri = f"https://a.example/callback/{name}"
        await db.store.write(add_app(App(name, f"client of {name}", (Secret(f"{name}-1"),), uri)))
        await db.store.write(rotate_secret(name, Secret(f"{name}-2")))
    altered = {
        "another app's": "(SELECT other.secret_sealed FROM apps other WHERE other.name = 'boreal')",
        "the former one": "previous_sealed",
        "a flipped bit": "CAST(substr(secret_sealed, 1, length(secret_sealed) - 1) || x'00' AS BLOB)",
    }
    db.sql(f"UPDATE apps SET secret_sealed = {altered[what]} WHERE name = 'aurora'")
    found = {app.id: [secret.reveal() for secret in app.secrets] for app in await db.store.read(read_apps())}
    assert found == {"aurora": ["aurora-1"], "boreal": ["boreal-2", "boreal-1"]}


# --- the file under us


@pytest.mark.parametrize("what", ["deleted", "replaced"])
async def test_a_file_that_is_not_ours_any_more(db: SqliteBench, what: str) -> None:
    """Deleted or replaced while open: detected, nothing is written, and no empty database is made."""
    grant = await db.connected()
    kept = db.path.with_name("kept")
    shutil.copy(db.path, kept)
    db.path.unlink()
    if what == "replaced":
        shutil.copy(kept, db.path)
    before = db.path.read_bytes() if db.path.exists() else None
    for work in (
        db.store.read(read_grant(grant.id)),
        db.store.write(take_lease(grant.id, "us", 30.0)),
        db.store.write(reserve_turn("client", Rate(1), 0.0), synced=False),
        db.store.check(),
    ):
        with pytest.raises(StoreUnavailable, match="gone" if what == "deleted" else "replaced"):
            await work
    assert (db.path.read_bytes() if db.path.exists() else None) == before


async def test_a_locked_file(db: SqliteBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes for longer than we wait: StoreUnavailable, nothing written; afterwards it works."""
    grant = await db.connected()
    monkeypatch.setattr("cloudbeds_auth.database.sqlite_file.BUSY_MILLISECONDS", 10)
    impatient = await db.open()
    with closing(apsw.Connection(str(db.path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="BusyError"):
            await impatient.write(take_lease(grant.id, "us", 30.0))
        assert await impatient.read(read_grant(grant.id)) == grant, "readers are not held up"
        other.execute("ROLLBACK")
    assert await impatient.write(take_lease(grant.id, "us", 30.0)) == Leased(1)


async def test_a_transaction_that_raises_is_rolled_back(db: SqliteBench) -> None:
    """Whatever it raises: nothing of it is there, and the connection goes on."""
    driver = SqliteDriver(db.path, db.clock.instant)

    def body(now: Instant) -> Transaction[None]:
        yield from query_one("set_meta", name="half", value="done")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await driver.write(body)
    assert db.sql("SELECT value FROM meta WHERE name = 'half'") == []

    def ask_meta(now: Instant) -> Transaction[object]:
        return (yield from query_one("meta", name="schema_version"))

    assert await driver.read(ask_meta)
    await driver.close()
    await driver.close()


async def test_a_bug_of_ours_is_not_called_unavailable(db: SqliteBench) -> None:
    """A broken constraint would be tried again for ever: it is raised as what it is."""
    driver = SqliteDriver(db.path, db.clock.instant)

    def body(now: Instant) -> Transaction[None]:
        yield from query_one("add_token", grant_id="gra_nobody", position=1, generation=1, sealed=b"x")

    with pytest.raises(apsw.ConstraintError):
        await driver.write(body)
    await driver.close()


# --- several of us


async def test_two_drivers_on_one_file(db: SqliteBench) -> None:
    """What one commits the other sees at once; a lease is held against both."""
    other = await db.open()
    grant = await db.connected(pair(1))
    assert await other.read(read_grant(grant.id)) == grant
    fence = await db.leased(grant)
    assert isinstance(await other.write(take_lease(grant.id, "them", 30.0)), Busy)
    await db.store.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0))
    seen = await other.read(read_grant(grant.id))
    assert seen is not None
    assert seen.generation == 2
    assert await other.write(commit_pair(
        Fence(grant.id, 1, fence.epoch + 1), grant.tokens[0], pair(3), stale_after=9.0
    )) is Written.GENERATION_MOVED  # fmt: skip


STRANGER = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("SELECT count(*) FROM meta").fetchall()
connection.close()
"""


@pytest.mark.row("F61")
async def test_another_program_beside_two_drivers(db: SqliteBench) -> None:
    """The second leaves the first one's locks alone: who opens the file elsewhere and closes it does not take the log
    from under both, and what is committed after that is there.
    """
    other, log = await db.open(), db.path.with_name(f"{db.path.name}-wal")
    before = log.stat().st_ino
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", STRANGER, str(db.path)], check=False)
    assert done.returncode == 0
    assert log.stat().st_ino == before
    grant = await db.connected()
    assert await other.read(read_grant(grant.id)) == grant


async def test_opening_makes_no_lock_disappear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there is opened by SQLite alone, and one that is made is closed before anybody else opens it."""
    path, opened = tmp_path / "db", list[bool]()
    open_file = os.open

    def watched(name: str | Path, flags: int, mode: int = 0o777) -> int:
        if Path(name) == path:
            opened.append(sqlite_file._creating.locked())
        return open_file(name, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    first, second = (SqliteDriver(path, HandClock().instant) for _ in range(2))
    await first.open()
    assert opened == [True]
    await second.open()
    assert opened == [True, True], "asked for as a new file"
    await first.close()
    await second.close()


async def test_fifty_takers_of_one_lease(db: SqliteBench) -> None:
    """Over three drivers at once: one gets it."""
    stores = [db.store, await db.open(), await db.open()]
    grant = await db.connected()
    taken = await asyncio.gather(*(stores[at % 3].write(take_lease(grant.id, f"p{at}", 30.0)) for at in range(50)))
    assert sum(isinstance(one, Leased) for one in taken) == 1


async def test_opening_at_the_same_time(tmp_path: Path) -> None:
    """Ten that start together on no file at all: one schema, all open."""
    databases = [SqliteBench(tmp_path / "db") for _ in range(10)]
    await asyncio.gather(*(one.open() for one in databases))
    grant = await databases[0].connected()
    assert [await one.store.read(read_grant(grant.id)) for one in databases] == [grant] * 10
    for one in databases:
        await one.close()


FORK = """
import asyncio, os, sys
sys.path.insert(0, os.getcwd())
from pathlib import Path
from tests.support.bench import HandClock, SqliteBench
from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.transactions.connections import count_states
from cloudbeds_auth.transactions.grants import Busy, Leased, read_grant, take_lease
from cloudbeds_auth.transactions.rate_limit import reserve_turn

def waits(db):
    return db.store.write(reserve_turn("client", Rate(1, 10.0), 1e9), synced=False)

def open_files():
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [os.readlink(one) for one in links if os.path.lexists(one) and sys.argv[1] in os.readlink(one)]

async def parent_begins(db):
    await db.open()
    assert await waits(db) == 0.0
    assert open_files()
    grant = await db.connected()
    await db.leased(grant)
    assert await db.store.browse(count_states())
    return grant

async def in_the_child(db, grant):
    row = await db.store.read(read_grant(grant.id))
    assert row.access.reveal() == grant.access.reveal()
    assert isinstance(await db.store.write(take_lease(grant.id, "child", 30.0)), Busy)
    db.dead.add("us")
    assert isinstance(await db.store.write(take_lease(grant.id, "child", 30.0)), Leased)
    assert await waits(db) == 10.0
    assert await db.store.browse(count_states())
    await db.close()
    assert open_files() == []

async def parent_goes_on(db, grant):
    assert isinstance(await db.store.write(take_lease(grant.id, "parent", 30.0)), Busy)
    assert await waits(db) == 20.0
    assert await db.store.browse(count_states())
    await db.store.check()
    await db.close()
    assert open_files() == []

db = SqliteBench(Path(sys.argv[1]))
loop = asyncio.new_event_loop()
grant = loop.run_until_complete(parent_begins(db))
child = os.fork()
if child == 0:
    try:
        asyncio.new_event_loop().run_until_complete(in_the_child(db, grant))
    except BaseException as error:
        print("child:", repr(error), flush=True)
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
loop.run_until_complete(parent_goes_on(db, grant))
print("both went on")
"""


def both_go_on(program: str, database: Path) -> None:
    """Run the program, which forks, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(database)],
        capture_output=True, text=True, timeout=60, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "both went on"), done.stdout + done.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no fork, or no list of open files here")
def test_a_fork_reopens(tmp_path: Path) -> None:
    """The child has connections of its own, sees what the parent wrote, and the parent's go on working, those that do
    not sync or only read, too; what each closes leaves no file open.
    """
    both_go_on(FORK, tmp_path / "db")


IN_THE_MIDDLE = """
import asyncio, os, sys, threading, time
sys.path.insert(0, os.getcwd())
from pathlib import Path
from tests.support.bench import HandClock
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.database.sqlite_file import SqliteFile
from cloudbeds_auth.transactions.statements import as_keys, query, query_one

driver, begun = SqliteDriver(Path(sys.argv[1]), HandClock().instant), threading.Event()

def slow(now):
    yield from query("set_meta", name="parent", value="written")
    begun.set()
    time.sleep(0.3)  # the fork comes while this holds the write lock
    yield from query("set_meta", name="parent", value="committed")

def noted(name):
    def body(now):
        yield from query("set_meta", name=name, value="yes")
        return (yield from query_one("meta", name="parent"))["value"]
    return body

loop = asyncio.new_event_loop()
loop.run_until_complete(driver.open())
runner = threading.Thread(target=loop.run_until_complete, args=(driver.write(slow),))
runner.start()
begun.wait()
child = os.fork()
if child == 0:
    try:
        assert asyncio.new_event_loop().run_until_complete(driver.write(noted("child"))) == "committed"
    except BaseException as error:
        print("child:", repr(error), flush=True)
        os._exit(1)
    os._exit(0)
runner.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert loop.run_until_complete(driver.write(noted("parent again"))) == "committed"
loop.run_until_complete(driver.close())
print("both went on")
"""


@pytest.mark.row("F61")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_in_the_middle_of_a_transaction(tmp_path: Path) -> None:
    """The fork waits for it: both processes then have locks of their own, and what was begun is committed."""
    both_go_on(IN_THE_MIDDLE, tmp_path / "db")


WHILE_IT_OPENS = """
import asyncio, os, sys, threading, time
sys.path.insert(0, os.getcwd())
from pathlib import Path
from tests.support.bench import HandClock
from cloudbeds_auth.database import durability
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.transactions.statements import query

path = Path(sys.argv[1])
driver, begun = SqliteDriver(path, HandClock().instant), threading.Event()
loop = asyncio.new_event_loop()
loop.run_until_complete(driver.open())
loop.run_until_complete(driver.close())
settle = durability.settle_pragmas

def slow(connection, **more):
    connection.execute("SELECT name FROM meta").fetchall()  # its locks are held
    if not begun.is_set():
        begun.set()
        time.sleep(0.3)  # the fork comes now
    settle(connection, **more)

def has_locks():
    mine = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(fields[4] == str(os.getpid()) and fields[5].endswith(f":{path.stat().st_ino}") for fields in mine)

async def both_write(driver):
    await driver.write(lambda now: query("set_meta", name="written", value=str(os.getpid())))
    assert has_locks(), "whoever opens and closes the file would delete its log"

durability.settle_pragmas = slow
runner = threading.Thread(target=loop.run_until_complete, args=(driver.open(),))
runner.start()
begun.wait()
child = os.fork()
if child == 0:
    try:
        asyncio.new_event_loop().run_until_complete(both_write(driver))
    except BaseException as error:
        print("child:", repr(error), flush=True)
        os._exit(1)
    os._exit(0)
runner.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
loop.run_until_complete(both_write(driver))
loop.run_until_complete(driver.close())
print("both went on")
"""


@pytest.mark.row("F61")
@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="no fork, or no list of locks here")
def test_a_fork_while_the_file_is_opened(tmp_path: Path) -> None:
    """The fork waits for that, too: else the child would take its parent's locks for its own."""
    both_go_on(WHILE_IT_OPENS, tmp_path / "db")


IT_DOES_NOT_END = """
import asyncio, os, sys, threading
sys.path.insert(0, os.getcwd())
from pathlib import Path
from tests.support.bench import HandClock
from cloudbeds_auth.database import sqlite_file
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.statements import query

path = Path(sys.argv[1])
driver, begun, go_on = SqliteDriver(path, HandClock().instant), threading.Event(), threading.Event()

def slow(now):
    yield from query("set_meta", name="parent", value="written")
    begun.set()
    assert go_on.wait(60)

async def refused():
    for one in (driver, SqliteDriver(path.parent / "." / path.name, HandClock().instant)):
        for work in (one.write, one.browse):
            try:
                await work(lambda now: query("meta", name="parent"))
            except StoreUnavailable as error:
                assert "in use when this process was forked" in str(error), error
            else:
                raise AssertionError("the child took its parent's locks for its own")
    other = SqliteDriver(path.with_name("another"), HandClock().instant)
    await other.open()
    await other.close()

sqlite_file.BUSY_MILLISECONDS = 10
loop = asyncio.new_event_loop()
loop.run_until_complete(driver.open())
runner = threading.Thread(target=loop.run_until_complete, args=(driver.write(slow),), daemon=True)
runner.start()
begun.wait()
child = os.fork()
if child == 0:
    try:
        asyncio.new_event_loop().run_until_complete(refused())
    except BaseException as error:
        print("child:", repr(error), flush=True)
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
go_on.set()
runner.join()
(row,) = loop.run_until_complete(driver.read(lambda now: query("meta", name="parent")))
assert row["value"] == "written"
child = os.fork()  # nothing is under way: this one opens it
if child == 0:
    asyncio.new_event_loop().run_until_complete(driver.read(lambda now: query("meta", name="parent")))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
loop.run_until_complete(driver.close())
print("both went on")
"""


@pytest.mark.row("F61")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_that_cannot_wait_longer(tmp_path: Path) -> None:
    """The child does not use that file, over whatever driver; the parent goes on, and a later child opens it."""
    both_go_on(IT_DOES_NOT_END, tmp_path / "db")


async def test_a_store_that_was_never_opened(tmp_path: Path) -> None:
    """Closing it is fine; asking it opens the file, and finds no key there."""
    await SqliteDriver(tmp_path / "another", HandClock().instant).close()
    store = Database(SqliteDriver(tmp_path / "db", HandClock().instant), AesGcmSealer([KEY]), lambda *_: False)
    with pytest.raises(StoreUnavailable, match="not been opened yet"):
        await store.read(read_grant("gra_nobody"))
    assert not store.read_only
    await store.close()


def number(now: Instant) -> Transaction[int]:
    """A transaction that reads nothing of ours."""
    rows = yield Statement("number", "SELECT 7 AS number", {})
    found: int = rows[0]["number"]
    return found


@pytest.mark.row("F106")
async def test_reads_around_a_close(tmp_path: Path) -> None:
    """Those asked for before are answered. One asked for while it closes, or later, opens no file: a typed error."""
    driver = SqliteDriver(tmp_path / "db", HandClock().instant)
    await driver.open()
    running, go = threading.Event(), threading.Barrier(2)

    def slow(now: Instant) -> Transaction[int]:
        running.set()
        go.wait(60)
        return (yield from number(now))

    first, queued = (asyncio.create_task(driver.read(body)) for body in (slow, number))
    await asyncio.to_thread(running.wait, 60)
    closing, late = asyncio.create_task(driver.close()), asyncio.create_task(driver.read(number))
    await asyncio.sleep(0)
    assert not closing.done()
    go.wait(60)
    assert (await first, await queued) == (7, 7)
    await closing
    with pytest.raises(VaultClosed, match="was closed"):
        await late
    (tmp_path / "db").unlink()
    for ask in (driver.read, driver.write):
        with pytest.raises(VaultClosed):
            await ask(number)
    await driver.close()
    assert list(tmp_path.iterdir()) == []
    await driver.open()
    assert await driver.read(number) == 7
    await driver.close()


# --- reads beside the others


def wait_for(event: threading.Event, begun: threading.Semaphore) -> Body[int]:
    """A transaction that has begun, and reads how many settings there are when it may."""

    def body(now: Instant) -> Transaction[int]:
        rows = yield Statement("begun", "SELECT count(*) AS number FROM meta", {})
        begun.release()
        assert event.wait(30)
        again = yield Statement("again", "SELECT count(*) AS number FROM meta", {})
        assert rows == again, "one view"
        number: int = rows[0]["number"]
        return number

    return body


def noted_as(name: str) -> Body[int]:
    """A transaction that writes a setting; how many there are then."""

    def body(now: Instant) -> Transaction[int]:
        yield Statement("note", "INSERT INTO meta (name, value) VALUES (:name, 'x')", {"name": name})
        row = yield from query_one("meta", name=name)
        assert row is not None
        found = yield Statement("number", "SELECT count(*) AS number FROM meta", {})
        number: int = found[0]["number"]
        return number

    return body


def how_many(now: Instant) -> Transaction[int]:
    """A transaction that reads how many settings there are."""
    rows = yield Statement("number", "SELECT count(*) AS number FROM meta", {})
    number: int = rows[0]["number"]
    return number


async def test_slow_reads_stop_nothing_else(tmp_path: Path) -> None:
    """As many as there are readers, each over one view; meanwhile others read and write, and a close waits for them."""
    driver = SqliteDriver(tmp_path / "db", HandClock().instant)
    await driver.open()
    before = await driver.write(noted_as("first"))
    go_on, begun = threading.Event(), threading.Semaphore(0)
    slow = [asyncio.ensure_future(driver.browse(wait_for(go_on, begun))) for _ in range(READERS)]
    for _ in slow:
        assert await asyncio.to_thread(begun.acquire, timeout=30)
    assert await driver.write(noted_as("second")) == before + 1
    assert await driver.write(noted_as("third"), synced=False) == before + 2
    assert await driver.read(how_many) == before + 2
    closing = asyncio.ensure_future(driver.close())
    await asyncio.sleep(0.05)
    with pytest.raises(VaultClosed):
        await driver.browse(how_many)
    assert not closing.done()
    go_on.set()
    assert await asyncio.gather(*slow) == [before] * READERS
    await closing
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db"], "the log is empty, and gone"


async def test_what_is_browsed(tmp_path: Path) -> None:
    """It sees what was committed before, writes nothing, and is asked of the file that was opened and of no other."""
    path = tmp_path / "db"
    driver = SqliteDriver(path, HandClock().instant)
    await driver.open()
    number = await driver.write(noted_as("first"))
    assert await driver.browse(how_many) == number
    with pytest.raises(StoreUnavailable, match="readonly"):
        await driver.browse(noted_as("second"))
    assert await driver.browse(asking(["temp_store"])) == [2]
    path.rename(tmp_path / "former")
    with pytest.raises(StoreUnavailable, match="is gone"):
        await driver.browse(how_many)
    await driver.close()


async def test_a_reader_of_a_file_that_was_replaced_before_its_first_read(tmp_path: Path) -> None:
    """It would be another one's (F58)."""
    path = tmp_path / "db"
    driver = SqliteDriver(path, HandClock().instant)
    await driver.open()
    path.rename(tmp_path / "former")
    path.touch()
    with pytest.raises(StoreUnavailable, match="was replaced"):
        await driver.browse(how_many)
    await driver.close()


async def test_a_reader_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is away for the moment, and tried again; whatever else there is goes on."""
    driver = SqliteDriver(tmp_path / "db", HandClock().instant)
    await driver.open()
    connect = SqliteFile._connect

    def none_left(file: SqliteFile, *flags: int) -> apsw.Connection:
        raise apsw.CantOpenError("too many open files")

    monkeypatch.setattr(SqliteFile, "_connect", none_left)
    with pytest.raises(StoreUnavailable, match="too many open files"):
        await driver.browse(how_many)
    assert await driver.read(how_many)
    monkeypatch.setattr(SqliteFile, "_connect", connect)
    assert await driver.browse(how_many)
    await driver.close()


async def test_beside_a_rollback_journal_nothing_is_read(tmp_path: Path) -> None:
    """A reader would hold writers up there: what is browsed takes its turn with the others."""
    driver = SqliteDriver(tmp_path / "db", HandClock().instant, version=OLD_SQLITE)
    await driver.open()
    assert await driver.browse(asking(["journal_mode"])) == ["delete"]
    assert all(reader._connection is None for reader in driver._readers)
    await driver.close()
