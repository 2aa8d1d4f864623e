"""Checks of webhooks: whether what happens to hotels reaches the receiver."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.doctor.findings import Check, Finding, ok, problem, warning
from cloudbeds_auth.doctor.subject import Subject

SLOW = 900.0  # seconds that the oldest message may wait


async def delivered(subject: Subject) -> Sequence[Finding]:
    """Nothing was given up, and nothing waits for long. Without an address nothing is sent, and nothing is wrong."""
    assert subject.vault is not None  # noqa: S101 - the registry skips us without a vault
    assert subject.settings is not None  # noqa: S101
    if subject.settings.webhook_url is None:
        return ok("no address is set (CLOUDBEDS_AUTH_WEBHOOK_URL), so nothing is sent")
    rests = await subject.vault.outbox()
    if rests.given_up:
        return problem(
            f"{rests.given_up} message(s) were given up; the newest: {rests.problem}",
            "mend the receiver, then let it ask for every connection: GET /api/v1/connections",
        )
    if rests.oldest > SLOW:
        return warning(
            f"{rests.waiting} message(s) wait, the oldest for {rests.oldest / 60:.0f} minutes",
            "look for `webhook_failed` in the service's log; is the service running, and the receiver reachable?",
        )
    return ok(f"{rests.waiting} message(s) wait" if rests.waiting else "every message was delivered")


CHECKS = (Check("webhooks", delivered, needs_vault=True),)
