"""Worker processes that do tasks one by one, and cannot die unnoticed.

A worker is a process of its own behind a pipe. One that dies (killed, out of memory, a crash in C) while it has a task
is a failure of that task, and another is started. Each ends after a while, so that nothing piles up.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
TASKS = 300  # of one process


@dataclass(frozen=True)
class Died(Generic[T]):
    """A worker ended while it did this task."""

    task: T
    code: int | None


@dataclass
class Worker(Generic[T]):
    """One process; `task` is what it does now."""

    process: SpawnProcess
    pipe: Connection
    task: T
    done: int = 0


class Workers(Generic[T, R]):
    """`do(task)` is a module's function; tasks and results can be pickled."""

    def __init__(self, number: int, do: Callable[[T], R]) -> None:
        self._number, self._do = number, do
        self._working: list[Worker[T]] = []

    def run(self, tasks: Iterator[T]) -> Iterator[R | Died[T]]:
        """Results as they come, until the tasks are over."""
        try:
            while len(self._working) < self._number and self._start(tasks):
                pass
            while self._working:
                ready = wait([worker.pipe for worker in self._working])
                for worker in [one for one in self._working if one.pipe in ready]:
                    yield self._ended(worker)
                    self._go_on(worker, tasks)
        finally:
            self._stop()

    def _ended(self, worker: Worker[T]) -> R | Died[T]:
        try:
            result: R = worker.pipe.recv()
        except EOFError:
            worker.process.join()
            worker.done = TASKS
            return Died(worker.task, worker.process.exitcode)
        worker.done += 1
        return result

    def _go_on(self, worker: Worker[T], tasks: Iterator[T]) -> None:
        if worker.done >= TASKS:
            self._end(worker)
            self._start(tasks)
            return
        try:
            worker.task = next(tasks)
        except StopIteration:
            self._end(worker)
        else:
            with suppress(OSError):  # it died meanwhile: the next read says so
                worker.pipe.send(worker.task)

    def _start(self, tasks: Iterator[T]) -> bool:
        try:
            task = next(tasks)
        except StopIteration:
            return False
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._do), daemon=True)
        process.start()
        theirs.close()
        ours.send(task)
        self._working.append(Worker(process, ours, task))
        return True

    def _end(self, worker: Worker[T]) -> None:
        self._working.remove(worker)
        worker.pipe.close()
        worker.process.join()

    def _stop(self) -> None:
        for worker in self._working:
            worker.process.terminate()
        for worker in list(self._working):
            self._end(worker)


def serve(pipe: Connection, do: Callable[[T], R]) -> None:
    """A worker's life: it ends when nobody asks any more. Ctrl-C is for the one who started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(do(task))
