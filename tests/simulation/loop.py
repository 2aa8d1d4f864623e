"""An event loop of our own: virtual time, and a seeded scheduler that picks what runs next.

Everything that asyncio would do on a wake-up of its own comes through `call_soon` and `call_at`, so the dice own every
await. Each handle belongs to a *machine* (a context variable that tasks and timers inherit), and machines can be

- killed: none of their handles ever runs again, and no `finally` block either, as after `kill -9`;
- paused: their handles wait, as after SIGSTOP, while timers, network and the other machines go on.

`fifo` keeps a machine's own handles in the order in which asyncio would run them; without it they are shuffled too.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import logging
import random
import sys
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any

MACHINE: ContextVar[str] = ContextVar("machine", default="world")
BEGAN = 1_000.0
RESOLUTION = 1e-6  # seconds
_frozen: list[bool] = []
MOST_STEPS = 200_000  # at one moment: more is a livelock


class Stuck(RuntimeError):
    """Everything waits and no timer is left."""


def machine_context(name: str) -> Context:
    """A context whose handles belong to this machine."""
    context = copy_context()
    context.run(MACHINE.set, name)
    return context


class SimLoop(asyncio.AbstractEventLoop):
    """See the module's docstring. `after_step` runs after every handle; it may raise to end the run."""

    def __init__(self, dice: random.Random, *, fifo: bool = True) -> None:
        _freeze()
        gc.disable()  # until the end: a world is small, and none of it is looked through again and again
        self.now = BEGAN
        self.steps = 0
        self.after_step: Callable[[], None] = lambda: None
        self.closed = False
        self._dice = dice
        self._fifo = fifo
        self._ready: list[tuple[str, asyncio.Handle]] = []
        self._timers: list[tuple[float, int, str, asyncio.TimerHandle]] = []
        self._sequence = 0
        self._since_time_passed = 0
        self._dead: set[str] = set()
        self._paused: dict[str, float] = {}
        self._stood_until: dict[str, float] = {}
        self._held: set[str] = set()
        self._graveyard: list[asyncio.Handle] = []
        self._tasks: list[asyncio.Task[Any]] = []

    # --- what asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.closed

    def is_closed(self) -> bool:
        return self.closed

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None, **_: Any) -> Any:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self._tasks.append(task)
        if len(self._tasks) > 500:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = asyncio.Handle(callback, args, self, context)
        owner = _owner(context)
        if owner in self._dead or self.closed:
            self._graveyard.append(handle)
        else:
            self._ready.append((owner, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        # Less would not move a float, and time would stand still.
        delay = max(delay, RESOLUTION) if delay > 0 else 0.0
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._sequence += 1
        owner = _owner(context)
        if owner in self._dead:
            self._graveyard.append(handle)
        else:
            heapq.heappush(self._timers, (when, self._sequence, owner, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left in the heap and passed over."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback raised: that ends the run. What nobody retrieved or awaited is what a killed machine leaves."""
        error = context.get("exception")
        if error is not None and "never retrieved" not in context.get("message", "") and not self.closed:
            raise error

    # --- machines

    def kill(self, machine: str) -> None:
        """Nothing of it ever runs again."""
        self._dead.add(machine)
        self._paused.pop(machine, None)
        self._graveyard += [handle for owner, handle in self._ready if owner == machine]
        self._ready = [entry for entry in self._ready if entry[0] != machine]
        self._graveyard += [entry[3] for entry in self._timers if entry[2] == machine]
        self._timers = [entry for entry in self._timers if entry[2] != machine]
        heapq.heapify(self._timers)

    def pause(self, machine: str, seconds: float) -> None:
        """It stands still for this long."""
        until = max(self.now + seconds, self._paused.get(machine, 0.0))
        self._paused[machine] = self._stood_until[machine] = until

    def stood_still_until(self, machine: str) -> float:
        """When it last went on after a pause; the beginning, when it never stood still."""
        return self._stood_until.get(machine, float("-inf"))

    def hold(self, machine: str) -> None:
        """It stands still until it is released."""
        self._held.add(machine)

    def release(self, machine: str) -> None:
        """It goes on."""
        self._held.discard(machine)

    def alive(self, machine: str) -> bool:
        """Whether it was not killed."""
        return machine not in self._dead

    def paused(self, machine: str) -> bool:
        """Whether it stands still."""
        return machine in self._held or self._paused.get(machine, 0.0) > self.now

    def start(self, machine: str, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that belongs to this machine; who starts it reads how it ended."""
        context = machine_context(machine)
        task: asyncio.Task[Any] = context.run(self.create_task, coro, context=context)
        return task

    def spawn(self, machine: str, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """As `start`, and nobody reads how it ended: what it raises ends the run."""
        task = self.start(machine, coro)
        task.add_done_callback(_must_not_raise, context=machine_context(machine))
        return task

    # --- running

    def run(self, until: Callable[[], bool]) -> None:
        """Step until the condition holds; raises Stuck, and whatever `after_step` raises."""
        with self._running():
            while not until():
                self._step()

    def run_to(self, moment: float) -> None:
        """Step until it is this late; raises as `run`."""
        with self._running():
            while self.now < moment:
                self._step()

    @contextmanager
    def _running(self) -> Iterator[None]:
        former = events._get_running_loop()
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(former)

    def take_down(self) -> None:
        """End for good what a finished world left behind, without noise."""
        self.closed = True
        former, hook = events._get_running_loop(), sys.unraisablehook
        events._set_running_loop(self)
        logging.getLogger("asyncio").disabled = True
        sys.unraisablehook = lambda noise: None
        try:
            for task in self._left():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _close(task.get_coro())
            self._ready, self._timers, self._graveyard, self._tasks = [], [], [], []
            gc.collect()
        finally:
            gc.enable()
            events._set_running_loop(former)
            sys.unraisablehook = hook

    def _left(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not ended, in the same order each run, and those that were made past `create_task`.

        None is left to the collector: Python 3.11.7 crashed where that closed a coroutine in `asyncio.timeout`.
        """
        ours = [task for task in self._tasks if not task.done()]
        return ours + sorted(asyncio.all_tasks(self) - set(ours), key=asyncio.Task.get_name)

    def _step(self) -> None:
        if self._timers and self._timers[0][0] <= self.now:
            self._wake()
        ready = self._ready
        still = self._paused or self._held
        runnable = [at for at, (owner, _) in enumerate(ready) if not self.paused(owner)] if still else range(len(ready))
        if not runnable:
            self._pass_time()
            return
        at = runnable[self._dice.randrange(len(runnable))] if len(runnable) > 1 else runnable[0]
        if self._fifo and at:
            owner = ready[at][0]
            at = next(one for one in runnable if ready[one][0] == owner)
        owner, handle = ready.pop(at)
        if handle.cancelled():
            return
        self.steps += 1
        self._since_time_passed += 1
        if self._since_time_passed > MOST_STEPS:
            raise Stuck("everybody runs and no time passes")
        handle._run()
        self.after_step()

    def _wake(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            _, _, owner, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self._ready.append((owner, handle))

    def _pass_time(self) -> None:
        while self._timers and self._timers[0][3].cancelled():
            heapq.heappop(self._timers)
        if self._paused:
            self._paused = {machine: until for machine, until in self._paused.items() if until > self.now}
        moments = list(self._paused.values())
        if self._timers:
            moments.append(self._timers[0][0])
        if not moments:
            raise Stuck("nothing is running and no timer is set")
        self.now = max(self.now, min(moments))
        self._since_time_passed = 0


def _owner(context: Context | None) -> str:
    """Of a handle that runs in this context, or else in a copy of the current one."""
    return MACHINE.get() if context is None else context.get(MACHINE, "world")


def _freeze() -> None:
    """Take what the imports made out of the collector's sight, once a process: every world's end is collected."""
    if not _frozen:
        _frozen.append(True)
        gc.collect()
        gc.freeze()


def _must_not_raise(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.result()


def _close(coro: Any) -> None:
    """A `finally` block that awaits refuses to close at first."""
    for _ in range(20):
        with suppress(BaseException):
            coro.close()
            return
