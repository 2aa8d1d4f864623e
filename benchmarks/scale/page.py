"""docs/scale.md, from the numbers of one run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.page import shown
from benchmarks.scale.rows import ENDS, ROWS, SMALL, Row

HEAD = """# Very many hotels

For operators with thousands of hotels or more: how long commands, lists, metrics and failures take, measured with
{sizes} hotels by `make scale` on one machine. {met} of {aims} aims are met.

Every hotel is connected: its tokens are sealed, and it has {events} events of history and {days} days of counted calls,
{age:.0f} days apart. Everything is done by commands and over HTTP, as operators and programs do; Cloudbeds is the
simulator of this project. Each aim was set before it was measured, and is judged by the program, at the highest number
of hotels in its row. *Before* is the value when the aims were set.

- machine: {machine}; one-minute load at the start {load}
- versions: {versions}
- PostgreSQL runs on the same machine, with {server}
- the code: {commit}, {when}
- command: `{command}` ({took} in all); `benchmarks/scale/` has the programs
{again}"""

Number = Mapping[str, Any]


def page(found: Mapping[str, Any]) -> str:
    """The whole page."""
    sections = [_section(row, [one for one in found["found"] if one["row"] == row.name]) for row in ROWS]
    text = "\n".join(filter(None, sections))
    met, missed = text.count("| met |"), text.count("| **missed** |")
    depends = {row.name for row in ROWS if row.most}
    sizes = sorted({one["hotels"] for one in found["found"] if one["row"] in depends})
    *fewer, most = [f"{size:,}" for size in sizes] or ["no"]
    words = f"{', '.join(fewer)} and {most}" if fewer else most
    since = ", ".join(f"{name} (the code: {commit})" for name, commit in found["facts"].get("again", {}).items())
    again = f"- measured once more since, alone: {since}\n" if since else ""
    facts = {**found["facts"], "again": again}
    return "\n".join([HEAD.format(**facts, sizes=words, met=met, aims=met + missed), text])


def _section(row: Row, numbers: Sequence[Number]) -> str:
    """What was measured of one row, as a table; empty: nothing was."""
    if not numbers:
        return ""
    sizes = sorted({one["hotels"] for one in numbers})
    columns = [row.unit, *(f"{size:,}" if row.most else "now" for size in sizes), "aim", "", ""]
    before = f"Before: {row.before}.\n\n" if row.before else ""
    return (
        f"## {row.title}\n\n{row.question}\n\n{before}"
        f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n{''.join(_lines(row, numbers, sizes))}"
    )


def _lines(row: Row, numbers: Sequence[Number], sizes: Sequence[int]) -> Iterator[str]:
    for database, what in dict.fromkeys((one["database"], one["what"]) for one in numbers):
        of_size = {one["hotels"]: one for one in numbers if (one["database"], one["what"]) == (database, what)}
        values = {size: of_size[size]["value"] if size in of_size else None for size in sizes}
        most = max(one["hotels"] for one in numbers if one["database"] == database)
        aim, verdict = judged(row, what, {size: value for size, value in values.items() if size <= most})
        cells = ["none" if value is None else shown(value) for value in values.values()]
        yield f"| {database}, {what} | {' | '.join(cells)} | {aim} | {verdict} | {of_size[max(of_size)]['note']} |\n"


def judged(row: Row, what: str, values: Mapping[int, float | None]) -> tuple[str, str]:
    """The aim of one number in words, and what became of it with the most hotels; both empty where there is none.
    `values` by the number of hotels.
    """
    value, limit = values[max(values)], row.aim(what)
    words = "that it ends" if limit == ENDS else f"at {'least' if row.more else 'most'} {limit or 0:,.4g}"
    if row.flat:
        fewest = values[min(values)]
        limit = math.nan if fewest is None else max(row.flat * fewest, SMALL)
        words = f"at most {row.flat:g} times that of {min(values):,}, or {SMALL:g}"
    if limit is None:
        return "", "" if value is not None else "**not measured**"
    met = value is not None and (value >= limit if row.more else value <= limit)
    return words, "met" if met else "**missed**"
