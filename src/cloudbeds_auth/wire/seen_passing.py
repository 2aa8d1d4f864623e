"""Inspects an answer's bytes while a client's caller reads them; mixed into the streams of the client's library."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cloudbeds_auth.rules.api_errors import PassingBody


@dataclass(slots=True)
class _OnItsWay:
    """An answer's bytes, inspected as the caller reads them; `at_end` is called once the last one has passed."""

    stream: Any
    passing: PassingBody
    at_end: Callable[[], None]

    @property
    def elapsed(self) -> Any:
        """httpx2 reads this from its own stream."""
        return self.stream.elapsed


class SeenPassing(_OnItsWay):
    """Mixed into `SyncByteStream`."""

    def __iter__(self) -> Iterator[bytes]:
        for part in self.stream:
            self.passing.see(part)
            yield part
        self.at_end()

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()


class SeenPassingLater(_OnItsWay):
    """Mixed into `AsyncByteStream`."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self.stream.__aiter__()
        try:
            async for part in parts:
                self.passing.see(part)
                yield part
        finally:
            if isinstance(parts, AsyncGenerator):
                await parts.aclose()
        self.at_end()

    async def aclose(self) -> None:
        """Close the stream."""
        await self.stream.aclose()
