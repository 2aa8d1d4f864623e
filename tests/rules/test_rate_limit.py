"""The rate limit: what passes in any one second never exceeds it, and no hotel waits behind another one's queue."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.rate_limit import (
    JITTER,
    LONGEST_PAUSE,
    OURS,
    SPACED,
    UNSAID,
    WINDOW,
    FairQueue,
    Rate,
    TurnLine,
    Turns,
    pause_of,
    rate_of,
    rate_within,
)

LIMITS = st.one_of(st.sampled_from([1, 1.5, 2, 2.5, 5, 10, 11, 50]), st.floats(1, 60))


class Asking:
    """Processes that ask for turns of one client id; `sent` are the moments of those that were taken."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.sent: list[float] = []

    def ask(self, rate: Rate, now: float = 0.0, patience: float = 1e9) -> float:
        """The seconds to wait, as `reserve_turn` has them."""
        moment = self.turns.next(now, rate)
        if moment - now <= patience:
            self.turns = self.turns.give(moment, now, rate)
            self.sent.append(moment)
        return moment - now


def most_within(seconds: float, moments: list[float]) -> int:
    """The most of these that a window of so many seconds holds."""
    return max((sum(start <= moment < start + seconds - 1e-6 for moment in moments) for start in moments), default=0)


GAPS = st.one_of(st.sampled_from([0.0, 0.01, WINDOW, WINDOW - 0.01]), st.floats(0, 3))
PATIENCE = st.sampled_from([0.0, 1.0, 5.0, 1e9, None])  # None: no request, but a 429 of an earlier one


@CALM
@given(
    limits=st.lists(LIMITS, min_size=1, max_size=3),
    asked=st.lists(st.tuples(GAPS, st.integers(0, 2), PATIENCE), min_size=1, max_size=120),
)
def test_no_window_holds_more_than_its_turns(limits: list[float], asked: list[tuple[float, int, float | None]]) -> None:
    """However callers arrive, however patient they are, with 429s among them, and where processes of one client id are
    set to different limits: no window holds more than the highest of these (I11).
    """
    rates, asking, now = [rate_within(limit) for limit in limits], Asking(), 0.0
    for gap, process, patience in asked:
        now += gap
        if patience is None:
            asking.turns = asking.turns.paused(now, 2.0)
        else:
            asking.ask(rates[process % len(rates)], now, patience)
    assert asking.sent == sorted(asking.sent)
    assert most_within(WINDOW, asking.sent) <= max(rate.most for rate in rates)
    assert most_within(1.0, asking.sent) <= max(limits)


@pytest.mark.parametrize(("limit", "at_once"), [(10, 9), (5, 4), (2, 1), (1, 1)])
def test_what_an_idle_client_id_may_send_at_once(limit: int, at_once: int) -> None:
    """All of a window's without waiting, the next one when the first of them leaves the window; and so on."""
    asking, rate = Asking(), rate_within(limit)
    waits = [asking.ask(rate, 100.0) for _ in range(2 * at_once + 1)]
    assert waits == [0.0] * at_once + [WINDOW] * at_once + [2 * WINDOW]
    assert asking.ask(rate, 200.0) == 0.0
    assert len(asking.turns.given) == 1, "what no longer counts is not kept"


def test_a_turn_comes_as_soon_as_the_window_has_room() -> None:
    """It slides: a place that was taken later comes back later."""
    asking, rate = Asking(), Rate(3)
    assert [asking.ask(rate, now) for now in (0.0, 0.5, 0.75)] == [0.0] * 3
    assert [asking.ask(rate, 1.0) for _ in range(3)] == [WINDOW - 1.0, WINDOW - 0.5, WINDOW - 0.25]


def test_a_turn_beyond_patience_is_not_taken() -> None:
    """A caller that would wait too long takes no turn, and learns how long it would have been."""
    asking, rate = Asking(), Rate(1)
    asking.ask(rate)
    assert [asking.ask(rate, 0.5, 0.5) for _ in range(3)] == [WINDOW - 0.5] * 3
    assert asking.sent == [0.0]


@pytest.mark.parametrize(("limit", "a_minute"), [(10, 432), (5, 192), (2, 48)])
def test_throughput_in_the_long_run(limit: int, a_minute: int) -> None:
    """Saturated for a minute: what is left of the limit beside the room for arrivals and for one that goes alone."""
    assert saturated(rate_within(limit), a_minute)[-1] == pytest.approx(60.0, abs=1.3)


def saturated(rate: Rate, number: int) -> list[float]:
    """When so many requests leave that are all asked for at the beginning."""
    asking = Asking()
    return [asking.ask(rate) for _ in range(number)]


