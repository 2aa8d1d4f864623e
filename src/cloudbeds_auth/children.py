"""Child processes with a log file each: started with a bare environment, always ended, and only by their own pid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cloudbeds_auth import errors
from cloudbeds_auth.ports.clock import Clock

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "PYTHONPATH", "COVERAGE_PROCESS_START")
LISTENING = re.compile(r"listening on (http://\S+)")
START_SECONDS = 30.0
STOP_SECONDS = 10.0
GLANCE = 0.02


class ChildFailed(errors.Error):
    """A process that is needed did not start"""

    next_step_default = "read its log, named above"


def bare_environment(home: Path, **values: str) -> dict[str, str]:
    """An environment in which none of the user's own settings can be found."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "HOME": str(home), "XDG_DATA_HOME": str(home), "PYTHONUNBUFFERED": "1", **values}


class Child:
    """One child process, `python -m` with `arguments`, waited for by blocking.

    It reads a pipe of ours, so that with `--with-parent` it ends when we do, however we end.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments = (sys.executable, "-m", *arguments)
        self._environment = dict(environment)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._begin = 0

    @property
    def pid(self) -> int:
        """The pid; 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self, clock: Clock) -> str:
        """Start it and wait until it says where it listens: that address. Raises ChildFailed."""
        self.launch()
        return self.address(clock)

    def launch(self) -> None:
        """Start it."""
        self._begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules, arguments passed as a list
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is ours to answer; children end by our hand
            )

    def address(self, clock: Clock) -> str:
        """Wait until it says where it listens: that address. Raises ChildFailed."""
        deadline = clock.steady() + START_SECONDS
        while clock.steady() < deadline and self._process is not None:
            if found := LISTENING.search(self.log.read_bytes()[self._begin :].decode("utf-8", "replace")):
                return found.group(1)
            if self._ended_within(GLANCE):
                break
        raise ChildFailed(f"the {self.name} did not start; its last words: {self.last_words()} ({self.log})")

    def last_words(self) -> str:
        """The last line of the log."""
        lines = self.log.read_text("utf-8", "replace").split("\n") if self.log.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "none")

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to do anything; returns when it is gone."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            with suppress(ProcessLookupError):
                process.send_signal(number)
            self._ended_within(STOP_SECONDS)
        if process.poll() is not None and process.stdin is not None:
            process.stdin.close()

    def _ended_within(self, seconds: float) -> bool:
        assert self._process is not None  # noqa: S101 - asked of a process that was started
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return True
        return False
