"""A warm parent: everything imported, no thread running, and a child forked in a millisecond whenever one is asked for.

`python -m tests.crash.nursery` reads a line of JSON and answers with one: a plan is forked (its pid), a pid is waited
for (how it stopped or ended). A child stays a zombie until it was waited for, so its pid is nobody else's meanwhile.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.crash.child import Plan, Report, plan_of, run

from cloudbeds_auth.wire import http_client

ROOT = Path(__file__).parents[2]
GLANCE = 0.002
PATIENCE = 100.0  # more than HEALED


def main() -> None:
    """Serve until standard input ends; then end whoever still lives."""
    http_client.tls()  # reading the trust store takes longer than a refresh
    if "--service" in sys.argv:
        warm_service()
    children: set[int] = set()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = _wait(order["wait"])
            if answer["how"] != "stopped":
                children.discard(order["wait"])
        else:
            answer = {"pid": _fork(line)}
            children.add(answer["pid"])
        print(json.dumps(answer), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def warm_service() -> None:
    """Import what a service imports, but prometheus_client, which looks at its environment when it is imported."""
    import cloudbeds_auth.app.application
    import cloudbeds_auth.app.server
    import cloudbeds_auth.cli.serve
    import cloudbeds_auth.wire.upstream  # noqa: F401


def _fork(line: str) -> int:
    plan = plan_of(line)
    pipe = os.open(plan.pipe, os.O_WRONLY)  # opened here: a child that ends at once is seen to end
    pid = os.fork()
    if pid:
        os.close(pipe)
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        run(plan, pipe)
    except Exception:  # noqa: BLE001 - nobody else would tell
        traceback.print_exc()
    finally:
        os._exit(0)


def _wait(pid: int) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if found:
            stopped = os.WIFSTOPPED(status)
            return {"how": "stopped" if stopped else "killed" if os.WIFSIGNALED(status) else "ended"}
        time.sleep(GLANCE)
    return {"how": "still running"}


@dataclass
class Child:
    """A forked child, and the marks that it left so far. `group`: it leads a process group, which is killed whole."""

    nursery: Nursery
    pid: int
    pipe: int
    group: bool = False
    raw: bytes = b""
    closed: bool = False
    ended: bool = False

    @property
    def marks(self) -> str:
        """Everything before the report."""
        return self.raw.split(b"f{", 1)[0].decode()

    @property
    def report(self) -> Report:
        """What it said in the end."""
        assert b"f{" in self.raw, f"no report: {self.raw!r}"
        return Report(**json.loads(self.raw.split(b"f", 1)[1]))

    def read(self, seconds: float) -> None:
        """Take in what comes within this time; returns at the first news."""
        if not self.closed and select.select([self.pipe], [], [], max(0.0, seconds))[0]:
            news = os.read(self.pipe, 65536)
            self.raw += news
            self.closed = not news

    def wait_for(self, mark: str, times: int = 1, seconds: float = PATIENCE) -> bool:
        """Until it left this mark so often, or ended."""
        until = time.monotonic() + seconds
        while self.marks.count(mark) < times and not self.closed and time.monotonic() < until:
            self.read(until - time.monotonic())
        return self.marks.count(mark) >= times

    def wait_for_any(self, wanted: str, seconds: float = PATIENCE) -> str:
        """Until it left one of these marks, or ended; the marks so far."""
        until = time.monotonic() + seconds
        while not set(wanted) & set(self.marks) and not self.closed and time.monotonic() < until:
            self.read(until - time.monotonic())
        return self.marks

    def stopped(self) -> None:
        """Wait until it has stopped itself."""
        how = self.nursery.wait(self.pid)
        assert how == "stopped", f"{how} after {self.marks!r}: {self.raw!r}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; the pid is this child's own until `end` has waited for it."""
        (os.killpg if self.group else os.kill)(self.pid, number)

    def kill(self) -> str:
        """SIGKILL; the marks that it left."""
        self.signal(signal.SIGKILL)
        self.end()
        return self.marks

    def end(self) -> Report | None:
        """Wait for its end; its report, if it wrote one."""
        until = time.monotonic() + PATIENCE
        while not self.closed and time.monotonic() < until:
            self.read(until - time.monotonic())
        how = self.nursery.wait(self.pid)
        os.close(self.pipe)
        self.ended = True
        assert how in {"ended", "killed"}, f"{how}: {self.raw!r}"
        return self.report if how == "ended" and not self.group else None


@dataclass
class Nursery:
    """The warm parent, seen from who gives it orders. One order at a time."""

    folder: Path
    service: bool = False
    popen: subprocess.Popen[str] = field(init=False)
    numbers: Any = field(default_factory=count)

    def __enter__(self) -> Nursery:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDBEDS_")}
        with (self.folder / "children.log").open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.nursery", *(["--service"] if self.service else [])],
                cwd=ROOT,
                env=kept,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._answer()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.popen.stdin
        assert self.popen.stdout
        self.popen.stdin.close()
        self.popen.wait(PATIENCE)
        self.popen.stdout.close()

    def fork(self, plan: Plan) -> Child:
        """Start a child."""
        pipe = self.folder / f"marks-{next(self.numbers)}"
        os.mkfifo(pipe)
        handle = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        child = Child(self, self._ask(replace(plan, pipe=str(pipe)).as_line())["pid"], handle, plan.work == "serve")
        pipe.unlink()
        if child.group:
            child.read(PATIENCE)  # it leads its group from its first mark on
        return child

    def wait(self, pid: int) -> str:
        """How this child stopped or ended."""
        how: str = self._ask(json.dumps({"wait": pid}) + "\n")["how"]
        return how

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.popen.stdin
        self.popen.stdin.write(line)
        self.popen.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.popen.stdout
        line = self.popen.stdout.readline()
        assert line, (self.folder / "children.log").read_text("utf-8")
        answer: dict[str, Any] = json.loads(line)
        return answer


if __name__ == "__main__":
    main()
