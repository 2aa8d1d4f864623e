"""What happened, step by step: numbered lines with a hash over them, and the violation that ends a run.

Two runs of one seed have the same hash; a failing seed prints its last lines as a story.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

SHOWN = 60  # lines of a story


class Violation(BaseException):
    """An invariant does not hold. No code under test may swallow it, hence a BaseException."""

    def __init__(self, invariant: str, fact: str) -> None:
        super().__init__(f"{invariant}: {fact}")
        self.invariant = invariant
        self.fact = fact


class Trace:
    """The lines of one run. `names` gives tokens short names (A3, R3), so that a story can be read."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._digest = hashlib.sha256()
        self._names: dict[str, str] = {}
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self.violation: Violation | None = None
        self.blind: frozenset[str] = frozenset()

    def name(self, value: str, called: str) -> None:
        """From now on this secret value is written so."""
        self._names.setdefault(value, called)

    def called(self, value: str) -> str:
        """The short name of a secret value."""
        return self._names.get(value, "?")

    def say(self, who: str, what: str) -> None:
        """One line."""
        line = f"{len(self.lines) + 1:>5} t={self._now():.3f} {who:<6} {what}"
        self._digest.update(line.encode())
        self.lines.append(line)

    def count(self, what: str, times: int = 1) -> None:
        """Something to be told in the report."""
        self.counts[what] += times

    def violate(self, invariant: str, fact: str) -> None:
        """Raise, and remember: whoever runs the loop raises it again. What the run is blind for passes."""
        if invariant in self.blind:
            return
        if self.violation is None:
            self.violation = Violation(invariant, fact)
            self.say("!!!!", f"{invariant} violated: {fact}")
        raise self.violation

    @property
    def hash(self) -> str:
        """Of all lines so far."""
        return self._digest.hexdigest()

    def story(self) -> str:
        """The last lines, for people."""
        left_out = len(self.lines) - SHOWN
        head = [f"  … {left_out} lines before"] if left_out > 0 else []
        return "\n".join([*head, *self.lines[-SHOWN:]])
