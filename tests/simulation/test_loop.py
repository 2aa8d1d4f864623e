"""The loop of the simulation: virtual time, machines that are killed or stand still, and a scheduler that replays."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Iterator

import pytest
from tests.simulation.loop import BEGAN, SimLoop, Stuck


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    made = SimLoop(random.Random(1))  # type: ignore[abstract]
    yield made
    made.take_down()


def test_waiting_moves_time_and_nothing_else_does(loop: SimLoop) -> None:
    """An hour passes at once."""
    task = loop.spawn("m1", asyncio.sleep(3600.0))
    loop.run(task.done)
    assert loop.now == BEGAN + 3600.0


def test_a_killed_machine_runs_no_finally_block(loop: SimLoop) -> None:
    """As after kill -9: nothing of it runs again, not even what would tidy up."""
    ran: list[str] = []

    async def life() -> None:
        try:
            await asyncio.sleep(10.0)
        finally:
            ran.append("finally")

    loop.spawn("m1", life())
    other = loop.spawn("m2", asyncio.sleep(100.0))
    loop.run(lambda: loop.now >= BEGAN + 0.0 and loop.steps >= 2)
    loop.kill("m1")
    loop.run(other.done)
    assert not ran
    assert not loop.alive("m1")


def test_a_paused_machine_stands_still_while_others_go_on(loop: SimLoop) -> None:
    """As SIGSTOP: its sleep is over long before it wakes."""
    woke: dict[str, float] = {}

    async def sleeper(name: str) -> None:
        await asyncio.sleep(1.0)
        woke[name] = loop.now - BEGAN

    tasks = [loop.spawn(name, sleeper(name)) for name in ("m1", "m2")]
    loop.pause("m1", 30.0)
    loop.run(lambda: all(task.done() for task in tasks))
    assert woke == {"m2": 1.0, "m1": 31.0}


def test_the_shortest_sleep_moves_time() -> None:
    """A wait too short for a float would be an endless loop."""
    loop = SimLoop(random.Random(1))  # type: ignore[abstract]
    task = loop.spawn("m1", asyncio.sleep(1e-15))
    loop.run(task.done)
    assert loop.now > BEGAN
    loop.take_down()


def test_nothing_to_do_and_no_timer_is_told(loop: SimLoop) -> None:
    """Instead of hanging for ever."""
    loop.spawn("m1", asyncio.sleep(1.0))
    with pytest.raises(Stuck):
        loop.run(lambda: False)


def test_the_dice_decide_who_runs_and_one_seed_decides_alike() -> None:
    """Two seeds differ, two runs of one do not."""

    def order(seed: int) -> str:
        loop, said = SimLoop(random.Random(seed)), []  # type: ignore[abstract]

        async def speak(name: str) -> None:
            for _ in range(5):
                said.append(name)
                await asyncio.sleep(0)

        tasks = [loop.spawn(name, speak(name)) for name in "abc"]
        loop.run(lambda: all(task.done() for task in tasks))
        loop.take_down()
        return "".join(said)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(5)}) > 1


def test_what_nobody_reads_may_not_fail(loop: SimLoop) -> None:
    """A task of the world that ends with an error ends the run; one whose outcome is read does not."""

    async def fail() -> None:
        raise KeyError("bug")

    read = loop.start("m1", fail())
    loop.run(read.done)
    assert isinstance(read.exception(), KeyError)
    loop.spawn("m1", fail())
    with pytest.raises(KeyError, match="bug"):
        loop.run(lambda: False)


def test_taking_down_closes_every_coroutine_however_its_task_was_made() -> None:
    """Also of a task made without the loop's factory: none is closed by the garbage collector."""
    loop = SimLoop(random.Random(1))  # type: ignore[abstract]
    ran: list[str] = []

    async def life() -> None:
        try:
            async with asyncio.timeout(100.0):
                await asyncio.sleep(10.0)
        finally:
            ran.append("finally")

    async def start() -> None:
        asyncio.create_task(coroutines[0])  # noqa: RUF006 - kept by the loop
        ran.append(asyncio.Task(coroutines[1], loop=loop, name="its own").get_name())

    coroutines = [life(), life()]
    loop.spawn("m1", start())
    loop.run(lambda: loop.steps >= 3)
    loop.take_down()
    assert {inspect.getcoroutinestate(coroutine) for coroutine in coroutines} == {inspect.CORO_CLOSED}
    assert ran == ["its own", "finally", "finally"]
