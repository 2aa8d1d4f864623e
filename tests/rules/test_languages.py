"""Which language a page is shown in, by what the browser asks for."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules.languages import language_of, marked


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("es", "es"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("pt-PT", "pt-BR"),
        ("ES-419", "es"),
        ("en-GB,es;q=0.9", "en"),
        ("de,fr;q=0.9,es;q=0.1", "es"),
        ("de;q=1.0, *;q=0.5", "en"),
        ("en;q=0.5 , es ; Q=0.51", "es"),
        ("es;q=0.5,pt;q=0.5", "es"),
        ("es;q=0", "en"),
        ("es;q=0.000,pt;q=0.001", "pt-BR"),
        ("es;q=2", "en"),
        ("es;q=nan", "en"),
        ("es;q=0.9;x=1", "en"),
        ("español,pt", "pt-BR"),
        (",,;q=1,es", "es"),
        ("*", "en"),
    ],
)
def test_the_language_that_is_asked_for(accepted: str, language: str) -> None:
    """The one that weighs most of those that there are, the first of two that weigh the same; else English."""
    assert language_of(accepted) == language


def test_a_mark_changes_nothing() -> None:
    """What is marked for the catalogs is the text."""
    assert marked("Rooms") == "Rooms"
