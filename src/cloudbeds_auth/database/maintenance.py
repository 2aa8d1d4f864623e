"""What commands do to a whole database: adopt it, accept its rows as they are, move it elsewhere."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import Enum
from functools import partial
from pathlib import Path

from cloudbeds_auth import system
from cloudbeds_auth.database import bulk, clone_guard, key_files
from cloudbeds_auth.database import copy as copying
from cloudbeds_auth.database.bulk import Progress
from cloudbeds_auth.database.copy_history import copy_history as copy_histories
from cloudbeds_auth.database.opening import nobody_is_known_dead, open_database, open_driver, shown
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError, Error, StoreUnavailable
from cloudbeds_auth.os_files import private_folder, write_private
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import COMMAND, AuditAction
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.settings.values import database_url
from cloudbeds_auth.transactions.audit import add_audit, audit
from cloudbeds_auth.transactions.runner import Database, Driver
from cloudbeds_auth.transactions.seals import SEEN, SEEN_FOR
from cloudbeds_auth.transactions.statements import Body, Instant, Statement, Transaction, query, query_one
from cloudbeds_auth.transactions.verification import accept as accept_connection

SETTING = "CLOUDBEDS_AUTH_DATABASE_URL"


class HandOver(Enum):
    """How far a `copy` to a target has come, as the source knows it."""

    NONE = "none"
    HELD = "held"  # hotels are refreshed nowhere until it is repeated, or the source adopted
    CLOSED = "closed"  # the hotels may serve at the target: to adopt the source then makes two that refresh them


async def adopt(settings: Settings, progress: Progress) -> None:
    """Make the database of the settings this installation's own, after the original is gone for good (rule-16).

    If it is killed, repeat it. A `copy` that moves hotels from or to this database goes no further, even if it stood
    still since. Raises ConfigurationError if a copy begins meanwhile, or if one to this database did not end.
    """
    driver, identity = await open_driver(settings, bulk=True)
    run = system.random_bytes(8).hex()
    still = partial(bulk.still, name=_name(settings), run=run)
    try:
        await driver.write(partial(_begin_adopting, run=run))
        await bulk.each_grant(driver, "unlatch_grants", progress, "hotels", still)
        await driver.write(partial(_adopted, identity, still))
    finally:
        await driver.close()


def _begin_adopting(now: Instant, *, run: str) -> Transaction[None]:
    unfinished = yield from copying.unfinished()
    if unfinished is not None:
        raise unfinished
    yield from bulk.begin_run(run)


def _adopted(identity: clone_guard.Identity, still: Body[None], now: Instant) -> Transaction[None]:
    yield from still(now)
    yield from query("forget_meta", name=bulk.RUN)
    yield from clone_guard.adopt(now, identity)
    yield from audit(now, AuditAction.DATABASE_ADOPTED, None, {"instance": identity.name}, COMMAND)


async def accept(settings: Settings, connection_id: str) -> bool:
    """Accept this connection as it is stored, after a person has checked it. False: there is no such connection."""
    store = await open_database(settings)
    before = ACTING.set(COMMAND)
    try:
        return await store.write(accept_connection(connection_id))
    finally:
        ACTING.reset(before)
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
        await store.write(add_audit(AuditAction.ROWS_ACCEPTED, None, {}, COMMAND))
    finally:
        await store.close()


async def copy(settings: Settings, target_url: str, progress: Progress, *, offline: bool = False) -> dict[str, int]:
    """Move the hotels to another database (see `copy.copy`). Raises ConfigurationError; also if a service was seen at
    either lately, unless `offline` says that no process uses them now, or if the key could not go along.
    """
    begins = await hand_over(settings, target_url) is not HandOver.CLOSED
    if begins:
        _check_secret_files(settings, _elsewhere(settings, target_url))
    async with _both(settings, target_url) as (source, target):
        for side in (source, target) if begins and not offline else ():
            await side.driver.read(partial(_nobody_serves, name=side.name))
        try:
            return await copying.copy(source, target, progress, system.SystemClock().sleep)
        except StoreUnavailable as error:
            if error.next_step == error.next_step_default:  # which promises that calls succeed then
                error.next_step = "repair the database (space, permissions, locks), then run the same command again"
            raise


def _nobody_serves(now: Instant, *, name: str) -> Transaction[None]:
    """Raise ConfigurationError if a service was seen here lately."""
    seen = yield Statement("services_seen", f"SELECT value FROM meta WHERE name LIKE '{SEEN}%'", {})  # noqa: S608
    if any(now.wall < float(row["value"]) + SEEN_FOR for row in seen):
        raise ConfigurationError(
            f"a service used {name} within the last three minutes: what it connects or makes meanwhile would be lost",
            next_step="stop it. If no process uses the database now: the same command with `--offline`, or three "
            "minutes later",
        )


def carry_secrets(settings: Settings, target_url: str) -> list[Path]:
    """After `copy`: write the key file and the admin token file beside the new SQLite file, as far as the settings hold
    neither; files that are there stay. Returns those that were written. Raises ConfigurationError.
    """
    target = _elsewhere(settings, target_url)
    written = []
    for path, content in _secret_files(settings, target).items():
        if os.path.lexists(path):
            continue
        try:
            write_private(path, content, exclusive=True, beside=target.database_path)
        except OSError as error:
            raise ConfigurationError(
                f"the hotels have moved, and {path} cannot be written: {error.strerror}",
                next_step="see that the disk has room and this user may write there, then run the same command again",
            ) from None
        written.append(path)
    return written


def _secret_files(settings: Settings, target: Settings) -> dict[Path, bytes]:
    """The files with secrets that the target needs beside it, and what they hold. Raises ConfigurationError if it can
    have none.
    """
    if settings.is_postgres:
        return {}  # the settings hold both
    ours, found = settings.database_path, dict[Path, bytes]()
    key, token = key_files.key_file(ours), key_files.admin_token_file(ours)
    if not settings.encryption_keys:
        if target.is_postgres:
            raise ConfigurationError(
                f"the encryption key is in {key} alone, and PostgreSQL has no key file beside it",
                next_step=f"put the key of {key} into CLOUDBEDS_AUTH_ENCRYPTION_KEYS first",
            )
        (held,) = key_files.load_keys(settings, database_has_rows=True)
        found[key_files.key_file(target.database_path)] = base64.b64encode(held) + b"\n"
    if settings.admin_token is None and token.exists() and not target.is_postgres:
        key_files.ensure_admin_token(settings)  # checks that it is private
        found[key_files.admin_token_file(target.database_path)] = token.read_bytes()
    return found


def _check_secret_files(settings: Settings, target: Settings) -> None:
    """Before anything is moved: raise ConfigurationError if the target has others beside it, or can have none."""
    for path, content in _secret_files(settings, target).items():
        private_folder(path.parent)
        if os.path.lexists(path) and not _holds(path, content):
            raise ConfigurationError(
                f"{path} is there already, and is not that of {settings.database_path}",
                next_step="name another file with --to; or remove this one, if nothing was ever stored with it",
            )


def _holds(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and path.read_bytes().strip() == content.strip()
    except OSError:  # a directory, or another user's
        return False


async def hand_over(settings: Settings, target_url: str) -> HandOver:
    """How far a move to the target has come."""
    target = _name(_elsewhere(settings, target_url))
    driver, _ = await open_driver(settings, bulk=True)
    try:
        return await driver.read(partial(_hand_over, target=target))
    finally:
        await driver.close()


def _hand_over(now: Instant, *, target: str) -> Transaction[HandOver]:
    moved = yield from query_one("meta", name="moved_to")
    if moved is not None:
        return HandOver.CLOSED if moved["value"] == target else HandOver.NONE
    held = yield from query_one("held_by_a_copy")
    return HandOver.HELD if held is not None and held["hotels"] > 0 else HandOver.NONE


async def copy_history(settings: Settings, target_url: str, progress: Progress) -> dict[str, int]:
    """Copy the histories of hotels that were moved (see `copy_history`). Raises ConfigurationError."""
    async with _both(settings, target_url) as (source, target):
        return await copy_histories(source, target, progress, system.SystemClock())


@asynccontextmanager
async def _both(settings: Settings, target_url: str) -> AsyncIterator[tuple[copying.Side, copying.Side]]:
    target = _elsewhere(settings, target_url)
    await (await open_database(settings)).close()  # checks that the keys open what is stored
    sealer = AesGcmSealer(key_files.load_keys(settings, database_has_rows=True))
    sides: list[copying.Side] = []
    async with AsyncExitStack() as stack:
        for where, opened in ((settings, open_driver), (target, _open_target)):
            driver, identity = await opened(where, bulk=True)
            stack.push_async_callback(driver.close)
            sides.append(copying.Side(driver, identity, _name(where), sealer, where.is_postgres))
        yield sides[0], sides[1]


async def _open_target(target: Settings, *, bulk: bool) -> tuple[Driver, clone_guard.Identity]:
    """As `open_driver`; its errors say that --to is meant, and not the setting, which names the source."""
    try:
        return await open_driver(target, bulk=bulk)
    except Error as error:
        error.detail = f"--to: {error.detail.replace(SETTING, '--to')}"
        error.next_step = error.next_step.replace(SETTING, "--to")
        raise


def _elsewhere(settings: Settings, url: str) -> Settings:
    """The same installation with its database at `url`; a file by its whole path."""
    try:
        target = settings.model_copy(update={"database_url": database_url(url)})
    except ValueError as error:
        raise ConfigurationError(f"--to {error}", next_step="give a URL like postgresql://user@host/database") from None
    if not target.is_postgres:
        target = target.model_copy(update={"database_url": f"sqlite:///{_name(target)}"})
    if _name(target) == _name(settings):
        raise ConfigurationError("--to names the database that is in use")
    return target


def target_name(settings: Settings, url: str) -> str:
    """The database at `url` for people: a file by its whole path. Raises ConfigurationError."""
    return _name(_elsewhere(settings, url))


def _name(settings: Settings) -> str:
    """The database for people, and by which a move is found again from another folder."""
    return shown(settings.database_url) if settings.is_postgres else str(settings.database_path.absolute())
