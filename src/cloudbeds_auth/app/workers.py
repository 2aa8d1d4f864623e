"""The processes of `serve` with several workers, and how they are kept alive and stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Final

from uvicorn.supervisors.multiprocess import Multiprocess, Process

NOTICED = 0.1  # seconds until a signal is noticed
PAUSE = 1.0  # seconds before a worker that could not start is started anew
STARTUP_FAILURE = 3  # uvicorn's exit status of a worker that cannot start

log: Final = logging.getLogger(__name__)


class Workers(Multiprocess):
    """Processes that are kept alive; one that ends by itself is in the log: the next may end alike.

    One that cannot start ends no other, as it would in uvicorn: the database may be away for a moment. `none_started`:
    it stopped because none of them could.
    """

    none_started: bool = False

    def keep_subprocess_alive(self) -> None:
        """Start another in the place of each that has ended."""
        if self.should_exit.is_set():
            return
        former = list(self.processes)
        super().keep_subprocess_alive()
        failed = [one for one in self.processes if one.exitcode == STARTUP_FAILURE]
        self.none_started = bool(failed) and not any(map(_serves, self.processes))
        if failed and not self.none_started:
            self.should_exit.clear()
            self._start_anew(failed)
        for one in former:
            if one not in self.processes:
                log.warning("the worker %s ended with status %s; another is started", one.pid, one.exitcode)

    def _start_anew(self, failed: Sequence[Process]) -> None:
        if not self.should_exit.wait(PAUSE):
            for one in failed:
                self.processes[self.processes.index(one)] = new = Process(self.config, self.sockets)
                new.start()

    def join_all(self) -> None:
        """Wait until all have ended; a further signal, by which a worker drains no longer, is passed on."""
        leave_listening(self.sockets)
        while living := [one for one in self.processes if one.exitcode is None]:
            for number in tuple(self.signal_queue):
                self.signal_queue.remove(number)
                for pid in filter(None, [one.pid for one in living]):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            living[0].process.join(NOTICED)


def _serves(worker: Process) -> bool:
    """Whether it has started; of an older uvicorn no more is known than that it runs."""
    return worker.exitcode is None and getattr(worker, "is_ready", worker.is_alive)()


def leave_listening(sockets: Sequence[socket.socket]) -> None:
    """Close the supervisor's copies at a stop. The port is then open for as long as a worker listens, which is while
    it drains; with a copy left, the kernel would accept for nobody until the last worker ended.
    """
    for one in sockets:
        one.close()
