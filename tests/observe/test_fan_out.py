"""The fan-out: everybody is told, nobody can break a refresh."""

from __future__ import annotations

import logging

import pytest

from cloudbeds_auth.observe import FACTS, FanOut, LogObserver
from cloudbeds_auth.ports import Fact, Observer
from cloudbeds_auth.rules.happenings import Happening


class Noting:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Happening, dict[str, Fact]]] = []

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Note it."""
        self.told.append((what, facts))


class Broken:
    """Raises."""

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Fail."""
        raise RuntimeError("disk full")


@pytest.mark.row("F80", control=True)
def test_broken_observer_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one raises reaches neither the caller nor the others, which are notified that it failed. Uncaught, it would
    end the refresh that reports.
    """
    before, after = Noting(), Noting()
    observer: Observer = FanOut(before, Broken(), after)
    for generation in range(3):
        observer.happened(Happening.REFRESHED, generation=generation)
    failure: tuple[Happening, dict[str, Fact]] = (Happening.OBSERVER_FAILED, {"observer": "Broken"})
    told = [(Happening.REFRESHED, {"generation": number}) for number in range(3)]
    for noting in (before, after):
        assert [one for one in noting.told if one != failure] == told
        assert noting.told.count(failure) == 3

    def uncaught(self: FanOut, to: Observer, what: Happening, facts: dict[str, Fact]) -> bool:
        to.happened(what, **facts)
        return True

    monkeypatch.setattr(FanOut, "_notified", uncaught)
    with pytest.raises(RuntimeError, match="disk full"):
        observer.happened(Happening.REFRESHED, generation=3)


def test_nobody_listens() -> None:
    """Without observers nothing happens."""
    FanOut().happened(Happening.REFRESHED)


@pytest.mark.parametrize(
    ("what", "facts", "level"),
    [
        (Happening.REFRESHED, {"generation": 2}, logging.INFO),
        (Happening.PROOF, {"verdict": "Proof"}, logging.INFO),
        (Happening.PROOF, {"verdict": "DeadToken"}, logging.WARNING),
        (Happening.TOKEN_ANSWER, {"answer": "Issued"}, logging.INFO),
        (Happening.TOKEN_ANSWER, {"answer": "Ambiguous"}, logging.WARNING),
        (Happening.TOKEN_ANSWER, {"answer": "Refused"}, logging.WARNING),
        (Happening.REAUTHORIZATION_REQUIRED, {"connection_id": "con_1"}, logging.WARNING),
        (Happening.CLIENT_REFUSED, {}, logging.WARNING),
        (Happening.MIGRATED, {"connection_id": "con_1"}, logging.INFO),
        (Happening.REFRESH_FAILED, {}, logging.WARNING),
        (Happening.PROXIED, {"status": 200, "request_id": "v-1"}, logging.INFO),
    ],
)
def test_levels(what: Happening, facts: dict[str, Fact], level: int, caplog: pytest.LogCaptureFixture) -> None:
    """What a person should look at is a warning."""
    caplog.set_level(logging.DEBUG)
    LogObserver().happened(what, **facts)
    (record,) = caplog.records
    assert (record.levelno, record.getMessage().split()[0], getattr(record, FACTS)) == (level, what, facts)


def test_silent_level(caplog: pytest.LogCaptureFixture) -> None:
    """A level that nobody wants makes no record."""
    caplog.set_level(logging.WARNING)
    LogObserver().happened(Happening.REFRESHED)
    assert caplog.records == []
