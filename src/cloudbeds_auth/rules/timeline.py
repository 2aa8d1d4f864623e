"""The timeline of a history: one line per token pair, made from a connection's events alone.

`pairs(events)` returns data; `rules.pair_drawing` lays it out, and the page of a connection and the terminal draw it.
Nothing is guessed: a pair whose beginning is not among the given events has no `began`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from cloudbeds_auth.rules.documents import precise, stamp
from cloudbeds_auth.rules.lifecycle import MOVED_TO_KEY, NEWER_KEY
from cloudbeds_auth.rules.model import Event, moment


class Origin(StrEnum):
    """Where a pair came from."""

    APPROVAL = "approval"
    REFRESH = "refresh"
    EXCHANGE = "exchange for an API key"
    PASTED = "an API key that the hotel made"
    UNKNOWN = "unknown"


class Ending(StrEnum):
    """What ended a pair, in the words that people read."""

    LIVING = "still living"
    REFRESH = "refresh"
    APPROVAL = "new approval"
    MIGRATION = "moved to an API key"
    KEY = "new API key"
    DISCONNECT = "disconnect"
    REFUSED = "refused by Cloudbeds"
    DROPPED = "never taken into use"


_ORIGINS = {"exchanged": Origin.EXCHANGE, "pasted": Origin.PASTED}
_ENDINGS: dict[object, Ending] = {MOVED_TO_KEY: Ending.MIGRATION, NEWER_KEY: Ending.KEY}


class AttemptOutcome(StrEnum):
    """How one sending of a refresh token ended, as far as the history knows."""

    ANSWERED = "answered with a new pair"
    REFUSED = "token refused"
    LOST = "answer lost"
    UNSENT = "nothing was sent"
    CLIENT_REFUSED = "client refused"
    CUT_OFF = "cut off: the process ended before an answer was stored"
    OPEN = "no outcome stored yet"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of the refresh token at `position`; `detail` is what the history notes about a lost answer."""

    at: datetime
    position: int | None
    outcome: AttemptOutcome
    detail: str = ""


