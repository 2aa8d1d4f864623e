"""What rests, and the fences around it. Every method is one transaction: committed and synced when it returns.

Production: `database.store`. A method raises `errors.StoreUnavailable` when the database cannot do it now; then
nothing, or (for a commit whose answer was lost) everything, was written. Methods with a `Fence` write only where the
grant's generation and lease epoch are still the fence's; they say so in what they return and change nothing otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cloudbeds_auth.ports.apps import AppStore
from cloudbeds_auth.ports.authorizations import AuthorizationStore
from cloudbeds_auth.ports.connections import ConnectionStore
from cloudbeds_auth.ports.grants import CircuitStore, GrantStore
from cloudbeds_auth.ports.groups import GroupStore
from cloudbeds_auth.ports.importing import ImportStore
from cloudbeds_auth.ports.migration import MigrationStore
from cloudbeds_auth.ports.outbox import OutboxStore
from cloudbeds_auth.ports.retention import RetentionStore
from cloudbeds_auth.ports.returning import ReturnStore
from cloudbeds_auth.ports.upkeep import UpkeepStore


class Store(
    GrantStore, MigrationStore, CircuitStore, AuthorizationStore, ImportStore, ConnectionStore, AppStore, UpkeepStore,
    GroupStore, ReturnStore, OutboxStore, RetentionStore, Protocol,
):  # fmt: skip
    """All of it, and its life."""

    @property
    def read_only(self) -> bool:
        """Whether this is a copy of another installation's database."""
        ...

    async def check(self) -> None:
        """Whether the database can be written and the keys open the canary; raises StoreUnavailable."""
        ...

    async def report(self) -> Mapping[str, str]:
        """What the database says about itself, and under which key it seals; no secrets.

        `key_id`, and of SQLite `sqlite` (its version), `file`, `journal_mode`, `synchronous` as in effect on this
        connection; of PostgreSQL `postgresql` (its version), `database`, `fsync`, `full_page_writes`,
        `synchronous_commit`, `role` (primary or standby), `asynchronous_standbys` (how many).
        """
        ...

    async def close(self) -> None:
        """Finish what runs and close."""
        ...
