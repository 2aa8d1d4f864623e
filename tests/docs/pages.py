"""The documentation as the tests read it."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"^<!-- (?!fmt:)(.+) -->$", re.MULTILINE)
ABOVE = re.compile(r"((?:^<!-- .* -->\n|^\n)*)\Z", re.MULTILINE)  # comments and empty lines right above


class Block(NamedTuple):
    """A fenced block. `id` is its page and its name, `docs/python.md#apps`: the comment above it, or, of a part of a
    page that is drawn, the comment that begins the part. Blocks of such a part share one.
    """

    id: str
    language: str
    text: str
    line: int


def text_of(path: str) -> str:
    """A page's text, by its path from the root."""
    return (ROOT / path).read_text("utf-8")


@cache
def drawer(name: str) -> ModuleType:
    """A script of `docs/`, imported, as one that is run from there."""
    if str(DOCS) not in sys.path:
        sys.path.append(str(DOCS))
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unfenced(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


def blocks_of(path: str, text: str) -> Iterator[Block]:
    """The blocks of a page, in its order; raises ValueError for one without a name."""
    for fence in FENCE.finditer(text):
        before = text[: fence.start()]
        line = before.count("\n") + 1
        right_above = COMMENT.findall(ABOVE.search(before)[0])  # type: ignore[index]
        opened = [name for name in COMMENT.findall(before) if f"<!-- /{name} -->" in text[fence.end() :]]
        names = [name for name in right_above if not name.startswith("/")] or opened
        if not names:
            raise ValueError(f"{path}:{line}: a block without a name: write <!-- name --> above it")
        yield Block(f"{path}#{names[-1]}", fence[1], fence[2], line)


@cache
def blocks() -> tuple[Block, ...]:
    """Every block of every page."""
    return tuple(
        block
        for page in PAGES
        for block in blocks_of(page.relative_to(ROOT).as_posix(), page.read_text("utf-8"))
    )  # fmt: skip


def block(name: str) -> str:
    """The text of the one block of this id."""
    (found,) = [one.text for one in blocks() if one.id == name]
    return found


def first_cells(page: str) -> list[tuple[str, ...]]:
    """The cells of every row of every table whose first cell begins with code, the code's ticks left on."""
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]
