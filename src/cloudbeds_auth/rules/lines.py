"""Who is next when many wait for one thing: everybody of a line in the order of coming, one line after the other.

"": refresh      → every second place, as long as somebody stands here
con_1: c c c c c → of the other places, each line has one before any has two
con_2: c
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

OURS = ""  # the line of requests that keep hotels connected: tokens and proofs; the others are named by a connection

T = TypeVar("T")


class Lines(Generic[T]):
    """Lines of whoever waits. A line that somebody joins anew is the last one."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}  # in the order in which they have their turn
        self._ours_was_last = False

    def __iter__(self) -> Iterator[T]:
        return iter([one for line in self._lines.values() for one in line])

    def __bool__(self) -> bool:
        return bool(self._lines)

    def length(self, name: str) -> int:
        """How many stand in this line."""
        return len(self._lines.get(name, ()))

    def join(self, name: str, one: T) -> None:
        """Stand at the end of this line."""
        self._lines.setdefault(name, deque()).append(one)

    def leave(self, name: str, one: T) -> None:
        """Wait no longer in this line; who does not stand there, may."""
        line = self._lines.get(name, deque())
        if one in line:
            line.remove(one)
            if not line:
                del self._lines[name]

    def send_away(self, gone: Callable[[T], bool]) -> None:
        """Let nobody wait who is `gone`."""
        for name, line in list(self._lines.items()):
            staying = deque(one for one in line if not gone(one))
            if staying:
                self._lines[name] = staying
            else:
                del self._lines[name]

    def serve(self) -> T | None:
        """Whose turn it is, taken out of the line; None when nobody waits."""
        name = self._next()
        if name is None:
            return None
        self._ours_was_last = name == OURS
        line = self._lines.pop(name)
        one = line.popleft()
        if line:
            self._lines[name] = line  # behind the others
        return one

    def _next(self) -> str | None:
        if OURS in self._lines and (not self._ours_was_last or len(self._lines) == 1):
            return OURS
        return next((name for name in self._lines if name != OURS), None)