def alone(rate: Rate, number: int) -> list[float]:
    """When so many leave from a process that goes alone."""
    return [place / rate.alone for place in range(number)] if rate.alone else []


@CALM
@given(
    limit=LIMITS,
    late=st.lists(st.floats(0, JITTER - 1e-6), min_size=60, max_size=120),
    begins=st.floats(0, 3),
)
def test_what_arrives_in_a_second_keeps_the_limit_whatever_way_it_took(
    limit: float, late: list[float], begins: float
) -> None:
    """Saturated, with a process that goes alone beside those that share, and each request a quarter of a second late at
    most: no second at the vendor holds more than the limit.
    """
    rate = rate_within(limit)
    leaving = [*saturated(rate, len(late)), *(begins + moment for moment in alone(rate, len(late)))]
    arrived = [moment + delay for moment, delay in zip(leaving, late * 2, strict=False)]
    assert most_within(1.0, arrived) <= limit


@pytest.mark.parametrize("limit", [1, 1.9])
def test_a_limit_without_room_lets_nobody_go_alone(limit: float) -> None:
    """One request a second is all: nobody sends it who has not asked."""
    assert rate_within(limit) == Rate(1, WINDOW, alone=0.0)


@pytest.mark.parametrize("limit", [2, 5, 10, 11, 20, 100])
def test_ten_processes_that_all_go_alone_share_no_more_than_those_that_ask(limit: int) -> None:
    """Nobody can ask: in the long run the rate is the same."""
    rate = rate_within(limit)
    assert 10 * rate.alone == pytest.approx(rate.most / rate.window)


DATE = "Tue, 24 Nov 2026 08:00:00 GMT"
FAR_YEAR = "Mon, 31 Dec 100000000000 23:59:59 GMT"


@pytest.mark.row("F20")
@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", UNSAID),
        ("1e9", LONGEST_PAUSE),
        ("2.5", 2.5),
        ("9" * 400, LONGEST_PAUSE),
        ("Tue, 24 Nov 2026 08:00:09 GMT", 9.0),
        ("Tue, 24 Nov 2026 07:00:00 GMT", UNSAID),
        ("Wed, 25 Nov 2026 08:00:00 GMT", LONGEST_PAUSE),
        ("-5", UNSAID),
        ("nan", UNSAID),
        ("soon", UNSAID),
        (FAR_YEAR, UNSAID),
        (None, UNSAID),
    ],
)
def test_what_a_429_asks_for(said: str | None, pause: float) -> None:
    """Seconds, or a date against the answer's own; capped at a minute, and a second where it says nothing."""
    assert pause_of(429, {"Retry-After": said, "Date": DATE}) == pause
    assert pause_of(503, {"Retry-After": said, "Date": DATE}) is None


@pytest.mark.row("F20")
@pytest.mark.parametrize("date", [None, "", "just now", "Tue, 24 Nov 2026 08:00:00 -0000", FAR_YEAR])
def test_a_date_that_cannot_be_measured(date: str | None) -> None:
    """No clock of ours takes part: however near it is, nothing goes for the longest pause."""
    assert pause_of(429, {"Retry-After": "Tue, 24 Nov 2026 08:00:09 GMT", "Date": date}) == LONGEST_PAUSE
    assert pause_of(429, {"Retry-After": "soon", "Date": date}) == UNSAID


def test_a_pause_lets_nobody_pass_and_calls_nothing_back() -> None:
    """The next turn comes when it is over; a queue that was longer stays as it was, and a shorter pause ends none."""
    asking, rate = Asking(), rate_within(10)
    asking.turns = asking.turns.paused(100.0, 3.0)
    assert asking.ask(rate, 100.0) == 3.0
    asking.turns = asking.turns.paused(101.0, 1.0)
    assert asking.ask(rate, 101.0) == pytest.approx(2.0 + rate.interval)
    ahead = Turns(given=(200.0,)).paused(100.0, 3.0)
    assert ahead.next(100.0, rate) == pytest.approx(200.0 + rate.interval)


@pytest.mark.row("F20")
def test_for_an_hour_after_a_429_requests_are_spaced_evenly() -> None:
    """Cloudbeds may count bursts in a way of its own: none comes until the hour is over, then a window's at once."""
    asking, rate = Asking(), rate_within(10)
    asking.turns = asking.turns.paused(0.0, 1.0)
    for now in (0.0, 60.0, SPACED - 2.0):
        asking.sent.clear()
        for _ in range(20):
            asking.ask(rate, now)
        assert all(later - earlier > rate.interval - 1e-6 for earlier, later in pairwise(asking.sent)), now
    assert [asking.ask(rate, SPACED + 5.0) for _ in range(rate.most)] == [0.0] * rate.most


