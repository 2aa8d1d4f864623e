"""`database`: maintenance of the database itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli.commands import command, confirm, group, need_database, read_settings, takes_yes
from cloudbeds_auth.cli.output import Output

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

OFFLINE = "Confirm that no service or other program is using this database."


@group(
    "database",
    "cloudbeds-auth database check",
    "cloudbeds-auth database backup hotels-backup.sqlite3",
    "cloudbeds-auth database copy --to postgresql://auth@db.example/hotels",
    short_help="Check, back up, upgrade, rekey or move the database.",
)
def database() -> None:
    """Check, back up, upgrade, rekey or move the database."""


@command("migrate", "cloudbeds-auth database migrate", group=database)
def migrate(out: Output) -> None:
    """Upgrade the database to this version's schema.

    Every command does this when it opens the database; this one does nothing else, so an upgrade can begin with it.
    """
    from cloudbeds_auth.database import opening

    settings = _settings()
    with out.waiting("upgrading the database to this version's schema; for a large one this may take minutes"):
        before, after = asyncio.run(opening.migrate(settings))
    where = opening.shown(settings.database_url)
    out.document({"database": where, "schema_before": before, "schema": after})
    if before == after:
        out.line(f"{where} already has this version's schema ({after})")
    else:
        out.line(f"{where} was upgraded from schema {before} to {after}")


@command("check", "cloudbeds-auth database check", "cloudbeds-auth database check --json", group=database)
def check(out: Output) -> int:
    """Check everything: the schema, the file's integrity, and every encrypted token and secret.

    Also check that tokens and secrets came from the Cloudbeds address and client id in the settings, because they are
    used nowhere else; and that links, keys for callers and histories are unaltered. Exit status 1 if something does not
    open or does not match; nothing is changed.
    """
    from cloudbeds_auth.database import check as checking
    from cloudbeds_auth.database import opening

    settings = _existing()
    with out.progress("checking") as progress:
        found = asyncio.run(checking.scan(settings, progress))
    where = opening.shown(settings.database_url)
    out.document({"database": where, **asdict(found)})
    out.fields([("database", where), *found.fields()])
    for line in found.problems:
        out.step(False, line)
    return 1 if found.problems else 0


@command("rekey", "cloudbeds-auth database rekey", "cloudbeds-auth database rekey --json", group=database)
@click.option("--offline", is_flag=True, help=OFFLINE)
def rekey(out: Output, offline: bool) -> int:
    """Encrypt everything with the first key, so that the others can be removed.

    First put the new key before the old one in CLOUDBEDS_AUTH_ENCRYPTION_KEYS, and restart every process that uses this
    database; then run this while the service runs. It names the keys that are no longer needed: remove them, and
    restart once more. If interrupted, run it again. Exit status 1 if something is still encrypted with another key.

    A service without the new key could no longer open any hotel. So this command refuses to run, and changes nothing,
    unless a service with that key in first place was seen in the last three minutes. --offline skips this check: use it
    only if nothing is running.
    """
    from cloudbeds_auth.database import opening
    from cloudbeds_auth.database import rekey as rekeying

    settings = _existing()
    with out.progress("re-encrypting") as progress:
        found = asyncio.run(rekeying.rekey(settings, progress, offline=offline))
    where = opening.shown(settings.database_url)
    out.document({"database": where, **asdict(found)})
    out.line(f"{where}: {found.sealed_anew} values were re-encrypted with the key {found.key_id}")
    for key_id in found.retired:
        out.line(f"the key {key_id} is no longer needed: remove it from CLOUDBEDS_AUTH_ENCRYPTION_KEYS and restart")
    for key_id in found.unneeded:
        out.line(
            f"nothing is encrypted with the key {key_id}: unless it is to be the next first one, remove it from "
            "CLOUDBEDS_AUTH_ENCRYPTION_KEYS and restart"
        )
    for line in found.problems:
        out.step(False, line)
    return 1 if found.problems else 0


@command("backup", "cloudbeds-auth database backup /backups/hotels.sqlite3", group=database)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(out: Output, file: Path) -> None:
    """Copy the SQLite database to a new FILE while it is in use.

    The file contains the encrypted tokens, but not the key: keep that elsewhere. When restored, it is read-only until
    `cloudbeds-auth database adopt`. For PostgreSQL use its own tools (pg_dump, pg_basebackup).
    """
    from cloudbeds_auth.database import backup as backups
    from cloudbeds_auth.errors import ConfigurationError

    settings = _existing()
    if settings.is_postgres:
        raise ConfigurationError(
            "this command backs up SQLite files only, and the database is PostgreSQL",
            next_step="use pg_dump or your server's own backups; see the page on operating",
        )
    with out.progress("copying pages") as progress:
        backups.back_up(settings.database_path, file, progress)
    size = file.stat().st_size
    out.document({"database": str(settings.database_path), "backup": str(file), "bytes": size})
    out.line(f"{settings.database_path} was copied to {file} ({size} bytes)")
    out.hint("keep the encryption key in another place: without it, the backup cannot be decrypted")


@command(
    "copy",
    "cloudbeds-auth database copy --to postgresql://auth@db.example/hotels",
    "cloudbeds-auth database copy --to postgresql://auth@db.example/hotels --history none",
    group=database,
)
@click.option("--to", "target", metavar="URL", required=True, help="The database to move to; it must be empty.")
@click.option(
    "--history",
    type=click.Choice(["behind", "none"]),
    default="behind",
    show_default=True,
    help="Copy the histories after the hotels have moved, or leave them behind.",
)
@click.option("--offline", is_flag=True, help=OFFLINE)
def copy(out: Output, target: str, history: str, offline: bool) -> None:
    """Move the hotels to another database; tokens and secrets stay encrypted.

    Stop the service first: the command refuses to run if a service was seen at either database in the last three
    minutes, unless --offline says that none runs any more. Once the move begins, nothing is refreshed from this
    database any more, so never from both. When the command says that the hotels have moved, set
    CLOUDBEDS_AUTH_DATABASE_URL to the new database and start the service: the histories follow while it runs. If
    interrupted, run it again with the former CLOUDBEDS_AUTH_DATABASE_URL; until then nothing is refreshed from
    either, unless `database adopt` abandons the move.

    A key file and an admin token file are copied beside a new SQLite file. Other users of this machine can read a
    password in URL: use PGPASSWORD or a password file instead.
    """
    from cloudbeds_auth.database import maintenance, opening

    settings = _existing()
    where = maintenance.target_name(settings, target)
    with _saying_where_hotels_are(out, settings, target):
        with out.progress("moving hotels") as progress:
            copied = asyncio.run(maintenance.copy(settings, target, progress, offline=offline))
        carried = maintenance.carry_secrets(settings, target)
    for file in carried:
        out.say(f"{file} was copied from beside {opening.shown(settings.database_url)}")
    result = "the hotels have moved to" if copied else "the hotels had already moved to"
    out.say(f"{result} {where}: set CLOUDBEDS_AUTH_DATABASE_URL to it and start the service")
    if history == "behind":
        with out.progress("copying histories") as progress:
            copied |= asyncio.run(maintenance.copy_history(settings, target, progress))  # the newest events are in both
    out.document({"database": opening.shown(settings.database_url), "copied_to": where, "rows": copied})
    out.fields([(table, f"{rows} rows") for table, rows in copied.items()])
    if history == "behind":
        out.line(f"everything is in {where}")


@contextmanager
def _saying_where_hotels_are(out: Output, settings: Settings, target: str) -> Iterator[None]:
    """If the move ends early, say where its hotels are refreshed: the error speaks of what ended it alone."""
    from cloudbeds_auth.database import maintenance, opening

    try:
        yield
    except BaseException:
        reached, source = maintenance.HandOver.NONE, opening.shown(settings.database_url)
        with suppress(Exception):  # what ended the move is reported
            reached = asyncio.run(maintenance.hand_over(settings, target))
        if reached is maintenance.HandOver.HELD:
            out.note(
                f"nothing is refreshed from {source} now: run the same command again, or `cloudbeds-auth database "
                "adopt` to abandon the move"
            )
        elif reached is maintenance.HandOver.CLOSED:
            where = maintenance.target_name(settings, target)
            ends = "has the hotels, or gets them when this command is run again"
            out.note(f"nothing is refreshed from {source} any more: {where} {ends}")
        raise


@command("adopt", "cloudbeds-auth database adopt", "cloudbeds-auth database adopt --yes", group=database)
@takes_yes
def adopt(out: Output, yes: bool) -> None:
    """Make a copied or restored database this installation's own.

    A copy has the same tokens as its original. If both refresh them, each kills the other's, so a copy is read-only
    until it is adopted. Adopt it only if the original is gone for good, and restart the service afterwards.
    """
    from cloudbeds_auth.database import maintenance, opening

    settings = _existing()
    where = opening.shown(settings.database_url)
    question = f"Is the installation that {where} was copied from, or moved to, gone for good?"
    confirm(question, "two installations that refresh kill each other's tokens", yes=yes)
    with out.progress("adopting") as progress:
        asyncio.run(maintenance.adopt(settings, progress))
    out.document({"database": where, "adopted": True})
    out.line(f"{where} is this installation's own now; restart every program that uses it")


@command(
    "accept",
    "cloudbeds-auth database accept con_01J...",
    "cloudbeds-auth database accept --all --yes",
    group=database,
)
@click.argument("connection", metavar="ID", required=False)
@click.option("--all", "everything", is_flag=True, help="Accept every row, if the key that authenticates them is lost.")
@takes_yes
def accept(out: Output, connection: str | None, everything: bool, yes: bool) -> None:
    """Accept a connection as it is in the database, after you have reviewed it. ID: con_...

    Links between hotels and tokens, keys for callers, and histories are authenticated: if another program altered them,
    `database check` names them, and nothing is sent for that hotel. This command accepts its rows as they are now. Its
    history records that, and is verified from here on. A key for callers is not accepted: revoke it.

    With --all, every row is accepted as it is, including keys. Stop the service first. If interrupted, run it again:
    until it has ended, the rows that it did not reach are refused.
    """
    from cloudbeds_auth.database import maintenance, opening

    if (connection is None) is not everything:
        raise click.UsageError("give one connection (con_...), or --all")
    settings = _existing()
    what = "every row" if connection is None else connection
    question = f"Is {what} in {opening.shown(settings.database_url)} as it should be?"
    confirm(question, "this accepts altered rows", yes=yes)
    if connection is None:
        _accept_all(out, settings)
    elif not asyncio.run(maintenance.accept(settings, connection)):
        from cloudbeds_auth.errors import UnknownConnection

        raise UnknownConnection(f"there is no connection {connection!r}")
    out.document({"database": opening.shown(settings.database_url), "accepted": connection or "all"})
    out.line(f"{what} was accepted as it is")


def _accept_all(out: Output, settings: Settings) -> None:
    from cloudbeds_auth.database import maintenance
    from cloudbeds_auth.errors import ConfigurationError

    try:
        with out.waiting("authenticating every row; for a large database this may take minutes"):
            asyncio.run(maintenance.accept_all(settings))
    except ConfigurationError:
        raise  # nothing was changed
    except BaseException:
        out.note(
            "not every row was reached, and the others may be refused now: run `cloudbeds-auth database accept --all` "
            "again until it ends"
        )
        raise


def _existing() -> Settings:
    """The settings, if their database exists; it is not created. Else raises ConfigurationError."""
    return need_database(_settings())


def _settings() -> Settings:
    from cloudbeds_auth.settings import Need

    return read_settings(Need.NOTHING)
