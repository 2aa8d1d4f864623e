"""Fixtures: one simulator per test, on a free port, with a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.simulator.driver import Driver

from cloudbeds_simulator.__main__ import build, parser
from cloudbeds_simulator.http_shell import listen


@pytest.fixture
async def sim() -> AsyncIterator[Driver]:
    """A simulator with three hotels, as the command line builds it, and a driver for it."""
    simulator = build(parser().parse_args(["--hotels", "3"]))
    runner, port = await listen(simulator)
    async with aiohttp.ClientSession() as session:
        yield Driver(f"http://127.0.0.1:{port}", session, simulator)
    simulator.faults.clear()
    await runner.cleanup()
