"""How the rows of the memory store look as nouns, and when they are due."""

from __future__ import annotations

import math
from datetime import datetime

from cloudbeds_auth.core.lifecycle import State, seen
from cloudbeds_auth.core.nouns import Connection, Grant, Role, end_moment, moment
from cloudbeds_auth.core.secret import Secret
from cloudbeds_auth.core.upkeep import FURTHEST, SKEW, Life, due
from cloudbeds_auth.ports.migration import MIGRATION_UNDER_WAY
from cloudbeds_auth.store.memory.tables import ConnectionRow, GrantRow
from cloudbeds_auth.store.sql.transactions import Instant


def lasting(until: float) -> float | None:
    """The end of a token as the history tells it; JSON has no infinity."""
    return None if math.isinf(until) else until


def left(until: float | None, clock_id: str, now: Instant) -> float:
    """Seconds until a steady moment; 0 when it is over or was measured by another clock."""
    seconds = 0.0 if until is None or clock_id != now.clock_id else until - now.steady
    return seconds if 0.0 < seconds <= FURTHEST else 0.0


def ago(since: float | None, clock_id: str, now: Instant) -> float | None:
    """Seconds since a steady moment; None when there is none, 0 when another clock measured it."""
    if since is None:
        return None
    return max(0.0, now.steady - since) if clock_id == now.clock_id else 0.0


def of_another_clock(row: GrantRow, now: Instant) -> bool:
    """Whether this row's steady moments mean nothing: another host's or boot's, or a clock that was set back since."""
    ahead = [one for one in (row.lease_until, row.not_before) if one is not None]
    begun = [one for one in (row.intent_at, row.first_refused) if one is not None]
    return (
        row.clock_id != now.clock_id
        or any(until - now.steady > FURTHEST for until in ahead)
        or any(since - now.steady > SKEW for since in begun)
    )


def set_due(row: GrantRow, now: Instant, *, after: float = 0.0) -> None:
    """Decide anew when the grant is due; not within `after` seconds."""
    migrating = row.migration is not None
    decided = due(Life(row.id, row.kind, row.role, row.stale_at, row.lifetime, row.used_at, migrating), now.wall)
    row.due_at = decided if decided is None or not after else max(decided, now.wall + after)


def set_due_in(row: GrantRow, now: Instant, seconds: float) -> None:
    """Due in so many seconds, unless the grant is no longer looked after."""
    if row.role in {Role.ACTIVE, Role.CANDIDATE}:
        row.due_at = now.wall + seconds


def grant_of(row: GrantRow, now: Instant) -> Grant:
    """The grant as a coordinator reads it."""
    clock, same_clock = row.clock_id, row.clock_id == now.clock_id
    return Grant(
        id=row.id,
        connection_id=row.connection_id,
        app=row.app,
        kind=row.kind,
        role=row.role,
        state=row.state,
        generation=row.generation,
        access=row.access or Secret(""),
        expires_at=row.expires_at,
        lifetime=row.lifetime,
        # A wall clock that was set back must not stretch a token's life.
        valid_for=min(row.expires_at - now.wall, row.lifetime) if row.access is not None else 0.0,
        stale_in=row.stale_at - now.wall,
        tokens=row.tokens,
        property_ids=row.property_ids,
        proven=row.proven,
        intent=row.intent,
        intent_age=ago(row.intent_at, clock, now),
        held_back=left(row.not_before, clock, now),
        lease_left=left(row.lease_until, clock, now),
        attempts=row.attempts,
        refusals=row.refusals if same_clock else 0,
        refused_ago=ago(row.first_refused, clock, now) if same_clock else None,
        refused_as=row.first_reason if same_clock else None,
        reauth=row.reauth,
        latched=row.latched,
        said_of=row.said_of,
        migration=row.migration,
        migration_client=row.migration_client,
    )


def connection_of(connection: ConnectionRow, row: GrantRow | None, now: Instant) -> Connection:
    """The connection as people see it; without a grant, its only candidate was dropped."""
    if row is None:
        return Connection(
            connection.id, connection.app, connection.reference, State.DISCONNECTED, "oauth", (), None, (), None, None,
            None, None, None, problem="never_connected",
        )  # fmt: skip
    return Connection(
        id=connection.id,
        app=connection.app,
        reference=connection.reference,
        state=seen(row.state, stale=row.stale_at <= now.wall, circuit_open=False, read_only=False),
        credential=row.kind,
        property_ids=row.property_ids,
        authorizing_user=row.user,
        scopes=row.scopes,
        generation=row.generation,
        connected_at=_moment(connection.connected_at),
        expires_at=None if row.role is Role.DISCONNECTED else end_moment(row.expires_at),
        refreshed_at=_moment(row.refreshed_at),
        used_at=_moment(row.used_at),
        problem=row.problem or (MIGRATION_UNDER_WAY if row.migration and row.role is not Role.DISCONNECTED else None),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
