"""One vendor, one database, one warm parent, and a few connected hotels: what a kill needs around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.acceptance.processes import World, world_apart
from tests.crash.bases import Base, Bases, FileBase, in_a_file
from tests.crash.child import HEALED, Plan, Report
from tests.crash.nursery import Child, Nursery

FIRST_HOTEL, MORE_HOTELS = 100001, 4
CALM = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "20"}


@dataclass
class Lane:
    """The hotels are connected in order: hotel n has connection n and the vendor's grant `first_grant` + n."""

    made: World
    base: Base
    nursery: Nursery
    variant: str
    old_sqlite: bool = False
    first_grant: int = 1
    connections: tuple[str, ...] = ()

    @property
    def database(self) -> Path:
        """The file, where that is what the hotels rest in."""
        assert isinstance(self.base, FileBase)
        return self.base.path

    def fork(self, work: str, *hotels: int, settings: dict[str, str] | None = None, **parts: Any) -> Child:
        """Start a child that does this for these hotels."""
        return self.nursery.fork(
            Plan(
                work=work,
                settings={**self.made.settings, **self.base.settings, **(settings or {})},
                pipe="",
                connections=tuple(self.connections[one] for one in hotels),
                old_sqlite=self.old_sqlite,
                **parts,
            )
        )

    def do(self, work: str, *hotels: int, **parts: Any) -> Report:
        """The same to its end; what it said."""
        report = self.fork(work, *hotels, **parts).end()
        assert report is not None
        return report

    def connect(self, hotels: int) -> None:
        """Every hotel approves."""
        names = tuple(str(FIRST_HOTEL + one) for one in range(hotels))
        report = self.do("connect", hotels=names, settings=CALM)
        assert len(report.connections) == hotels, report.errors
        self.connections = tuple(report.connections)

    def heal(self, *hotels: int, settings: dict[str, str] | None = None, patience: float = HEALED) -> Report:
        """A process that nobody kills serves each of these hotels."""
        return self.do("heal", *hotels, patience=patience, settings=settings)

    def served(self, hotel: int = 0, settings: dict[str, str] | None = None) -> Report:
        """The same, and it must: 200 in the end, a whole database, and nobody has to approve again."""
        report = self.heal(hotel, settings=settings)
        assert report.statuses == [200], f"{report}\n{self.story(hotel)}"
        assert not self.marked(), self.story(hotel)
        assert self.base.sound()
        return report

    def settled(self, hotel: int = 0) -> dict[str, Any]:
        """A hotel as at rest: a refresh nobody disturbs, proven. Its row."""
        report = self.do("refresh", hotel, settings=CALM)
        if report.errors:  # held back by whatever was done to it before
            self.served(hotel)
            report = self.do("refresh", hotel, settings=CALM)
        assert not report.errors, f"{report}\n{self.story(hotel)}"
        return self.row(hotel)

    def end_tokens(self, hotel: int | None = None) -> None:
        """The vendor ends the access token of this hotel, or of all."""
        named: dict[str, Any] = {} if hotel is None else {"grant": self.first_grant + hotel}
        self.made.vendor.control("expire", **named)

    def grants(self) -> tuple[str, ...]:
        """The ids of the hotels' grants, in order."""
        return tuple(str(self.row(one)["id"]) for one in range(len(self.connections)))

    # --- evidence

    def last_entry(self) -> int:
        """The number of the vendor's newest journal entry."""
        last: int = self.made.vendor.control("requests?after=1000000000", "GET")["last"]
        return last

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        """What the vendor was asked since."""
        entries: list[dict[str, Any]] = self.made.vendor.control(f"requests?after={after}", "GET")["requests"]
        return entries

    def refreshes(self, after: int = 0) -> list[dict[str, Any]]:
        """The token requests of it."""
        return [entry for entry in self.journal(after) if entry["grant_type"] == "refresh_token"]

    def may_be(self, hotel: int, entry: dict[str, Any]) -> bool:
        """Whether the vendor's entry is this hotel's, or nobody's yet."""
        return entry["grant"] in (None, self.first_grant + hotel)

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the database as they rest."""
        return self.base.rows(statement, *values)

    def row(self, hotel: int = 0) -> dict[str, Any]:
        """The grant as it rests, and how many refresh tokens are stored with it."""
        (found,) = self.sql(
            "SELECT g.*, (SELECT COUNT(*) FROM tokens t WHERE t.grant_id = g.id) AS stored FROM grants g"
            " WHERE connection_id = ?",
            self.connections[hotel],
        )
        return found

    def marked(self) -> list[str]:
        """The connections of which somebody says that the hotel has to approve again."""
        rows = self.sql(
            "SELECT connection_id FROM grants WHERE reauth IS NOT NULL OR state = 'reauthorization_required'"
        )
        return [row["connection_id"] for row in rows]

    def story(self, hotel: int, after: int = 0) -> str:
        """What the vendor saw and what the history says, for whoever has to find out."""
        wanted = ("n", "target", "outcome", "detail", "ordinal", "status", "answered", "fault")
        seen = [{name: entry[name] for name in wanted} for entry in self.journal(after) if self.may_be(hotel, entry)]
        told = self.sql(
            "SELECT sequence, kind, generation, data FROM events WHERE connection_id = ?", self.connections[hotel]
        )
        row = {name: str(value) for name, value in self.row(hotel).items() if not isinstance(value, bytes)}
        lines = ["the vendor's journal:", *_shortened(seen), "the history:", *map(json.dumps, told)]
        return "\n".join([*lines, "the row:", json.dumps(row)])


def _shortened(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Entries that differ in their number alone are told once."""
    for _, alike in groupby(entries, lambda entry: {**entry, "n": 0}):
        first, *more = alike
        yield json.dumps(first) + (f" and {len(more)} more like it" if more else "")


@contextmanager
def lane(
    folder: Path,
    *,
    variant: str = "V2/n",
    hotels: int = 1,
    deadline: float = 0.3,
    service: bool = False,
    bases: Bases = in_a_file,
) -> Iterator[Lane]:
    """Everything running, every hotel connected; with `service`, the warm parent can fork whole services too."""
    arguments = ("--auto-approve", "--variant", variant, "--hotels", str(max(hotels, MORE_HOTELS)))
    settings = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": str(deadline), "CLOUDBEDS_AUTH_RATE_LIMIT": "0"}
    with (
        bases(folder) as base,
        world_apart(folder, *arguments, **settings, **base.settings) as made,
        Nursery(folder, service) as nursery,
    ):
        ready = Lane(made, base, nursery, variant)
        ready.connect(hotels)
        yield ready


def beside(
    other: Lane, folder: Path, *, hotels: int = 1, old_sqlite: bool = False, settings: dict[str, str] | None = None
) -> Lane:
    """Another file, in this folder, with hotels of its own; vendor and warm parent are the other lane's."""
    grants = len(other.made.vendor.control("state", "GET")["grants"])
    base = FileBase(folder / "hotels.sqlite3")
    made = replace(other.made, folder=folder, services=[], extra={**other.made.extra, **(settings or {})})
    ready = Lane(made, base, other.nursery, other.variant, old_sqlite, grants + 1)
    ready.connect(hotels)
    return ready
