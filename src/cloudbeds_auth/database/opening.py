"""Opens and checks the database that the settings name: the only module that selects a driver."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from cloudbeds_auth import os_files, system
from cloudbeds_auth.database import clone_guard, key_files, schema
from cloudbeds_auth.database.measured import MeasuredDriver
from cloudbeds_auth.database.sealed_values import count_values
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.runner import Database, Driver
from cloudbeds_auth.transactions.statements import Instant

if TYPE_CHECKING:
    from cloudbeds_auth.database.postgres import PostgresDriver


async def open_database(settings: Settings, observer: Observer | None = None) -> Database:
    """The database, open and checked; how each of its transactions ends is reported to `observer`.

    Raises ConfigurationError where a person has to change something.
    """
    sealer = AesGcmSealer(key_files.load_keys(settings, database_has_rows=_has_rows(settings)))
    driver, identity = await open_driver(settings)
    # Nothing is known about a process on another machine: its lease has to expire.
    is_dead = system.is_dead_here if settings.is_postgres else system.is_dead
    browse = driver.browse if isinstance(driver, SqliteDriver) else driver.read
    store = Database(driver, sealer, is_dead, browse)
    if observer is not None:
        measured = MeasuredDriver(driver, system.SystemClock(), observer, browse)
        store = Database(measured, sealer, is_dead, measured.browse)
    try:
        await store.open(
            partial(clone_guard.recognise, identity=identity), partial(count_values, driver, sealer, lambda *_: None)
        )
    except BaseException:
        await store.close()
        raise
    if isinstance(driver, SqliteDriver) and not (store.read_only or identity.named):
        driver.counter = clone_guard.Counter(settings.database_path, identity.name, system.SystemClock().steady)
    return store


async def migrate(settings: Settings) -> tuple[int, int]:
    """Bring the database and its rows to this version's schema; returns the schema before and after."""
    if not settings.is_postgres:  # first: once the file exists, a missing key counts as lost
        key_files.load_keys(settings, database_has_rows=_has_rows(settings))
    driver = _driver(settings)
    try:
        before, after = await driver.open(), await driver.read(schema.version)
    finally:
        await driver.close()
    if before:
        await (await open_database(settings)).close()
    return before, after


async def open_driver(settings: Settings, *, bulk: bool = False) -> tuple[Driver, clone_guard.Identity]:
    """The driver, open and with this version's schema, and this installation's identity there.

    `bulk`: with the time that work on every row needs, where the driver limits the time.
    """
    driver = _driver(settings, bulk=bulk)
    await driver.open()
    if not isinstance(driver, SqliteDriver):
        named = settings.instance is not None
        return driver, clone_guard.Identity(settings.instance or driver.place, driver.place, named=named)
    fresh = system.SystemEntropy().identifier("ins_")
    try:
        return driver, clone_guard.identify(settings.database_path, settings.instance, fresh, os_files.machine_id())
    except BaseException:
        await driver.close()
        raise


def _driver(settings: Settings, *, bulk: bool = False) -> SqliteDriver | PostgresDriver:
    """The driver for the file or server of the settings, not open yet. Raises ConfigurationError if it is not
    installed.
    """
    if not settings.is_postgres:
        _check_place(settings)
        return SqliteDriver(settings.database_path, host_clock())
    try:
        from cloudbeds_auth.database.postgres import PostgresDriver
    except ImportError as error:
        raise ConfigurationError(
            "CLOUDBEDS_AUTH_DATABASE_URL names PostgreSQL, and its driver is not installed",
            next_step='pip install "cloudbeds-auth[postgres]"',
        ) from error
    return PostgresDriver(settings.database_url, bulk=bulk)


def shown(database_url: str) -> str:
    """The database's name for people: a file's path, or an address without user and password."""
    if database_url.startswith("sqlite:///"):
        return database_url.removeprefix("sqlite:///")
    parts = urlsplit(database_url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def missing_files(settings: Settings) -> tuple[Path, ...]:
    """The files that opening would create: the database, and the key and admin token files if the settings need them.

    Reads only; an empty database file counts as missing. Raises ConfigurationError.
    """
    if settings.is_postgres:
        return ()
    database = settings.database_path
    missing = [] if _size(database) else [database]
    wanted: list[Path] = []
    if not settings.encryption_keys:
        wanted.append(key_files.key_file(database))
    if settings.admin_token is None:
        wanted.append(key_files.admin_token_file(database))
    return (*missing, *(path for path in wanted if _size(path) is None))


def host_clock() -> Callable[[], Instant]:
    """The clock of this host, identified by this boot's id."""
    clock, boot = system.SystemClock(), system.boot_id()
    return lambda: Instant(clock.wall(), clock.steady(), boot, boot)


def _has_rows(settings: Settings) -> bool:
    """Whether values are sealed already. For a server that is not known yet; its keys come from the settings alone."""
    if settings.is_postgres:
        return True
    _check_place(settings)
    return bool(_size(settings.database_path))


def _check_place(settings: Settings) -> None:
    """Check that the folder is on a local disk; a missing folder is created, private."""
    path = settings.database_path
    if not path.parent.exists():
        os_files.private_folder(path.parent)
    network = os_files.network_file_system(path.parent)
    if network is not None and not settings.allow_network_fs:
        raise ConfigurationError(
            f"{path} is on a network file system ({network}), where SQLite's locks cannot be trusted",
            next_step="move it to a local disk, or set CLOUDBEDS_AUTH_ALLOW_NETWORK_FS=true at your own risk",
        )


def nobody_is_known_dead(owner: str, clock_id: str) -> bool:
    """For work on a database that takes no lease."""
    return False


def _size(path: Path) -> int | None:
    """The size of a file in bytes; None if it does not exist, or cannot be seen by this user."""
    with suppress(OSError):
        return path.lstat().st_size
    return None
