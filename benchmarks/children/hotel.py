"""A connected hotel at a simulator, for a program that is measured from inside."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cloudbeds_auth import Connection, Secret, Settings
from cloudbeds_auth.pytest_plugin.process import running
from cloudbeds_auth.sync import TokenVault

REDIRECT = "http://localhost:7000/callback"


@contextmanager
def connected(**more: Any) -> Iterator[tuple[Settings, Connection]]:
    """Default settings, but for where things are, over a new database; and a hotel that approved."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as simulator:
        simulator.reset(redirect_uri=REDIRECT)
        settings = Settings(
            client_id=simulator.client_id, client_secret=Secret(simulator.client_secret), base_url=simulator.url,
            redirect_uri=REDIRECT, database_url=f"sqlite:///{folder}/vault.sqlite3", **more,
        )  # fmt: skip
        with TokenVault.open(settings) as vault:
            begun = vault.begin_authorization()
            approval = simulator.approve(begun.url)
            connection = vault.finish_authorization(code=approval.code, state=approval.state)
        yield settings, connection
