"""Fixtures: one PostgreSQL server for the tests of one worker, and an empty database of our schema for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.support.postgres import ELSEWHERE, database, server
from tests.support.postgres_stage import Elsewhere, KeptDriver

from cloudbeds_auth.database.postgres import PostgresDriver

# What refers to another table comes before it.
TABLES = (
    "tokens", "properties", "events", "grants", "connections", "links", "authorizations", "circuits", "budgets", "apps",
    "outbox", "issuers", "calls", "caller_keys", "sign_in_codes", "sessions", "audit",
)  # fmt: skip
FORGOTTEN = "DELETE FROM meta WHERE name <> 'schema_version'"
KEPT = "kept"  # the name of a session that outlives a test
END_OTHERS = f"""
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> '{KEPT}'
"""
EMPTIED = ";".join((*(f"DELETE FROM {table}" for table in TABLES), FORGOTTEN))
NAMED = os.environ.get(ELSEWHERE)  # before the tests' own environment is cleaned


def kept(url: str) -> str:
    """The same database, for a session that `END_OTHERS` spares."""
    return make_conninfo(url, application_name=KEPT)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server on which databases may be made."""
    if NAMED is not None:
        yield NAMED
        return
    with server() as made:
        yield made.url


@pytest.fixture(scope="session")
def postgres_home(postgres_server: str, elsewhere: Elsewhere) -> Iterator[str]:
    """One database with this version's schema, which one test after another has for itself."""

    async def migrate(url: str) -> None:
        driver = PostgresDriver(url)
        await driver.open()
        await driver.close()

    with database(postgres_server) as url:
        elsewhere.run(migrate(url))
        yield url


@pytest.fixture(scope="session")
def sweeper(postgres_home: str) -> Iterator[psycopg.Connection]:
    """Empties that database after each test."""
    with psycopg.connect(kept(postgres_home), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def kept_driver(postgres_home: str, elsewhere: Elsewhere) -> Iterator[KeptDriver]:
    """Over that database, for tests that need no driver of their own."""
    with closing(KeptDriver(kept(postgres_home), elsewhere)) as made:
        yield made


@pytest.fixture
def postgres_url(postgres_home: str, sweeper: psycopg.Connection) -> Iterator[str]:
    """An empty database with this version's schema. Making a new one would take longer than most tests."""
    yield postgres_home
    sweeper.execute(END_OTHERS)
    sweeper.execute(EMPTIED)  # at once: the server syncs its disk once, and not for each table


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    """A loop in real time beside the virtual ones."""
    made = Elsewhere()
    yield made
    made.close()
