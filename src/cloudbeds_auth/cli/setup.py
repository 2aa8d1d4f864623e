"""`setup`: shows what to enter at Cloudbeds, then writes id and secret to a `.env` that only its owner can read."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.commands import command
from cloudbeds_auth.cli.doctor import examine
from cloudbeds_auth.cli.output import Output

CLIENT_ID, CLIENT_SECRET, REDIRECT_URI = "CLOUDBEDS_CLIENT_ID", "CLOUDBEDS_CLIENT_SECRET", "CLOUDBEDS_REDIRECT_URI"
SECRET_FILE = f"{CLIENT_SECRET}_FILE"
OTHER = {CLIENT_SECRET: SECRET_FILE, SECRET_FILE: CLIENT_SECRET}  # the other spelling of the same variable
INSTRUCTIONS = """\
In Cloudbeds, open Account > Apps & Marketplace > API Credentials > New Credentials (partners: the app's
App Details page), and enter:

  app name          a name that your hotels will recognise on the approval page
  integration type  what your app is; take the closest in the list
  redirect URI      {uri}

The redirect URI must be entered exactly like this. Cloudbeds then shows a client id and a client secret.
"""
PLAIN = re.compile(r"[A-Za-z0-9_./:@%+~-]+")
HEADER = "# Settings of cloudbeds-auth. This file contains the client secret: keep it to yourself.\n"


@command(
    "setup",
    "cloudbeds-auth setup",
    "cloudbeds-auth setup --redirect-uri https://auth.example.com/callback",
    "CLOUDBEDS_CLIENT_ID=... CLOUDBEDS_CLIENT_SECRET=... cloudbeds-auth setup --non-interactive",
    short_help="What to enter at Cloudbeds; stores id and secret.",
)
@click.option("--redirect-uri", metavar="URI", help="Where Cloudbeds sends hotels' browsers back.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write; other lines of an existing file are kept.  [default: .env]",
)
@click.option("--non-interactive", is_flag=True, help="Do not ask: take id and secret from the environment.")
def setup(out: Output, redirect_uri: str | None, path: Path | None, non_interactive: bool) -> int:
    """Show what to enter at Cloudbeds, store client id and secret in .env (0600), then run doctor.

    The secret is read from a hidden prompt. It is never an argument, and is never printed. If
    CLOUDBEDS_CLIENT_SECRET_FILE names a file that contains it, it stays there.
    """
    if not non_interactive and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal: set the variables and give --non-interactive")
    from cloudbeds_auth.settings import env_file

    file, named = env_file() if path is None else (path, True)
    known = _known(file, named)
    uri = _checked_uri(redirect_uri or known.get(REDIRECT_URI, ""))
    instructions(out, uri)
    given = _unattended(known) if non_interactive else _asked(known)
    write(file, {OTHER[name]: None for name in OTHER if name in given} | given | {REDIRECT_URI: uri})
    out.note(f"wrote {file} (only {_reader_of(file)} can read it)")
    return examine(out, path)


def _reader_of(path: Path) -> str:
    """Whose file it is, for people: what root runs keeps the owner of a file that was there."""
    owner = path.stat().st_uid
    if owner == os.geteuid():
        return "you"
    with suppress(KeyError):  # a user without a name
        return f"its owner, {path.owner()},"
    return f"its owner, the user {owner},"


def instructions(out: Output, uri: str) -> None:
    """Show what to enter and where, in the words of Cloudbeds' pages."""
    out.say(INSTRUCTIONS.format(uri=uri))


def _known(path: Path, named: bool) -> dict[str, str]:
    """What the environment and the file contain already; the environment wins, with either spelling of the secret.

    Raises ConfigurationError, also if another user may have written a file that the operator did not name.
    """
    from cloudbeds_auth.settings import written

    names = (CLIENT_ID, CLIENT_SECRET, SECRET_FILE, REDIRECT_URI)
    ours = {name: value for name in names if (value := os.environ.get(name))}
    theirs = written(path, named=named) if path.exists() else {}
    hidden = {*ours, *(OTHER[name] for name in OTHER if name in ours)}
    return ours | {name: value for name in names if name not in hidden and (value := theirs.get(name))}


def _checked_uri(uri: str) -> str:
    """The redirect URI, checked as a setting; the default if it is empty. Raises ConfigurationError."""
    from cloudbeds_auth.settings import Need, load

    return load({REDIRECT_URI: uri}, None, need=Need.NOTHING).redirect_uri


def _unattended(known: Mapping[str, str]) -> dict[str, str]:
    secret = SECRET_FILE if SECRET_FILE in known else CLIENT_SECRET
    missing = tuple(f"{name}: is not set" for name in (CLIENT_ID, secret) if name not in known)
    if missing:
        raise errors.ConfigurationError(problems=missing, next_step="set them in the environment, then run this again")
    return {name: known[name] for name in (CLIENT_ID, secret)}


def _asked(known: Mapping[str, str]) -> dict[str, str]:
    client_id = click.prompt("client id", default=known.get(CLIENT_ID), err=True).strip()
    if SECRET_FILE in known:
        return {CLIENT_ID: client_id, SECRET_FILE: known[SECRET_FILE]}
    present = known.get(CLIENT_SECRET)
    if present is None:
        secret = click.prompt("client secret", hide_input=True, err=True)
    else:
        secret = click.prompt(
            "client secret (Enter keeps the current one)", default="", show_default=False, hide_input=True, err=True
        )
    return {CLIENT_ID: client_id, CLIENT_SECRET: secret.strip() or present or ""}


# --- changing a `.env` file: some variables are set, all other lines are kept


def write(path: Path, values: Mapping[str, str | None]) -> None:
    """Set variables in the file, and remove those that are None, atomically; only its owner can read the file. Root
    leaves it to the owner that it had: a service may read it.

    Raises ConfigurationError.
    """
    from cloudbeds_auth.os_files import write_private

    target = path.resolve()  # so that a symbolic link is kept
    text = changed(read(target), values)
    try:
        write_private(target, text.encode(), exclusive=False, beside=target)
    except OSError as error:
        raise errors.ConfigurationError(
            f"{path} cannot be written: {error.strerror}", next_step="name another file with --file"
        ) from None


def read(path: Path) -> str:
    """The file's text; empty if there is no file yet. Raises ConfigurationError."""
    try:
        return path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigurationError(
            f"{path} cannot be read: {error}", next_step="make it a readable text file, or name another with --file"
        ) from None


def changed(text: str, values: Mapping[str, str | None]) -> str:
    """The text with these variables set, in place if they are there, else at the end.

    Duplicates are removed, and so are variables that are None.
    """
    from dotenv.parser import parse_stream

    left = {name: value for name, value in values.items() if value is not None}
    parts: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.key not in values:
            parts.append(binding.original.string)
        elif binding.key in left:
            # The text of a binding may begin with the blank lines before it.
            blank = re.match(r"\s*", binding.original.string)
            parts.append((blank.group() if blank else "") + _line(binding.key, left.pop(binding.key)))
    kept = "".join(parts) or HEADER
    ended = kept if kept.endswith("\n") else kept + "\n"
    return ended + "".join(_line(name, value) for name, value in left.items())


def _line(name: str, value: str) -> str:
    if PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"
