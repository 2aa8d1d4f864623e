"""Ports of loopback for servers that are told where to listen."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

# Below what the system gives to outgoing connections, and above 10080, the last port that browsers refuse to open
# (https://fetch.spec.whatwg.org/#bad-port).
PORTS = range(10_081, 32_000)


def free_port() -> int:
    """A port that was free a moment ago, that no outgoing connection takes meanwhile and that any browser opens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
