"""What commands do to a whole database: adopt it, accept its rows as they are, move it elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from cloudbeds_auth import system
from cloudbeds_auth.database import clone_guard, key_files
from cloudbeds_auth.database import copy as copying
from cloudbeds_auth.database.bulk import Progress, each_grant
from cloudbeds_auth.database.opening import nobody_is_known_dead, open_database, open_driver, shown
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.rules.audit import COMMAND, AuditAction
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.settings.values import database_url
from cloudbeds_auth.transactions.audit import add_audit, audit
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Instant, Transaction
from cloudbeds_auth.transactions.verification import accept as accept_connection


async def adopt(settings: Settings, progress: Progress) -> None:
    """Make the database of the settings this installation's own, after the original is gone for good (rule-16).

    If it is killed, repeat it.
    """
    driver, identity = await open_driver(settings, bulk=True)
    try:
        await each_grant(driver, "unlatch_grants", progress, "hotels")
        await driver.write(partial(_adopted, identity))
    finally:
        await driver.close()


def _adopted(identity: clone_guard.Identity, now: Instant) -> Transaction[None]:
    yield from clone_guard.adopt(now, identity)
    yield from audit(now, AuditAction.DATABASE_ADOPTED, None, {"instance": identity.name}, COMMAND)


async def accept(settings: Settings, connection_id: str) -> bool:
    """Accept this connection as it is stored, after a person has checked it. False: there is no such connection."""
    store = await open_database(settings)
    try:
        return await store.write(accept_connection(connection_id))
    finally:
        await store.close()


async def accept_all(settings: Settings) -> None:
    """Accept every row as it is, after a person has checked them, under a new MAC key if the stored one does not open.
    If it is killed, repeat it.

    Raises ConfigurationError, and changes nothing, if an encryption key is missing.
    """
    sealer = AesGcmSealer(key_files.load_keys(settings, database_has_rows=True))
    driver, _ = await open_driver(settings, bulk=True)
    store = Database(driver, sealer, nobody_is_known_dead)
    try:
        await store.open_anew()
        await store.write(add_audit(AuditAction.ROWS_ACCEPTED, None, {}))
    finally:
        await store.close()


async def copy(settings: Settings, target_url: str, progress: Progress) -> dict[str, int]:
    """Move the hotels to another database (see `copy.copy`). Raises ConfigurationError."""
    async with _both(settings, target_url) as (source, target):
        return await copying.copy(source, target, progress, system.SystemClock().sleep)


async def copy_history(settings: Settings, target_url: str, progress: Progress) -> dict[str, int]:
    """Copy the histories of hotels that were moved (see `copy.copy_history`). Raises ConfigurationError."""
    async with _both(settings, target_url) as (source, target):
        return await copying.copy_history(source, target, progress, system.SystemClock())


@asynccontextmanager
async def _both(settings: Settings, target_url: str) -> AsyncIterator[tuple[copying.Side, copying.Side]]:
    target = _elsewhere(settings, target_url)
    await (await open_database(settings)).close()  # checks that the keys open what is stored
    sealer = AesGcmSealer(key_files.load_keys(settings, database_has_rows=True))
    sides: list[copying.Side] = []
    async with AsyncExitStack() as stack:
        for where in (settings, target):
            driver, identity = await open_driver(where, bulk=True)
            stack.push_async_callback(driver.close)
            sides.append(copying.Side(driver, identity, shown(where.database_url), sealer))
        yield sides[0], sides[1]


def _elsewhere(settings: Settings, url: str) -> Settings:
    """The same installation with its database at `url`."""
    try:
        target = settings.model_copy(update={"database_url": database_url(url)})
    except ValueError as error:
        raise ConfigurationError(f"--to {error}", next_step="give a URL like postgresql://user@host/database") from None
    if shown(target.database_url) == shown(settings.database_url):
        raise ConfigurationError("--to names the database that is in use")
    return target
