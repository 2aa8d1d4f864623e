"""An examination: its subject, the findings of a check, and how all checks run one after another.

The subject is the settings, as far as they can be read, and the vault, if it can be opened. No file is created: what
the first start would create is only named.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from cloudbeds_auth import errors
from cloudbeds_auth.ports import Clock
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Need, Settings
    from cloudbeds_auth.vault import TokenVault


class Level(StrEnum):
    """How bad it is; only a problem makes `doctor` fail."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact and, unless all is well, what to do about it."""

    level: Level
    what: str
    mend: str = ""


def ok(what: str) -> list[Finding]:
    """One finding: all is well."""
    return [Finding(Level.OK, what)]


def warning(what: str, mend: str) -> list[Finding]:
    """One finding: it works, but an operator should review it."""
    return [Finding(Level.WARNING, what, mend)]


def problem(what: str, mend: str) -> list[Finding]:
    """One finding: it does not work."""
    return [Finding(Level.PROBLEM, what, mend)]


@dataclass(frozen=True, slots=True)
class Report:
    """The findings by check, in their order."""

    checks: Mapping[str, Sequence[Finding]]

    @property
    def healthy(self) -> bool:
        """Whether no check found a problem; warnings do not count."""
        return all(finding.level is not Level.PROBLEM for findings in self.checks.values() for finding in findings)

    def document(self) -> dict[str, object]:
        """The report as plain data."""
        return {
            "ok": self.healthy,
            "checks": [
                {"check": name, "level": one.level.value, "what": one.what, "mend": one.mend or None}
                for name, findings in self.checks.items()
                for one in findings
            ],
        }


class SkipCheck(Exception):
    """A check cannot run yet; the message says why."""


@dataclass(slots=True)
class Subject:
    """What is examined: the settings that were `read`, and the vault that was `unlocked`, if any.

    `problems` are those reported by the settings; `closed` says why the vault could not be opened. `missing` are the
    files that the next start creates; if the database is one of them, there is no vault to open. `skew`: how many
    seconds this machine's clock is ahead of Cloudbeds'; None if it is not known.
    """

    clock: Clock
    read: Settings | None = None
    problems: tuple[str, ...] = ()
    unlocked: TokenVault | None = None
    closed: errors.Error | None = None
    missing: tuple[Path, ...] = ()
    skew: float | None = None

    @property
    def settings(self) -> Settings:
        """The settings; a check that needs them is skipped if they cannot be read."""
        if self.read is None:
            raise SkipCheck("the settings have to be corrected first")
        return self.read

    @property
    def vault(self) -> TokenVault:
        """The vault; a check that needs it is skipped if it is not open."""
        if self.unlocked is not None:
            return self.unlocked
        _ = self.settings  # those first
        raise SkipCheck("the database has to open first" if self.closed else "there is no database yet")


Check = Callable[[Subject], Awaitable[Sequence[Finding]]]


async def examine(
    read: Callable[[Need], Settings],
    clock: Clock,
    checks: Mapping[str, Check],
    begin: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run all checks, given by name. `begin` is called with the name of each before it runs."""
    subject = _subject(read, clock)
    async with AsyncExitStack() as stack:
        if subject.read is not None:
            try:
                await _open(subject, subject.read, stack)
            except errors.Error as error:
                subject.closed = error
            except Exception as error:  # noqa: BLE001 - checks that need no database still find something
                what = f"the database does not open: {type(error).__name__}"  # the message may hold a password
                subject.closed = errors.Error(what, next_step="report this as a bug")
        return Report({name: await _ask(name, check, subject, begin) for name, check in checks.items()})


async def _ask(name: str, check: Check, subject: Subject, begin: Callable[[str], None]) -> Sequence[Finding]:
    begin(name)
    try:
        return await check(subject)
    except SkipCheck as why:
        return [Finding(Level.SKIPPED, str(why))]
    except errors.Error as error:
        return problem(error.detail, error.next_step)
    except Exception as error:  # noqa: BLE001 - one broken check must not hide what the others find
        return problem(f"this check itself failed: {type(error).__name__}", "report this as a bug")


def _subject(read: Callable[[Need], Settings], clock: Clock) -> Subject:
    """The settings with all their problems; if only the app's credentials are missing, the rest is examined."""
    from cloudbeds_auth.settings import Need

    try:
        return Subject(clock, read(Need.APP))
    except errors.ConfigurationError as error:
        problems = error.problems
    try:
        return Subject(clock, read(Need.NOTHING), problems)
    except errors.ConfigurationError:
        return Subject(clock, None, problems)


async def _open(subject: Subject, settings: Settings, stack: AsyncExitStack) -> None:
    """Open the vault if there is one; raises ConfigurationError."""
    from cloudbeds_auth.database.opening import missing_files
    from cloudbeds_auth.system import SystemEntropy
    from cloudbeds_auth.vault import TokenVault

    subject.missing = missing_files(settings)
    if not settings.is_postgres and settings.database_path in subject.missing:
        return
    if settings.admin_token is None and subject.missing:
        # Opening would create the token file. No caller is admitted here, so a token that is never shown replaces it.
        settings = settings.model_copy(update={"admin_token": Secret(SystemEntropy().token())})
    subject.unlocked = await stack.enter_async_context(TokenVault.open(settings))
