"""The JSON documents of the public contract: a connection, an event, an access token and others.

The HTTP API, the command line and the picture of a history share them; only `access_token_document` has a token in it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cloudbeds_auth.rules.audit import AuditEntry
from cloudbeds_auth.rules.caller_keys import CallerKey
from cloudbeds_auth.rules.model import AccessToken, App, Connection, Event
from cloudbeds_auth.rules.presentation import Responsible, presentation


def stamp(moment: datetime | None) -> str | None:
    """`2026-11-24T07:00:00Z`: UTC, whole seconds, rounded down; None stays None."""
    return None if moment is None else f"{_utc(moment).isoformat(timespec='seconds')}Z"


def precise(moment: datetime | None) -> str | None:
    """`2026-11-24T07:00:00.123Z`: as `stamp`, with milliseconds, for events that may occur several times a second."""
    return None if moment is None else f"{_utc(moment).isoformat(timespec='milliseconds')}Z"


def connection_document(connection: Connection) -> dict[str, Any]:
    """A connection exactly as the public contract has it; it contains no token."""
    user, by = connection.authorizing_user, presentation(connection).by
    return {
        "id": connection.id,
        "state": connection.state.value,
        "app": connection.app,
        "reference": connection.reference,
        "credential": connection.credential,
        "property_ids": list(connection.property_ids),
        "authorizing_user": None if user is None else {"id": user.id, "name": user.name, "email": user.email},
        "scopes": list(connection.scopes),
        "generation": connection.generation,
        "connected_at": stamp(connection.connected_at),
        "expires_at": stamp(connection.expires_at),
        "refreshed_at": stamp(connection.refreshed_at),
        "used_at": stamp(connection.used_at),
        "problem": connection.problem,
        "next_step": connection.next_step,
        "waits_for": None if by is Responsible.NOBODY else by.value,
        "connect_url": connection.connect_url,
        "subscriptions": subscriptions_document(connection),
    }


def subscriptions_document(connection: Connection) -> list[dict[str, Any]]:
    """The connection's subscriptions to Cloudbeds' webhooks: the properties by event and state."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in connection.subscriptions:
        found.setdefault((one.event, one.state), []).append(one.property_id)
    return [{"event": event, "state": state, "property_ids": ids} for (event, state), ids in sorted(found.items())]


def app_document(app: App) -> dict[str, Any]:
    """A registration; of its secrets, only whether they exist."""
    return {
        "name": app.id,
        "client_id": app.client_id,
        "level": app.level,
        "redirect_uri": app.redirect_uri,
        "scopes": list(app.scopes),
        "credential": app.credential.value,
        "origin": app.issuer,
        "secret": bool(app.secrets),
        "previous_secret": len(app.secrets) > 1,
        "created_at": stamp(app.created_at),
        "secret_rotated_at": stamp(app.rotated_at),
    }


def key_document(key: CallerKey) -> dict[str, Any]:
    """A key for callers, without its secret."""
    reach = key.reach
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "connections": None if reach is None else sorted(reach.connections),
        "properties": None if reach is None else sorted(reach.properties),
        "references": None if reach is None else sorted(reach.references),
        "read_only": key.read_only,
        "methods": None if key.methods is None else sorted(key.methods),
        "rate": key.rate,
        "parent": key.parent,
        "created_by": key.created_by,
        "created_at": stamp(key.created_at),
        "expires_at": stamp(key.expires_at),
        "revoked_at": stamp(key.ended_at),
        "used_at": stamp(key.used_at),
        "used_from": key.used_from,
    }


def audit_document(entry: AuditEntry) -> dict[str, Any]:
    """One entry of the audit; `at` has milliseconds."""
    return {
        "id": entry.id,
        "at": precise(entry.at),
        "action": entry.action,
        "actor": entry.actor,
        "subject": entry.subject,
        "address": entry.address,
        "data": dict(entry.data),
    }


def event_document(event: Event) -> dict[str, Any]:
    """One event of a connection's history; `at` has milliseconds."""
    return {
        "sequence": event.sequence,
        "at": precise(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "grant_id": event.grant_id,
        "generation": event.generation,
        "data": dict(event.data),
    }


def access_token_document(token: AccessToken) -> dict[str, Any]:
    """The one document that reveals a token, only for a caller that asked for it."""
    return {
        "access_token": token.reveal(),
        "token_type": token.token_type,
        "expires_at": stamp(token.expires_at),
        "generation": token.generation,
    }


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
