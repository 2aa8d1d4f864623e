"""What all commands share: how one is declared, the settings it reads, the vault it opens, the confirmation it asks
for, and how a connection is shown.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli import CONTEXT, examples, output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.tables import with_badge
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import COMMAND
from cloudbeds_auth.rules.documents import connection_document, stamp, subscriptions_document
from cloudbeds_auth.rules.inputs import checked_seconds, checked_whole
from cloudbeds_auth.rules.model import Connection, CredentialKind
from cloudbeds_auth.rules.presentation import Responsible, presentation
from cloudbeds_auth.rules.subscriptions import SUBSCRIBED

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Need, Settings
    from cloudbeds_auth.vault import TokenVault

SOURCE_SHOWN = "cloudbeds_auth.source_shown"  # in the context of one command line
ASKING, READING = "asking Cloudbeds", "reading"  # shown while a command takes longer than usual
BEGINNINGS: Final = frozenset({"connect", "connections import", "connections add-key", "apps add", "keys create"})
"""Vault commands that an installation may begin with: they create the database. For any other command, a missing
database means a mistyped path. `serve` and `database migrate` open the database themselves, and create it, too.
"""

T = TypeVar("T")

JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON document on standard output.")
takes_yes: Final = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")

# --- how a command is declared


def group(
    name: str, *lines: str, short_help: str, default: str | None = None
) -> Callable[[Callable[[], None]], click.Group]:
    """Declare a group with its examples; `default`: the subcommand that runs if none is named."""

    def declare(documented: Callable[[], None]) -> click.Group:
        return click.Group(
            name,
            help=documented.__doc__,
            short_help=short_help,
            epilog=examples(*lines),
            context_settings=CONTEXT,
            params=[JSON] if default else None,
            invoke_without_command=default is not None,
            callback=_unless_named(default) if default else None,
        )

    return declare


def _unless_named(default: str) -> Callable[[bool], object]:
    @click.pass_context
    def run(context: click.Context, as_json: bool) -> object:
        if context.invoked_subcommand is None:
            assert isinstance(context.command, click.Group)  # noqa: S101 - it is a group's
            return context.invoke(context.command.commands[default], as_json=as_json)
        if as_json:
            raise click.UsageError("--json belongs after the subcommand")
        return None

    return run


def command(
    name: str, *lines: str, group: click.Group | None = None, **more: Any
) -> Callable[[Callable[..., object]], click.Command]:
    """Declare a command with its examples; it gets `--json`, and as its first argument an Output that honours it.

    The process's memory is made private before the command begins (A66). `more`: as for `click.command`.
    """

    def declare(run: Callable[..., object]) -> click.Command:
        def with_output(as_json: bool, **given: Any) -> object:
            from cloudbeds_auth.system import keep_memory_private

            keep_memory_private()  # before a secret is read, or asked for
            return run(Output(as_json=as_json), **given)

        wrapped = functools.update_wrapper(with_output, run)
        made = click.command(name, click.Command, epilog=examples(*lines), **more)(wrapped)
        made.params.append(JSON)  # the last in the help text
        if group is not None:
            group.add_command(made)
        return made

    return declare


if TYPE_CHECKING:
    Number = click.ParamType[float, Any]
else:
    Number = click.ParamType  # generic of one type in 8.4, of two since 8.5


class Checked(Number):
    """A number checked by `rules.inputs`, like those from HTTP and Python; a wrong one is a usage error."""

    def __init__(self, name: str, read: Callable[[str], float], check: Callable[[Any], float]) -> None:
        self.name = name
        self._read = read
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that was written."""
        try:
            return self._check(self._read(value))
        except ValueError:
            self.fail(f"{str(value)[:40]!r} is not a {self.name}", param, ctx)
        except errors.InvalidRequest as error:
            self.fail(error.detail, param, ctx)


def seconds(least: float = 0.0) -> Checked:
    """A duration."""
    return Checked("number of seconds", float, partial(checked_seconds, "it", least=least))


GENERATION = Checked("whole number", int, partial(checked_whole, "it"))

# --- what a command needs


