"""What a vault was opened with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from cloudbeds_auth.compose import Engine
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.ports.entropy import Entropy
from cloudbeds_auth.ports.observer import Observer
from cloudbeds_auth.settings import Settings

if TYPE_CHECKING:
    from cloudbeds_auth.vault.apps import Apps


class Opened:
    """The engine beneath, and what it was made from."""

    _engine: Engine
    _loop: asyncio.AbstractEventLoop

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._engine.settings

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor: the only origin that `auth` serves."""
        return self._engine.settings.base_url

    @property
    def admin_token(self) -> Secret:
        """The service's admin token."""
        return self._engine.admin_token

    @property
    def admin_token_file(self) -> Path | None:
        """Where the admin token rests; None when the settings name it."""
        return self._engine.admin_token_file

    @property
    def clock(self) -> Clock:
        """The clock that everything here goes by."""
        return self._engine.world.clock

    @property
    def entropy(self) -> Entropy:
        """The dice that everything here is drawn from."""
        return self._engine.world.entropy

    @property
    def observer(self) -> Observer:
        """Where happenings are told."""
        return self._engine.world.observer

    @property
    def apps(self) -> Apps:
        """Registrations at Cloudbeds: the settings' own, and further ones that are added here."""
        return self._engine.apps
