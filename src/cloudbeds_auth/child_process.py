"""Child processes: the environment that they get; and those with a log file each, which are always ended by pid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cloudbeds_auth import errors
from cloudbeds_auth.ports import Clock

NEEDED = frozenset((
    "COVERAGE_PROCESS_START", "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE",
    "SYSTEMROOT", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
))  # fmt: skip
FAMILIES = ("LC_", "PYTHON")  # prefixes of further names
DESKTOP = (
    "BROWSER", "DBUS_SESSION_BUS_ADDRESS", "DESKTOP_SESSION", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
    "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "XDG_CURRENT_DESKTOP", "XDG_DATA_DIRS", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
    "XDG_SESSION_TYPE",
)  # fmt: skip
"""What a browser needs besides, to find its running instance."""
LISTENING = re.compile(r"listening on (http://\S+)")
START_SECONDS = 30.0
STOP_SECONDS = 10.0
GLANCE = 0.02
BROWSER_SECONDS = 10.0


class ChildFailed(errors.Error):
    """A process that is needed did not start"""

    next_step_default = "read its log, named above"


def environment(*further: str, **values: str) -> dict[str, str]:
    """A child's environment: what it needs to run, the variables named in `further`, and `values`; no secret (A77).

    Workers of `serve` are not such children: they read the settings from the whole environment.
    """
    needed = NEEDED.union(further)
    found = {name: value for name, value in os.environ.items() if name in needed or name.startswith(FAMILIES)}
    return found | values


def bare_environment(home: Path, **values: str) -> dict[str, str]:
    """An environment in which none of the user's own settings can be found."""
    return environment(HOME=str(home), XDG_DATA_HOME=str(home), PYTHONUNBUFFERED="1") | values


def has_display() -> bool:
    """Whether a browser that is opened here would show: on a Mac always, elsewhere where there is a display."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def open_browser(url: str) -> None:
    """Ask the user's browser to open a URL; does not wait until it is shown. Having no browser is not an error."""
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(  # noqa: S603 - the standard library's own module, arguments passed as a list
            [sys.executable, "-m", "webbrowser", url],
            env=environment(*DESKTOP),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=BROWSER_SECONDS,
            check=False,
        )


class Child:
    """One child process, `python -m` with `arguments`. The methods block.

    Its standard input is a pipe of ours, so that with `--with-parent` it ends when we do, however we end.
    """

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log: Final = folder / f"{name}.log"
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
        """Start it, wait until it logs its address, and return that. Raises ChildFailed."""
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
                start_new_session=True,  # this process handles Ctrl-C, and ends its children
            )

    def address(self, clock: Clock) -> str:
        """Wait until it logs the address on which it listens, and return that. Raises ChildFailed."""
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
