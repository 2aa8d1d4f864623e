"""Another server on loopback: it answers every request with 200 and keeps whatever reaches it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


@dataclass
class Stranger:
    """`heard` has one entry for each connection: the bytes of it that came before the answer."""

    port: int
    heard: list[bytes] = field(default_factory=list)


def _answer(peer: socket.socket, stranger: Stranger) -> None:
    at = len(stranger.heard)
    stranger.heard.append(b"")
    with peer, suppress(OSError):
        peer.settimeout(5)
        while b"\r\n\r\n" not in stranger.heard[at] and (part := peer.recv(65536)):
            stranger.heard[at] += part
        peer.sendall(ANSWER)


@contextmanager
def stranger() -> Iterator[Stranger]:
    """Listening for the time of a test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = Stranger(listening.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):  # closed: the test is over
                while True:
                    _answer(listening.accept()[0], found)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)
