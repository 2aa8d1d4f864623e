"""A vault on an event loop and a thread of its own: for code that blocks, and for a vault that outlives event loops.

It is opened when it is first used, and anew in a child after `fork()`. When a program ends, Python joins the program's
own threads first: they may use the vault to their end. Then, from `atexit`, the main thread asks this one to close the
vault, and waits for as long as `OpenEngine.settled` takes. Our threads are daemons, which are not joined. New threads
cannot be started by then, so those that closing needs are started with the vault: this one, the database's, one that
resolves host names, and one for `asyncio.to_thread` in work given to the vault. The last two are separate: such work
may occupy all of its threads, and a refresh goes on.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar
from weakref import WeakSet

from cloudbeds_auth.errors import ConfigurationError, VaultClosed
from cloudbeds_auth.threads import Elsewhere, OwnThreads, awaited, result_of

if TYPE_CHECKING:
    from cloudbeds_auth.runtime import OpenEngine


class _GivenUp(Exception):
    """Ctrl-C came in the thread that opened the vault: another caller opens it."""


class Vault(Protocol):
    """`vault.TokenVault`."""

    @property
    def engine(self) -> OpenEngine:
        """The engine of the vault."""
        ...


T = TypeVar("T")
V = TypeVar("V", bound=Vault)
Opener = Callable[[], AbstractAsyncContextManager[V]]

_OF = threading.local()  # in a vault's own thread: its opener
PATIENCE = 5.0  # seconds that a program that ends leaves for the commit of a pair in hand
LOOK_UPS = 4  # host names that are resolved at a time
CALLS = min(32, (os.cpu_count() or 1) + 4)  # of `asyncio.to_thread` at a time: as many as on any event loop


class LoopThread(Generic[V]):
    """Opens a vault, runs work on it, and closes it; usable only in the process `pid` that created it, not in a child.

    `deadline`: seconds that one answer of the token endpoint may take. Raises what `opener` raises, and
    ConfigurationError when no thread can be started.
    """

    def __init__(self, opener: Opener[V], deadline: float) -> None:
        self.pid: int = os.getpid()
        self._opener = opener
        self._open = opener()
        self.loop: Final = asyncio.new_event_loop()
        self._longest = deadline + 2 * PATIENCE
        self._closing = asyncio.Event()
        self._program_ends = asyncio.Event()
        self._opened: Future[V] = Future()
        self._closed: Future[None] = Future()
        self._asked: set[Callable[[], None]] = set()  # the callbacks for the end of work under way
        self._release = ExitStack()
        self._release.callback(self.loop.close)  # which ends the threads of `asyncio.to_thread`, too
        try:
            self._names = OwnThreads(LOOK_UPS, "cloudbeds-auth-names")
            self._release.callback(self._names.shutdown, wait=False)
            self.loop.set_default_executor(OwnThreads(CALLS, "cloudbeds-auth-calls"))
            self._thread = threading.Thread(target=self._run, name="cloudbeds-auth", daemon=True)
            self._thread.start()
        except RuntimeError as error:
            self._release.close()
            raise ConfigurationError(f"the vault has no thread to run on: {error}") from error
        try:
            self.vault: Final = self._opened.result()
        except BaseException:
            self._set(self._closing)  # Ctrl-C while it opens
            raise
        self._not_at_exit = [partial(atexit.unregister, atexit.register(self.close_at_exit))]
        if "multiprocessing.util" in sys.modules:  # before Python 3.13 its children run no `atexit` functions
            finalizer = sys.modules["multiprocessing.util"].Finalize(None, self.close_at_exit, exitpriority=0)
            self._not_at_exit.append(finalizer.cancel)

    def submit(self, work: Coroutine[Any, Any, T], on_end: Callable[[], None]) -> Elsewhere[T]:
        """Start the work on the loop. `on_end` is always called, once the work has ended or the vault was closed first.

        Raises VaultClosed.
        """

        def end() -> None:
            self._asked.discard(end)
            on_end()

        begun = Elsewhere(self.loop, work, end)
        self._asked.add(end)
        if begun.ended:  # meanwhile
            end()
        return begun

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work; the calling thread waits for it. Raises VaultClosed, and RuntimeError in the vault's
        own thread.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("the vault would wait for itself here: await the asynchronous vault that you were given")
        return result_of(partial(self.submit, work))

    async def wait_elsewhere(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of the work, awaited on another event loop: no thread waits. Raises VaultClosed."""
        return await awaited(partial(self.submit, work))

    def close(self) -> None:
        """Let running work finish and commit, then close the vault. A program that ends waits as long as `settled`."""
        if self.pid != os.getpid():  # the parent's threads do not run in a child
            return
        if threading.current_thread() is self._thread:
            raise RuntimeError("the vault would wait for its own end here: close it from another thread")
        if not threading.main_thread().is_alive():
            self.close_at_exit()
            return
        self._set(self._closing)
        self._closed.result()
        self._forget_exit()

    def close_at_exit(self) -> None:
        """Close the vault when the program ends. Ctrl-C ends the wait: a pair in hand is dropped, and its parent, which
        is stored, still works.
        """
        try:
            if self.pid == os.getpid():
                self._set(self._closing)
                self._set(self._program_ends)
                self._closed.result(self._longest)
        except BaseException:  # noqa: BLE001 - Ctrl-C, another signal, or too late: the program ends, and prints nothing
            _settle(self._closed)

    async def close_elsewhere(self) -> None:
        """As `close`, awaited on another event loop."""
        if self.pid != os.getpid():
            return
        self._set(self._closing)
        await asyncio.shield(asyncio.wrap_future(self._closed))
        self._forget_exit()

    def _forget_exit(self) -> None:
        for forget in self._not_at_exit:
            forget()

    # --- on the thread

    def _run(self) -> None:
        _OF.opener = self._opener
        self.loop.getaddrinfo = self._look_up  # type: ignore[method-assign]
        life = self._to_its_end(self._live())
        error = CancelledError() if life.cancelled() else life.exception()  # raised where it is opened or closed
        self._to_its_end(_cancel_all())
        self._release.close()
        self._leave_nobody_waiting()
        _settle(self._opened, error)
        _settle(self._closed, error)

    async def _look_up(self, host: Any, port: Any, **hints: int) -> Any:
        """As the loop's own `getaddrinfo`, on threads that nothing else uses."""
        return await self.loop.run_in_executor(self._names, partial(socket.getaddrinfo, host, port, **hints))

    def _to_its_end(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run the loop until this work is done. SystemExit and KeyboardInterrupt of other work also stop the loop,
        besides being raised to the caller of that work; it is then run again.
        """
        task = self.loop.create_task(work)
        while not task.done():
            with suppress(BaseException):  # that of the work itself is in `task`
                self.loop.run_until_complete(task)
        return task

    async def _live(self) -> None:
        async with self._open as vault:
            last_moment = asyncio.create_task(self._last_moment(vault.engine))
            self._opened.set_result(vault)
            await self._closing.wait()
        last_moment.cancel()

    async def _last_moment(self, engine: OpenEngine) -> None:
        """End the wait of a program that ends once the engine has settled, whether or not the vault is closed."""
        await self._program_ends.wait()
        await engine.settled(PATIENCE)
        _settle(self._closed)

    def _set(self, event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(event.set)

    def _leave_nobody_waiting(self) -> None:
        with suppress(KeyError):
            while True:
                self._asked.pop()()


class ThreadedVault(Generic[V]):
    """A vault on a thread of its own, opened at its first use, and anew in a child after `fork()`."""

    def __init__(self, opener: Opener[V], deadline: float) -> None:
        self._opener = opener
        self._deadline = deadline
        self._closed = False
        self._running: LoopThread[V] | None = None
        self._opening: Future[LoopThread[V]] | None = None  # what callers wait for while one of them opens it
        self._begins = threading.Lock()
        self._left_behind: list[LoopThread[V]] = []  # of parents: their sockets must not be closed here
        _MADE.add(self)

    def here(self) -> V:
        """The vault, for methods that any thread may call. Raises VaultClosed, and what opening it raises."""
        return self._now().vault

    def opened(self) -> V | None:
        """The vault if it is open already, else None. Raises VaultClosed."""
        self.must_be_open()
        return None if self._running is None else self._running.vault

    def wait(self, work: Callable[[V], Coroutine[Any, Any, T]]) -> T:
        """The result of `work` on that thread; the calling thread waits. Raises what `here` raises."""
        running = self._now()
        return running.wait(_begun(work, running.vault))

    async def elsewhere(self, work: Callable[[V], Coroutine[Any, Any, T]]) -> T:
        """As `wait`, from another event loop. No thread of an executor waits: many callers would occupy them all."""
        self.must_be_open()
        running = self._running or await self._open_elsewhere()
        return await running.wait_elsewhere(_begun(work, running.vault))

    def close(self) -> None:
        """Let running work finish and commit, then close; it is not opened again."""
        self._closed = True
        if self._running is not None:
            self._running.close()

    async def aclose(self) -> None:
        """As `close`, from another event loop."""
        self._closed = True
        if self._running is not None:
            await self._running.close_elsewhere()

    def must_be_open(self) -> None:
        """Raise VaultClosed if it was closed; opens nothing."""
        if self._closed:
            raise VaultClosed

    def after_fork(self) -> None:
        """Called in the child before anything else: threads, sockets and a lock that is held are the parent's."""
        if self._running is not None:
            self._left_behind.append(self._running)
        self._running = self._opening = None
        self._begins = threading.Lock()

    def _now(self) -> LoopThread[V]:
        self.must_be_open()
        return self._running or self._open_once()

    def _open_once(self) -> LoopThread[V]:
        """Open the vault in the first caller's thread. Raises RuntimeError in the vault's own thread."""
        if getattr(_OF, "opener", None) is self._opener:
            raise RuntimeError("the vault is being opened, and would wait for itself here: ask it from another thread")
        while True:
            mine: Future[LoopThread[V]] = Future()
            try:
                if (opening := self._claim(mine)) is mine:
                    self._open_for_all(mine)
            finally:
                if self._opening is mine and not mine.done():  # Ctrl-C, wherever it came
                    self._opening = None
                    mine.set_exception(_GivenUp())
            with suppress(_GivenUp):
                return opening.result()

    async def _open_elsewhere(self) -> LoopThread[V]:
        """As `_open_once`, from another event loop: on a thread of its own, because those of an executor may all wait
        for it, and because the caller may be cancelled. Python joins the thread, then closes what it opened.
        """
        while True:
            mine: Future[LoopThread[V]] = Future()
            opening = self._claim(mine)
            if opening is mine:
                opens = partial(self._open_for_all, mine, BaseException)
                try:
                    threading.Thread(target=opens, name="cloudbeds-auth-opening", daemon=False).start()
                except RuntimeError:  # there is none for the vault either, which is what it will say
                    opens()
            with suppress(_GivenUp):
                return await asyncio.wrap_future(opening)

    def _claim(self, mine: Future[LoopThread[V]]) -> Future[LoopThread[V]]:
        """What all callers wait for: `mine` if it is this one's to open the vault, because nobody else does."""
        mine.set_running_or_notify_cancel()  # a caller that is cancelled does not cancel it
        with self._begins:
            self._opening = self._opening or mine
            return self._opening

    def _open_for_all(self, opening: Future[LoopThread[V]], told: type[BaseException] = Exception) -> None:
        """Open the vault for all that wait for `opening`, who get its error, too, if `told`; later ones try again."""
        try:
            self._running = self._running or LoopThread(self._opener, self._deadline)
            if self._closed:  # meanwhile
                self._running.close()
                raise VaultClosed
            opening.set_result(self._running)
        except told as error:
            self._opening = None  # first: who has the error may ask again at once
            opening.set_exception(error)


_MADE: WeakSet[ThreadedVault[Any]] = WeakSet()


def _after_fork() -> None:
    for vault in list(_MADE):
        vault.after_fork()


os.register_at_fork(after_in_child=_after_fork)


async def _begun(work: Callable[[V], Coroutine[Any, Any, T]], vault: V) -> T:
    """The work, begun on the vault's own loop and no other."""
    return await work(vault)


async def _cancel_all() -> None:
    while rest := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


def _settle(future: Future[Any], error: BaseException | None = None) -> None:
    """Give the future this error, or None as its result, unless it is done."""
    with suppress(InvalidStateError):
        future.set_exception(error) if error is not None else future.set_result(None)
