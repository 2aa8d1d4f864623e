"""The simulator's only wall clock, sleep and dice."""

from __future__ import annotations

import asyncio
import secrets
import string
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

ALPHABET = string.ascii_letters + string.digits
LENGTHS = {"code": 32, "state": 28, "request": 24}
"""Characters per kind of value; documented examples show codes of 32 and tokens of 40 opaque characters."""


def mint(kind: str) -> str:
    """A fresh random value of a kind: ``access``, ``refresh``, ``code``, ``state`` or ``request``."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTHS.get(kind, 40)))


@dataclass
class Clock:
    """The simulator's own time, which ``advance`` moves forward so that lifetimes can pass without waiting."""

    read: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ahead: float = 0.0

    def now(self) -> float:
        """Unix seconds, including every advance."""
        return self.read() + self.ahead

    def advance(self, seconds: float) -> float:
        """Move forward by this many seconds; the time it is then. Raises ValueError for a step back."""
        if not seconds >= 0:
            raise ValueError("the clock only moves forward: seconds must be 0 or more")
        self.ahead += seconds
        return self.now()
