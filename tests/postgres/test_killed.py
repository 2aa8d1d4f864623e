"""A process that held a lease is killed: on its machine the next one takes it at once, on another one it runs out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.support.keys import KEY_TEXT
from tests.support.processes import Processes

from cloudbeds_auth import system
from cloudbeds_auth.database.opening import open_database
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.grants import Busy, Leased, take_lease

HOLDER = """
import asyncio, sys
from cloudbeds_auth import system
from cloudbeds_auth.database.opening import open_database
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.grants import take_lease

async def hold(url, key, grant_id):
    store = await open_database(Settings(database_url=url, encryption_keys=key, client_id="client-1"))
    taken = await store.write(take_lease(grant_id, system.lease_owner(system.SystemEntropy()), 30.0))
    print(type(taken).__name__, flush=True)
    sys.stdin.read()

asyncio.run(hold(*sys.argv[1:]))
"""


@contextmanager
def holder(url: str, grant_id: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has the lease of this grant."""
    command = [sys.executable, "-c", HOLDER, url, KEY_TEXT, grant_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == "Leased"
            yield process
        finally:
            process.kill()


@pytest.mark.row("F01")
@pytest.mark.parametrize("machine", ["the same", "another"])
async def test_a_killed_holder(processes: Processes, monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Not before it is dead; and only where that can be known."""
    grant = await processes.hotel(await processes.store())
    given: Any = {"database_url": processes.url, "encryption_keys": KEY_TEXT, "client_id": "client-1"}
    store = await open_database(Settings(**given))
    if machine == "another":
        monkeypatch.setattr(system, "boot_id", lambda: "the boot of another machine")
    with holder(processes.url, grant.id) as process:
        assert isinstance(await store.write(take_lease(grant.id, "next", 30.0)), Busy)
        process.kill()
        await asyncio.to_thread(process.wait)
        taken = await store.write(take_lease(grant.id, "next", 30.0))
        assert type(taken) is (Leased if machine == "the same" else Busy)
    await store.close()
