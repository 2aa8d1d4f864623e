"""The transactions of the rate limit: whose turn it is, and a pause that the vendor asks for."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock, about

from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn

RATE = Rate(1.0)  # a request a second


# --- turns


async def test_one_goes_at_once_and_the_rest_waits(bench: Bench) -> None:
    """One interval after the other, in the order of asking."""
    turns = [await bench.store.write(reserve_turn("client", Rate(0.01), 1e6)) for _ in range(3)]
    assert all(turn.taken for turn in turns)
    waits = [turn.wait for turn in turns]
    assert waits[0] == 0.0
    assert waits[1] == pytest.approx(100.0, abs=10.0)
    assert waits[2] == pytest.approx(200.0, abs=10.0)


async def test_a_turn_too_far_off_is_nobodys(bench: Bench) -> None:
    """It is not taken, and asking again takes nothing either."""
    assert (await bench.store.write(reserve_turn("client", Rate(0.01), 0.0))).taken
    for _ in range(3):
        turn = await bench.store.write(reserve_turn("client", Rate(0.01), 5.0))
        assert not turn.taken
        assert turn.wait == pytest.approx(100.0, abs=10.0)


async def test_all_processes_take_from_one_budget(bench: Bench) -> None:
    """Whoever asks; another client id has its own."""
    other = await bench.another()
    slow = Rate(0.01)
    assert (await bench.store.write(reserve_turn("client", slow, 0.0))).taken
    assert not (await other.write(reserve_turn("client", slow, 0.0))).taken
    assert (await other.write(reserve_turn("another client", slow, 0.0))).taken


async def test_turns_come_back_with_time(bench: Bench, clock: HandClock) -> None:
    """One a second, and never more at once, however long nobody asked."""
    for passed, taken in ((0.0, 1), (0.4, 0), (0.6, 1), (3600.0, 1)):
        clock.pass_(passed)
        turns = [await bench.store.write(reserve_turn("client", RATE, 0.0)) for _ in range(4)]
        assert sum(turn.taken for turn in turns) == taken, passed


async def test_another_boot_begins_afresh(bench: Bench, clock: HandClock) -> None:
    """What the last one left was measured by another clock."""
    for _ in range(5):
        await bench.store.write(reserve_turn("client", RATE, 1e6))
    clock.reboot()
    assert (await bench.store.write(reserve_turn("client", RATE, 0.0))).wait == 0.0


async def test_an_arrival_from_before_the_clock_was_set_back(bench: Bench, clock: HandClock) -> None:
    """Or of another boot that could not be told apart: it is as far ahead as it was, and nobody waits for hours."""
    clock.steady += 1e6
    await bench.store.write(reserve_turn("client", RATE, 0.0))
    clock.steady -= 1e6
    assert (await bench.store.write(reserve_turn("client", RATE, 5.0))).wait == about(RATE.interval)
    clock.steady -= 600.0
    await bench.store.write(pause_turns("client", 30.0))
    clock.steady -= 3600.0
    assert (await bench.store.write(reserve_turn("client", RATE, 60.0))).wait == about(30.0)


# --- a pause that the vendor asks for


@pytest.mark.row("F20")
async def test_a_pause_is_kept_by_all_processes(bench: Bench, clock: HandClock) -> None:
    """Nobody of this client id has a turn until it is over; another client id has its own."""
    other = await bench.another()
    await bench.store.write(pause_turns("client", 30.0))
    for store in (bench.store, other):
        turn = await store.write(reserve_turn("client", RATE, 5.0))
        assert not turn.taken
        assert turn.wait == pytest.approx(30.0, abs=1.0)
    assert (await other.write(reserve_turn("another client", RATE, 0.0))).taken
    clock.pass_(30.0)
    assert (await other.write(reserve_turn("client", RATE, 0.0))).taken
    assert not (await other.write(reserve_turn("client", RATE, 0.5))).taken, "no burst after it"


async def test_a_pause_shortens_no_queue(bench: Bench) -> None:
    """What was given already stays given: the next turn comes after it."""
    slow = Rate(0.01)
    for _ in range(3):
        await bench.store.write(reserve_turn("client", slow, 1e6))
    await bench.store.write(pause_turns("client", 1.0))
    assert (await bench.store.write(reserve_turn("client", slow, 0.0))).wait == pytest.approx(300.0, abs=10.0)
