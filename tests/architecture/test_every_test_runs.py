"""No test is left out of CI: what `make test` passes by is run by another target that `.ci/run` calls."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from _pytest.mark.expression import Expression
from tests.conftest import OWN_TARGETS

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


def run(*command: str) -> str:
    """What a command of the repository's root prints."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def runs_of_pytest() -> list[argparse.Namespace]:
    """What the targets that `.ci/run` calls give to pytest: `paths`, and the expressions of `-m` and `-k`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*")
    for option in ("-m", "-k", "-n", "-p", "-W", "--dist"):
        parser.add_argument(option)
    targets = dict.fromkeys(TARGET.findall((ROOT / ".ci" / "run").read_text("utf-8")))
    lines = run("make", "--dry-run", "--no-print-directory", *targets).replace("\\\n", " ").splitlines()
    given = [shlex.split(line.partition(" pytest ")[2], comments=True) for line in lines if " pytest " in line]
    return [
        parser.parse_known_args([*takewhile(lambda word: word not in {"&&", "||", ";"}, words)])[0] for words in given
    ]


def takes(one: argparse.Namespace, test: str) -> bool:
    """Whether this run of pytest has this long test. One that asks for all tests by one name has none."""
    asked = any(test.startswith((f"{path}/", f"{path}::")) for path in one.paths if path != TESTS.name)
    name = test.removeprefix(str(Path(test.partition("::")[0]).parent)).lower()
    return asked and fits(one.m, lambda word: word == "long") and fits(one.k, lambda word: word in name)


def fits(expression: str | None, has: Callable[[str], bool]) -> bool:
    """Whether an expression of pytest's is true of what has these words."""

    def matches(word: str, /, **_: object) -> bool:
        return has(word)

    return expression is None or Expression.compile(expression).evaluate(matches)


def long_tests() -> list[str]:
    """The ids of those whose folder has no target of its own."""
    folders = {str(path.parent.relative_to(ROOT)) for path in TESTS.glob("*/test_*.py")}
    shared = folders - {f"{TESTS.name}/{name}" for name in OWN_TARGETS}
    files = [str(path.relative_to(ROOT)) for path in TESTS.glob("test_*.py")]
    chosen = ("--collect-only", "-p", "no:xdist", "-m", "long", *sorted(shared), *files)
    listed = run(sys.executable, "-m", "pytest", *chosen)
    return [line for line in listed.splitlines() if "::" in line]


def test_every_long_test_is_run_by_a_target() -> None:
    """By one that asks for its folder by name, and whose `-m` and `-k` do not leave it out."""
    runs, found = runs_of_pytest(), long_tests()
    assert len(found) > 1000
    assert [test for test in found if not any(takes(one, test) for one in runs)] == []


def test_every_folder_with_a_target_of_its_own_is_run() -> None:
    """`make test` does not collect them."""
    asked = {path for one in runs_of_pytest() for path in one.paths}
    assert {f"{TESTS.name}/{name}" for name in OWN_TARGETS} <= asked
