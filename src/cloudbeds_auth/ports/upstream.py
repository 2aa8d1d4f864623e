"""What the proxy needs from the network: one request to the vendor's host, streamed both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class Unsent(Exception):
    """No connection came about (address, network, TLS): the vendor cannot have acted."""


class Lost(Exception):
    """Something was sent and no usable answer came: the vendor may have acted."""


class Broken(Lost):
    """The connection broke before the head of an answer came, as a kept one does that the vendor has just closed."""


class UpstreamAnswer(Protocol):
    """An answer whose head has arrived and whose body has not been read yet."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers as they came."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they came, still encoded; raises Lost when they stop too early."""
        ...

    def close(self) -> None:
        """Let go of the connection: kept for the next request when the body was read to its end, else closed."""
        ...


class Upstream(Protocol):
    """Production: `wire.upstream.AiohttpUpstream`. Follows no redirect, keeps no cookie, reads no environment."""

    async def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | AsyncIterator[bytes]
    ) -> UpstreamAnswer:
        """Send one request for `target` (path and query, encoded already) to the vendor's host.

        Raises Unsent, Broken or Lost. Never sends twice. Cancelling it closes the connection.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...
