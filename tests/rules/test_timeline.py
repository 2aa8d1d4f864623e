"""The picture's data: what a history of events says about each token pair."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbeds_auth.cli.pair_picture import picture
from cloudbeds_auth.rules.model import Event
from cloudbeds_auth.rules.pair_drawing import Timeline
from cloudbeds_auth.rules.timeline import AttemptOutcome, Ending, Origin, PairLine, pairs

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
LATER = START + timedelta(minutes=5)


class History:
    """Writes events one second apart, as the store would."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, kind: str, generation: int | None = 1, grant: str | None = "g1", **data: object) -> History:
        number = len(self.events) + 1
        at = START + timedelta(seconds=number)
        self.events.append(Event(number, at, kind, "system", grant, generation, data))
        return self

    def approved(self, grant: str = "g1") -> History:
        self.add("candidate_received", 1, grant, expires_at=(START + timedelta(hours=8)).timestamp())
        return self.add("proved", 1, grant).add("promoted", 1, grant)

    def refreshed(self, to: int, grant: str = "g1", **data: object) -> History:
        self.add("intent_written", to - 1, grant, position=0)
        expires = (START + timedelta(hours=8)).timestamp()
        return self.add("pair_committed", to, grant, expires_at=expires, kept=1, **data).add("proved", to, grant)

    def lines(self) -> list[PairLine]:
        return pairs(self.events)


def test_nothing_happened() -> None:
    """No events, no lines."""
    assert pairs([]) == []


def test_one_refresh_supersedes_at_the_commit() -> None:
    """A committed pair supersedes the one before it at that moment; the new one lives."""
    first, second = History().approved().refreshed(2).lines()
    assert (first.origin, first.ending, first.ended) == (Origin.APPROVAL, Ending.REFRESH, second.began)
    assert (second.origin, second.ending, second.ended) == (Origin.REFRESH, Ending.LIVING, None)
    assert first.proven
    assert second.proven
    assert [one.outcome for one in first.attempts] == [AttemptOutcome.ANSWERED]
    assert first.troubles == ()


def test_a_process_that_died_in_mid_refresh_leaves_its_trace() -> None:
    """An intent followed by another intent, with no outcome between them, was cut off."""
    history = History().approved().add("intent_written", 1, position=0).refreshed(2)
    first, _ = history.lines()
    assert [one.outcome for one in first.attempts] == [AttemptOutcome.CUT_OFF, AttemptOutcome.ANSWERED]
    assert first.attempts[0].position == 0


def test_a_move_to_an_api_key() -> None:
    """The exchange is an attempt of the last pair; the key is a line of its own, without an end, and supersedes it."""
    history = History().approved().add("migration_begun").add("intent_written", 1, position=1, exchange=True)
    history.add("answer_lost", 1, detail="reset").add("intent_written", 1, position=1, exchange=True)
    history.add("key_received").add("candidate_received", 2, "g2", expires_at=None, exchanged=True)
    history.add("superseded", 1, reason="moved to an API key").add("promoted", 2, "g2").add("proved", 2, "g2")
    last, key = history.lines()
    assert [one.outcome for one in last.attempts] == [AttemptOutcome.LOST, AttemptOutcome.ANSWERED]
    assert (last.ending, last.ended) == (Ending.MIGRATION, START + timedelta(seconds=10))
    assert (key.origin, key.expires_at, key.ending, key.proven) == (Origin.EXCHANGE, None, Ending.LIVING, True)
    assert key.lived_until(LATER) == LATER


