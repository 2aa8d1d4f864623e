"""An answer's body that somebody else reads, looked at on its way (`rules.api_errors`)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from cloudbeds_auth.rules.api_errors import PassingBody


@dataclass(slots=True)
class _OnItsWay:
    """An answer's bytes as they come, seen on their way; `told` once the last one has passed."""

    stream: Any
    passing: PassingBody
    told: Callable[[], None]

    @property
    def elapsed(self) -> Any:
        """What httpx2 asks its own stream for."""
        return self.stream.elapsed


class Seen(_OnItsWay, httpx2.SyncByteStream):
    """For `httpx2.Client`."""

    def __iter__(self) -> Iterator[bytes]:
        for part in self.stream:
            self.passing.see(part)
            yield part
        self.told()

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()


class SeenLater(_OnItsWay, httpx2.AsyncByteStream):
    """For `httpx2.AsyncClient`."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self.stream.__aiter__()
        try:
            async for part in parts:
                self.passing.see(part)
                yield part
        finally:
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()
        self.told()

    async def aclose(self) -> None:
        """Close the stream."""
        await self.stream.aclose()
