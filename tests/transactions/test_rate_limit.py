"""The transactions of the rate limit: whose turn it is, and a pause that the vendor asks for."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock, about

from cloudbeds_auth.rules.rate_limit import SPACED, WINDOW, Rate, WindowUse
from cloudbeds_auth.transactions.rate_limit import pause_turns, read_window_use, reserve_turn

RATE = Rate(1, 1.0)  # a request a second
SLOW = Rate(1, 100.0)
THREE = Rate(3)  # in a window


# --- turns


async def test_those_of_a_window_go_at_once_and_the_rest_waits(bench: Bench) -> None:
    """One window after the other, in the order of asking."""
    rate = Rate(2, 100.0)
    waits = [await bench.store.write(reserve_turn("client", rate, 1e6)) for _ in range(5)]
    assert waits == pytest.approx([0.0, 0.0, 100.0, 100.0, 200.0], abs=10.0)
    assert waits[0] == 0.0


async def test_a_turn_too_far_off_is_nobodys(bench: Bench) -> None:
    """It is not taken, and asking again takes nothing either."""
    assert await bench.store.write(reserve_turn("client", SLOW, 0.0)) == 0.0
    for _ in range(3):
        assert await bench.store.write(reserve_turn("client", SLOW, 5.0)) == pytest.approx(100.0, abs=10.0)


async def test_all_processes_take_from_one_budget(bench: Bench) -> None:
    """Each that asks; another client id has its own."""
    other = await bench.another()
    assert await bench.store.write(reserve_turn("client", SLOW, 0.0)) == 0.0
    assert await other.write(reserve_turn("client", SLOW, 0.0)) > 0.0
    assert await other.write(reserve_turn("another client", SLOW, 0.0)) == 0.0


async def test_turns_come_back_with_time(bench: Bench, clock: HandClock) -> None:
    """Those of one window, and never more at once, however long no process asked."""
    for passed, at_once in ((0.0, 3), (0.5, 0), (WINDOW - 0.5, 3), (3600.0, 3)):
        clock.pass_(passed)
        waits = [await bench.store.write(reserve_turn("client", THREE, 0.0)) for _ in range(5)]
        assert sum(wait == 0.0 for wait in waits) == at_once, passed


async def test_after_another_boot_one_window_is_waited_out(bench: Bench, clock: HandClock) -> None:
    """What was sent shortly before may have been forgotten. Not more is waited for, and by no other client id."""
    for _ in range(3):
        await bench.store.write(reserve_turn("client", THREE, 0.0))
    clock.reboot()
    assert await bench.store.write(reserve_turn("client", THREE, 0.0)) == about(WINDOW)
    assert await bench.store.write(reserve_turn("another client", THREE, 0.0)) == 0.0
    clock.pass_(WINDOW)
    waits = [await bench.store.write(reserve_turn("client", THREE, 5.0)) for _ in range(4)]
    assert waits == [about(0.0)] * 3 + [about(WINDOW)]


@pytest.mark.row("F20")
async def test_another_boot_ends_no_pause(bench: Bench, clock: HandClock) -> None:
    """It lasts as long as was left of it when it was written, and turns are spaced evenly after it."""
    await bench.store.write(pause_turns("client", 30.0))
    clock.reboot()
    waits = [await bench.store.write(reserve_turn("client", THREE, 60.0)) for _ in range(2)]
    assert waits == [about(30.0), about(30.0 + THREE.interval)]


async def test_turns_from_before_the_clock_was_set_back(bench: Bench, clock: HandClock) -> None:
    """Or of another boot that could not be told apart: as far ahead as they were, and no caller waits for hours."""
    clock.steady += 1e6
    await bench.store.write(reserve_turn("client", RATE, 0.0))
    clock.steady -= 1e6
    assert await bench.store.write(reserve_turn("client", RATE, 5.0)) == about(1.0)
    clock.steady -= 600.0
    await bench.store.write(pause_turns("client", 30.0))
    clock.steady -= 3600.0
    assert await bench.store.write(reserve_turn("client", RATE, 60.0)) == about(30.0)


# --- a pause that the vendor asks for


@pytest.mark.row("F20")
async def test_a_pause_is_kept_by_all_processes(bench: Bench, clock: HandClock) -> None:
    """No process has a turn of this client id until it is over; another client id has its own."""
    other = await bench.another()
    await bench.store.write(pause_turns("client", 30.0))
    for store in (bench.store, other):
        assert await store.write(reserve_turn("client", RATE, 5.0)) == pytest.approx(30.0, abs=1.0)
    assert await other.write(reserve_turn("another client", RATE, 0.0)) == 0.0
    clock.pass_(30.0)
    assert await other.write(reserve_turn("client", RATE, 0.0)) == 0.0


@pytest.mark.row("F20")
async def test_after_a_pause_there_is_no_burst_for_an_hour(bench: Bench, clock: HandClock) -> None:
    """In no process; then a window's turns go at once again."""
    other = await bench.another()
    await bench.store.write(pause_turns("client", 1.0))
    for passed in (1.0, 60.0, SPACED - 120.0):
        clock.pass_(passed)
        waits = [await store.write(reserve_turn("client", THREE, 5.0)) for store in (bench.store, other)]
        assert waits == [0.0, about(THREE.interval)], passed
    clock.pass_(120.0)
    assert [await other.write(reserve_turn("client", THREE, 0.0)) for _ in range(3)] == [0.0] * 3


async def test_a_pause_shortens_no_queue(bench: Bench) -> None:
    """What was given already stays given: the next turn comes after it."""
    for _ in range(3):
        await bench.store.write(reserve_turn("client", SLOW, 1e6))
    await bench.store.write(pause_turns("client", 1.0))
    assert await bench.store.write(reserve_turn("client", SLOW, 0.0)) == pytest.approx(300.0, abs=10.0)


async def test_how_much_is_in_use(bench: Bench, clock: HandClock) -> None:
    """Turns of the last window and those given for later; after a 429 for how long nothing is sent. Nothing is written
    by looking; of another start, nothing is known.
    """
    for _ in range(4):
        await bench.store.write(reserve_turn("client", THREE, 5.0))

    async def use() -> WindowUse | None:
        found = await bench.store.read(read_window_use(["client", "another client"]))
        assert found.keys() <= {"client"}
        return found.get("client")

    assert await use() == WindowUse(3, 1, 0.0, spaced=False)
    await bench.store.write(pause_turns("client", 60.0))
    clock.pass_(WINDOW)
    found = await use()
    assert found is not None
    assert (found.taken, found.ahead, found.paused, found.spaced) == (1, 0, about(60.0 - WINDOW), True)
    clock.reboot()
    assert await use() is None
