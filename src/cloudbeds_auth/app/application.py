"""What production opens the service with: the vault, the upstream client, the metrics. Named here only."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from cloudbeds_auth.app.service import Opener, Parts
from cloudbeds_auth.rules.happenings import Happening

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings


def open_parts(settings: Settings | None) -> Opener:
    """An opener for `Service`; None: the settings of the environment, read when it opens.

    The vault and its drivers are imported then: they take longer to import than the rest of the service.
    """

    async def opener(stack: AsyncExitStack) -> Parts:
        from cloudbeds_auth import runtime
        from cloudbeds_auth.settings import load_from_environment
        from cloudbeds_auth.vault import TokenVault

        metrics = runtime.metrics()
        vault = await stack.enter_async_context(
            TokenVault.open(settings, observers=[metrics], reread=load_from_environment, upkeep=True)
        )
        engine = vault.engine
        observer = engine.world.observer
        runtime.configure_logs(vault.settings)
        if vault.settings.env_file is not None:
            names = ", ".join(vault.settings.from_env_file)
            observer.happened(Happening.SETTINGS_FROM_FILE, file=str(vault.settings.env_file), variables=names)
        if engine.admin_token_file is not None:
            observer.happened(Happening.ADMIN_TOKEN, file=str(engine.admin_token_file))  # where it is, never what it is
        upstream = runtime.upstream(vault.settings)
        stack.push_async_callback(upstream.aclose)
        return Parts(vault, metrics.render, upstream)

    return opener
