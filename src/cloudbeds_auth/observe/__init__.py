"""What is reported to people and machines: one stream of happenings, fanned out; a broken listener loses nothing (F80).

Reading order: this file (the fan-out), `logs` (lines), `metrics` (numbers; only with the `server` extra).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from cloudbeds_auth.observe.logs import FACTS
from cloudbeds_auth.ports import Fact, Observer
from cloudbeds_auth.rules.happenings import Happening

LOGGER = "cloudbeds_auth"
# A library is silent until the program that uses it configures logging.
logging.getLogger(LOGGER).addHandler(logging.NullHandler())


class Telling:
    """An Observer that notifies several others in turn; what one of them raises is swallowed and counted."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self.swallowed = 0

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Notify every observer; never raises. That one of them is broken is reported to the others."""
        for observer in self._observers:
            if not self._told(observer, what, facts):
                self.swallowed += 1
                for other in self._observers:
                    if other is not observer:
                        self._told(other, Happening.OBSERVER_FAILED, {"observer": type(observer).__name__})

    def _told(self, observer: Observer, what: Happening, facts: Mapping[str, Fact]) -> bool:
        try:
            observer.happened(what, **facts)
        except Exception:  # noqa: BLE001  # a broken log or metric is no reason to lose a hotel
            return False
        return True


class LogObserver:
    """An Observer that writes one line per happening, at the level that it declares."""

    def __init__(self, name: str = LOGGER) -> None:
        self._logger = logging.getLogger(name)

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """Log `what` with its facts."""
        level = what.level_of(facts)
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", what, extra={FACTS: facts})


__all__ = ["LogObserver", "Telling"]
