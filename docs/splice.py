"""Puts what a script of this folder draws into a page, in place of what is there between the same marks."""

from __future__ import annotations

import sys
from pathlib import Path


def replaced(page: str, block: str) -> str:
    """The page with this block, whose first and last line are its marks; raises ValueError where the page lacks one."""
    first, *_, last = block.splitlines()
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"the page needs {first} and {last}")
    return before + block + after


def run(*drawn: tuple[Path, str]) -> None:
    """Print each block, or with `--write` put it into its page."""
    for page, block in drawn:
        if "--write" in sys.argv[1:]:
            page.write_text(replaced(page.read_text("utf-8"), block), "utf-8")
        else:
            sys.stdout.write(block + "\n")
