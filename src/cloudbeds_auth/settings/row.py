"""A row of the table of settings: what a setting is besides its type and default."""

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
    """What must be there."""

    NOTHING = "doctor and setup start without any"
    APP = "the client id and secret are required, or a database of API keys alone"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a setting is besides its type and default. `write` completes "write …"; `means` is a sentence of the page.

    `secret`: it may also come as the path of a file, in `NAME_FILE`. `default`: in words, where it is computed.
    `needed`: why it has to be set, else None. `drawn`: what in its value should have been drawn by chance.
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
