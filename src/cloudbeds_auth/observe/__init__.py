"""What is told to people and machines: one stream of happenings, fanned out; a broken listener loses nothing (F80).

Reading order: this file (the fan-out), `logs` (lines), `metrics` (numbers; only with the `server` extra).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cloudbeds_auth.observe.logs import FACTS
from cloudbeds_auth.ports.observer import Fact, Observer

LOGGER = "cloudbeds_auth"
GRAVE = (
    "refused",
    "required",
    "lost",
    "failed",
    "unavailable",
    "broken",
    "denied",
    "waits",
    "ambiguous",
    "dead",
    "given_up",
    "delayed",
    "unrecognized",
)
# A library is silent until the program that uses it configures logging.
logging.getLogger(LOGGER).addHandler(logging.NullHandler())


class Telling:
    """An Observer that tells several others in turn; what one of them raises is swallowed and counted."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self.swallowed = 0

    def happened(self, what: str, /, **facts: Fact) -> None:
        """Tell everybody; never raises. That one of them is broken is told to the others."""
        for observer in self._observers:
            if not self._told(observer, what, facts):
                self.swallowed += 1
                for other in self._observers:
                    if other is not observer:
                        self._told(other, "observer_failed", {"observer": type(observer).__name__})

    def _told(self, observer: Observer, what: str, facts: Mapping[str, Fact]) -> bool:
        try:
            observer.happened(what, **facts)
        except Exception:  # noqa: BLE001  # a broken log or metric is no reason to lose a hotel
            return False
        return True


class LogObserver:
    """An Observer that writes one line per happening; what a person should look at is a warning."""

    def __init__(self, name: str = LOGGER) -> None:
        self._logger = logging.getLogger(name)

    def happened(self, what: str, /, **facts: Fact) -> None:
        """Log `what` with its facts."""
        told = [what, *(str(facts.get(name, "")).lower() for name in ("answer", "verdict"))]
        grave = any(word in text for word in GRAVE for text in told)
        level = logging.WARNING if grave else logging.INFO
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", what, extra={FACTS: facts})


__all__ = ["LogObserver", "Telling"]
