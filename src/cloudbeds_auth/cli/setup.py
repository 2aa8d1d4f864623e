"""`setup`: what to enter at Cloudbeds, then id and secret into a `.env` that only its owner can read."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli import doctor, env_file
from cloudbeds_auth.cli.commands import examples, with_output
from cloudbeds_auth.cli.output import Output

CLIENT_ID, CLIENT_SECRET, REDIRECT_URI = "CLOUDBEDS_CLIENT_ID", "CLOUDBEDS_CLIENT_SECRET", "CLOUDBEDS_REDIRECT_URI"


@click.command(
    name="setup",
    short_help="What to enter at Cloudbeds; stores id and secret.",
    epilog=examples(
        "cloudbeds-auth setup",
        "cloudbeds-auth setup --redirect-uri https://auth.example.com/callback",
        "CLOUDBEDS_CLIENT_ID=... CLOUDBEDS_CLIENT_SECRET=... cloudbeds-auth setup --non-interactive",
    ),
)
@click.option("--redirect-uri", metavar="URI", help="Where Cloudbeds sends hotels back to.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write. Other lines of an existing file stay.  [default: .env]",
)
@click.option("--non-interactive", is_flag=True, help="Ask nothing: take id and secret from the environment.")
@with_output
def command(out: Output, redirect_uri: str | None, path: Path | None, non_interactive: bool) -> int:
    """Say what to enter at Cloudbeds, store client id and secret in .env (0600), then run doctor.

    The secret is asked for without showing it, is never an argument, and is never printed.
    """
    if not non_interactive and not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here: set the variables and say --non-interactive")
    from cloudbeds_auth.settings import env_file as of_settings

    path, named = (path, True) if path is not None else of_settings()
    known = _known(path, named)
    uri = _checked_uri(redirect_uri or known.get(REDIRECT_URI, ""))
    instructions(out, uri)
    given = _unattended(known) if non_interactive else _asked(known)
    env_file.write(path, {CLIENT_ID: given[0], CLIENT_SECRET: given[1], REDIRECT_URI: uri})
    out.note(f"wrote {path} (only you can read it)")
    return doctor.examine(out, path, named)


def instructions(out: Output, uri: str) -> None:
    """What to enter, and where, in Cloudbeds' own words."""
    say = out.note if out.as_json else out.line
    say("In Cloudbeds, open Account > Apps & Marketplace > API Credentials > New Credentials (partners: the app's")
    say("App Details page), and enter:")
    say("")
    say("  app name          a name that your hotels will recognise on the approval page")
    say("  integration type  what your app is; take the closest in the list")
    say(f"  redirect URI      {uri}")
    say("")
    say("The redirect URI must be entered exactly like this. Cloudbeds then shows a client id and a client secret.")
    say("")


def _known(path: Path, named: bool) -> dict[str, str]:
    """What the environment and the file say already; the environment wins.

    Raises ConfigurationError, also where another user may have written a file that nobody named.
    """
    from cloudbeds_auth.settings import written

    both = {**written(path, named=named), **os.environ} if path.exists() else dict(os.environ)
    return {name: value for name in (CLIENT_ID, CLIENT_SECRET, REDIRECT_URI) if (value := both.get(name))}


def _checked_uri(uri: str) -> str:
    """The redirect URI as the settings take it; their default where it is empty. Raises ConfigurationError."""
    from cloudbeds_auth.settings import Need, load

    return load({REDIRECT_URI: uri}, None, need=Need.NOTHING).redirect_uri


def _unattended(known: Mapping[str, str]) -> tuple[str, str]:
    missing = tuple(f"{name}: is not set" for name in (CLIENT_ID, CLIENT_SECRET) if name not in known)
    if missing:
        raise errors.ConfigurationError(problems=missing, next_step="set them in the environment, then run this again")
    return known[CLIENT_ID], known[CLIENT_SECRET]


def _asked(known: Mapping[str, str]) -> tuple[str, str]:
    client_id = click.prompt("client id", default=known.get(CLIENT_ID), err=True)
    if CLIENT_SECRET not in known:
        return client_id.strip(), click.prompt("client secret", hide_input=True, err=True).strip()
    kept = click.prompt(
        "client secret (Enter keeps the present one)", default="", show_default=False, hide_input=True, err=True
    )
    return client_id.strip(), kept.strip() or known[CLIENT_SECRET]
