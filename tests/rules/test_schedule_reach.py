"""Which stored grants come back by themselves once the causes of their trouble are gone (I15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.schedule import KEEP_ALIVE, SLACK, Reach, out_of_reach

NOW = 1_800_000_000.0
SOUND = Reach(
    kind=CredentialKind.OAUTH, role=Role.ACTIVE, tokens=1, marked=False, due_at=NOW + 60.0, retry_at=None, due_from=NOW,
    latched=False, moving=False,
)  # fmt: skip
MARKED = replace(SOUND, marked=True, due_at=None, retry_at=NOW + 60.0)
KEY = replace(SOUND, kind=CredentialKind.API_KEY, tokens=0)
MOVING = replace(SOUND, latched=True, moving=True)


@pytest.mark.parametrize(
    "grant",
    [
        SOUND,
        MARKED,
        KEY,
        MOVING,
        replace(SOUND, role=Role.CANDIDATE),
        replace(SOUND, due_at=NOW - 1e6),
        replace(SOUND, due_at=NOW + KEEP_ALIVE, due_from=None),
        replace(SOUND, due_at=NOW + 9e6 + KEEP_ALIVE, due_from=NOW + 9e6),
    ],
    ids=["due", "marked", "key", "moving", "candidate", "overdue", "kept alive", "clock set back"],
)
def test_a_grant_that_comes_back(grant: Reach) -> None:
    """It has what it is refreshed with, and its moment."""
    assert out_of_reach(grant, NOW) is None


@pytest.mark.parametrize(
    ("grant", "why"),
    [
        (replace(SOUND, tokens=0), "no refresh token"),
        (replace(SOUND, latched=True), "no move to an API key"),
        (replace(SOUND, due_at=None), "nothing is planned"),
        (replace(SOUND, due_at=None, retry_at=NOW), "nothing is planned"),
        (replace(MARKED, retry_at=None, due_at=NOW), "no retry is planned"),
        (replace(SOUND, due_at=NOW + KEEP_ALIVE + SLACK + 1.0), "later than any grant"),
        (replace(MARKED, retry_at=NOW + KEEP_ALIVE + SLACK + 1.0), "later than any grant"),
        (replace(KEY, due_at=None), "nothing is planned"),
        (replace(SOUND, role=Role.CANDIDATE, tokens=0), "no refresh token"),
        (replace(SOUND, role=Role.SET_ASIDE, tokens=0), "no refresh token"),
    ],
)
def test_a_grant_that_only_a_person_brings_back(grant: Reach, why: str) -> None:
    """What is missing is said."""
    assert why in (out_of_reach(grant, NOW) or "")


@pytest.mark.parametrize("role", [Role.SUPERSEDED, Role.DISCONNECTED, Role.PARKED])
def test_a_grant_that_is_not_looked_after(role: Role) -> None:
    """Replaced, ended or waiting to be claimed: nothing has to come back."""
    assert out_of_reach(replace(SOUND, role=role, tokens=0, due_at=None), NOW) is None
