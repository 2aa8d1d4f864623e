"""What a check says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudbeds_auth.doctor.subject import Subject


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


@dataclass(frozen=True, slots=True)
class Check:
    """A named question. `needs_settings`, `needs_vault`: without them it is skipped, and says so."""

    name: str
    ask: Callable[[Subject], Awaitable[Sequence[Finding]]]
    needs_settings: bool = True
    needs_vault: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The findings by check, in the order of the registry."""

    checks: tuple[tuple[str, tuple[Finding, ...]], ...]

    @property
    def healthy(self) -> bool:
        """Whether no check found a problem; warnings do not count."""
        return all(finding.level is not Level.PROBLEM for _, findings in self.checks for finding in findings)

    def document(self) -> dict[str, object]:
        """The report as plain data."""
        return {
            "ok": self.healthy,
            "checks": [
                {"check": name, "level": one.level.value, "what": one.what, "mend": one.mend or None}
                for name, findings in self.checks
                for one in findings
            ],
        }


def ok(what: str) -> list[Finding]:
    """All is well."""
    return [Finding(Level.OK, what)]


def warning(what: str, mend: str) -> list[Finding]:
    """It works, but somebody should look at it."""
    return [Finding(Level.WARNING, what, mend)]


def problem(what: str, mend: str) -> list[Finding]:
    """It does not work like this."""
    return [Finding(Level.PROBLEM, what, mend)]
