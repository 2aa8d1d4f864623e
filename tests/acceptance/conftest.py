"""A world for each test: the service and every command are real processes."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.acceptance.processes import World, world

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Start a simulator with these arguments, and whatever services the test then starts; all end with the test."""
    with ExitStack() as stack:

        def make(*arguments: str, **parts: str) -> World:
            return stack.enter_context(world(tmp_path, *arguments, **parts))

        yield make


# What PostgreSQL adds to a journey, the transactions and tests/postgres show.
@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a service over either database."""
    if request.param == "sqlite":
        return {}
    return {
        "CLOUDBEDS_AUTH_DATABASE_URL": request.getfixturevalue("postgres_url"),
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": secrets.token_hex(32),
    }
