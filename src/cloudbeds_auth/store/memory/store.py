"""All parts of the memory store, and its life."""

from __future__ import annotations

from collections.abc import Mapping

from cloudbeds_auth.store.memory.apps import Apps
from cloudbeds_auth.store.memory.connections import Connections
from cloudbeds_auth.store.memory.grants import Circuits, Grants
from cloudbeds_auth.store.memory.groups import Groups
from cloudbeds_auth.store.memory.importing import Imports
from cloudbeds_auth.store.memory.keys import Keys
from cloudbeds_auth.store.memory.outbox import OutboxShelf
from cloudbeds_auth.store.memory.retention import Retention
from cloudbeds_auth.store.memory.returning import Returns
from cloudbeds_auth.store.memory.upkeep import Upkeep


class MemoryStore(Grants, Circuits, Keys, Imports, Returns, Connections, Apps, Upkeep, Groups, OutboxShelf, Retention):
    """`ports.store.Store` over dictionaries. Every method runs to its end without a pause: one transaction."""

    async def check(self) -> None:
        """See ports.store."""
        self._write()

    async def report(self) -> Mapping[str, str]:
        """See ports.store: nothing of it is a database, and nothing is sealed."""
        return {"memory": "gone with this process", "key_id": ""}

    async def close(self) -> None:
        """Nothing to finish."""
