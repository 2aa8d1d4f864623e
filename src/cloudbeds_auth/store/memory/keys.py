"""The move of a hotel to an API key: the latch, and the key that comes for it."""

from __future__ import annotations

import math
from dataclasses import replace

from cloudbeds_auth.core.lifecycle import Event, move
from cloudbeds_auth.core.nouns import Fence, Migration, Pair, Role
from cloudbeds_auth.ports.migration import MIGRATION_BEGUN, MIGRATION_ENDED
from cloudbeds_auth.store.memory.authorizations import Authorizations
from cloudbeds_auth.store.memory.grants import holds
from cloudbeds_auth.store.memory.rows import set_due
from cloudbeds_auth.store.sql.authorizations import Ends


class Keys(Authorizations):
    """`ports.migration.MigrationStore`."""

    async def begin_migration(self, fence: Fence, client_id: str) -> bool:
        """See ports.migration."""
        now = self._write()
        row = self._locked(now, fence.grant_id)
        if row is None or not holds(row, fence) or row.role is not Role.ACTIVE:
            return False
        if row.migration is not None and row.migration_client == client_id:
            return True
        if row.migration is None:
            row.migration = Migration.BEGUN
            row.no_intent()  # a pending one is older than any that could arrive
        row.latched, row.migration_client = True, client_id
        set_due(row, now)
        self._tell(now, row, MIGRATION_BEGUN, client_id=client_id)
        return True

    async def end_migration(self, fence: Fence) -> bool:
        """See ports.migration."""
        now = self._write()
        row = self._locked(now, fence.grant_id)
        if row is None or not holds(row, fence) or row.migration is not Migration.BEGUN or row.intent is not None:
            return False
        row.latched, row.migration, row.migration_client = False, None, None
        set_due(row, now)
        self._tell(now, row, MIGRATION_ENDED)
        return True

    async def add_key(self, old_grant_id: str, grant_id: str, app: str, pair: Pair) -> bool:
        """See ports.migration."""
        now = self._write()
        row = self._locked(now, old_grant_id)
        if grant_id in self._tables.grants:
            return True
        if row is None or row.role is not Role.ACTIVE:
            return False
        key = replace(
            pair, property_ids=tuple(dict.fromkeys((*row.property_ids, *pair.property_ids))), scopes=row.scopes
        )
        row.state = move(row.state, Event.KEY_RECEIVED)
        row.problem, row.not_before, row.attempts = None, None, 0
        row.no_intent()
        self._tell(now, row, Event.KEY_RECEIVED)
        never = Ends(math.inf, math.inf, math.inf)
        made = self._add_grant(now, row.connection_id, grant_id, app, key, never)
        self._tell(
            now, made, "candidate_received", expires_at=None, property_ids=list(key.property_ids), exchanged=True
        )
        return True
