"""Threads of our own: in order, not more than asked for, none of an application's, and none that the end waits for."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest

from cloudbeds_auth import threads
from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.threads import OwnThreads, begin_on, call_on, result_of

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


async def test_a_call_on_a_loop() -> None:
    """At once where the loop runs; from another thread, and from another thread's loop, when this one has a turn."""
    loop, seen = asyncio.get_running_loop(), list[str]()
    call_on(loop, seen.append, "here")
    assert seen == ["here"]

    async def elsewhere() -> None:
        call_on(loop, seen.append, "another loop")

    def work() -> None:
        call_on(loop, seen.append, "another thread")
        asyncio.run(elsewhere())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["here"]
    await asyncio.sleep(0)
    assert seen == ["here", "another thread", "another loop"]


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


@pytest.mark.row("F106")
def test_asking_a_loop_that_is_closed() -> None:
    """A typed error, and no coroutine that nobody awaited."""
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(VaultClosed):
        begin_on(loop, seven())


@pytest.mark.row("F106")
def test_a_loop_that_ends_while_somebody_waits() -> None:
    """As `asyncio.run` ends: it cancels what is left."""
    loop = asyncio.new_event_loop()
    future = begin_on(loop, asyncio.Event().wait())

    async def leave() -> None:
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(leave())
    with pytest.raises(VaultClosed):
        result_of(loop, future)


@pytest.mark.row("F106")
@pytest.mark.filterwarnings("ignore:coroutine 'seven' was never awaited")
def test_a_loop_that_ends_and_tells_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the question and ran no more: it drops it, and whoever waits is told all the same."""
    monkeypatch.setattr(threads, "LOOK_AGAIN", 0.001)
    loop, told = asyncio.new_event_loop(), threading.Event()
    future = begin_on(loop, seven())

    def ask() -> None:
        with pytest.raises(VaultClosed):
            result_of(loop, future)
        told.set()

    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    loop.close()
    assert told.wait(GUARD)
    waiting.join(GUARD)


def test_what_was_done_before_the_loop_ended() -> None:
    """It counts."""
    loop = asyncio.new_event_loop()
    future = begin_on(loop, seven())
    while not future.done():
        loop.run_until_complete(asyncio.sleep(0.0))
    loop.close()
    assert result_of(loop, future) == 7
