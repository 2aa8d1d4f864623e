"""Work in hand: one task for each name, which no caller's end cancels."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.virtual import settle

from cloudbeds_auth.engine.tasks import Tasks, to_its_end


class Counted:
    """Work that counts how often it was begun, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = asyncio.Event()

    async def __call__(self) -> int:
        number = self.begun = self.begun + 1
        await self.ended.wait()
        return number


async def test_callers_of_one_name_share_its_task() -> None:
    """Each has its result; who comes when it is over begins anew."""
    tasks, work = Tasks(), Counted()
    callers = [asyncio.create_task(tasks.join("one", work)) for _ in range(3)]
    await settle()
    assert len(tasks) == 1
    work.ended.set()
    assert await asyncio.gather(*callers) == [1, 1, 1]
    assert await tasks.join("one", work) == 2


async def test_a_cancelled_caller_cancels_no_work() -> None:
    """It runs on, and is waited for."""
    tasks, work = Tasks(), Counted()
    caller = asyncio.create_task(tasks.join("one", work))
    await settle()
    caller.cancel()
    draining = asyncio.create_task(tasks.drain())
    await settle()
    assert caller.cancelled()
    assert not draining.done()
    work.ended.set()
    assert await draining
    assert not await tasks.drain()


async def test_what_has_begun_is_shared_no_more() -> None:
    """Callers at one moment share one; the next one begins anew, and the end of the first leaves the second's alone."""
    tasks, first, second = Tasks(), Counted(), Counted()
    together = [asyncio.create_task(tasks.share("one", first)) for _ in range(2)]
    await settle()
    later = asyncio.create_task(tasks.share("one", second))
    await settle()
    first.ended.set()
    await asyncio.gather(*together)
    assert (first.begun, second.begun) == (1, 1)
    second.ended.set()
    await later
    assert len(tasks) == 0


async def test_what_nobody_waits_for_is_begun_once() -> None:
    """And again when it is over."""
    tasks, over = Tasks(), list[int]()

    async def work() -> None:
        over.append(1)

    assert [tasks.begin("one", work), tasks.begin("one", work)] == [True, False]
    await tasks.drain()
    assert tasks.begin("one", work)
    await tasks.drain()
    assert over == [1, 1]


async def test_stopped_before_it_began() -> None:
    """It runs no line of its own, and is forgotten all the same."""
    tasks, work = Tasks(), Counted()
    caller = asyncio.create_task(tasks.join("one", work))
    await asyncio.sleep(0)
    await tasks.stop()
    assert (len(tasks), work.begun) == (0, 0)
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_to_its_end() -> None:
    """What it returns, or raises."""

    async def fails() -> None:
        raise ZeroDivisionError

    assert await to_its_end(asyncio.sleep(0, 7)) == 7
    with pytest.raises(ZeroDivisionError):
        await to_its_end(fails())


@pytest.mark.parametrize("cancels", [1, 3])
async def test_to_its_end_by_a_cancelled_caller(cancels: int) -> None:
    """However often it is cancelled: the work ends first."""
    may_end, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await may_end.wait()
        ended.set()

    caller = asyncio.create_task(to_its_end(work()))
    for _ in range(cancels):
        await asyncio.sleep(0)
        caller.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert ended.is_set()