def test_keys_that_the_hotel_made() -> None:
    """Each is a line of its own; the next one takes its place."""
    history = History().approved().add("candidate_received", 2, "g2", expires_at=None, pasted=True)
    history.add("superseded", 1, reason="moved to an API key").add("promoted", 2, "g2")
    history.add("candidate_received", 3, "g3", expires_at=None, pasted=True)
    history.add("superseded", 2, "g2", reason="a newer API key").add("promoted", 3, "g3")
    tokens, first, second = history.lines()
    assert (tokens.ending, first.origin, first.ending) == (Ending.MIGRATION, Origin.PASTED, Ending.KEY)
    assert (second.origin, second.ending) == (Origin.PASTED, Ending.LIVING)


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("token_refused", AttemptOutcome.REFUSED),
        ("answer_lost", AttemptOutcome.LOST),
        ("nothing_sent", AttemptOutcome.UNSENT),
        ("client_refused", AttemptOutcome.CLIENT_REFUSED),
    ],
)
def test_each_way_an_attempt_ends(kind: str, outcome: AttemptOutcome) -> None:
    """The settling event closes the open attempt, and is a trouble of the pair it wanted to replace."""
    (line,) = History().approved().add("intent_written", 1, position=0).add(kind, 1, detail="timeout").lines()
    assert [one.outcome for one in line.troubles] == [outcome]
    assert line.troubles[0].detail == ("timeout" if outcome is AttemptOutcome.LOST else "")
    assert line.ending is Ending.LIVING


def test_an_attempt_without_an_outcome_is_open() -> None:
    """The newest intent may still be running: nothing is claimed about it."""
    (line,) = History().approved().add("intent_written", 1, position=0).lines()
    assert [one.outcome for one in line.attempts] == [AttemptOutcome.OPEN]


def test_reconnect_supersedes_by_a_new_approval() -> None:
    """Another grant that was promoted supersedes the old grant's newest pair."""
    history = History().approved().refreshed(2).approved("g2").add("superseded", 2, "g1")
    old, newer, new = history.lines()
    assert (old.ending, newer.ending, new.ending) == (Ending.REFRESH, Ending.APPROVAL, Ending.LIVING)


def test_a_candidate_that_never_worked_is_dropped() -> None:
    """A grant superseded before it was promoted was never taken into use."""
    history = History().approved().add("candidate_received", 1, "g2").add("superseded", 1, "g2")
    used, unused = history.lines()
    assert (used.ending, unused.ending) == (Ending.LIVING, Ending.DROPPED)


def test_one_grant_of_several_is_disconnected() -> None:
    """The pairs of the other one live on."""
    first, second = History().approved("g1").approved("g2").add("disconnected", 1, "g2").lines()
    assert second.ending is Ending.DISCONNECT
    assert first.ending is not Ending.DISCONNECT


def test_disconnect_ends_what_lives_and_nothing_else() -> None:
    """A connection-wide event names no grant; only living pairs end by it."""
    first, second = History().approved().refreshed(2).add("disconnected", None, None).lines()
    assert (first.ending, second.ending) == (Ending.REFRESH, Ending.DISCONNECT)


def test_refused_for_good_and_taken_back() -> None:
    """A later proof clears the mark (rule 12); so does a late pair."""
    marked = History().approved().add("reauthorization_required", 1, reason="refused")
    assert marked.lines()[0].ending is Ending.REFUSED
    assert History().approved().add("reauthorization_required", 1).add("proved", 1).lines()[0].ending is Ending.LIVING
    late = History().approved().add("reauthorization_required", 1).add("pair_committed", 2).lines()
    assert [line.ending for line in late] == [Ending.REFRESH, Ending.LIVING]


def test_calls_of_a_generation_add_up() -> None:
    """Aggregates written behind are added, by method and path."""
    history = History().approved()
    one, two = START.timestamp() + 10, START.timestamp() + 70
    history.add("calls", 1, first=one, last=one + 5, count=2, refused=1, methods={"GET /a": 1, "GET /b": 1})
    history.add("calls", 1, first=two, last=two, count=1, refused=0, methods={"GET /a": 1})
    (line,) = history.lines()
    assert (line.calls, line.calls_refused, line.methods) == (3, 1, {"GET /a": 2, "GET /b": 1})


def test_calls_have_the_number_of_the_event_before() -> None:
    """They are read after it, in whichever order both are handed in."""
    history = History().approved().refreshed(2)
    committed = next(event for event in history.events if event.kind == "pair_committed")
    calls = Event(committed.sequence, committed.at, "calls", "caller", "g1", 2, {"count": 3})
    for events in ([*history.events, calls], [calls, *reversed(history.events)]):
        first, second = pairs(events)
        assert (first.ending, second.origin, second.calls) == (Ending.REFRESH, Origin.REFRESH, 3)


