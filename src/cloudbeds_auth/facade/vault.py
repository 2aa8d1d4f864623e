"""The vault's life: opened, used, closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cloudbeds_auth.background import Background
from cloudbeds_auth.facade.connecting import Connecting
from cloudbeds_auth.facade.operating import Operating
from cloudbeds_auth.facade.using import Using
from cloudbeds_auth.ports.observer import Observer
from cloudbeds_auth.runtime import Engine, build
from cloudbeds_auth.settings import Settings, load_from_environment


class TokenVault(Connecting, Operating, Using):
    """Hotels' tokens: exchanged, sealed, refreshed, lent out.

        async with TokenVault.open() as vault:
            token = await vault.access_token(connection_id)

    Every method raises subclasses of `cloudbeds_auth.Error` only; `diagnosis()` on them says what to do. After `aclose`
    that is VaultClosed; a call that was under way then may raise it, too, and what it began is finished.
    """

    def __init__(self, engine: Engine, *, upkeep: bool = False) -> None:
        self._open: Engine | None = engine
        self._settings = engine.settings
        self._loop = asyncio.get_running_loop()
        self._background = Background(engine, upkeep=upkeep)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: Settings | None = None,
        *,
        observers: Sequence[Observer] = (),
        reread: Callable[[], Settings] | None = None,
        upkeep: bool = False,
    ) -> AsyncIterator[TokenVault]:
        """Open the vault; settings from the environment and `.env` unless given. Raises ConfigurationError.

        `reread` is asked for the settings again when the client secret is refused; the environment's, by default,
        where the settings came from there.

        `upkeep`: while it is open, grants are refreshed before they expire and idle ones are kept alive; a program that
        runs for long opens with it, beside others that do, too. Without it a grant is refreshed when somebody asks.

        On leaving, a running refresh finishes and commits before the database closes.
        """
        if settings is None:
            settings, reread = load_from_environment(), reread or load_from_environment
        vault = cls(await build(settings, observers, reread), upkeep=upkeep)
        vault._background.start()
        try:
            yield vault
        finally:
            await vault.aclose()

    async def aclose(self) -> None:
        """Let what runs finish and commit, then close; nothing new is begun."""
        engine, self._open = self._open, None
        if engine is None:
            return
        await self._background.stop()
        await engine.drain()
        if self._http is not None:
            await self._http.aclose()
        await engine.close()
