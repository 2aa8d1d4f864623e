"""What is examined: the settings as far as they can be read, and the vault as far as it can be opened.

Examining makes no file: what the first start would make is only named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cloudbeds_auth import errors
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Need, Settings
    from cloudbeds_auth.vault import TokenVault


@dataclass(slots=True)
class Subject:
    """`problems` are the settings' own words; `closed` says why the vault could not be opened.

    `missing` are the files that the next start makes; with the database among them there is no vault to open.
    """

    clock: Clock
    settings: Settings | None = None
    problems: tuple[str, ...] = ()
    vault: TokenVault | None = None
    closed: errors.Error | None = None
    missing: tuple[Path, ...] = ()
    seen: dict[str, float] = field(default_factory=dict)


def read_settings(read: Callable[[Need], Settings], clock: Clock) -> Subject:
    """The settings with all their problems; still some settings when only the app's credentials are missing."""
    from cloudbeds_auth.settings import Need

    subject = Subject(clock)
    try:
        subject.settings = read(Need.APP)
    except errors.ConfigurationError as error:
        subject.problems = error.problems
        try:
            subject.settings = read(Need.NOTHING)
        except errors.ConfigurationError:
            subject.settings = None
    return subject


@asynccontextmanager
async def opened(subject: Subject) -> AsyncIterator[None]:
    """The subject with its vault open, or with the reason why it is not."""
    async with AsyncExitStack() as stack:
        if subject.settings is not None:
            try:
                await _open(subject, subject.settings, stack)
            except errors.Error as error:
                subject.closed = error
        yield


async def _open(subject: Subject, settings: Settings, stack: AsyncExitStack) -> None:
    """Open the vault if there is one; raises ConfigurationError."""
    from cloudbeds_auth.runtime import missing_files
    from cloudbeds_auth.system import SystemEntropy
    from cloudbeds_auth.vault import TokenVault

    subject.missing = missing_files(settings)
    if not settings.is_postgres and settings.database_path in subject.missing:
        return
    if settings.admin_token is None and subject.missing:
        # Nobody is let in here, and opening would make the file: a token that is never told takes its place.
        settings = settings.model_copy(update={"admin_token": Secret(SystemEntropy().token())})
    subject.vault = await stack.enter_async_context(TokenVault.open(settings))
