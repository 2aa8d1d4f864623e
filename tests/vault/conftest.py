"""Fixtures: virtual time for every test of the protocol, real time for those over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.support.stage import Stage
from tests.support.stage import stage as staged
from tests.support.virtual import VirtualLoop

REAL = "test_over_the_wire"


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Which event loop a test of this folder runs on."""
    return {"real": asyncio.new_event_loop} if REAL in item.nodeid else {"virtual": VirtualLoop}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty database, one process of ours, and a vendor that does what the test says."""
    async with staged(tmp_path) as made:
        yield made
