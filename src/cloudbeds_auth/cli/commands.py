"""What all commands share: the `--json` switch, the look of help texts, a connection as people read it."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from cloudbeds_auth import errors
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.documents import stamp
from cloudbeds_auth.rules.inputs import checked_seconds, checked_whole
from cloudbeds_auth.rules.lifecycle import LABELS, State
from cloudbeds_auth.rules.model import Connection, CredentialKind

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


class Checked(click.ParamType):  # type: ignore[type-arg]  # generic since 8.4 only
    """A number that `rules.inputs` judges, as it does those of HTTP and Python; a wrong one is a usage error."""

    def __init__(self, name: str, read: Callable[[str], float], check: Callable[[Any], float]) -> None:
        self.name = name
        self._read = read
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that was written."""
        try:
            return self._check(self._read(value))
        except ValueError:
            self.fail(f"{str(value)[:40]!r} is no {self.name}", param, ctx)
        except errors.InvalidRequest as error:
            self.fail(error.detail, param, ctx)


def seconds(least: float = 0.0) -> Checked:
    """A duration."""
    return Checked("number of seconds", float, partial(checked_seconds, "it", least=least))


GENERATION = Checked("whole number", int, partial(checked_whole, "it"))


def need_server() -> None:
    """Raises ConfigurationError where the `server` extra is not installed; asked before anything heavy is imported."""
    missing = [name for name in ("aiohttp", "fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.ConfigurationError(
            f"this command needs {', '.join(missing)}, which the library alone does not",
            next_step="pip install 'cloudbeds-auth[server]'",
        )


def examples(*lines: str) -> str:
    """An epilog of examples that Click leaves as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def connection_fields(connection: Connection) -> list[tuple[str, str]]:
    """A connection as people read it; what is not known is left out."""
    user = connection.authorizing_user
    fields = [
        ("connection", connection.id),
        ("state", _state(connection.state)),
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
        ("problem", connection.problem),
        ("next step", connection.next_step),
        ("connect link", connection.connect_url),
    ]
    return [(name, value) for name, value in fields if value]


def _state(state: State) -> str:
    """What people read, and the word for programs where it is another one."""
    label = LABELS[state]
    return label if label == state.value else f"{label} ({state.value})"
