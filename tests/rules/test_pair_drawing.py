"""The picture of token pairs laid out: rows, axis, how long each refresh token was good, and words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloudbeds_auth.rules.model import Event
from cloudbeds_auth.rules.pair_drawing import (
    MOST_TICKS,
    NEWEST_DRAWN,
    Drawing,
    Timeline,
    drawing,
    refresh_token_until,
)
from cloudbeds_auth.rules.timeline import PairLine, pairs

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
HOUR = 3600.0
Told = tuple[float, str, int | None, dict[str, object]]


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def history(*told: Told, grant: str = "g1") -> list[PairLine]:
    """Pairs of these events: second, kind, generation, data."""
    return pairs(
        Event(number, after(second), kind, "vault", None if generation is None else grant, generation, data)
        for number, (second, kind, generation, data) in enumerate(told, 1)
    )


RECEIVED: Told = (0.0, "candidate_received", 1, {"expires_at": after(8 * HOUR).timestamp()})
COMMITTED: Told = (100.0, "pair_committed", 2, {"expires_at": after(8 * HOUR + 100).timestamp()})
NOW = after(200)


def laid_out(lines: list[PairLine], now: datetime = NOW, **more: object) -> Drawing:
    found = drawing(Timeline(lines, now, **more))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_no_pairs() -> None:
    """There is nothing to draw."""
    assert drawing(Timeline([], NOW)) is None


@pytest.mark.parametrize(
    ("told", "until"),
    [
        ([RECEIVED], 200), ([RECEIVED, COMMITTED], 200), ([RECEIVED, COMMITTED, (130.0, "proved", 2, {})], 130),
        ([RECEIVED, COMMITTED, (130.0, "calls", 2, {"first": after(120).timestamp(), "count": 1})], 120),
        ([RECEIVED, (90.0, "disconnected", None, {})], 90),
        ([RECEIVED, COMMITTED, (150.0, "disconnected", None, {})], 150),
        ([RECEIVED, COMMITTED, (140.0, "superseded", 2, {"reason": "a newer approval"})], 140),
        ([RECEIVED, (100.0, "pair_committed", 2, {"same_refresh_token": True}), (130.0, "proved", 2, {})], 200),
    ],
    ids=["living", "not used yet", "proven", "called", "disconnected", "disconnected later", "replaced", "same token"],
)  # fmt: skip
def test_until_when_a_refresh_token_is_good(told: list[Told], until: float) -> None:
    """Until an access token that came later is first used, however long the pair itself was over; or until its end."""
    lines = history(*told)
    assert refresh_token_until(lines[0], lines, NOW) == after(until)


@pytest.mark.parametrize("mark", ["pasted", "exchanged"])
def test_a_key_has_no_refresh_token(mark: str) -> None:
    """Nor is it called a pair."""
    lines = history((0.0, "candidate_received", 1, {mark: True}))
    (row,) = laid_out(lines).rows
    assert (row.refresh_until, row.title) == (None, "API key 1")


def test_the_rows() -> None:
    """When each could be used, what ended it, its calls, and what went wrong on the way to the next."""
    lost: Told = (90.0, "intent_written", 1, {"position": 1})
    lines = history(
        RECEIVED, (1.0, "proved", 1, {}), lost, (95.0, "answer_lost", 1, {"detail": "ReadTimeout"}), COMMITTED,
        (101.0, "calls", 1, {"count": 1}), (102.0, "calls", 2, {"count": 1234, "refused": 2}),
    )  # fmt: skip
    found = laid_out(lines)
    first, second = found.rows
    assert (first.name, first.title, first.began) == ("1.1", "Pair 1", True)
    assert (first.begins, first.ends) == (START, after(100))
    assert (first.lived, first.ending, first.lives, first.calls) == ("1 min 40 s", "refresh", False, "1 call")
    assert [one.at for one in first.marks] == [after(90)]
    assert first.notes == ["08:01:30 refresh: answer lost (ReadTimeout)"]
    assert (second.ending, second.lives, second.calls) == ("still living", True, "1,234 calls, 2 answered 401")
    assert (found.start, found.end, found.left_out) == (START, NOW, 0)
    assert [found.share(at) for at in (after(-1), START, after(100), NOW, after(900))] == [0, 0, 0.5, 1, 1]


def test_a_pair_that_ran_out_or_lived_on() -> None:
    """Of one that nothing ended, the clock may have; in an older part of a history no more is known of it."""
    lines = history(RECEIVED)
    assert laid_out(lines, after(9 * HOUR)).rows[0].ending == "expired"
    assert laid_out(lines, newest=False).rows[0].ending == "lived on after this"


def test_a_pair_whose_beginning_is_not_told() -> None:
    """It begins where the picture does."""
    lines = history((50.0, "calls", 1, {"count": 2}), COMMITTED)
    first, _ = laid_out(lines).rows
    assert (first.began, first.lived, first.begins) == (False, "?", after(100))


def test_only_the_newest_are_drawn() -> None:
    """How many older ones there are is said."""
    more: list[Told] = [(100.0 * number, "pair_committed", number, {}) for number in range(2, NEWEST_DRAWN + 4)]
    found = laid_out(history(RECEIVED, *more), after(5000))
    assert (len(found.rows), found.left_out, found.rows[0].name) == (NEWEST_DRAWN, 3, "1.4")
    assert found.start == after(400)


@pytest.mark.parametrize(("planned", "drawn"), [(250, True), (300, True), (301, False), (199, False)])
def test_what_is_planned(planned: float, drawn: bool) -> None:
    """Is on the axis, which goes on for it by a half; what is further away, or over, would bend the picture."""
    found = laid_out(history(RECEIVED), planned=after(planned))
    assert found.planned == (after(planned) if drawn else None)
    assert found.end == (after(planned) if drawn else NOW)


@pytest.mark.parametrize("seconds", [0.5, 30, 600, 3 * HOUR, 20 * HOUR, 5 * 24 * HOUR, 400 * 24 * HOUR])
def test_ticks(seconds: float) -> None:
    """A few round moments, each on the axis; the day is named where it is another than before."""
    found = laid_out(history(RECEIVED), after(seconds))
    ticks = found.ticks
    assert len(ticks) <= MOST_TICKS
    assert all(found.start <= at <= found.end for at, _ in ticks)
    assert len(ticks) > 0 or seconds < 1
    assert all(label.startswith(f"{at:%b}") for at, label in ticks[:1])


def test_labels_of_ticks() -> None:
    """Seconds only where they differ, the day once, and days alone where that is enough."""
    assert [label for _, label in laid_out(history(RECEIVED), after(30)).ticks] == [
        "Nov 24 08:00:10", "08:00:20", "08:00:30",
    ]  # fmt: skip
    assert [label for _, label in laid_out(history((0.0, "candidate_received", 1, {})), after(20 * HOUR)).ticks] == [
        "Nov 24 12:00", "18:00", "Nov 25 00:00",
    ]  # fmt: skip
    assert [label for _, label in laid_out(history((0.0, "candidate_received", 1, {})), after(72 * HOUR)).ticks] == [
        "Nov 25", "Nov 26", "Nov 27",
    ]  # fmt: skip
