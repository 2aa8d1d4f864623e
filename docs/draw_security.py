"""Draws the table of `docs/security.md` from `docs/faults.md` and the marks of tests: prints it, `--write` updates.

Each row of the catalogue, what it requires, and the tests that are marked with it. The marks are read from the syntax
of `tests/`; nothing runs. A row without a test is an error (ValueError), unless `TO_COME` names it.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import splice

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PAGE = DOCS / "security.md"
BEGIN, END = "<!-- rows -->", "<!-- /rows -->"
SHOWN = 3  # names of tests beside a row
HEAD = ("| row | what is tried or fails | required | tests |", "|---|---|---|---|")

ID = re.compile(r"[FA][0-9]{2,3}\Z")
HEADING = re.compile(r"^(##+) (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| ([FA][0-9]{2,3}) \| (.+?) \| (.+) \|$", re.MULTILINE)

TO_COME: dict[str, str] = {}
"""Rows whose tests come with another piece of work: it takes its rows out of here."""


class Row(NamedTuple):
    """One row of the catalogue."""

    id: str
    group: str
    what: str
    required: str


class Marked(NamedTuple):
    """A test and the rows of its marks. `control`: it also takes the defence away, and sees the attack succeed."""

    test: str
    file: Path
    row: str
    control: bool


def catalogue() -> list[Row]:
    """The rows of `docs/faults.md`, in its order."""
    page, found = (DOCS / "faults.md").read_text("utf-8"), []
    headings = [(one.start(), one[1], one[2]) for one in HEADING.finditer(page)]
    for row in ROW.finditer(page):
        above = [(depth, text) for start, depth, text in headings if start < row.start()]
        kind = next(text for depth, text in reversed(above) if depth == "##")
        found.append(Row(row[1], f"{kind}: {above[-1][1].lower()}", row[2], row[3]))
    return found


@cache
def marks() -> list[Marked]:
    """Every test that is marked with a row."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return [one for path in paths for one in marks_in(path.read_text("utf-8"), path.relative_to(ROOT))]


def marks_in(source: str, file: Path) -> Iterator[Marked]:
    """The marks of a module's tests: of decorators and parameters, of `pytestmark`, and those that a function makes,
    with the rows that it, or a table that it reads, names.
    """
    tree = ast.parse(source)
    whole = [row for node in tree.body if _is_pytestmark(node) for row in _rows(node)]
    tables = {
        one.id: _ids(node) for node in tree.body if isinstance(node, ast.Assign)
        for one in node.targets if isinstance(one, ast.Name)
    }  # fmt: skip
    made = {
        node.name: [*_ids(node), *(row for name in _names(node) & tables.keys() for row in tables[name])]
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("test_") and None in _rows(node)
    }  # fmt: skip
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
            continue
        asked = {name for part in node.decorator_list for name in _names(part)}
        found = [*whole, *(row for part in node.decorator_list for row in _rows(part))]
        found += [(row, False) for name in asked & made.keys() for row in made[name]]
        for row, control in dict(sorted(one for one in found if one is not None)).items():  # a control comes last
            yield Marked(node.name, file, row, control)


def _rows(node: ast.AST) -> list[tuple[str, bool] | None]:
    """The rows of the marks below this node, each with whether it is a control; None: a row that is worked out."""
    found: list[tuple[str, bool] | None] = []
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.row":
            control = any(one.arg == "control" for one in call.keywords)
            found += [
                (one.value, control) if isinstance(one, ast.Constant) and isinstance(one.value, str) else None
                for one in call.args
            ]
    return found


def _ids(node: ast.AST) -> list[str]:
    """The rows that are written out below this node."""
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return [text for text in texts if ID.match(text)]


def _names(node: ast.AST) -> set[str]:
    """The names that are used below this node."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(one, ast.Name) and one.id == "pytestmark" for one in node.targets
    )


def block() -> str:
    """The tables as the page has them, between their markers; raises ValueError for a row without a test."""
    tests: dict[str, list[Marked]] = defaultdict(list)
    for one in marks():
        tests[one.row].append(one)
    rows = catalogue()
    lacking = [row.id for row in rows if row.id not in tests and row.id not in TO_COME]
    done = [row for row in TO_COME if row in tests]
    unknown = [row for row in tests if row not in {one.id for one in rows}]
    if lacking or done or unknown:
        raise ValueError(f"without a test: {lacking}; tested, and still to come: {done}; in no catalogue: {unknown}")
    controls = {one.row for row in tests.values() for one in row if one.control}
    parts = [f"Tests marked ◆, of {len(controls)} rows, take the defence away, and see the attack or fault succeed."]
    for group in dict.fromkeys(row.group for row in rows):
        lines = [_line(row, tests[row.id]) for row in rows if row.group == group]
        parts.append("\n".join((f"### {group}", "", *HEAD, *lines)))
    return f"{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}"


def _line(row: Row, tests: list[Marked]) -> str:
    shown = [_named(one) for one in sorted(tests, key=lambda one: not one.control)]
    more = ["and more"] if len(shown) > SHOWN else []  # not how many: the page changes only where it says something new
    named = "<br>".join(shown[:SHOWN] + more) or f"to come: {TO_COME[row.id]}"
    return f"| {row.id} | {row.what} | {row.required} | {named} |"


def _named(one: Marked) -> str:
    """The test's name as words, and its file."""
    words = one.test.removeprefix("test_").replace("_", " ")
    return f"{'◆ ' if one.control else ''}{words} (`{one.file.parent.name}/{one.file.name}`)"


if __name__ == "__main__":
    splice.run((PAGE, block()))
