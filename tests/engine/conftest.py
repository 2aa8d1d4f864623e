"""Fixtures: virtual time for every test of the protocol, real time for those over real sockets."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.postgres_stage import PostgresDatabase
from tests.support.stage import Stage
from tests.support.stage import stage as staged
from tests.support.virtual import VirtualLoop

REAL = "test_over_the_wire"


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Which event loop a test of this folder runs on."""
    return {"real": asyncio.new_event_loop} if REAL in item.nodeid else {"virtual": VirtualLoop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that plays on a stage plays on both databases."""
    if "stage" in metafunc.fixturenames:
        over_a_server = pytest.param(
            "postgresql", marks=pytest.mark.long
        )  # what it proves of SQL, tests/transactions proves
        metafunc.parametrize("stage", ["sqlite", over_a_server], indirect=True)


@pytest.fixture
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty database, one process of ours, and a vendor that does what the test says.

    No task of ours may end with an error that nobody takes note of: asyncio would tell of it in a log, and go on.
    """
    gc.collect()
    gc.freeze()  # what earlier tests left: the end looks at what this one made, and at no more with every test
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    place: Path | PostgresDatabase = tmp_path
    if request.param == "postgresql":
        place = PostgresDatabase(request.getfixturevalue("postgres_url"), request.getfixturevalue("elsewhere"))
    async with staged(place) as made:
        yield made
    gc.collect()
    assert not unseen
