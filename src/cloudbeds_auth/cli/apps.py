"""`apps`: registrations at Cloudbeds beside the settings' own, and where the vendor is that they are for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli import secret_prompts, setup
from cloudbeds_auth.cli.commands import CONTEXT, examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.reading import read_settings
from cloudbeds_auth.cli.vaults import with_vault
from cloudbeds_auth.rules.documents import app_document, stamp
from cloudbeds_auth.rules.model import App

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

HEADINGS = ("app", "level", "client id", "redirect URI", "origin", "secrets", "added")
WITH_EXTRAS = {**CONTEXT, "allow_extra_args": True}  # to refuse them without repeating them


@click.group(
    name="apps",
    short_help="List, add, reset, move and remove registrations at Cloudbeds.",
    invoke_without_command=True,
    context_settings=CONTEXT,
    epilog=examples(
        "cloudbeds-auth apps",
        "cloudbeds-auth apps add aurora",
        "cloudbeds-auth connect --app aurora",
        "cloudbeds-auth apps rotate-secret aurora",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Registrations at Cloudbeds: a property-level hotel brings a client id and secret of its own.

    The app of the settings is named default. A running service knows a further one as soon as it is added. Without a
    subcommand, list them.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_apps, as_json=as_json)
    elif as_json:
        raise click.UsageError("--json belongs after the subcommand")


@command.command(name="list", epilog=examples("cloudbeds-auth apps list", "cloudbeds-auth apps list --json"))
@with_output
def list_apps(out: Output) -> None:
    """List registrations; a secret is never shown."""

    async def ask(vault: TokenVault) -> Sequence[App]:
        return await vault.apps.list()

    found = with_vault(ask)
    if out.as_json:
        out.document({"apps": [app_document(app) for app in found]})
    else:
        out.table(HEADINGS, [_row(app) for app in found])


@command.command(
    name="add",
    context_settings=WITH_EXTRAS,
    epilog=examples(
        "cloudbeds-auth apps add aurora                              asks for client id and secret",
        "cloudbeds-auth apps add aurora --client-id live1_x --secret-file /run/secrets/aurora",
        "cloudbeds-auth apps add partner-eu --level partner --redirect-uri https://auth.example.com/eu/callback",
    ),
)
@click.argument("name")
@click.option("--client-id", metavar="ID", help="Asked for when it is left out.")
@click.option("--level", type=click.Choice(["property", "partner"]), default="property", show_default=True)
@click.option("--redirect-uri", metavar="URI", help="As registered.  [default: the settings' own, then /NAME]")
@click.option("--scopes", metavar="SCOPES", help="With spaces between.  [default: the settings' own]")
@click.option("--credential", type=click.Choice(["oauth", "api-key"]), help="[default: as the settings say]")
@secret_prompts.takes_secret
@with_output
@click.pass_context
def add(
    context: click.Context,
    out: Output,
    name: str,
    client_id: str | None,
    level: str,
    redirect_uri: str | None,
    scopes: str | None,
    credential: str | None,
    secret_file: Path | None,
) -> None:
    """Register a further client id under NAME.

    The secret is asked for without showing it; or it comes from --secret-file, or from CLOUDBEDS_AUTH_APP_SECRET. It is
    never an argument, and is never printed.
    """
    secret_prompts.refuse_extras(context)
    if client_id is None:
        client_id = _asked_id(out, redirect_uri or _usual_uri(name))
    secret = secret_prompts.client_secret(out, secret_file)

    async def ask(vault: TokenVault) -> App:
        listed = None if scopes is None else tuple(scopes.split())
        return await vault.apps.add(
            name, client_id=client_id, client_secret=secret, level=level, redirect_uri=redirect_uri, scopes=listed,
            credential=credential,
        )  # fmt: skip

    _show(out, with_vault(ask), "added")
    out.note(f"registered at Cloudbeds must be exactly this redirect URI; then: cloudbeds-auth connect --app {name}")


@command.command(
    name="rotate-secret",
    context_settings=WITH_EXTRAS,
    epilog=examples(
        "cloudbeds-auth apps rotate-secret aurora                      asks for the new secret",
        "pass show aurora | cloudbeds-auth apps rotate-secret aurora --secret-file -",
        "cloudbeds-auth apps rotate-secret aurora --drop-previous      when Cloudbeds takes the new one",
    ),
)
@click.argument("name")
@click.option("--drop-previous", is_flag=True, help="Forget the secret before the last reset; asks for none.")
@secret_prompts.takes_secret
@with_output
@click.pass_context
def rotate_secret(
    context: click.Context, out: Output, name: str, drop_previous: bool, secret_file: Path | None
) -> None:
    """Take the secret that Cloudbeds shows after a reset.

    It is presented first from now on, by running services too; the one until now stays valid beside it until the next
    reset or --drop-previous, so nothing breaks whenever Cloudbeds ends it. How the secret comes in: see `apps add`.
    """
    secret_prompts.refuse_extras(context)
    if drop_previous and secret_file is not None:
        raise click.UsageError("--drop-previous takes no secret: reset first, drop when Cloudbeds takes the new one")
    secret = None if drop_previous else secret_prompts.client_secret(out, secret_file)

    async def ask(vault: TokenVault) -> App:
        if secret is None:
            return await vault.apps.drop_previous_secret(name)
        return await vault.apps.rotate_secret(name, secret)

    _show(out, with_vault(ask), "the former secret is forgotten" if drop_previous else "the new secret is used")


@command.command(
    name="move-origin",
    epilog=examples(
        "cloudbeds-auth apps move-origin default --from https://hotels.cloudbeds-stage.com",
        "cloudbeds-auth apps move-origin aurora --from https://hotels.cloudbeds-stage.com --yes",
    ),
)
@click.argument("name")
@click.option("--from", "former", metavar="ORIGIN", required=True, help="Scheme and host that it came from.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def move_origin(out: Output, name: str, former: str, yes: bool) -> None:
    """Say that the vendor moved: what came from ORIGIN is sent to CLOUDBEDS_BASE_URL from now on.

    Tokens and secrets are sent only to the origin that they came from, so a wrong CLOUDBEDS_BASE_URL is refused as
    client_refused. This is for the one who knows that it is right. It moves the app's secret and all its hotels, with
    a line in the history of each; a running service takes note by itself. Interrupted, it is simply run again.
    """
    from cloudbeds_auth.settings import base_url

    try:
        origin = base_url(former)
    except ValueError as error:
        raise click.UsageError(f"--from {error}; write scheme and host, like `https://api.cloudbeds.com`") from None
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this sends tokens to another host: say --yes where nobody can be asked")
        here = read_settings().base_url
        click.confirm(f"Send what {name} has from {origin} to {here} from now on?", abort=True, err=True)

    async def ask(vault: TokenVault) -> tuple[int, str]:
        return await vault.apps.move_origin(name, origin), vault.base_url

    moved, now = with_vault(ask)
    if out.as_json:
        out.document({"name": name, "from": origin, "origin": now, "grants": moved})
    else:
        out.line(f"{name} is of {now} now, and so are {moved} grant{'' if moved == 1 else 's'} of it")


@command.command(name="remove", epilog=examples("cloudbeds-auth apps remove aurora --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_output
def remove(out: Output, name: str, yes: bool) -> None:
    """Forget a registration and its secrets.

    Refused while connections live by it: disconnect those first (`connections disconnect ID --forget` where Cloudbeds
    cannot be told any more).
    """
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("this forgets the app's secret: say --yes where nobody can be asked")
        click.confirm(f"Remove {name}?", abort=True, err=True)

    async def ask(vault: TokenVault) -> None:
        await vault.apps.remove(name)

    with_vault(ask)
    if out.as_json:
        out.document({"name": name, "removed": True})
    else:
        out.line(f"{name} is removed")


def _asked_id(out: Output, uri: str) -> str:
    """What to enter at Cloudbeds, then the client id that it shows."""
    if not sys.stdin.isatty():
        raise click.UsageError("no client id, and nobody can be asked here: say --client-id")
    setup.instructions(out, uri)
    return str(click.prompt("client id", err=True)).strip()


def _usual_uri(name: str) -> str:
    from cloudbeds_auth.settings import redirect_uri_of

    return redirect_uri_of(read_settings(), name)


def _secrets(app: App) -> str:
    """How many there are, for people."""
    return ("none that opens", "current", "current and previous")[len(app.secrets)]


def _row(app: App) -> tuple[str, ...]:
    added = stamp(app.created_at) or "in the settings"
    return app.id, app.level, app.client_id, app.redirect_uri, app.issuer or "", _secrets(app), added


def _show(out: Output, app: App, done: str) -> None:
    if out.as_json:
        out.document(app_document(app))
        return
    out.line(done)
    fields = [
        ("app", app.id), ("level", app.level), ("client id", app.client_id), ("redirect URI", app.redirect_uri),
        ("scopes", " ".join(app.scopes)), ("credential", app.credential.value), ("origin", app.issuer or ""),
        ("secrets", _secrets(app)),
        ("added", stamp(app.created_at)), ("secret reset", stamp(app.rotated_at)),
    ]  # fmt: skip
    out.fields([(name, value) for name, value in fields if value])
