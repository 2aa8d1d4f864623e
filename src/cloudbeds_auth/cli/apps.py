"""`apps`: registrations at Cloudbeds beside the one in the settings, and the origin that they belong to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from cloudbeds_auth.cli import setup
from cloudbeds_auth.cli.commands import READING, command, confirm, group, read_settings, takes_yes, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.secret_prompts import SecretInput
from cloudbeds_auth.rules.documents import app_document, stamp
from cloudbeds_auth.rules.model import App, Link

HEADINGS = ("app", "level", "client id", "redirect URI", "origin", "secrets", "added")
CLIENT_SECRET: Final = SecretInput(
    "client secret", "--secret-file", "CLOUDBEDS_AUTH_APP_SECRET", ("--client-secret", "--secret")
)


@group(
    "apps",
    "cloudbeds-auth apps",
    "cloudbeds-auth apps add aurora",
    "cloudbeds-auth connect --app aurora",
    "cloudbeds-auth apps rotate-secret aurora",
    short_help="List, add, reset, move and remove registrations at Cloudbeds.",
    default="list",
)
def apps() -> None:
    """Registrations at Cloudbeds: a property-level hotel has a client id and secret of its own.

    The app in the settings is named default. A running service uses a further one as soon as it is added. Without a
    subcommand, list them.
    """


@command("list", "cloudbeds-auth apps list", "cloudbeds-auth apps list --json", group=apps)
def list_apps(out: Output) -> None:
    """List registrations, without their secrets."""
    with out.working(READING):
        found = with_vault(lambda vault: vault.apps.list())
    out.document({"apps": [app_document(app) for app in found]})
    out.table(HEADINGS, [_row(app) for app in found])


# --- with a secret


@command(
    "add",
    "cloudbeds-auth apps add aurora                              asks for client id and secret",
    "cloudbeds-auth apps add aurora --client-id live1_x --secret-file /run/secrets/aurora",
    "cloudbeds-auth apps add partner-eu --level partner --redirect-uri https://auth.example.com/eu/callback",
    "cloudbeds-auth apps add aurora --link --reference tenant-7  the hotel enters both, and connects",
    group=apps,
)
@click.argument("name")
@click.option("--client-id", metavar="ID", help="The client id.  [default: ask for it]")
@click.option(
    "--level",
    type=click.Choice(["property", "partner"]),
    default="property",
    show_default=True,
    help="Who registered it: one property, or a partner of Cloudbeds.",
)
@click.option("--redirect-uri", metavar="URI", help="As registered.  [default: the one in the settings, then /NAME]")
@click.option("--scopes", metavar="SCOPES", help="Separated by spaces.  [default: those in the settings]")
@click.option(
    "--credential",
    type=click.Choice(["oauth", "api-key"]),
    help="What an approval is exchanged for: OAuth tokens or an API key.  [default: as in the settings]",
)
@click.option("--link", is_flag=True, help="Print a one-time link instead, where the hotel enters id and secret.")
@click.option("--reference", help="With --link: your own id for the hotel that connects.")
@CLIENT_SECRET.taken
def add(
    out: Output,
    name: str,
    client_id: str | None,
    level: str,
    redirect_uri: str | None,
    scopes: str | None,
    credential: str | None,
    link: bool,
    reference: str | None,
    secret_file: Path | None,
) -> None:
    """Register a further client id under NAME.

    The secret is read from a hidden prompt, from --secret-file, or from CLOUDBEDS_AUTH_APP_SECRET. It is never an
    argument, and is never printed. With --link, the hotel enters client id and secret on a page of the service, and the
    same link then connects it.
    """
    listed = None if scopes is None else tuple(scopes.split())
    parts: dict[str, Any] = {"level": level, "redirect_uri": redirect_uri, "scopes": listed, "credential": credential}
    if link:
        if client_id is not None or secret_file is not None:
            raise click.UsageError("--link takes neither a client id nor a secret: the hotel enters them")
        _print_link(out, with_vault(lambda vault: vault.apps.create_link(name, reference=reference, **parts)))
        return
    if reference is not None:
        raise click.UsageError("--reference needs --link; without it, give --reference to `cloudbeds-auth connect`")
    entered = _asked_id(out, redirect_uri or _usual_uri(name)) if client_id is None else client_id
    secret = CLIENT_SECRET.read(out, secret_file)
    app = with_vault(lambda vault: vault.apps.add(name, client_id=entered, client_secret=secret, **parts))
    _show(out, app, "added")
    out.note(f"register exactly this redirect URI at Cloudbeds, then run `cloudbeds-auth connect --app {name}`")


def _print_link(out: Output, link: Link) -> None:
    expires_at = stamp(link.expires_at)
    out.document({"app_url": link.url, "expires_at": expires_at})
    out.line(link.url)
    out.hint(f"for one hotel, until {expires_at}; it needs a running `cloudbeds-auth serve`, and connects the hotel")


def _asked_id(out: Output, uri: str) -> str:
    """Show what to enter at Cloudbeds, then ask for the client id that Cloudbeds shows."""
    if not sys.stdin.isatty():
        raise click.UsageError("no client id, and there is no terminal to ask for one: give --client-id")
    setup.instructions(out, uri)
    return str(click.prompt("client id", err=True)).strip()


def _usual_uri(name: str) -> str:
    from cloudbeds_auth.settings import redirect_uri_of

    return redirect_uri_of(read_settings(), name)


@command(
    "rotate-secret",
    "cloudbeds-auth apps rotate-secret aurora                      asks for the new secret",
    "pass show aurora | cloudbeds-auth apps rotate-secret aurora --secret-file -",
    "cloudbeds-auth apps rotate-secret aurora --drop-previous      once Cloudbeds accepts the new one",
    group=apps,
)
@click.argument("name")
@click.option("--drop-previous", is_flag=True, help="Only forget the secret from before the last reset.")
@CLIENT_SECRET.taken
def rotate_secret(out: Output, name: str, drop_previous: bool, secret_file: Path | None) -> None:
    """Enter the new secret that Cloudbeds shows after a reset.

    From now on it is tried first, by running services, too. The former secret is kept as a fallback until the next
    reset or --drop-previous, so it does not matter when Cloudbeds ends it. For ways to enter a secret, see `apps add`.
    """
    if not drop_previous:
        secret = CLIENT_SECRET.read(out, secret_file)
        _show(out, with_vault(lambda vault: vault.apps.rotate_secret(name, secret)), "the new secret is used")
        return
    if secret_file is not None:
        raise click.UsageError("--drop-previous takes no secret: reset first, drop once Cloudbeds accepts the new one")
    _show(out, with_vault(lambda vault: vault.apps.drop_previous_secret(name)), "the former secret is forgotten")


# --- without


@command(
    "move-origin",
    "cloudbeds-auth apps move-origin default --from https://hotels.cloudbeds-stage.com",
    "cloudbeds-auth apps move-origin aurora --from https://hotels.cloudbeds-stage.com --yes",
    group=apps,
)
@click.argument("name")
@click.option("--from", "former", metavar="ORIGIN", required=True, help="The former scheme and host.")
@takes_yes
def move_origin(out: Output, name: str, former: str, yes: bool) -> None:
    """Confirm that Cloudbeds moved: credentials from ORIGIN are sent to CLOUDBEDS_BASE_URL from now on.

    Tokens and secrets are sent only to the origin that they came from, so a wrong CLOUDBEDS_BASE_URL is refused as
    client_refused. Use this only if you know that the new one is right. It moves the app's secret and all its hotels,
    and records that in each history; a running service needs no restart. If interrupted, run it again.
    """
    from cloudbeds_auth.settings import base_url

    try:
        origin = base_url(former)
    except ValueError as error:
        raise click.UsageError(f"--from {error}; write scheme and host, like `https://api.cloudbeds.com`") from None
    here = read_settings().base_url
    refusal = "this sends tokens to another host"
    confirm(f"Send the credentials of {name} that came from {origin} to {here} from now on?", refusal, yes=yes)
    with out.working("moving hotels"):
        moved = with_vault(lambda vault: vault.apps.move_origin(name, origin))
    out.document({"name": name, "from": origin, "origin": here, "grants": moved})
    out.line(f"{name} and {moved} grant{'' if moved == 1 else 's'} of it now belong to {here}")


@command("remove", "cloudbeds-auth apps remove aurora --yes", group=apps)
@click.argument("name")
@takes_yes
def remove(out: Output, name: str, yes: bool) -> None:
    """Forget a registration and its secrets.

    Refused while hotels are connected with it: disconnect those first (`connections disconnect ID --forget` if
    Cloudbeds can no longer be reached).
    """
    confirm(f"Remove {name}?", "this deletes the app's secret", yes=yes)
    with_vault(lambda vault: vault.apps.remove(name))
    out.document({"name": name, "removed": True})
    out.line(f"{name} was removed")


def _secrets(app: App) -> str:
    """Which secrets there are, in words."""
    if not app.client_id:
        return "none"
    return ("none that opens", "current", "current and previous")[len(app.secrets)]


def _row(app: App) -> tuple[str, ...]:
    added = stamp(app.created_at) or "in the settings"
    return app.id, app.level, app.client_id, app.redirect_uri, app.issuer or "", _secrets(app), added


def _show(out: Output, app: App, done: str) -> None:
    out.document(app_document(app))
    out.line(done)
    out.fields([
        ("app", app.id), ("level", app.level), ("client id", app.client_id), ("redirect URI", app.redirect_uri),
        ("scopes", " ".join(app.scopes)), ("credential", app.credential.value), ("origin", app.issuer),
        ("secrets", _secrets(app)),
        ("added", stamp(app.created_at)), ("secret reset", stamp(app.rotated_at)),
    ])  # fmt: skip
