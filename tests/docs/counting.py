"""How many blocks of the pages tests run: `python -m tests.docs.counting` prints it, and fails over one that none does.

A block is run by the test whose source names it (`"docs/python.md#apps"`); `not_run.txt` lists the others with reasons.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from tests.docs.pages import ROOT, blocks

LIST = Path(__file__).with_name("not_run.txt")
MOST = 10  # one block in so many may be on the list


class Count(NamedTuple):
    """`astray`: blocks that are neither named nor listed, are both, or are listed and in no page."""

    run: int
    listed: int
    total: int
    astray: list[str]

    def __str__(self) -> str:
        return f"blocks: {self.run} of {self.total} executed, {self.listed} listed"


def listed() -> dict[str, str]:
    """Block and reason of each line of the list; raises ValueError for one without a reason."""
    lines = [line for line in LIST.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}


def count() -> Count:
    """Of all blocks, with the sources of tests as they are."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    apart, names = listed(), [block.id for block in blocks()]
    named = {name for name in names if f'"{name}"' in sources}
    astray = {name for name in names if (name in named) == (name in apart)} | apart.keys() - set(names)
    return Count(sum(name in named for name in names), sum(name in apart for name in names), len(names), sorted(astray))


if __name__ == "__main__":
    counted = count()
    sys.stdout.write(f"{counted}\n")
    if counted.astray:
        sys.exit(f"run by no test and not listed, or both: {', '.join(counted.astray)}")
