"""`call`: one protected call to Cloudbeds for a connection, healing a 401; and `access-token`: the bare token, for
scripts that make such calls themselves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli.commands import ASKING, GENERATION, command, seconds, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.documents import access_token_document

if TYPE_CHECKING:
    import httpx2

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def named_values(context: click.Context, option: click.Parameter, given: Sequence[str]) -> list[tuple[str, str]]:
    """`NAME=VALUE` options as pairs, in order, keeping repeats."""
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
    """JSON text, or `@file` for a file that contains it."""
    if given is None:
        return None
    try:
        found: object = json.loads(Path(given[1:]).read_text("utf-8") if given.startswith("@") else given)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # as it will be sent
    except OSError as error:
        raise click.BadParameter(f"cannot read {given[1:]}: {error.strerror}", context, option) from None
    except UnicodeError:
        raise click.BadParameter("contains something that is not text", context, option) from None
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", context, option) from None
    except RecursionError:
        raise click.BadParameter("nested too deeply", context, option) from None
    return found


@command(
    "call",
    "cloudbeds-auth call con_01J... userinfo",
    "cloudbeds-auth call 100001 GET /api/v1.3/getReservations --query status=confirmed",
    "cloudbeds-auth call 100001 PUT putReservation --form reservationID=123 --form status=confirmed",
    "cloudbeds-auth call 100001 PATCH patchRate --json-body @rates.json",
    short_help="Make one protected call and print its body.",
)
@click.argument("connection", metavar="ID")
@click.argument("what", nargs=-1, required=True, metavar="[METHOD] PATH", callback=method_and_path)
@click.option(
    "--query", multiple=True, callback=named_values, metavar="NAME=VALUE", help="Query parameter; repeatable."
)
@click.option("--form", multiple=True, callback=named_values, metavar="NAME=VALUE", help="Form field.")
@click.option("--json-body", callback=json_value, metavar="JSON|@FILE", help="A JSON body.")
def call(
    out: Output,
    connection: str,
    what: tuple[str | None, str],
    query: list[tuple[str, str]],
    form: list[tuple[str, str]],
    json_body: object,
) -> int:
    """Make one protected call and print the response body; exit status 1 if Cloudbeds answers 400 or above.

    ID is a connection id (con_...) or a property id. METHOD is GET (the default), POST, PUT, PATCH or DELETE. --query
    and --form may be repeated. A PATH without a leading slash is a method of the API version in the settings:
    `userinfo` means `/api/v1.3/userinfo`.
    """
    method, path = what
    if form and json_body is not None:
        raise click.UsageError("--form and --json-body cannot be combined")
    if method is None and (form or json_body is not None):
        raise click.UsageError("name the METHOD of a call with a body, like POST")
    fields: dict[str, list[str]] = {}
    for name, value in form:
        fields.setdefault(name, []).append(value)
    sent = {"params": query or None, "data": fields or None, "json": json_body}
    with out.working(ASKING):
        answer = with_vault(lambda vault: vault.call(connection, method or "GET", path, **sent))
    _show(out, answer)
    if answer.status_code < 400:
        return 0
    out.note(f"Cloudbeds answered {answer.status_code}")
    return 1


def _show(out: Output, answer: httpx2.Response) -> None:
    """Print the body: JSON indented, text as it is, anything else byte for byte."""
    try:
        body: object = json.loads(answer.content)
        out.document({"status": answer.status_code, "body": body})
        out.line(json.dumps(body, indent=2, ensure_ascii=not out.unicode))
    except (ValueError, RecursionError):  # not JSON, or nested too deeply to be read or written
        text = answer.content.decode("utf-8", "replace")
        out.document({"status": answer.status_code, "body": text})
        if not out.as_json and not sys.stdout.isatty():
            out.body(answer.content)
        elif text:
            out.line(text)


@command(
    "access-token",
    'curl -H "Authorization: Bearer $(cloudbeds-auth access-token con_01J...)" \\',
    "     https://api.cloudbeds.com/api/v1.3/userinfo",
    "cloudbeds-auth access-token 100001 --json                      with expiry and generation",
    "cloudbeds-auth access-token 100001 --rejected-generation 3     after a 401 with that token",
    short_help="Print a connection's access token.",
)
@click.argument("connection", metavar="ID")
@click.option(
    "--min-valid",
    type=seconds(),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the token must still be valid; more than half its lifetime counts as half.",
)
@click.option("--rejected-generation", type=GENERATION, metavar="N", help="The generation of the token that got a 401.")
def access_token(out: Output, connection: str, min_valid: float, rejected_generation: int | None) -> None:
    """Print the access token of a connection, refreshed if necessary.

    ID is a connection id (con_...) or a property id. --json also shows the token's generation, which grows with each
    refresh. After a 401, pass it as --rejected-generation: a higher generation comes with a new token; the same one
    means that the token works and the endpoint itself refuses.
    """
    with out.working(ASKING):
        token = with_vault(lambda vault: vault.access_token(connection, min_valid, rejected=rejected_generation))
    out.document(access_token_document(token))
    out.bare(token.reveal())
