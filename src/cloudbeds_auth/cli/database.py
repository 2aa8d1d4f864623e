"""`database`: see to the database itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli.commands import CONTEXT, examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.reading import read_settings

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings


@click.group(
    name="database",
    short_help="See to the database itself.",
    context_settings=CONTEXT,
    epilog=examples(
        "cloudbeds-auth database check",
        "cloudbeds-auth database backup hotels-backup.sqlite3",
        "cloudbeds-auth database copy --to postgresql://auth@db.example/hotels",
    ),
)
def command() -> None:
    """See to the database itself."""


@command.command(name="migrate", epilog=examples("cloudbeds-auth database migrate"))
@with_output
def migrate(out: Output) -> None:
    """Bring the database to this version's schema.

    Every command does that when it opens the database; this one does nothing else, so an upgrade can begin with it.
    """
    from cloudbeds_auth import runtime

    settings = _settings()
    before, after = asyncio.run(runtime.migrate(settings))
    where = runtime.shown(settings.database_url)
    if out.as_json:
        out.document({"database": where, "schema_before": before, "schema": after})
    elif before == after:
        out.line(f"{where} has this version's schema already ({after})")
    else:
        out.line(f"{where} was brought from schema {before} to {after}")


@command.command(name="check", epilog=examples("cloudbeds-auth database check", "cloudbeds-auth database check --json"))
@with_output
def check(out: Output) -> None:
    """Read everything: the schema, the file's integrity, and every sealed token opened with the keys.

    Also whether tokens and secrets came from the origin and the client id that the settings name: they are used nowhere
    else. Exits with 1 when something does not open or does not match; nothing is changed.
    """
    from cloudbeds_auth import runtime

    settings = _existing()
    with out.progress("opening sealed tokens") as told:
        found = asyncio.run(runtime.scan(settings, told))
    if out.as_json:
        out.document({"database": runtime.shown(settings.database_url), **found.document()})
    else:
        out.fields([("database", runtime.shown(settings.database_url)), *found.fields()])
        for line in found.problems:
            out.step(False, line)
    if found.problems:
        raise click.exceptions.Exit(1)


@command.command(name="backup", epilog=examples("cloudbeds-auth database backup /backups/hotels.sqlite3"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_output
def backup(out: Output, file: Path) -> None:
    """Copy the SQLite database to a new FILE while it is in use.

    The file holds sealed tokens; the key is not in it and is kept elsewhere. Restored, it is read-only until
    `cloudbeds-auth database adopt`. For PostgreSQL use its own tools (pg_dump, pg_basebackup).
    """
    from cloudbeds_auth import runtime
    from cloudbeds_auth.errors import ConfigurationError

    settings = _settings()
    if settings.is_postgres:
        raise ConfigurationError(
            "this command backs up a SQLite file, and the database is PostgreSQL",
            next_step="use pg_dump or your server's own backups; see the page on operating",
        )
    _must_exist(settings)
    with out.progress("copying pages") as told:
        runtime.back_up(settings.database_path, file, told)
    if out.as_json:
        out.document({"database": str(settings.database_path), "backup": str(file), "bytes": file.stat().st_size})
    else:
        out.line(f"{settings.database_path} is copied to {file} ({file.stat().st_size} bytes)")
        out.note("keep the encryption key apart from it: without the key it opens nothing")


@command.command(name="copy", epilog=examples("cloudbeds-auth database copy --to postgresql://auth@db.example/hotels"))
@click.option("--to", "target", metavar="URL", required=True, help="The database to move to; it must be empty.")
@with_output
def copy(out: Output, target: str) -> None:
    """Move everything to another database, as sealed as it rests.

    From the first moment on this database refreshes nothing more, so the two never both do. Stop the service before,
    set CLOUDBEDS_AUTH_DATABASE_URL to the new one afterwards. Interrupted, it is simply run again. A password in URL
    can be read by other users of this machine: PGPASSWORD or a password file keep it out.
    """
    from cloudbeds_auth import runtime

    settings = _existing()
    with out.progress("copying rows") as told:
        copied = asyncio.run(runtime.copy(settings, target, told))
    where = runtime.shown(target)
    if out.as_json:
        out.document({"database": runtime.shown(settings.database_url), "copied_to": where, "rows": copied})
    elif not copied:
        out.line(f"{where} holds everything already; set CLOUDBEDS_AUTH_DATABASE_URL to it")
    else:
        out.fields([(table, f"{rows} rows") for table, rows in copied.items()])
        out.line(f"everything is in {where}; set CLOUDBEDS_AUTH_DATABASE_URL to it")


@command.command(name="adopt", epilog=examples("cloudbeds-auth database adopt", "cloudbeds-auth database adopt --yes"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def adopt(out: Output, yes: bool) -> None:
    """Make a copied or restored database this installation's own.

    A copy holds the same tokens as its original. If both refresh them, each kills the other's, so a copy is read-only
    until it is adopted. Adopt it only when the original is gone for good, and restart the service afterwards.
    """
    from cloudbeds_auth import runtime

    settings = _settings()
    where = runtime.shown(settings.database_url)
    _confirm(where, yes=yes)
    asyncio.run(runtime.adopt(settings))
    if out.as_json:
        out.document({"database": where, "adopted": True})
    else:
        out.line(f"{where} is this installation's own now; restart what uses it")


def _confirm(where: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("two that refresh kill each other's tokens: say --yes where nobody can be asked")
    question = f"Is the installation that {where} was copied from, or moved to, gone for good?"
    click.confirm(question, abort=True, err=True)


def _existing() -> Settings:
    """The settings of a database that is there: looking at one makes none."""
    settings = _settings()
    _must_exist(settings)
    return settings


def _must_exist(settings: Settings) -> None:
    from cloudbeds_auth import runtime
    from cloudbeds_auth.errors import ConfigurationError

    if not settings.is_postgres and settings.database_path in runtime.missing_files(settings):
        raise ConfigurationError(
            f"there is no database at {settings.database_path} yet",
            next_step="set CLOUDBEDS_AUTH_DATABASE_URL to the one you mean; the first start makes it",
        )


def _settings() -> Settings:
    from cloudbeds_auth.settings import Need

    return read_settings(Need.NOTHING)
