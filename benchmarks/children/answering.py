"""httpx2's own transports over connections that answer by themselves: it has no public way to be given them."""

from __future__ import annotations

import httpcore2
import httpx2

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Stream(httpcore2.NetworkStream):
    """Whatever is written, the answer can be read."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Always the same."""
        return ANSWER

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """It is not read."""

    def close(self) -> None:
        """Nothing is open."""

    def start_tls(self, *args: object, **kwargs: object) -> Stream:
        """It is as good as that."""
        return self

    def get_extra_info(self, info: str) -> None:
        """There is nothing to tell."""


class AwaitedStream(httpcore2.AsyncNetworkStream):
    """The same for coroutines."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Always the same."""
        return ANSWER

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """It is not read."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def start_tls(self, *args: object, **kwargs: object) -> AwaitedStream:
        """It is as good as that."""
        return self

    def get_extra_info(self, info: str) -> None:
        """There is nothing to tell."""


class Backend(httpcore2.NetworkBackend):
    """Connects to nothing."""

    def connect_tcp(self, *args: object, **kwargs: object) -> Stream:
        """At once."""
        return Stream()


class AwaitedBackend(httpcore2.AsyncNetworkBackend):
    """The same for coroutines."""

    async def connect_tcp(self, *args: object, **kwargs: object) -> AwaitedStream:
        """At once."""
        return AwaitedStream()


def transport() -> httpx2.HTTPTransport:
    """For a `Client`."""
    made = httpx2.HTTPTransport()
    made._pool = httpcore2.ConnectionPool(network_backend=Backend())
    return made


def awaited_transport() -> httpx2.AsyncHTTPTransport:
    """For an `AsyncClient`."""
    made = httpx2.AsyncHTTPTransport()
    made._pool = httpcore2.AsyncConnectionPool(network_backend=AwaitedBackend())
    return made
