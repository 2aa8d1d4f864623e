"""The demo's child processes, waited for without blocking, and ports for them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cloudbeds_auth import child_process, errors
from cloudbeds_auth.ports import Clock, Entropy

PORTS = range(20000, 32000)  # below what systems hand out to outgoing connections, so that none of those takes it


def free_port(entropy: Entropy, host: str = "127.0.0.1") -> int:
    """A port nobody listens on at this moment."""
    for _ in range(1000):
        port = PORTS[int(entropy.unit() * len(PORTS))]
        with socket.socket() as sock, suppress(OSError):
            sock.bind((host, port))
            return port
    raise errors.ConfigurationError(f"no free port on {host}", next_step="end what holds them")


class WatchedChild:
    """As `children.Child`."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._child = child_process.Child(name, arguments, environment, folder)

    @property
    def pid(self) -> int:
        """The pid; 0 before the first start."""
        return self._child.pid

    @property
    def log(self) -> Path:
        """What it wrote."""
        return self._child.log

    async def start(self, clock: Clock) -> str:
        """Start it and wait until it says where it listens: that address. Raises ChildFailed."""
        self._child.launch()  # here and not on the thread: whoever cancels the waiting can still end it
        return await asyncio.to_thread(self._child.address, clock)

    async def kill(self) -> None:
        """SIGKILL: the process gets no chance to do anything; returns when it is gone."""
        await asyncio.to_thread(self._child.kill)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough."""
        await asyncio.to_thread(self._child.stop)
