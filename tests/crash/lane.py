"""One vendor, one database, one warm parent, and a few connected hotels: what a kill needs around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from tests.acceptance.processes import World, world
from tests.crash import marks
from tests.crash.child import Plan, Report
from tests.crash.nursery import Child, Nursery

FIRST_HOTEL = 100001
CALM = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "20"}


@dataclass
class Lane:
    """The hotels are connected in order: hotel n has connection n and the vendor's grant n + 1."""

    made: World
    nursery: Nursery
    old_sqlite: bool = False
    connections: tuple[str, ...] = ()

    @property
    def database(self) -> Path:
        """The file."""
        return self.made.folder / "hotels.sqlite3"

    def fork(self, work: str, *hotels: int, settings: dict[str, str] | None = None, **parts: Any) -> Child:
        """Start a child that does this for these hotels."""
        return self.nursery.fork(
            Plan(
                work=work,
                settings={**self.made.settings, **(settings or {})},
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

    def heal(self, *hotels: int, patience: float = 20.0, **settings: str) -> Report:
        """A process that nobody kills serves each of these hotels."""
        return self.do("heal", *hotels, patience=patience, settings=settings)

    def served(self, hotel: int = 0, **settings: str) -> Report:
        """The same, and it must: 200 in the end, a whole database, and nobody has to approve again."""
        report = self.heal(hotel, patience=10.0, **settings)
        assert report.statuses == [200], f"{report}\n{self.story(hotel)}"
        assert not self.marked(), self.story(hotel)
        assert self.sound()
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
        named: dict[str, Any] = {} if hotel is None else {"grant": hotel + 1}
        self.made.vendor.control("expire", **named)

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

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the database as they rest."""
        with closing(apsw.Connection(str(self.database))) as connection:
            connection.set_busy_timeout(5000)
            cursor = connection.execute(statement, values)
            try:
                names = [column[0] for column in cursor.get_description()]
            except apsw.ExecutionCompleteError:
                return []
            return [dict(zip(names, row, strict=True)) for row in cursor]

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

    def sound(self) -> bool:
        """Whether SQLite finds its file whole."""
        return [row["integrity_check"] for row in self.sql("PRAGMA integrity_check")] == ["ok"]

    def story(self, hotel: int, after: int = 0) -> str:
        """What the vendor saw and what the history says, for whoever has to find out."""
        wanted = ("n", "target", "outcome", "detail", "ordinal", "status", "answered", "fault")
        seen = [
            {name: entry[name] for name in wanted}
            for entry in self.journal(after)
            if entry["grant"] in (None, hotel + 1)
        ]
        told = self.sql(
            "SELECT sequence, kind, generation, data FROM events WHERE connection_id = ?", self.connections[hotel]
        )
        row = {name: str(value) for name, value in self.row(hotel).items() if not isinstance(value, bytes)}
        lines = ["the vendor's journal:", *map(json.dumps, seen), "the history:", *map(json.dumps, told)]
        return "\n".join([*lines, "the row:", json.dumps(row)])


def point_of(left: str, refreshes: list[dict[str, Any]]) -> str:
    """The kill point, from the marks that the process left and the token requests that the vendor saw of it."""
    last = next((mark for mark in reversed(left) if mark in marks.POINTS), marks.OPEN)
    acted = bool(refreshes) and refreshes[-1]["outcome"] != "pending"
    if last in {marks.SENDING, marks.SENT} and acted:
        return "K4"
    if last == marks.SENDING and refreshes:
        return "K3"
    return marks.POINTS[last]


@contextmanager
def lane(
    folder: Path, *, variant: str = "V2/n", hotels: int = 1, deadline: float = 0.3, old_sqlite: bool = False
) -> Iterator[Lane]:
    """Everything running, every hotel connected."""
    arguments = ("--auto-approve", "--variant", variant, "--hotels", str(hotels))
    settings = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": str(deadline), "CLOUDBEDS_AUTH_RATE_LIMIT": "0"}
    with world(folder, *arguments, **settings) as made, Nursery(folder) as nursery:
        ready = Lane(made, nursery, old_sqlite)
        ready.connect(hotels)
        yield ready
