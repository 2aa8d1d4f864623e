"""The fan-out: everybody is told, nobody can break a refresh."""

from __future__ import annotations

import logging

import pytest

from cloudbeds_auth.observe import LogObserver, Telling
from cloudbeds_auth.observe.logs import FACTS
from cloudbeds_auth.ports.observer import Fact, Observer


class Noting:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Fact]]] = []

    def happened(self, what: str, /, **facts: Fact) -> None:
        """Note it."""
        self.told.append((what, facts))


class Broken:
    """Raises."""

    def happened(self, what: str, /, **facts: Fact) -> None:
        """Fail."""
        raise RuntimeError("disk full")


@pytest.mark.row("F80")
def test_broken_observer_is_counted() -> None:
    """What one raises reaches neither the caller nor the others."""
    before, after = Noting(), Noting()
    telling = Telling(before, Broken(), after)
    observer: Observer = telling
    for generation in range(3):
        observer.happened("refreshed", generation=generation)
    failure: tuple[str, dict[str, Fact]] = ("observer_failed", {"observer": "Broken"})
    told = [("refreshed", {"generation": number}) for number in range(3)]
    for noting in (before, after):
        assert [one for one in noting.told if one != failure] == told
        assert noting.told.count(failure) == 3
    assert telling.swallowed == 3


def test_nobody_listens() -> None:
    """Without observers nothing happens."""
    telling = Telling()
    telling.happened("refreshed")
    assert telling.swallowed == 0


@pytest.mark.parametrize(
    ("what", "facts", "level"),
    [
        ("refreshed", {"generation": 2}, logging.INFO),
        ("proof", {"verdict": "Proof"}, logging.INFO),
        ("proof", {"verdict": "DeadToken"}, logging.WARNING),
        ("token_answer", {"answer": "Issued"}, logging.INFO),
        ("token_answer", {"answer": "Ambiguous"}, logging.WARNING),
        ("token_answer", {"answer": "Refused"}, logging.WARNING),
        ("reauthorization_required", {"connection": "con_1"}, logging.WARNING),
        ("client_refused", {}, logging.WARNING),
        ("migrated", {"connection": "con_1"}, logging.INFO),
        ("refresh_failed", {}, logging.WARNING),
        ("proxied", {"status": 200, "request_id": "v-1"}, logging.INFO),
    ],
)
def test_levels(what: str, facts: dict[str, Fact], level: int, caplog: pytest.LogCaptureFixture) -> None:
    """What a person should look at is a warning."""
    caplog.set_level(logging.DEBUG)
    LogObserver("test.observer").happened(what, **facts)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage(), getattr(record, FACTS)) == (level, what, facts)


def test_silent_level(caplog: pytest.LogCaptureFixture) -> None:
    """A level that nobody wants makes no record."""
    caplog.set_level(logging.WARNING)
    LogObserver("test.observer").happened("refreshed")
    assert caplog.records == []
