"""What this process may still have: a limit of the system is reached for real, and lifted again."""

from __future__ import annotations

import resource
import signal
from contextlib import suppress
from pathlib import Path

PAGES = Path("/proc/self/statm")  # the first number: the size of this process, in pages (proc(5))
LEFT = 2 << 20  # bytes that a process without threads may still take: less than the stack of a thread
hoard: list[bytearray] = []


def fill_disk() -> None:
    """From now on every write to a file of this process fails (EFBIG; SIGXFSZ would kill it, so it is ignored)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _limit(resource.RLIMIT_FSIZE, 0)


def starve(of: str) -> None:
    """From now on there are no more `descriptors`, `threads` or `memory`."""
    if of == "descriptors":
        _limit(resource.RLIMIT_NOFILE, 3)
        return
    size = int(PAGES.read_text().split()[0]) * resource.getpagesize()
    _limit(resource.RLIMIT_AS, size + (LEFT if of == "threads" else 0))
    if of == "memory":
        for piece in (1 << 16, 1 << 12, 1 << 9):  # what was freed before would last for a while
            with suppress(MemoryError):
                while True:
                    hoard.append(bytearray(piece))


def lift() -> None:
    """Everything is to be had again."""
    hoard.clear()
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_AS):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (hard, hard))


def _limit(limit: int, most: int) -> None:
    resource.setrlimit(limit, (most, resource.getrlimit(limit)[1]))
