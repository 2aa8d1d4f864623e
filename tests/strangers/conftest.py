"""A service over either database, with a hotel that is connected, for tools that know its addresses alone."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from tests.acceptance.conftest import make_world
from tests.acceptance.processes import World, world
from tests.support.postgres import database

__all__ = ["make_world"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """It runs; property 100001 is connected."""
    with ExitStack() as stack:
        settings: dict[str, str] = {}
        if request.param == "postgresql":
            settings = {
                "CLOUDBEDS_AUTH_DATABASE_URL": stack.enter_context(
                    database(request.getfixturevalue("postgres_server"))
                ),
                "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": b64encode(secrets.token_bytes(32)).decode(),
                "CLOUDBEDS_AUTH_ADMIN_TOKEN": secrets.token_hex(32),
            }
        made = stack.enter_context(world(tmp_path_factory.mktemp("served"), "--auto-approve", **settings))
        made.start()
        made.connect()
        yield made
