"""The JSON of the API, as the public contract writes it; never a token except where one was asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloudbeds_auth.core.nouns import AccessToken, Connection, Event

DAY = 86400.0


def stamp(moment: datetime | None) -> str | None:
    """`2026-11-24T07:00:00Z`: UTC, whole seconds."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class UserShape(BaseModel):
    """The person who approved."""

    id: str
    name: str
    email: str


class ConnectionShape(BaseModel):
    """One connection."""

    id: str
    state: str
    app: str
    reference: str | None
    credential: str
    property_ids: list[str]
    authorizing_user: UserShape | None
    scopes: list[str]
    generation: int | None
    connected_at: str | None
    expires_at: str | None
    refreshed_at: str | None
    used_at: str | None
    problem: str | None
    next_step: str | None
    connect_url: str | None

    @classmethod
    def of(cls, connection: Connection, connect_url: str | None = None) -> ConnectionShape:
        """The noun as JSON; `connect_url` is given where one connection is shown, and stays null in lists."""
        user = connection.authorizing_user
        return cls(
            id=connection.id,
            state=connection.state.value,
            app=connection.app,
            reference=connection.reference,
            credential=connection.credential,
            property_ids=list(connection.property_ids),
            authorizing_user=None if user is None else UserShape(id=user.id, name=user.name, email=user.email),
            scopes=list(connection.scopes),
            generation=connection.generation,
            connected_at=stamp(connection.connected_at),
            expires_at=stamp(connection.expires_at),
            refreshed_at=stamp(connection.refreshed_at),
            used_at=stamp(connection.used_at),
            problem=connection.problem,
            next_step=connection.next_step,
            connect_url=connect_url,
        )


class ConnectionsShape(BaseModel):
    """One page of connections, and the cursor of the next one."""

    connections: list[ConnectionShape]
    next: str | None


class EventShape(BaseModel):
    """One line of a connection's history."""

    sequence: int
    at: str | None
    kind: str
    actor: str
    generation: int | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> EventShape:
        """The noun as JSON."""
        return cls(
            sequence=event.sequence,
            at=stamp(event.at),
            kind=event.kind,
            actor=event.actor,
            generation=event.generation,
            data=dict(event.data),
        )


class EventsShape(BaseModel):
    """One page of history, newest first, and the cursor of the older ones."""

    events: list[EventShape]
    next: str | None


class AccessTokenShape(BaseModel):
    """A usable access token; `generation` names it when an endpoint answers 401."""

    access_token: str
    token_type: str
    expires_at: str | None
    generation: int

    @classmethod
    def of(cls, token: AccessToken) -> AccessTokenShape:
        """The one place where the API reveals a token."""
        return cls(
            access_token=token.reveal(),
            token_type=token.token_type,
            expires_at=stamp(token.expires_at),
            generation=token.generation,
        )


class NewAuthorizationShape(BaseModel):
    """What a one-time link is made for; `expires_in` are seconds, a day when it is left out."""

    model_config = ConfigDict(extra="forbid")

    app: Annotated[str, Field(min_length=1, max_length=64)] = "default"
    reference: Annotated[str | None, Field(max_length=256)] = None
    return_to: Annotated[str | None, Field(max_length=2048)] = None
    expires_in: Annotated[float, Field(ge=60, le=30 * DAY, allow_inf_nan=False)] = DAY


class AuthorizationShape(BaseModel):
    """The link to hand to a hotel."""

    connect_url: str
    expires_at: str | None
