"""What production opens the service with: the vault, the upstream client, the metrics. Named here only."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast

from cloudbeds_auth.app.contracts import Settings
from cloudbeds_auth.app.service import Opener, Parts
from cloudbeds_auth.rules.happenings import Happening

if TYPE_CHECKING:
    from cloudbeds_auth import settings as real


def open_parts(settings: Settings | None) -> Opener:
    """An opener for `Service`; None: the settings of the environment, read when it opens.

    The vault and its drivers are imported then: they take longer to import than the rest of the service.
    """

    async def opener(stack: AsyncExitStack) -> Parts:
        from cloudbeds_auth import runtime
        from cloudbeds_auth.facade import TokenVault
        from cloudbeds_auth.settings import load_from_environment

        given = cast("real.Settings | None", settings)
        metrics = runtime.metrics()
        vault = await stack.enter_async_context(
            TokenVault.open(given, observers=[metrics], reread=load_from_environment, upkeep=True)
        )
        runtime.configure_logs(vault.settings)
        if vault.settings.env_file is not None:
            names = ", ".join(vault.settings.from_env_file)
            vault.observer.happened(Happening.SETTINGS_FROM_FILE, file=str(vault.settings.env_file), variables=names)
        if vault.admin_token_file is not None:
            # Where it is, never what it is.
            vault.observer.happened(Happening.ADMIN_TOKEN, file=str(vault.admin_token_file))
        upstream = runtime.upstream(vault.settings)
        stack.push_async_callback(upstream.aclose)
        return Parts(vault, metrics.render, upstream)

    return opener
