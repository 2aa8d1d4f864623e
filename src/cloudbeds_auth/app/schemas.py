"""The documents of `rules.documents` as models: FastAPI describes and checks the API's JSON by them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StrictBool

from cloudbeds_auth.rules.caller_keys import LONGEST_NAME, MOST_NAMED, CallerKey
from cloudbeds_auth.rules.documents import access_token_document, connection_document, event_document, key_document
from cloudbeds_auth.rules.inputs import LONGEST_REFERENCE, LONGEST_TOKEN, MOST_PROPERTIES
from cloudbeds_auth.rules.model import AccessToken, Connection, Event
from cloudbeds_auth.rules.permissions import Scope

DAY = 86400.0


class BodyShape(BaseModel):
    """What a request brings; a member that is not described is refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class ProblemShape(BaseModel):
    """Why a request was refused (RFC 9457). `code` says it for programs; the last two are there where they apply."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str
    connection_id: str = ""
    connect_url: str = ""


class UserShape(BaseModel):
    """The person who approved."""

    id: str
    name: str
    email: str


class SubscriptionShape(BaseModel):
    """An event that Cloudbeds posts for these properties; `state` is `subscribed`, `pending`, or why it was refused."""

    event: str
    state: str
    property_ids: list[str]


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
    waits_for: str | None
    connect_url: str | None
    subscriptions: list[SubscriptionShape]

    @classmethod
    def of(cls, connection: Connection) -> ConnectionShape:
        """The noun as JSON."""
        return cls.model_validate(connection_document(connection))


class ConnectionsShape(BaseModel):
    """One page of connections, and the cursor of the next one."""

    connections: list[ConnectionShape]
    next: str | None


class EventShape(BaseModel):
    """One line of a connection's history; `grant_id` names the approval that it belongs to."""

    sequence: int
    at: str | None
    kind: str
    actor: str
    grant_id: str | None
    generation: int | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> EventShape:
        """The noun as JSON."""
        return cls.model_validate(event_document(event))


class EventsShape(BaseModel):
    """One page of history, newest first, and the cursor of the older ones."""

    events: list[EventShape]
    next: str | None


class AuditEntryShape(BaseModel):
    """Who did what; `subject` is a connection, a key or an app."""

    id: str
    at: str
    action: str
    actor: str
    subject: str | None
    address: str | None
    data: dict[str, Any]


class AuditShape(BaseModel):
    """One page of the audit, newest first, and the cursor of the older entries."""

    entries: list[AuditEntryShape]
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
        return cls.model_validate(access_token_document(token))


class NewAuthorizationShape(BodyShape):
    """What a one-time link is made for: the app is `default`, and `expires_in` (seconds) a day, if left out or null.

    `expected_properties`: the approval has to cover one of them. `code_challenge`: the hash of the secret that it is
    claimed with (RFC 7636, S256).
    """

    app: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    reference: Annotated[str | None, Field(max_length=LONGEST_REFERENCE)] = None
    return_to: Annotated[str | None, Field(max_length=2048)] = None
    expires_in: Annotated[float | None, Field(ge=60, le=30 * DAY, allow_inf_nan=False, strict=True)] = None
    expected_properties: Annotated[list[str] | None, Field(min_length=1, max_length=MOST_PROPERTIES)] = None
    code_challenge: Annotated[str | None, Field(max_length=43)] = None


class ClaimShape(BodyShape):
    """Whose a parked connection is: `reference` is the caller's own name for the hotel.

    `code_verifier`: the secret of an approval that was begun with a `code_challenge`.
    """

    reference: Annotated[str | None, Field(max_length=LONGEST_REFERENCE)] = None
    code_verifier: Annotated[str | None, Field(max_length=128)] = None


class NewConnectionShape(BodyShape):
    """An API key (`cbat_…`) that a hotel made at Cloudbeds by itself, and whose it is. `connection_id`: the connection
    whose key it is to be; `expected_properties`: one of these is to be named by Cloudbeds.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(hide_input_in_errors=True)

    api_key: Annotated[SecretStr, Field(max_length=LONGEST_TOKEN)]
    app: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    reference: Annotated[str | None, Field(max_length=LONGEST_REFERENCE)] = None
    connection_id: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    expected_properties: Annotated[list[str] | None, Field(min_length=1, max_length=MOST_PROPERTIES)] = None


class NewKeyShape(BodyShape):
    """What a key for callers is to be for. The lists: for which hotels, of any of these; for all where none is given.
    `read_only`: at Cloudbeds only GET, HEAD and OPTIONS; `methods`: there only methods of these names. `expires_in` are
    seconds; a key without it does not end. `rate`: requests a second to Cloudbeds, those of its children included.
    """

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    scopes: Annotated[list[Scope], Field(min_length=1)]
    connections: Annotated[list[str] | None, Field(max_length=MOST_NAMED)] = None
    properties: Annotated[list[str] | None, Field(max_length=MOST_NAMED)] = None
    references: Annotated[list[str] | None, Field(max_length=MOST_NAMED)] = None
    read_only: StrictBool = False
    methods: Annotated[list[str] | None, Field(max_length=MOST_NAMED)] = None
    expires_in: Annotated[float | None, Field(ge=1, allow_inf_nan=False, strict=True)] = None
    rate: Annotated[float | None, Field(gt=0, allow_inf_nan=False, strict=True)] = None


class KeyShape(BaseModel):
    """A key for callers. `parent` made it, and ends it with itself; `used_at` is the minute of its last use."""

    id: str
    name: str
    scopes: list[str]
    connections: list[str] | None
    properties: list[str] | None
    references: list[str] | None
    read_only: bool
    methods: list[str] | None
    rate: float | None
    parent: str | None
    created_by: str
    created_at: str | None
    expires_at: str | None
    revoked_at: str | None
    used_at: str | None
    used_from: str | None

    @classmethod
    def of(cls, key: CallerKey) -> KeyShape:
        """The noun as JSON."""
        return cls.model_validate(key_document(key))


class CreatedKeyShape(KeyShape):
    """A new key with its text, `key`: it is answered this once, and cannot be shown again."""

    key: str


class KeysShape(BaseModel):
    """One page of keys, and the cursor of the next one."""

    keys: list[KeyShape]
    next: str | None


class AuthorizationShape(BaseModel):
    """The link to hand to a hotel. `key_url` is the same one, for a hotel that pastes an API key of its own; null
    where the link has a code challenge.
    """

    connect_url: str
    key_url: str | None
    expires_at: str | None
