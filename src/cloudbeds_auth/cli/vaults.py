"""Opening a vault for the time of one command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from cloudbeds_auth.cli.reading import read_settings

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

T = TypeVar("T")


@asynccontextmanager
async def opened() -> AsyncIterator[TokenVault]:
    """The vault of the environment's settings."""
    from cloudbeds_auth.settings import load_from_environment
    from cloudbeds_auth.vault import TokenVault

    async with TokenVault.open(read_settings(), reread=load_from_environment) as vault:
        yield vault


def nothing_rests() -> bool:
    """Whether there is no database yet; opening the vault would make one."""
    from cloudbeds_auth import runtime

    settings = read_settings()
    return not settings.is_postgres and settings.database_path in runtime.missing_files(settings)


def with_vault(work: Callable[[TokenVault], Coroutine[Any, Any, T]]) -> T:
    """Run `work` on an open vault, to its end."""

    async def whole() -> T:
        async with opened() as vault:
            return await work(vault)

    return asyncio.run(whole())
