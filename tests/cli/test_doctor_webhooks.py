"""`doctor` about webhooks: nothing to send, everything sent, something waits, something was given up."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.fakes import FakeVault
from tests.cli.test_doctor import levels, subject
from tests.support.keys import WEBHOOK_SECRET

from cloudbeds_auth.doctor import hotels
from cloudbeds_auth.doctor.examination import Level
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.outbox import Outbox

SECRETS = (Secret(WEBHOOK_SECRET),)


@pytest.mark.parametrize(
    ("rests", "level", "word"),
    [
        (Outbox(0, 0.0, 0, None), Level.OK, "delivered"),
        (Outbox(3, 20.0, 0, None), Level.OK, "3 message(s) wait"),
        (Outbox(3, 7200.0, 0, None), Level.WARNING, "120 minutes"),
        (Outbox(0, 0.0, 2, "HTTP 410"), Level.PROBLEM, "HTTP 410"),
    ],
)
async def test_what_rests_in_the_outbox(rests: Outbox, level: Level, word: str, tmp_path: Path) -> None:
    """A receiver that takes nothing is told of before hotels are missed."""
    vault = FakeVault()
    vault.rests = rests
    found = await hotels.delivered(
        subject(tmp_path, vault, webhook_url="https://app.example/hook", webhook_secrets=SECRETS)
    )
    assert levels(found) == [level]
    assert word in found[0].what
    assert bool(found[0].mend) == (level is not Level.OK)


async def test_without_an_address(tmp_path: Path) -> None:
    """Nothing is sent, and nothing that waits is wrong."""
    vault = FakeVault()
    vault.rests = Outbox(5, 1e6, 1, "HTTP 500")
    assert levels(await hotels.delivered(subject(tmp_path, vault))) == [Level.OK]
