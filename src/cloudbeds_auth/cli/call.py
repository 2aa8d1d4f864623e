"""`call`: one protected call to Cloudbeds for a connection, its token healed on the way."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from cloudbeds_auth.cli.commands import examples, with_output
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.vaults import with_vault

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Answer(Protocol):
    """What is read of an HTTP response."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        ...

    @property
    def content(self) -> bytes:
        """The whole body."""
        ...


def named_values(context: click.Context, option: click.Parameter, given: Sequence[str]) -> list[tuple[str, str]]:
    """`k=v` options as pairs, in their order, repeats kept."""
    split = [one.partition("=") for one in given]
    for name, joint, _ in split:
        if not name or not joint:
            raise click.BadParameter("expected NAME=VALUE", context, option)
    return [(name, value) for name, _, value in split]


def method_and_path(context: click.Context, argument: click.Parameter, given: Sequence[str]) -> tuple[str | None, str]:
    """One word is the path, two are the method and the path."""
    method, path = (given[0].upper(), given[1]) if len(given) == 2 else (None, given[0])
    if len(given) > 2 or (method is None and path.upper() in METHODS):
        raise click.BadParameter("expected [METHOD] PATH", context, argument)
    if method is not None and method not in METHODS:
        raise click.BadParameter(f"{given[0]!r} is not one of {', '.join(METHODS)}", context, argument)
    return method, path


def json_value(context: click.Context, option: click.Parameter, given: str | None) -> object:
    """A JSON text, or `@file` with one."""
    if given is None:
        return None
    try:
        found: object = json.loads(Path(given[1:]).read_text("utf-8") if given.startswith("@") else given)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # as it will be sent
    except OSError as error:
        raise click.BadParameter(f"cannot read {given[1:]}: {error.strerror}", context, option) from None
    except UnicodeError:
        raise click.BadParameter("holds something that is no text", context, option) from None
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", context, option) from None
    except RecursionError:
        raise click.BadParameter("nested too deeply", context, option) from None
    return found


@click.command(
    name="call",
    short_help="Make one protected call and print its body.",
    epilog=examples(
        "cloudbeds-auth call con_01J... userinfo",
        "cloudbeds-auth call 100001 GET /api/v1.3/getReservations --query status=confirmed",
        "cloudbeds-auth call 100001 PUT putReservation --form reservationID=123 --form status=confirmed",
        "cloudbeds-auth call 100001 PATCH patchRate --json-body @rates.json",
    ),
)
@click.argument("connection", metavar="ID")
@click.argument("what", nargs=-1, required=True, metavar="[METHOD] PATH", callback=method_and_path)
@click.option(
    "--query", multiple=True, callback=named_values, metavar="NAME=VALUE", help="Query parameter; repeatable."
)
@click.option("--form", multiple=True, callback=named_values, metavar="NAME=VALUE", help="Form field.")
@click.option("--json-body", callback=json_value, metavar="JSON|@FILE", help="A JSON body.")
@with_output
def command(
    out: Output,
    connection: str,
    what: tuple[str | None, str],
    query: list[tuple[str, str]],
    form: list[tuple[str, str]],
    json_body: object,
) -> int:
    """Make one protected call and print its body; exit status 1 when Cloudbeds answers 400 or above.

    ID is a connection id (con_...) or a property id. METHOD is GET, POST, PUT, PATCH or DELETE; GET where none is
    given. --query and --form may be repeated. A PATH without a leading slash is a method of the API version in the
    settings: `userinfo` means `/api/v1.3/userinfo`.
    """
    method, path = what
    if form and json_body is not None:
        raise click.UsageError("--form and --json-body exclude each other")
    if method is None and (form or json_body is not None):
        raise click.UsageError("name the METHOD of a call with a body, like POST")

    async def ask(vault: TokenVault) -> Answer:
        found = await vault.resolve(connection)
        return await vault.call(
            found, method or "GET", path, params=query or None, data=_fields(form) if form else None, json=json_body
        )

    answer = with_vault(ask)
    show(out, answer)
    if answer.status_code >= 400:
        out.note(f"Cloudbeds answered {answer.status_code}")
    return 1 if answer.status_code >= 400 else 0


def _fields(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Form fields by name; a repeated name keeps all its values."""
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if name in fields:
            before = fields[name]
            fields[name] = [*(before if isinstance(before, list) else [before]), value]
        else:
            fields[name] = value
    return fields


def show(out: Output, answer: Answer) -> None:
    """The body: JSON indented, text as it is, anything else byte for byte."""
    try:
        body: object = json.loads(answer.content)
        if out.as_json:
            _document(out, answer, body)
        else:
            out.line(json.dumps(body, indent=2, ensure_ascii=not out.unicode))
    except (ValueError, RecursionError):  # no JSON, or nested too deeply to be read or written
        _show_raw(out, answer)


def _document(out: Output, answer: Answer, body: object) -> None:
    out.document({"status": answer.status_code, "body": body})


def _show_raw(out: Output, answer: Answer) -> None:
    content = answer.content
    if out.as_json:
        _document(out, answer, content.decode("utf-8", "replace"))
    elif not sys.stdout.isatty():
        out.body(content)
    elif content:
        out.line(content.decode("utf-8", "replace"))
