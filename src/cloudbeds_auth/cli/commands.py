"""What all commands share: the `--json` switch, the look of help texts, connections and moments as text."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

import click

from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.core.lifecycle import LABELS, State
from cloudbeds_auth.core.nouns import Connection

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

P = ParamSpec("P")
R = TypeVar("R")


def with_output(command: Callable[Concatenate[Output, P], R]) -> Callable[P, R]:
    """Give a command `--json`, and an Output that obeys it as its first argument."""

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        as_json = bool(kwargs.pop("as_json", False))
        return command(Output(as_json=as_json), *args, **kwargs)

    wrapped = functools.update_wrapper(run, command)
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")(wrapped)


def examples(*lines: str) -> str:
    """An epilog of examples that Click leaves as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def text_of(at: datetime | None) -> str | None:
    """A moment as the public contract writes it."""
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def connection_document(connection: Connection) -> dict[str, object]:
    """A connection literally as the public contract shows it; there is no token in it."""
    user = connection.authorizing_user
    return {
        "id": connection.id,
        "state": connection.state.value,
        "app": connection.app,
        "reference": connection.reference,
        "credential": connection.credential,
        "property_ids": list(connection.property_ids),
        "authorizing_user": {"id": user.id, "name": user.name, "email": user.email} if user else None,
        "scopes": list(connection.scopes),
        "generation": connection.generation,
        "connected_at": text_of(connection.connected_at),
        "expires_at": text_of(connection.expires_at),
        "refreshed_at": text_of(connection.refreshed_at),
        "used_at": text_of(connection.used_at),
        "problem": connection.problem,
        "next_step": connection.next_step,
        "connect_url": connection.connect_url,
    }


def connection_fields(connection: Connection) -> list[tuple[str, str]]:
    """A connection as people read it; what is not known is left out."""
    user = connection.authorizing_user
    fields = [
        ("connection", connection.id),
        ("state", _state(connection.state)),
        ("app", connection.app),
        ("reference", connection.reference),
        ("properties", ", ".join(connection.property_ids)),
        ("approved by", f"{user.name} <{user.email}>" if user else None),
        ("scopes", " ".join(connection.scopes)),
        ("generation", None if connection.generation is None else str(connection.generation)),
        ("connected", text_of(connection.connected_at)),
        ("token expires", text_of(connection.expires_at)),
        ("refreshed", text_of(connection.refreshed_at)),
        ("last used", text_of(connection.used_at)),
        ("problem", connection.problem),
        ("next step", connection.next_step),
        ("connect link", connection.connect_url),
    ]
    return [(name, value) for name, value in fields if value]


def _state(state: State) -> str:
    """What people read, and the word for programs where it is another one."""
    label = LABELS[state]
    return label if label == state.value else f"{label} ({state.value})"
