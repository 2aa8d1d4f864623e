"""A program at a terminal: what it is sent there, as a pseudo-terminal of this size has it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 30.0  # seconds
ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()=>].?)")  # ECMA-48, and xterm's titles


class Terminal:
    """One program of ours that runs at a terminal."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.sent = ""

    @property
    def text(self) -> str:
        """What it was sent, without escape codes."""
        return ESCAPE.sub("", self.sent).replace("\r", "")

    def wait_for(self, text: str) -> None:
        """Until this has been sent."""
        until = time.monotonic() + PATIENCE
        while text not in self.text:
            assert self._read(0.2) or self.process.poll() is None, self.text
            assert time.monotonic() < until, self.text

    def type(self, keys: str) -> None:
        """What a person types; `\x03` is Ctrl-C."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Wait for its end; the exit status."""
        until = time.monotonic() + PATIENCE
        while self._read(0.2) or self.process.poll() is None:
            assert time.monotonic() < until, self.text
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        with suppress(OSError):  # the other side is closed
            if part := os.read(self._master, 65_536):
                self.sent += part.decode("utf-8", "replace")
                return True
        return False


@contextmanager
def at_terminal(
    *args: str, settings: Mapping[str, str], folder: Path, columns: int = 100, lines: int = 30,
    program: Sequence[str] = ("-m", "cloudbeds_auth"), executable: str = sys.executable, **environment: str,
) -> Iterator[Terminal]:  # fmt: skip
    """`cloudbeds-auth` with these arguments, or another program; ended by its own pid whatever happens."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    base = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [executable, *program, *args],
        env={**base, **settings, **environment}, cwd=folder, stdin=slave, stdout=slave, stderr=slave,
        start_new_session=True, preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(master)


def screen_of(*args: str, answers: Mapping[str, str], settings: Mapping[str, str], folder: Path, **more: Any) -> str:
    """What is on the screen in the end, when each prompt was answered as it came; `more`: as of `at_terminal`."""
    with at_terminal(*args, settings=settings, folder=folder, **more) as terminal:
        for prompt, answer in answers.items():
            terminal.wait_for(f"{prompt}: ")
            terminal.type(f"{answer}\n")
        terminal.end()
    return terminal.text


def _take_terminal() -> None:
    """Ctrl-C at it is a signal for this process."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
