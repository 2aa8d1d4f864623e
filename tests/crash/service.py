"""The whole service, killed under its callers and started again."""

from __future__ import annotations

import os
import random
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from tests.acceptance.processes import Http, Process
from tests.crash import marks
from tests.crash.lane import Lane, point_of
from tests.crash.nursery import ROOT
from tests.crash.trials import INNER, Lost, Tally

CALLERS = 3
PATIENCE = 20.0
READ = 0.002


@dataclass
class Running:
    """A started service and the pipe of its marks."""

    process: Process
    pipe: int
    left: str = ""

    def read(self, seconds: float = 0.0) -> None:
        """Take in the marks of this time."""
        if select.select([self.pipe], [], [], seconds)[0]:
            self.left += os.read(self.pipe, 65536).decode()

    def kill(self) -> str:
        """SIGKILL; the marks that it left."""
        self.process.stop(signal.SIGKILL)
        while select.select([self.pipe], [], [], 0)[0] and (news := os.read(self.pipe, 65536)):
            self.left += news.decode()
        os.close(self.pipe)
        return self.left


@dataclass
class Service:
    """Kills of one service with one hotel. Callers call through /proxy all the while."""

    lane: Lane
    dice: random.Random
    tally: Tally = field(default_factory=Tally)
    starts: int = 0

    def warm_up(self) -> None:
        """Nothing is to be measured: the marks come as they come."""

    def round(self, go_on: Callable[[], bool]) -> None:
        """One service: started, must serve, the token ends, killed at some moment of what follows."""
        running = self._start()
        try:
            self._must_serve()
            if not go_on():
                return
            after = self.lane.last_entry()
            with self._callers():
                self.lane.end_tokens()
                self._aim(running)
                left = running.kill()
            fresh = left[left.rfind(marks.RELEASED) + 1 :] if left[-1:] != marks.RELEASED else left
            self.tally.points[point_of(fresh, self.lane.refreshes(after))] += 1
        finally:
            running.process.stop(signal.SIGKILL)

    def finish(self) -> Tally:
        """The tally, with what the vendor counted, after a last start that must serve."""
        if not self.tally.lost:
            running = self._start()
            with suppress(Lost):
                self._must_serve()
            running.kill()
        self.tally.refreshes = Counter(self.lane.made.vendor.counts())
        return self.tally

    def _start(self) -> Running:
        self.starts += 1
        pipe = self.lane.made.folder / f"service-marks-{self.starts}"
        os.mkfifo(pipe)
        handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        process = Process("tests.crash.marked_service", "serve", env=self._environment(pipe), cwd=self.lane.made.folder)
        process.wait_for(r"listening on http")
        pipe.unlink()
        return Running(process, handle)

    def _environment(self, pipe: Path) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return {**self.lane.made.settings, "CRASH_MARKS": str(pipe), "PYTHONPATH": path}

    def _aim(self, running: Running) -> None:
        """Wait for a mark of the refresh, or for none, and then for some microseconds."""
        mark = self.dice.choice(INNER + "  ")
        until = time.monotonic() + 2.0
        seen = len(running.left)
        while mark != " " and mark not in running.left[seen:] and time.monotonic() < until:
            running.read(READ)
        time.sleep(self.dice.randint(0, 30_000 if mark == " " else 3_000) / 1e6)

    def _must_serve(self) -> None:
        """200, or 503 with Retry-After and 200 soon; never a word about approving again."""
        self.tally.heals += 1
        until = time.monotonic() + PATIENCE
        while (answer := self.lane.made.admin.get(self._path)).status != 200:
            # 502: no connection to the vendor within the connect time, which is shortened in proportion.
            passing = answer.status == 503 or answer.headers["X-Cloudbeds-Auth-Code"] == "upstream_failed"
            if not passing or time.monotonic() > until:
                story = f"the service answers {answer.status} {answer.text}\n{self.lane.story(0)}"
                self.tally.lost.append(story)
                raise Lost(story)
            self.tally.later += 1
            time.sleep(0.05)

    @property
    def _path(self) -> str:
        return f"/proxy/{self.lane.connections[0]}/api/v1.3/userinfo"

    @contextmanager
    def _callers(self) -> Iterator[None]:
        """Threads that call until the service is gone."""
        token, base = self.lane.made.admin.token, self.lane.made.base

        def call() -> None:
            with suppress(OSError, HTTPException):  # the service is gone, perhaps in the middle of an answer
                while True:
                    Http(base, token).get(self._path)

        threads = [threading.Thread(target=call, daemon=True) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            thread.join(PATIENCE)
