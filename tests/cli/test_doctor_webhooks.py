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
        (Outbox(0, 0.0, 2, "HTTP 410", 82_800.0), Level.PROBLEM, "23 h ago"),
        (Outbox(0, 0.0, 2, "HTTP 410", 86_400.0), Level.WARNING, "24 h ago"),
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


async def test_what_waits_beside_what_was_given_up(tmp_path: Path) -> None:
    """Both are said: the one is over, the other goes on."""
    vault = FakeVault()
    vault.rests = Outbox(3, 7200.0, 2, "HTTP 410", 90_000.0)
    found = await hotels.delivered(
        subject(tmp_path, vault, webhook_url="https://app.example/hook", webhook_secrets=SECRETS)
    )
    assert [(one.level, one.what[:26]) for one in found] == [
        (Level.WARNING, "2 message(s) were given up"), (Level.WARNING, "3 message(s) wait, the old"),
    ]  # fmt: skip


async def test_without_an_address(tmp_path: Path) -> None:
    """Nothing is sent, and nothing that waits is wrong."""
    vault = FakeVault()
    vault.rests = Outbox(5, 1e6, 1, "HTTP 500")
    assert levels(await hotels.delivered(subject(tmp_path, vault))) == [Level.OK]