# --- which one is next


def line(name: str) -> TurnLine:
    """`ours`: that of tokens and proofs; `key_a`: of the hotel `a` of a caller `key`; `a`: of one without a name."""
    caller, _, hotel = name.rpartition("_")
    return OURS if name == "ours" else TurnLine(caller, hotel)


def queue_of(gone: set[str] | None = None, **waiting: int) -> FairQueue[str]:
    """So many wait in each line."""
    made: FairQueue[str] = FairQueue((gone or set()).__contains__)
    for name, number in waiting.items():
        for at in range(number):
            made.join(line(name), f"{name}{at}")
    return made


def served(queue: FairQueue[str], number: int = 1000) -> list[str]:
    """What goes, in this order."""
    return [one for _ in range(number) if (one := queue.next()) is not None]


def test_one_line_is_served_in_the_order_of_coming() -> None:
    """First in, first out; then none waits."""
    queue = queue_of(a=3)
    assert (queue.length(line("a")), queue.waiting()) == (3, ["a0", "a1", "a2"])
    assert served(queue) == ["a0", "a1", "a2"]
    assert (queue.length(line("a")), queue.waiting(), queue.next()) == (0, [], None)


def test_one_hotels_flood_delays_another_by_one_place() -> None:
    """A thousand wait for one hotel; the single call of another is the second to go."""
    assert served(queue_of(flood=1000, single=1), 3) == ["flood0", "single0", "flood1"]


def test_a_line_that_joins_a_flood_later_is_next_but_one() -> None:
    """A line that is begun anew goes behind those that wait, each of which has one place before it."""
    queue = queue_of(a=9, b=9)
    assert served(queue, 2) == ["a0", "b0"]
    queue.join(line("c"), "c0")
    assert served(queue, 4) == ["a1", "b1", "c0", "a2"]


def test_every_line_has_one_place_before_any_has_two() -> None:
    """However long the lines are."""
    assert served(queue_of(a=3, b=1, c=2)) == ["a0", "b0", "c0", "a1", "c1", "a2"]


@pytest.mark.row("A61")
def test_one_callers_flood_delays_another_by_one_place() -> None:
    """For however many hotels it waits: callers take turns, and each of them among its hotels."""
    flood = {f"flood_h{number}": 10 for number in range(100)}
    assert served(queue_of(None, **flood, small_a=1, small_b=1), 6) == [
        "flood_h00", "small_a0", "flood_h10", "small_b0", "flood_h20", "flood_h30",
    ]  # fmt: skip


def test_callers_of_one_hotel_have_a_line_each() -> None:
    """They take turns there, too; a caller whose requests are all gone is the last one when it comes anew."""
    queue = queue_of(one_a=2, two_a=2)
    assert served(queue, 2) == ["one_a0", "two_a0"]
    queue.join(line("three_a"), "three_a0")
    assert (queue.length(line("one_a")), queue.length(line("one_b")), queue.length(line("four_a"))) == (1, 0, 0)
    assert served(queue) == ["one_a1", "two_a1", "three_a0"]


@pytest.mark.parametrize(
    ("a_second", "most", "window"), [(2.0, 2, 1.0), (0.5, 1, 2.0), (2.5, 2, 0.8), (1.0, 1, 1.0), (0.01, 1, 100.0)]
)
def test_the_rate_of_a_caller(a_second: float, most: int, window: float) -> None:
    """Whole requests in a window that is as long as the rate says."""
    assert rate_of(a_second) == Rate(most, pytest.approx(window))  # type: ignore[arg-type]


def test_tokens_and_proofs_have_every_second_place() -> None:
    """They keep hotels connected; and many of them still leave every other place to the callers."""
    assert served(queue_of(a=2, b=1, ours=4)) == ["ours0", "a0", "ours1", "b0", "ours2", "a1", "ours3"]


def test_tokens_and_proofs_alone_go_one_after_the_other() -> None:
    """No place is kept free for callers that there are not."""
    assert served(queue_of(ours=3)) == ["ours0", "ours1", "ours2"]


def test_what_is_gone_has_no_place() -> None:
    """Neither in its line nor among the lines: one that is joined anew after all of it has gone is the last."""
    gone = {"a1", "b0"}
    queue = queue_of(gone, b=1, a=3)
    assert (queue.length(line("a")), queue.length(line("b")), queue.waiting()) == (2, 0, ["a0", "a2"])
    queue.join(line("b"), "b1")
    assert served(queue) == ["a0", "b1", "a2"]
