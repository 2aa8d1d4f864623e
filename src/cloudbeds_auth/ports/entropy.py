"""Dice as an argument."""

from __future__ import annotations

from typing import Protocol


class Entropy(Protocol):
    """Production: `system.SystemEntropy`, from the operating system's generator."""

    def token(self) -> str:
        """A URL-safe secret of 256 bits."""
        ...

    def identifier(self, prefix: str) -> str:
        """A unique id that sorts by the time it was made: `con_01J…`."""
        ...

    def unit(self) -> float:
        """A number in [0, 1), for jitter; not for secrets."""
        ...