@dataclass(slots=True)
class PairLine:
    """One token pair: when it lived, what superseded it, whether it was seen to work, which calls it carried.

    `attempts` are the refreshes that began while this was the newest pair. `ended` is None while it lives. Of the
    `calls` made with its access token, counted by method and path in `methods`, `calls_refused` were answered 401.
    `first_used`: the first call or proof known to have been made with its access token.
    """

    grant_id: str
    generation: int
    origin: Origin = Origin.UNKNOWN
    began: datetime | None = None
    expires_at: datetime | None = None
    ended: datetime | None = None
    ending: Ending = Ending.LIVING
    proven: bool = False
    taken_into_use: bool = False
    same_refresh_token: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    calls: int = 0
    calls_refused: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    first_used: datetime | None = None

    @property
    def troubles(self) -> tuple[Attempt, ...]:
        """The attempts that did not lead to the next pair."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome is not AttemptOutcome.ANSWERED)

    def lived_until(self, now: datetime) -> datetime:
        """The end of the time in which the access token could be used: superseded, expired, or now."""
        return min(at for at in (self.ended, self.expires_at, now) if at is not None)

    def document(self) -> dict[str, object]:
        """The line as plain data, ready for JSON; moments in RFC 3339."""
        return {
            "grant": self.grant_id,
            "generation": self.generation,
            "origin": self.origin.value,
            "began": precise(self.began),
            "expires_at": stamp(self.expires_at),
            "ended": precise(self.ended),
            "ended_by": None if self.ending is Ending.LIVING else self.ending.value,
            "proven": self.proven,
            "same_refresh_token": self.same_refresh_token,
            "attempts": [
                {"at": precise(one.at), "position": one.position, "outcome": one.outcome.value, "detail": one.detail}
                for one in self.attempts
            ],
            "calls": self.calls,
            "calls_refused": self.calls_refused,
            "methods": dict(self.methods),
            "first_used": precise(self.first_used),
        }

    def end(self, at: datetime | None, ending: Ending) -> None:
        """Record what ended the pair, unless that is known already; only a refusal may be replaced (rule-12)."""
        if self.ending in {Ending.LIVING, Ending.REFUSED}:
            self.ended, self.ending = at, ending

    def use(self, at: datetime | None) -> None:
        """Record that its access token was sent at that moment."""
        if at is not None:
            self.first_used = at if self.first_used is None else min(at, self.first_used)

    def close(self, outcome: AttemptOutcome, detail: str = "") -> None:
        """Record how the attempt that is still open ended."""
        if self.attempts and self.attempts[-1].outcome is AttemptOutcome.OPEN:
            self.attempts[-1] = replace(self.attempts[-1], outcome=outcome, detail=detail)


def pairs(events: Iterable[Event]) -> list[PairLine]:
    """One line per token pair, in the order in which the pairs came; the events may be in any order."""
    book = _Book()
    for event in sorted(events, key=lambda event: (event.sequence, event.kind == "calls")):
        book.read(event)
    return list(book.lines.values())


class _Book:
    """Reads events, oldest first."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, int], PairLine] = {}
        self._newest: dict[str, PairLine] = {}
        self._readers: dict[str, Callable[[PairLine, Event], None]] = {
            "candidate_received": self._received,
            "promoted": self._promoted,
            "pair_committed": self._committed,
            "intent_written": self._intent,
            "key_received": lambda line, event: line.close(AttemptOutcome.ANSWERED),
            "token_refused": lambda line, event: line.close(AttemptOutcome.REFUSED),
            "answer_lost": lambda line, event: line.close(AttemptOutcome.LOST, str(event.data.get("detail") or "")),
            "nothing_sent": lambda line, event: line.close(AttemptOutcome.UNSENT),
            "client_refused": lambda line, event: line.close(AttemptOutcome.CLIENT_REFUSED),
            "reauthorization_required": lambda line, event: line.end(event.at, Ending.REFUSED),
            "proved": self._proved,
            "calls": self._calls,
            "superseded": self._superseded,
        }

    def read(self, event: Event) -> None:
        """Take one event into account; kinds that say nothing about a pair are skipped."""
        if event.kind == "disconnected":
            self._disconnected(event)
            return
        reader = self._readers.get(event.kind)
        if reader is not None and event.grant_id is not None:
            reader(self._line(event.grant_id, event.generation), event)

    def _line(self, grant_id: str, generation: int | None) -> PairLine:
        newest = self._newest.get(grant_id)
        if generation is None:
            generation = newest.generation if newest else 1
        line = self.lines.setdefault((grant_id, generation), PairLine(grant_id, generation))
        if newest is None or generation > newest.generation:
            self._newest[grant_id] = line
        return line

    def _received(self, line: PairLine, event: Event) -> None:
        said = (origin for name, origin in _ORIGINS.items() if event.data.get(name) is True)
        line.origin = next(said, Origin.APPROVAL)
        line.began = event.at
        line.expires_at = _moment(event.data.get("expires_at"))

    def _committed(self, line: PairLine, event: Event) -> None:
        line.origin, line.began = Origin.REFRESH, event.at
        line.expires_at = _moment(event.data.get("expires_at"))
        line.same_refresh_token = event.data.get("same_refresh_token") is True
        before = self._before(line)
        if before is not None:
            line.taken_into_use = before.taken_into_use
            before.close(AttemptOutcome.ANSWERED)
            before.end(event.at, Ending.REFRESH)

    def _before(self, line: PairLine) -> PairLine | None:
        """The grant's pair before this one; a grant's generations grow, but other grants' may lie between them."""
        earlier = [
            generation
            for grant_id, generation in self.lines
            if grant_id == line.grant_id and generation < line.generation
        ]
        return self.lines[line.grant_id, max(earlier)] if earlier else None

    def _intent(self, line: PairLine, event: Event) -> None:
        line.close(AttemptOutcome.CUT_OFF)  # the sending before this one has no outcome: its process had ended
        position = event.data.get("position")
        line.attempts.append(Attempt(event.at, position if isinstance(position, int) else None, AttemptOutcome.OPEN))

    def _promoted(self, line: PairLine, event: Event) -> None:
        line.proven = line.taken_into_use = True

    def _proved(self, line: PairLine, event: Event) -> None:
        line.proven = True
        line.use(event.at)
        if line.ending is Ending.REFUSED:
            line.ended, line.ending = None, Ending.LIVING

    def _calls(self, line: PairLine, event: Event) -> None:
        line.calls += _count(event.data.get("count"))
        line.calls_refused += _count(event.data.get("refused"))
        line.use(_moment(event.data.get("first")))
        counts = event.data.get("methods")
        if isinstance(counts, Mapping):
            line.methods.update({str(name): _count(number) for name, number in counts.items()})

    def _superseded(self, line: PairLine, event: Event) -> None:
        newest = self._newest[line.grant_id]
        unused = newest.origin is not Origin.UNKNOWN and not newest.taken_into_use
        ending = _ENDINGS.get(event.data.get("reason"), Ending.APPROVAL)
        newest.end(event.at, Ending.DROPPED if unused else ending)

    def _disconnected(self, event: Event) -> None:
        for line in self.lines.values():
            if event.grant_id in {None, line.grant_id}:
                line.end(event.at, Ending.DISCONNECT)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: object) -> datetime | None:
    """Unix seconds, or RFC 3339 text as the HTTP API writes moments."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return moment(value)
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None
