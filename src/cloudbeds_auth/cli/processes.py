"""Child processes with a log file each: started with a bare environment, always ended, and only by their own pid."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cloudbeds_auth import errors
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.ports.entropy import Entropy

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "PYTHONPATH", "COVERAGE_PROCESS_START")
LISTENING = re.compile(r"listening on (http://\S+)")
PORTS = range(20000, 32000)  # below what systems hand out to outgoing connections, so that none of those takes it
START_SECONDS = 30.0
STOP_SECONDS = 10.0
GLANCE = 0.02


class ChildFailed(errors.Error):
    """A process that the demo needs did not start"""

    next_step_default = "read its log, named above"


def bare_environment(home: Path, **values: str) -> dict[str, str]:
    """An environment in which none of the user's own settings can be found."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "HOME": str(home), "XDG_DATA_HOME": str(home), "PYTHONUNBUFFERED": "1", **values}


def free_port(entropy: Entropy, host: str = "127.0.0.1") -> int:
    """A port nobody listens on at this moment."""
    for _ in range(1000):
        port = PORTS[int(entropy.unit() * len(PORTS))]
        with socket.socket() as sock, suppress(OSError):
            sock.bind((host, port))
            return port
    raise errors.ConfigurationError(f"no free port on {host}", next_step="end what holds them")


class Child:
    """One child process. It reads a pipe of ours, so that with `--with-parent` it ends when we do, however we end."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._arguments = (sys.executable, "-m", *arguments)
        self._environment = dict(environment)
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The pid; 0 when it does not run."""
        return self._process.pid if self._process else 0

    async def start(self, clock: Clock) -> str:
        """Start it and wait until it says where it listens: that address. Raises ChildFailed."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,  # Ctrl-C is ours to answer; children end by our hand
            )
        deadline = clock.steady() + START_SECONDS
        while clock.steady() < deadline:
            if found := LISTENING.search(self.log.read_bytes()[begin:].decode("utf-8", "replace")):
                return found.group(1)
            if self._process.returncode is not None:
                break
            await clock.sleep(GLANCE)
        raise ChildFailed(f"the {self.name} did not start; its last words: {self.last_words()} ({self.log})")

    def last_words(self) -> str:
        """The last line of the log."""
        lines = self.log.read_text("utf-8", "replace").split("\n") if self.log.exists() else []
        return next((line for line in reversed(lines) if line.strip()), "none")

    async def kill(self) -> None:
        """SIGKILL: the process gets no chance to do anything; returns when it is gone."""
        await self._signal(signal.SIGKILL, STOP_SECONDS)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        await self._signal(signal.SIGTERM, STOP_SECONDS)
        await self._signal(signal.SIGKILL, STOP_SECONDS)

    async def _signal(self, number: signal.Signals, seconds: float) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)
