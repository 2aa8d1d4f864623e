"""Marks: one byte down a pipe whenever a refresh enters its next phase, so that a kill can be told where it struck.

`marking.py` makes a process leave them. A service refreshes several hotels at once: there each mark is followed by a
second byte, the hotel's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from tests.crash import limits

from cloudbeds_auth.transactions.statements import Body, Instant, Transaction

T = TypeVar("T")

OPEN, LEASED, INTENT, SENDING, SENT, ANSWERING, PARSED = "o", "l", "i", "c", "s", "h", "p"
CONNECTED = "j"  # the connection is up and nothing has left: K1 still
IN_TRANSACTION, COMMITTING, SYNCING, COMMITTED, PUBLISHED = "t", "e", "y", "d", "r"
USED, PROVEN, PRUNED, RELEASED, WAITING, SERVED, FINISHED, BORN = "u", "v", "w", "x", "n", "a", "f", "b"
LATCHED, KEYED, MOVED = "m", "k", "z"  # of a move to an API key: it has begun, the key is stored, and in use

POINTS = {
    OPEN: "K0", LEASED: "K0p", INTENT: "K1", SENDING: "K2", SENT: "K3", ANSWERING: "K5", PARSED: "K6",
    IN_TRANSACTION: "K7", COMMITTING: "K8", SYNCING: "K8", COMMITTED: "K9", PUBLISHED: "K10", USED: "K11",
    PROVEN: "K12", PRUNED: "K13", RELEASED: "K0",
}  # fmt: skip
"""The kill point of a process whose last mark this was; K3 becomes K4 when the vendor's journal says that it acted."""

NOBODY = "-"  # the second byte of a mark that belongs to no refresh


def tag(number: int) -> str:
    """The second byte of the marks of hotel `number`."""
    return chr(ord("0") + number)


def of(told: str, number: int) -> str:
    """The marks of hotel `number` among those of a service."""
    return "".join(mark for mark, whose in zip(told[::2], told[1::2], strict=False) if whose == tag(number))


@dataclass
class Refresh:
    """The refresh that this task, or the transaction that it waits for, belongs to."""

    grant: str = ""
    after_commit: bool = False


CURRENT: ContextVar[Refresh] = ContextVar("CURRENT", default=Refresh())  # noqa: B039 - of no task, and never changed
STORING: ContextVar[bool] = ContextVar("STORING", default=False)
"""Whether this task stores what was issued. Not of the refresh: its lease may be renewed at the same moment."""


@dataclass
class Marker:
    """Writes marks. At `stop_at` (after `stop_skip` others) the process stops itself by SIGSTOP.

    At `full_at` its disk becomes full, at `starved_at` it gets no more `starved_of` (see limits.py). `tags`: the second
    bytes, by grant.
    """

    handle: int
    stop_at: str = ""
    stop_skip: int = 0
    full_at: str = ""
    starved_at: str = ""
    starved_of: str = "descriptors"
    tags: Mapping[str, str] = field(default_factory=dict)

    def tell(self, mark: str) -> None:
        """Leave a mark, and do what is to be done there."""
        tag = self.tags.get(CURRENT.get().grant, NOBODY) if self.tags else ""
        os.write(self.handle, (mark + tag).encode())
        if mark == self.full_at:
            self.full_at = ""
            limits.fill_disk()
        if mark == self.starved_at:
            self.starved_at = ""
            limits.starve(self.starved_of)
        if mark == self.stop_at:
            self.stop_skip -= 1
        if mark == self.stop_at and self.stop_skip < 0:
            self.stop_at = ""
            # To this very thread: sent to the process, the signal would let it run on for a while.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def watched(marker: Marker, body: Body[T]) -> Body[T]:
    """The transaction that commits a pair or a key leaves a mark when it has begun, and when it is to be committed."""
    return partial(_watched, marker, body) if STORING.get() else body


def _watched(marker: Marker, body: Body[T], now: Instant) -> Transaction[T]:
    marker.tell(IN_TRANSACTION)
    result = yield from body(now)
    marker.tell(COMMITTING)
    return result
