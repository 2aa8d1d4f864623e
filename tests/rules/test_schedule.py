"""When a grant is due: a decision over a few facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.schedule import CANDIDATE, DAY, KEEP_ALIVE, KEEP_KEY_ALIVE, Life, due, spread, used_since

NOW = 1_800_000_000.0
LIFE = Life("gra_1", CredentialKind.OAUTH, Role.ACTIVE, stale_at=NOW + 3000, lifetime=3600, used_at=NOW - 60)


def test_a_grant_in_use() -> None:
    """Refreshed when its token turns stale."""
    assert due(LIFE, NOW) == NOW + 3000


@pytest.mark.parametrize("used_at", [None, NOW - 3601])
def test_an_idle_grant(used_at: float | None) -> None:
    """Not used within its last lifetime: kept alive, before thirty days are over."""
    found = due(replace(LIFE, used_at=used_at), NOW)
    assert found is not None
    assert NOW + 27 * DAY <= found <= NOW + 30 * DAY


def test_an_api_key() -> None:
    """Used before twenty days are over, whether it was used just now or not: its use starts the days anew."""
    found = due(replace(LIFE, kind=CredentialKind.API_KEY), NOW)
    assert found == NOW + spread(KEEP_KEY_ALIVE, "gra_1")


def test_a_candidate() -> None:
    """Whoever received it has a minute; then anybody goes on with it."""
    assert due(replace(LIFE, role=Role.CANDIDATE), NOW) == NOW + CANDIDATE


@pytest.mark.parametrize("role", [Role.SUPERSEDED, Role.DISCONNECTED])
def test_one_that_is_over(role: Role) -> None:
    """Never due."""
    assert due(replace(LIFE, role=role), NOW) is None


def test_grants_are_spread() -> None:
    """Each has its own part of a tenth, always the same; a thousand fall on every part of it."""
    found = [spread(KEEP_ALIVE, f"gra_{number}") for number in range(1000)]
    assert found == [spread(KEEP_ALIVE, f"gra_{number}") for number in range(1000)]
    assert min(found) >= 27 * DAY
    assert max(found) <= 30 * DAY
    tenths = {int((30 * DAY - one) / (0.3 * DAY)) for one in found}
    assert len(tenths) == 10


@pytest.mark.parametrize(
    ("noted", "lifetime", "news"),
    [
        (None, 3600.0, True),
        (NOW - 299, 28_800.0, False),
        (NOW - 300, 28_800.0, True),
        (NOW - 299, FOREVER, False),
        (NOW - 5, 60.0, False),
        (NOW - 6, 60.0, True),
        (NOW + 500, 60.0, False),
    ],
)
def test_a_use_is_news_now_and_then(noted: float | None, lifetime: float, news: bool) -> None:
    """After five minutes, and after a tenth of a short life; never one that is older than what was noted."""
    assert used_since(noted, NOW, lifetime) is news