def need_server() -> None:
    """Raises ConfigurationError if the `server` extra is not installed; checked before anything heavy is imported."""
    missing = [name for name in ("aiohttp", "fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.ConfigurationError(
            f"this command needs {', '.join(missing)}, which the library alone does not install",
            next_step="pip install 'cloudbeds-auth[server]'",
        )


def read_settings(need: Need | None = None, dotenv: Path | None = None) -> Settings:
    """The settings of this process. `need`: by default those that open a vault; `dotenv`: a file named by the operator,
    else the default one. Raises ConfigurationError.

    Reports once on standard error which settings came from which file: names, never values.
    """
    from cloudbeds_auth.settings import Need, load_from_environment

    found = load_from_environment(need or Need.APP, dotenv)
    context = click.get_current_context(silent=True)
    shown = {} if context is None else context.meta
    if found.env_file is not None and SOURCE_SHOWN not in shown:
        shown[SOURCE_SHOWN] = True
        output.complain(f"settings from {found.env_file}: {', '.join(found.from_env_file)}")
    return found


def database_exists(settings: Settings | None = None) -> bool:
    """Whether the database (by default that of the environment) exists; opening the vault would create it."""
    from cloudbeds_auth.database.opening import missing_files

    named = settings or read_settings()
    return named.is_postgres or named.database_path not in missing_files(named)


def need_database(settings: Settings) -> Settings:
    """The settings, if their database exists; else raises ConfigurationError. Neither file nor folder is created."""
    if not database_exists(settings):
        raise errors.ConfigurationError(
            f"there is no database at {settings.database_path.absolute()} yet",
            next_step="set CLOUDBEDS_AUTH_DATABASE_URL to the one you mean; `cloudbeds-auth serve` creates one, and so "
            "does the first hotel, app or key",
        )
    return settings


@asynccontextmanager
async def opened() -> AsyncIterator[TokenVault]:
    """The vault of the environment's settings; the audit log names a command as the actor from now on.

    Raises ConfigurationError if there is no database, unless the command is one of BEGINNINGS.
    """
    from cloudbeds_auth.settings import load_from_environment
    from cloudbeds_auth.vault import TokenVault

    ACTING.set(COMMAND)
    settings = read_settings()
    if _command_line() not in BEGINNINGS:
        need_database(settings)
    async with TokenVault.open(settings, reread=load_from_environment) as vault:
        yield vault


def _command_line() -> str:
    """The running command, as written after the program's name."""
    return click.get_current_context().command_path.partition(" ")[2]


def with_vault(work: Callable[[TokenVault], Awaitable[T]]) -> T:
    """Run `work` on an open vault and return its result."""

    async def whole() -> T:
        async with opened() as vault:
            return await work(vault)

    return asyncio.run(whole())


def confirm(question: str, refusal: str, *, yes: bool) -> None:
    """Ask, unless `--yes` was given; a "no" fails the command. Raises UsageError with `refusal` without a terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{refusal}: without a terminal, confirm it with --yes")
    if not click.confirm(question, err=True):
        raise click.ClickException("not confirmed: nothing was changed")


# --- how a connection is shown


def show_connection(out: Output, connection: Connection, done: str) -> None:
    """Show what was done, and the connection afterwards."""
    out.document(connection_document(connection))
    out.line(done)
    out.fields(connection_fields(connection))


def connection_fields(connection: Connection) -> list[tuple[str, str | None]]:
    """Name and value of everything known."""
    user, shown = connection.authorizing_user, presentation(connection)
    state = connection.state.value
    words = shown.words if shown.words == state else f"{shown.words} ({state})"
    return [
        ("connection", connection.id),
        ("state", with_badge(words, shown.badge)),
        ("credential", "API key" if connection.credential == CredentialKind.API_KEY else None),
        ("app", connection.app),
        ("reference", connection.reference),
        ("properties", ", ".join(connection.property_ids)),
        ("approved by", f"{user.name} <{user.email}>" if user else None),
        ("scopes", " ".join(connection.scopes)),
        ("generation", None if connection.generation is None else str(connection.generation)),
        ("connected", stamp(connection.connected_at)),
        ("token expires", stamp(connection.expires_at)),
        ("refreshed", stamp(connection.refreshed_at)),
        ("last used", stamp(connection.used_at)),
        ("subscriptions", ", ".join(_subscriptions(connection))),
        ("problem", connection.problem),
        ("next step", shown.next_step),
        ("waits for", None if shown.by is Responsible.NOBODY else shown.by.value),
        ("connect link", connection.connect_url),
    ]


def _subscriptions(connection: Connection) -> Iterator[str]:
    """Subscribed events by name; for one that is not subscribed at every property, also its state, and where."""
    for one in subscriptions_document(connection):
        everywhere = one["state"] == SUBSCRIBED and len(one["property_ids"]) >= len(connection.property_ids)
        yield one["event"] if everywhere else f"{one['event']} ({one['state']}: {' '.join(one['property_ids'])})"
