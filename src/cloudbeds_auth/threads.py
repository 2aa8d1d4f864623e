"""Threads of our own: no executor of the application's is taken, and none of ours is waited for when the process ends.

`concurrent.futures` takes no more work once the main thread has ended, and its threads are joined before `atexit`
functions run. A vault that was never closed may have a pair in hand then, which is still to be committed.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from cloudbeds_auth.errors import VaultClosed

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Call = Callable[[], None]

LOOK_AGAIN = 1.0  # seconds between two checks of a waiting thread whether the loop of the other thread has ended


def call_on(loop: asyncio.AbstractEventLoop, call: Callable[[*Ts], None], *args: *Ts) -> None:
    """Call it where this loop runs: at once in the loop's own thread, from any other as soon as the loop has a turn.

    Raises RuntimeError when the loop is closed.
    """
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        call(*args)
    else:
        loop.call_soon_threadsafe(call, *args)


class OwnThreads(ThreadPoolExecutor):
    """Runs calls in the order in which they come, on at most `most` daemon threads.

    The first thread starts with it: Python 3.12 starts none while the interpreter shuts down. It is a
    ThreadPoolExecutor because an event loop takes nothing else for its default; that class's own threads are not used.
    Raises RuntimeError when not even one thread can be started.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, name)
        self._most = most
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._started: list[threading.Thread] = []
        # Its threads end when nothing refers to it; not at the end of the process, when there may be work for them.
        self._end = weakref.finalize(self, self._calls.put, None)
        self._end.atexit = False
        self._start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Raises RuntimeError after `shutdown`."""
        if not self._end.alive:
            raise RuntimeError("it was shut down")
        future: Future[T] = Future()
        self._calls.put(partial(_call, future, partial(fn, *args, **kwargs)))
        if len(self._started) < self._most:
            with suppress(RuntimeError):  # those that there are do it
                self._start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Run what was submitted, then end the threads; `cancel_futures` has no effect."""
        self._end()
        if wait:
            for thread in self._started:
                thread.join()

    def _start(self) -> None:
        thread = threading.Thread(target=_work, args=(self._calls,), name=self._name, daemon=True)
        thread.start()
        self._started.append(thread)


def begin_on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin the work on the loop of another thread. Raises VaultClosed where that loop is closed."""
    try:
        return asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise VaultClosed from None


def result_of(loop: asyncio.AbstractEventLoop, future: Future[T]) -> T:
    """What `begin_on` leads to; the calling thread waits. Raises VaultClosed where the loop ended first."""
    try:
        while not (future.done() or loop.is_closed()):
            wait([future], LOOK_AGAIN)
    except BaseException:
        future.cancel()  # Ctrl-C in the caller: the refresh that it waited for continues
        raise
    if not future.done():  # a loop that ends drops what it has not begun, without ending its future
        raise VaultClosed
    try:
        return future.result()
    except CancelledError:
        raise VaultClosed from None


def _work(calls: SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # and what it holds, while the thread waits
    calls.put(None)  # for the next thread


def _call(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
