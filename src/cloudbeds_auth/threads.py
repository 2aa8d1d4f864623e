"""The library's own threads: it uses no executor of the application, and the process ends without waiting for them.

`concurrent.futures` accepts no work once the main thread has ended, and its threads are joined before `atexit`
functions run. A vault that was never closed may then still have a pair in memory that has to be committed.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

from cloudbeds_auth.errors import VaultClosed

P = ParamSpec("P")
T = TypeVar("T")

Call = Callable[[], None]

LOOK_AGAIN = 1.0  # seconds after which a waiting thread checks again whether the loop of the other thread has ended


class OwnThreads(ThreadPoolExecutor):
    """Runs calls in the order of their submission, on at most `most` daemon threads.

    The first thread starts at once: Python 3.12 starts none while the interpreter shuts down. The class derives from
    ThreadPoolExecutor because an event loop accepts no other default executor; the threads of that class are not used.
    Raises RuntimeError when not even one thread can be started.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, name)
        self._most = most
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._started: list[threading.Thread] = []
        # The threads end once nothing refers to the pool, not at the end of the process: there may be work for them.
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
            with suppress(RuntimeError):  # the running threads do it
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


class Elsewhere(Generic[T]):
    """Work that runs on the loop of another thread. `on_end` is called on that loop when the work has ended.

    No lock is taken: if a signal interrupts the waiting thread, its handler may wait for the other thread, which then
    ends this work and everything else. `asyncio.run_coroutine_threadsafe` shares a lock between both threads.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], on_end: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._work = work
        self._on_end = on_end
        self._task: asyncio.Task[T] | None = None
        try:
            loop.call_soon_threadsafe(self._begin)
        except RuntimeError:
            work.close()
            raise VaultClosed from None

    @property
    def ended(self) -> bool:
        """Whether there is a result, or there will be none: a loop that ends drops what it has not begun."""
        return self._loop.is_closed() or (self._task is not None and self._task.done())

    def result(self) -> T:
        """What the work returned or raised. Raises VaultClosed if it was cancelled or dropped."""
        task = self._task
        if task is None:
            self._work.close()
        if task is None or not task.done() or task.cancelled():
            raise VaultClosed
        return task.result()

    def cancel(self) -> None:
        """Cancel the work: its caller no longer waits."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._cancel)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio reports nothing if no caller waits any more
        self._on_end()

    def _cancel(self) -> None:
        assert self._task is not None  # noqa: S101 - it was begun: callbacks run in order
        self._task.cancel()


def result_of(begin: Callable[[Callable[[], None]], Elsewhere[T]]) -> T:
    """The result of the work that `begin` starts; `begin` is given the callback for its end. The calling thread waits.
    Raises VaultClosed.
    """
    ended: SimpleQueue[None] = SimpleQueue()
    work = begin(partial(ended.put, None))
    try:
        while not work.ended:
            with suppress(Empty):
                ended.get(timeout=LOOK_AGAIN)
    except BaseException:
        work.cancel()  # Ctrl-C in the caller: the refresh that it waited for continues
        raise
    return work.result()


async def awaited(begin: Callable[[Callable[[], None]], Elsewhere[T]]) -> T:
    """As `result_of`, for a caller on another event loop: no thread waits."""
    here = asyncio.get_running_loop()
    ended = here.create_future()

    def notify() -> None:
        with suppress(RuntimeError):  # that loop has ended
            here.call_soon_threadsafe(_fulfil, ended)

    work = begin(notify)
    try:
        await ended
    except asyncio.CancelledError:
        work.cancel()
        raise
    return work.result()


def _fulfil(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def _work(calls: SimpleQueue[Call | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # and what it refers to, while the thread waits
    calls.put(None)  # for the next thread


def _call(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - raised to the caller of `result`
        future.set_exception(error)
    else:
        future.set_result(result)
