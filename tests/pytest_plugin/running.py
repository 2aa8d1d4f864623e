"""A user's test-suite, run as its user runs it: by pytest in a process and a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

SUITES = Path(__file__).parent / "suites"
KEPT = ("PATH", "LANG", "TMPDIR", "COVERAGE_PROCESS_START")


@dataclass(frozen=True)
class Run:
    """What came of it."""

    output: str
    status: int

    @property
    def counts(self) -> dict[str, int]:
        """`{"passed": 3}`: the last line of output as numbers."""
        last = self.output.strip().rpartition("\n")[2]
        return dict(
            Counter({word.removesuffix("s"): int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)})
        )


def command(*arguments: str) -> list[str]:
    """pytest without anything of this project's."""
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        "--strict-config",
        *arguments,
    ]


def environment(folder: Path, **values: str) -> dict[str, str]:
    """A user's environment."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **values}


def suite(folder: Path, name: str, ini: str = "", head: str = "") -> None:
    """Write one of the suites into the folder; `head` goes before its first import."""
    text = (SUITES / f"{name}.py").read_text("utf-8")
    marked = text.replace("from __future__ import annotations\n", f"from __future__ import annotations\n{head}\n", 1)
    (folder / f"test_{name}.py").write_text(marked, "utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{ini}\n", "utf-8")


def run(folder: Path, *arguments: str, **values: str) -> Run:
    """Run what is in the folder."""
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(folder, **values), capture_output=True, text=True, check=False
    )
    return Run(done.stdout + done.stderr, done.returncode)
