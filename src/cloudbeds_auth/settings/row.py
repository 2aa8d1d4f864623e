"""A row of the table of settings: what describes a setting besides its type and default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from cloudbeds_auth.settings.table import Settings


class Need(Enum):
    """Which settings are required."""

    NOTHING = "none: doctor and setup start without any"
    APP = "the client id and secret, or a database that holds API keys only"


@dataclass(frozen=True, slots=True)
class Setting:
    """What describes a setting besides its type and default. `write` completes "write …"; `means` is shown on the page.

    `secret`: the value may also be given as the path of a file, in `NAME_FILE`. `default`: in words, if it is computed.
    `needed`: why the setting is required, else None. `drawn`: the parts of its value that should be random.
    """

    name: str
    write: str
    means: str
    secret: bool = False
    default: str = ""
    needed: Callable[[Settings, Need], str | None] = lambda settings, need: None
    drawn: Callable[[Any], Iterable[str]] = lambda value: ()

    @property
    def file_name(self) -> str:
        """The variable that names a file with the value."""
        return f"{self.name}_FILE"


@cache
def rows(model: type[BaseModel]) -> Mapping[str, Setting]:
    """The rows by attribute, in their order."""
    return {
        name: found
        for name, field in model.model_fields.items()
        for found in field.metadata
        if isinstance(found, Setting)
    }
