"""`make scale` with few hotels: what it makes is true, it says all it measured, and nothing of it is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from benchmarks.scale.place import DATABASES, many
from tests.support.postgres import server

ROOT = Path(__file__).resolve().parents[2]
HOTELS = 1_040  # two of each kind


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the user of a database's server may enter."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def scale(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program in a process group of its own, as a terminal has it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", *arguments], cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "TMPDIR": str(folder)},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def left(folder: Path) -> Sequence[str]:
    """What lies there."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.long
@pytest.mark.parametrize("database", DATABASES)
def test_every_copy_is_a_hotel_that_serves(database: str) -> None:
    """Brought to this version's schema, the database is sound, every value opens, and no hotel needs attention."""
    with server() as made, many(made, database, HOTELS) as place:
        place.run("database", "migrate")
        assert re.search(r"\b0 problems", place.run("database", "check").said)
        assert "no hotel needs attention" in place.run("doctor").said
        assert len(place.run("access-token", place.copy(HOTELS - 1)).said.strip()) > 20


@pytest.mark.long
def test_what_is_measured_is_said(folder: Path) -> None:
    """A line for each number, of each number of hotels; at the end nothing is left."""
    with scale(folder, "--hotels", "1010", "--only", "sqlite", "built", "migrate", "strangers", "copy") as process:
        out, _ = process.communicate()
    assert process.returncode == 0, out
    assert out.count("\n    unknown path: ") == 2, out
    assert out.count("\n    migrate: ") == 2, out
    assert len(re.findall(r"\n    until all is there: [0-9.]+ s", out)) == 2, out
    assert not left(folder)


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_leaves_nothing(how: signal.Signals, folder: Path) -> None:
    """Ctrl-C reaches the database's server, too; SIGTERM this program alone."""
    with scale(folder, "--hotels", "1000", "--only", "postgresql", "built", "migrate", "lists") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "    migrate: " in line:
                break
        assert left(folder)
        (os.killpg if how is signal.SIGINT else os.kill)(process.pid, how)
        out, _ = process.communicate()
    assert process.returncode != 0, out
    assert not left(folder)