def test_a_history_cut_at_its_old_end() -> None:
    """A pair whose beginning is not in the events has none; the rest is still told."""
    first, second = pairs(History().approved().refreshed(2).events[3:])
    assert (first.origin, first.began, first.generation) == (Origin.UNKNOWN, None, 1)
    assert second.origin is Origin.REFRESH
    assert picture(Timeline([first, second], LATER))


def test_moments_as_the_http_api_writes_them() -> None:
    """Expiry as RFC 3339 text is understood like unix seconds."""
    (line,) = History().add("candidate_received", 1, expires_at="2026-11-24T16:00:00Z").lines()
    assert line.expires_at == datetime(2026, 11, 24, 16, tzinfo=UTC)
    assert line.document()["expires_at"] == "2026-11-24T16:00:00Z"


def test_variants_give_different_pictures() -> None:
    """The same refresh token coming back, or a refused child, shows."""
    plain = History().approved().refreshed(2)
    same = History().approved().refreshed(2, same_refresh_token=True)
    refused = History().approved().add("intent_written", 1, position=1).add("token_refused", 1).refreshed(2)
    drawn = {"\n".join(picture(Timeline(one.lines(), LATER))) for one in (plain, same, refused)}
    assert len(drawn) == 3


KINDS = [
    "candidate_received",
    "promoted",
    "pair_committed",
    "intent_written",
    "token_refused",
    "answer_lost",
    "proved",
    "calls",
    "superseded",
    "disconnected",
    "reauthorization_required",
    "something_new",
]
EVENTS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.one_of(st.none(), st.integers(1, 4)), st.sampled_from(["g1", "g2", None])),
    max_size=30,
)


@settings(deadline=None)  # it draws what it reads, several times
@given(EVENTS, st.randoms(use_true_random=False))
def test_any_history_can_be_read_and_drawn(raw: list[tuple[str, int | None, str | None]], dice: random.Random) -> None:
    """Order does not matter, a pair has one line, and the picture is as wide as its axis whatever happened."""
    history = History()
    for kind, generation, grant in raw:
        history.add(kind, generation, grant)
    lines = history.lines()
    shuffled = list(history.events)
    dice.shuffle(shuffled)
    assert pairs(shuffled) == lines
    assert len({(line.grant_id, line.generation) for line in lines}) == len(lines)
    for line in lines:
        assert (line.ended is None) == (line.ending is Ending.LIVING)
        assert all(one.outcome is not AttemptOutcome.OPEN for one in line.attempts[:-1])
    for plain in (False, True):
        for width in (30, 100):
            drawn = picture(Timeline(lines, LATER), plain=plain, width=width)
            assert len(drawn) >= len(lines)
            assert max(map(len, drawn)) <= width
            assert not plain or "\n".join(drawn).isascii()


def test_the_picture_itself() -> None:
    """A bar per pair on one axis, a mark where a refresh was cut off, and the columns."""
    history = History().approved().add("calls", 1, count=2, refused=0, methods={"GET /api/v1.3/userinfo": 2})
    history.add("intent_written", 1, position=0).refreshed(2)
    drawn = picture(Timeline(history.lines(), START + timedelta(seconds=16)), width=100, plain=True)
    assert drawn == [
        "pair  08:00:01 -------------------- 08:00:16  lived  ended by      proven  calls",
        "1.1   ==========x=====~~....................  6.0 s  refresh       yes     GET /api/v1.3/userinfo x2",
        "      ` 08:00:05 refresh: cut off: the process ended before an answer was stored",
        "1.2   ...............======================>  9.0 s  still living  yes     -",
        "= the access token works   ~ its refresh token is still good   x a refresh went wrong",
    ]


def test_the_first_use_of_a_pair() -> None:
    """The first call or proof that its access token is known to have carried, whichever was told first."""
    history = History().approved()
    assert history.lines()[0].first_used == START + timedelta(seconds=2)
    early = (START + timedelta(seconds=1.5)).timestamp()
    history.add("calls", 1, count=1, first=early).add("calls", 1, count=1, first=early + 60)
    (line,) = history.lines()
    assert line.first_used == START + timedelta(seconds=1.5)
    assert line.document()["first_used"] == "2026-11-24T08:00:01.500Z"
