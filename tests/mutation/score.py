"""The mutation score of each module that `mutmut run` has looked at; fails below the floor.

    python -m tests.mutation.score FOLDER      # the folder that holds mutmut's `mutants`

A mutant that no test ran into, or that was never judged, counts as alive. A module of which no mutant was judged was
not asked for (`MUTANTS`), and is left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FLOOR = 0.85
ALIVE = (0, 5, 33, None)  # survived; no test collected; no test for it; not judged


def scores(folder: Path) -> dict[str, tuple[int, list[str]]]:
    """By module: how many mutants there are, and the names of those that live."""
    found: dict[str, tuple[int, list[str]]] = {}
    for meta in sorted((folder / "mutants").rglob("*.py.meta")):
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        alive = [name for name, code in codes.items() if code in ALIVE]
        if any(code is not None for code in codes.values()):
            found[meta.relative_to(folder / "mutants" / "src").as_posix().removesuffix(".py.meta")] = len(codes), alive
    return found


def main(folder: Path) -> int:
    """Print the table and the living; the exit status."""
    found = scores(folder)
    weak = [module for module, (total, alive) in found.items() if 1 - len(alive) / total < FLOOR]
    for module, (total, alive) in found.items():
        print(f"{module:32} {total - len(alive):4}/{total:<4} {1 - len(alive) / total:6.1%}")
        print("".join(f"    {name}\n" for name in alive), end="")
    if weak or not found:
        print(f"below {FLOOR:.0%}: {', '.join(weak) or 'nothing was measured'}")
    return int(bool(weak) or not found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
