"""The documentation as the tests read it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))


def text_of(path: str) -> str:
    """A page's text, by its path from the root."""
    return (ROOT / path).read_text("utf-8")


def drawer(name: str) -> ModuleType:
    """A script of `docs/`, imported."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unfenced(page: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


def code_block(page: str, language: str, after: str = "") -> str:
    """The first block of this language, behind the marker `after`."""
    rest = page.partition(after)[2] if after else page
    found = re.search(rf"^```{language}\n(.*?)^```$", rest, re.DOTALL | re.MULTILINE)
    assert found, f"no {language} block"
    return found[1]


def first_cells(page: str) -> list[tuple[str, ...]]:
    """The cells of every row of every table whose first cell begins with code, the code's ticks left on."""
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in rows]
