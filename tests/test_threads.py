"""Threads of our own: in order, not more than asked for, none of an application's, and none that the end waits for."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import pytest
from tests.support.interrupting import interrupted

from cloudbeds_auth import threads
from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.threads import Elsewhere, OwnThreads, awaited, result_of

T = TypeVar("T")

GUARD = 60.0  # seconds


def named(name: str) -> list[threading.Thread]:
    """Threads of this name that run."""
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_calls_in_the_order_in_which_they_come() -> None:
    """One thread, a daemon, which there is from the beginning."""
    own = OwnThreads(1, "test-order")
    (thread,) = named("test-order")
    assert thread.daemon
    seen: list[int] = []
    futures = [own.submit(seen.append, number) for number in range(100)]
    own.shutdown()
    assert seen == list(range(100))
    assert all(future.done() for future in futures)
    assert not thread.is_alive()


def test_as_many_at_a_time_as_there_are_threads() -> None:
    """Further calls wait."""
    own, together = OwnThreads(3, "test-many"), threading.Barrier(3)
    waiting = [own.submit(together.wait, GUARD) for _ in range(6)]
    assert sorted(future.result(GUARD) for future in waiting) == [0, 0, 1, 1, 2, 2]
    assert len(named("test-many")) == 3
    own.shutdown()
    assert named("test-many") == []


def test_what_a_call_raises() -> None:
    """It is raised where the result is asked for, and the thread goes on."""
    own = OwnThreads(1, "test-raises")
    with pytest.raises(ZeroDivisionError):
        own.submit(lambda: 1 / 0).result(GUARD)
    assert own.submit(lambda: 7).result(GUARD) == 7
    own.shutdown()


def test_a_call_that_is_cancelled_before_it_begins() -> None:
    """It is not made."""
    own, begun, go = OwnThreads(1, "test-cancelled"), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait(GUARD)

    own.submit(hold)
    begun.wait(GUARD)
    made: list[int] = []
    assert own.submit(made.append, 1).cancel()
    go.set()
    own.shutdown()
    assert made == []


def test_after_the_end() -> None:
    """Nothing is taken, and a second end is none."""
    own = OwnThreads(1, "test-end")
    own.shutdown(wait=False)
    own.shutdown()
    with pytest.raises(RuntimeError):
        own.submit(print)


def test_one_that_is_forgotten() -> None:
    """Its thread ends."""
    own = OwnThreads(1, "test-forgotten")
    (thread,) = named("test-forgotten")
    del own
    gc.collect()
    thread.join(GUARD)
    assert not thread.is_alive()


def test_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that there are make the calls; without any, there is nothing to make them."""
    own = OwnThreads(2, "test-starved")

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert own.submit(lambda: 7).result(GUARD) == 7
    with pytest.raises(RuntimeError):
        OwnThreads(1, "test-none")
    own.shutdown()


def test_an_event_loop_takes_it() -> None:
    """For its default executor: a name is looked up on our thread."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(OwnThreads(1, "test-names"))
    name: Callable[[], str] = lambda: threading.current_thread().name  # noqa: E731
    assert loop.run_until_complete(loop.run_in_executor(None, name)) == "test-names"
    assert loop.run_until_complete(loop.getaddrinfo("localhost", 80))
    loop.close()


async def seven() -> int:
    return 7


def begun(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Callable[[], T]:
    """Begin the work there; returns what waits for it."""
    waiting: list[Callable[[], None]] = []

    def told() -> None:
        for tell in waiting:
            tell()

    there = Elsewhere(loop, work, told)

    def begin(tell: Callable[[], None]) -> Elsewhere[T]:
        waiting.append(tell)
        return there

    return partial(result_of, begin)


@pytest.mark.row("F106")
def test_asking_a_loop_that_is_closed() -> None:
    """A typed error, and no coroutine that nobody awaited."""
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(VaultClosed):
        begun(loop, seven())


@pytest.mark.row("F106")
def test_a_loop_that_ends_while_somebody_waits() -> None:
    """As `asyncio.run` ends: it cancels what is left."""
    loop = asyncio.new_event_loop()
    wait = begun(loop, asyncio.Event().wait())

    async def leave() -> None:
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(leave())
    with pytest.raises(VaultClosed):
        wait()


@pytest.mark.row("F106")
def test_a_loop_that_ends_and_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the question and ran no more: it drops it, and whoever waits is told all the same."""
    monkeypatch.setattr(threads, "LOOK_AGAIN", 0.001)
    loop, told = asyncio.new_event_loop(), threading.Event()
    wait = begun(loop, seven())

    def ask() -> None:
        with pytest.raises(VaultClosed):
            wait()
        told.set()

    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    loop.close()
    assert told.wait(GUARD)
    waiting.join(GUARD)


def test_what_was_done_before_the_loop_ended() -> None:
    """It counts."""
    loop = asyncio.new_event_loop()
    wait = begun(loop, seven())
    loop.run_until_complete(asyncio.sleep(0.0))
    loop.run_until_complete(asyncio.sleep(0.0))
    loop.close()
    assert wait() == 7


@contextmanager
def running_elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(GUARD)
        loop.close()


def test_who_waits_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: it is raised there, and the work is cancelled."""

    began, cancelled = threading.Event(), threading.Event()

    class Interrupted(SimpleQueue[None]):
        def get(self, block: bool = True, timeout: float | None = None) -> None:
            began.wait(GUARD)
            raise KeyboardInterrupt

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    monkeypatch.setattr(threads, "SimpleQueue", Interrupted)
    with running_elsewhere() as loop:
        with pytest.raises(KeyboardInterrupt):
            result_of(partial(Elsewhere, loop, work()))
        assert cancelled.wait(GUARD)


async def test_awaited_on_another_loop() -> None:
    """Its result; where the caller is cancelled, so is the work."""
    began, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with running_elsewhere() as loop:
        assert await awaited(partial(Elsewhere, loop, seven())) == 7
        caller = asyncio.create_task(awaited(partial(Elsewhere, loop, work())))
        await asyncio.to_thread(began.wait, GUARD)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert await asyncio.to_thread(cancelled.wait, GUARD)
        assert await awaited(partial(Elsewhere, loop, seven())) == 7  # and whoever left was told of nothing


def test_a_signal_handler_that_waits_for_the_other_thread() -> None:
    """At whatever line it interrupts whoever waits for work there, that thread ends the work and goes on."""
    with running_elsewhere() as loop:
        for number in itertools.count(1):
            may_end, went_on = asyncio.Event(), threading.Event()

            async def work(may_end: asyncio.Event = may_end) -> None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(may_end.wait(), 0.01)

            async def go_on(may_end: asyncio.Event = may_end, went_on: threading.Event = went_on) -> None:
                may_end.set()
                for _ in range(10):  # the work ends meanwhile, and who waits for it is told
                    await asyncio.sleep(0)
                went_on.set()

            def handler(went_on: threading.Event = went_on, go_on: Any = go_on) -> None:
                asyncio.run_coroutine_threadsafe(go_on(), loop)
                assert went_on.wait(GUARD / 6), "the other thread hangs"

            def ask(work: Callable[[], Coroutine[Any, Any, None]] = work) -> None:
                result_of(partial(Elsewhere, loop, work()))

            if not interrupted(number, handler, ask):
                break
    assert number > 20
