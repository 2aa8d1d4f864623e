"""Fixtures: a server of a test's own, which it may stop and kill, and processes of ours over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from tests.support.postgres import PostgresServer, server
from tests.support.processes import Processes


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop, kill and start again."""
    with server() as made:
        yield made


@pytest.fixture
async def processes(postgres_url: str) -> AsyncIterator[Processes]:
    """Stores of several processes over an empty database."""
    async with AsyncExitStack() as stack:
        yield Processes(postgres_url, stack)


@pytest.fixture
async def over_own_server(own_server: PostgresServer) -> AsyncIterator[Processes]:
    """The same over the server that the test may stop."""
    async with AsyncExitStack() as stack:
        yield Processes(own_server.url, stack)
