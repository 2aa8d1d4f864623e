"""What is wrong with values, in our words: pydantic's findings without its noise, and without the values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.settings.row import Setting, rows

if TYPE_CHECKING:
    from pydantic import ValidationError

    from cloudbeds_auth.settings.table import Settings

ALIKE = 0.75  # how close an unknown name must come to a known one to be taken for a typo
RESULTING = "default_factory_not_called"  # pydantic's type of a problem that another one leads to
OURS = {
    "byte_size_unit": "has an unknown unit",  # pydantic's words repeat the unit: of a secret in the wrong place, a part
    "extra_forbidden": "is not a setting",
}


def found_in(error: ValidationError) -> dict[str, str]:
    """What is wrong, by attribute: the first problem of each."""
    found: dict[str, str] = {}
    for one in error.errors(include_url=False):
        if one["type"] != RESULTING:
            attribute = str(next(iter(one["loc"]), "settings"))  # nowhere: something else was given than settings
            found.setdefault(attribute, OURS.get(one["type"]) or worded(one["msg"]))
    return found


def worded(message: str) -> str:
    """A validator's message as the end of a sentence."""
    what = message.removeprefix("Value error, ")
    return f"{what[:1].lower()}{what[1:]}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)), None)


def problem(name: str, row: Setting, what: str, misspelt: str | None = None) -> str:
    """A problem as people read it: the setting, what is wrong, and what to write."""
    rename = f"rename {misspelt}, or " if misspelt else ""
    return f"{name}: {what}; {rename}write {row.write}"


def in_python(error: ValidationError, model: type[Settings]) -> ConfigurationError:
    """The error for settings that a program made: every problem, each with the name of its argument."""
    problems = tuple(_argument(name, what, model) for name, what in found_in(error).items())
    return ConfigurationError(
        problems=problems, next_step="correct what is named above in the arguments of Settings(…)"
    )


def _argument(name: str, what: str, model: type[Settings]) -> str:
    table = rows(model)
    if name in table:
        return problem(name, table[name], what)
    meant = None if name in model.model_fields else closest(name, table)
    return f"{name}: {what}; did you mean {meant}?" if meant else f"{name}: {what}"
