"""The settings as a command reads them: it says once which of them are not the environment's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloudbeds_auth.cli import output

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Need, Settings

TOLD = "cloudbeds_auth.settings_told"


def read_settings(need: Need | None = None) -> Settings:
    """Those of this process; None: the client id and secret are needed. Raises ConfigurationError."""
    from cloudbeds_auth.settings import Need, load_from_environment

    found = load_from_environment(need or Need.APP)
    tell_source(found)
    return found


def tell_source(settings: Settings) -> None:
    """From which file which settings came, in one line on standard error: names, never values."""
    context = click.get_current_context(silent=True)
    told = {} if context is None else context.meta
    if settings.env_file is not None and TOLD not in told:
        told[TOLD] = True
        output.complain(f"settings from {settings.env_file}: {', '.join(settings.from_env_file)}")
