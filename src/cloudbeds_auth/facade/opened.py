"""What a vault was opened with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.ports.entropy import Entropy
from cloudbeds_auth.ports.observer import Observer
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.runtime import Engine
from cloudbeds_auth.settings import Settings

if TYPE_CHECKING:
    from cloudbeds_auth.engine.apps import Apps


class Opened:
    """The engine beneath, until the vault is closed, and what it was made from."""

    _open: Engine | None
    _loop: asyncio.AbstractEventLoop
    _settings: Settings

    @property
    def _engine(self) -> Engine:
        """For every method: raises VaultClosed."""
        if self._open is None:
            raise VaultClosed
        return self._open

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._settings

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor: the only origin that `auth` serves."""
        return self._settings.base_url

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
