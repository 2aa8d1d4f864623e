"""The ordered log of everything asked of the vendor and what became of it, for tests and the demo to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Entry:
    """One request. It is logged when it has been read to its end, before anything is done.

    ``target`` is ``oauth``, ``token``, ``userinfo``, ``resource`` or ``other``. ``outcome`` starts as ``pending``; of
    the token endpoint it becomes ``issued``, ``refused``, ``client_refused`` or ``invalid``, of a protected method
    ``accepted``, ``401``, ``dead`` or ``unknown_method``, of the consent page ``shown``, ``approved``, ``denied`` or
    ``invalid``, and ``not_acted`` when a fault answered instead. ``answered`` turns true when the last byte of the
    answer has been written. ``key_header``: whether the request had an ``x-api-key``. ``at`` is the simulator's clock,
    Unix seconds.
    """

    n: int
    at: float
    target: str
    method: str
    path: str
    grant_type: str | None = None
    refresh_token: str | None = None
    access_token: str | None = None
    client_id: str | None = None
    outcome: str = "pending"
    detail: str = ""
    grant: int | None = None
    ordinal: int | None = None
    repeated: bool = False
    status: int | None = None
    answered: bool = False
    fault: str | None = None
    key_header: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The entry, ready for JSON."""
        return asdict(self)


class Journal:
    """All entries since the start. Whoever waits for one is told of every change through ``listeners``."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.listeners: set[Callable[[], None]] = set()

    def open(self, at: float, target: str, method: str, path: str) -> Entry:
        """Log a request that has just been read."""
        entry = Entry(len(self.entries) + 1, at, target, method, path)
        self.entries.append(entry)
        return entry

    def changed(self) -> None:
        """Tell the listeners that some entry is not what it was."""
        for listener in list(self.listeners):
            listener()

    def begin_again(self) -> None:
        """An empty log, counted from 1."""
        self.entries.clear()
        self.changed()

    def after(self, n: int) -> list[Entry]:
        """The entries behind number n."""
        return self.entries[max(0, n) :]

    def find(self, wanted: dict[str, object], after: int = 0) -> Entry | None:
        """The first entry behind number ``after`` whose fields have all the wanted values."""
        for entry in self.after(after):
            if all(getattr(entry, name) == value for name, value in wanted.items()):
                return entry
        return None

    def counts(self) -> dict[str, Any]:
        """Token requests by grant type and outcome, and calls of protected methods by outcome."""
        tokens: dict[str, Counter[str]] = {}
        resources: Counter[str] = Counter()
        for entry in self.entries:
            if entry.target == "token":
                tokens.setdefault(entry.grant_type or "", Counter())[entry.outcome] += 1
            elif entry.target in ("userinfo", "resource"):
                resources[entry.outcome] += 1
        return {"token": {name: dict(count) for name, count in tokens.items()}, "resource": dict(resources)}
