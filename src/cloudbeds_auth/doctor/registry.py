"""All checks, and running them one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cloudbeds_auth import errors
from cloudbeds_auth.doctor import apps, configuration, database, hotels, listening, network, webhooks
from cloudbeds_auth.doctor.findings import Check, Finding, Level, Report
from cloudbeds_auth.doctor.subject import Subject, opened, read_settings
from cloudbeds_auth.ports import Clock

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Need, Settings

CHECKS: tuple[Check, ...] = (
    *configuration.CHECKS,
    *database.CHECKS,
    *network.CHECKS,
    *listening.CHECKS,
    *apps.CHECKS,
    *hotels.CHECKS,
    *webhooks.CHECKS,
)


async def examine(read: Callable[[Need], Settings], clock: Clock, checks: Sequence[Check] = CHECKS) -> Report:
    """Run all checks."""
    subject = read_settings(read, clock)
    async with opened(subject):
        found = [(check.name, tuple(await _ask(check, subject))) for check in checks]
    return Report(tuple(found))


async def _ask(check: Check, subject: Subject) -> Sequence[Finding]:
    if check.needs_settings and subject.settings is None:
        return [Finding(Level.SKIPPED, "the settings have to be mended first")]
    if check.needs_vault and subject.vault is None:
        why = "the database has to open first" if subject.closed else "there is no database yet"
        return [Finding(Level.SKIPPED, why)]
    try:
        return await check.ask(subject)
    except errors.Error as error:
        diagnosis = error.diagnosis()
        return [Finding(Level.PROBLEM, diagnosis.what, diagnosis.next_step)]
    except Exception as error:  # noqa: BLE001 - one broken check must not hide what the others find
        return [Finding(Level.PROBLEM, f"this check itself failed: {type(error).__name__}", "report this as a bug")]
