"""What is examined: the settings as far as they can be read, and the vault as far as it can be opened."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudbeds_auth import errors
from cloudbeds_auth.ports.clock import Clock

if TYPE_CHECKING:
    from cloudbeds_auth.facade import TokenVault
    from cloudbeds_auth.settings import Need, Settings


@dataclass(slots=True)
class Subject:
    """`problems` are the settings' own words; `closed` says why the vault could not be opened."""

    clock: Clock
    settings: Settings | None = None
    problems: tuple[str, ...] = ()
    vault: TokenVault | None = None
    closed: errors.Error | None = None
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
            from cloudbeds_auth.facade import TokenVault

            try:
                subject.vault = await stack.enter_async_context(TokenVault.open(subject.settings))
            except errors.Error as error:
                subject.closed = error
        yield
