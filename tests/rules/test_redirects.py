"""Which browsers may be sent where, and what a state says of who began an approval."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules.redirects import STATE_PREFIX, begun_here


@pytest.mark.parametrize(
    ("state", "ours"),
    [
        (None, False),
        ("", False),
        ("12ddc1756afbc3552728d5bb44c78", False),
        (STATE_PREFIX, True),
        (f"{STATE_PREFIX}forged", True),
    ],
)
def test_whose_state_it_is(state: str | None, ours: bool) -> None:
    """None, and Cloudbeds' own, are the Marketplace's; whatever looks like ours is ours, issued or forged."""
    assert begun_here(state) is ours
