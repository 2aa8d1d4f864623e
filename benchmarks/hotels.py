"""Databases with hotels in them, and the settings of processes that use one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.keys import KEY_TEXT
from tests.support.postgres import database, server

from benchmarks.children.hotel import REDIRECT
from benchmarks.stage import ADMIN
from cloudbeds_auth import Connection, Secret, Settings
from cloudbeds_auth.pytest_plugin.process import Simulator, running
from cloudbeds_auth.sync import TokenVault

PROPERTIES = ("100001", "100002", "100003")  # hotels that the simulator has by itself


@dataclass(frozen=True, slots=True)
class Fleet:
    """Cloudbeds, a database, and the settings for both: default ones, but for where things are."""

    simulator: Simulator
    database_url: str
    behind: str = ""  # the address under which the simulator is asked, if not its own

    @property
    def base_url(self) -> str:
        """Where Cloudbeds is."""
        return self.behind or self.simulator.url

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings, of every process of ours."""
        return {
            "CLOUDBEDS_CLIENT_ID": self.simulator.client_id,
            "CLOUDBEDS_CLIENT_SECRET": self.simulator.client_secret,
            "CLOUDBEDS_BASE_URL": self.base_url,
            "CLOUDBEDS_REDIRECT_URI": REDIRECT,
            "CLOUDBEDS_AUTH_DATABASE_URL": self.database_url,
            "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": KEY_TEXT,
            "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN,
        }

    @property
    def settings(self) -> Settings:
        """The same for a vault in this process."""
        return Settings(
            client_id=self.simulator.client_id, client_secret=Secret(self.simulator.client_secret),
            base_url=self.base_url, redirect_uri=REDIRECT, database_url=self.database_url,
            encryption_keys=(Secret(KEY_TEXT),), admin_token=Secret(ADMIN),
        )  # fmt: skip

    def connect(self, *property_ids: str) -> Connection:
        """Hotels approve, each for itself; the last one's connection."""
        with TokenVault.open(self.settings) as vault:
            for one in property_ids:
                begun = vault.begin_authorization()
                approval = self.simulator.approve(begun.url, one)
                connection = vault.finish_authorization(code=approval.code, state=approval.state)
        return connection


@contextmanager
def cloudbeds(**switches: object) -> Iterator[Simulator]:
    """The simulator, with these switches."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as simulator:
        simulator.reset(redirect_uri=REDIRECT, **switches)
        yield simulator


@contextmanager
def sqlite() -> Iterator[str]:
    """The address of a new database."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/vault.sqlite3"


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a new database on a server of its own."""
    with server() as made, database(made.url) as url:
        yield url


DATABASES = {"SQLite": sqlite, "PostgreSQL": postgresql}
