"""Every transaction over every database: the fixture `bench`, and its `clock`, which a test sets by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.bench import MAKERS, Bench, HandClock, PostgresBench, db

__all__ = ["bench", "clock", "db", "pytest_generate_tests"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Over each database."""
    if "bench" in metafunc.fixturenames:
        metafunc.parametrize("bench", MAKERS, indirect=True)


@pytest.fixture
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """An empty store, opened by one process."""
    made = MAKERS[request.param](tmp_path / "vault")
    if isinstance(made, PostgresBench):
        made.url = request.getfixturevalue("postgres_url")
        made.driver = request.getfixturevalue("kept_driver")
    await made.another()
    yield made
    await made.close()


@pytest.fixture
def clock(bench: Bench) -> HandClock:
    """The store's clock, set by hand."""
    return bench.clock
