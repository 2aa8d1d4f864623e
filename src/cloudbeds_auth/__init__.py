"""cloudbeds-auth keeps hotels connected to Cloudbeds: it obtains their tokens, seals them, refreshes them, loses none.

    from cloudbeds_auth import TokenVault            # for asyncio
    from cloudbeds_auth.sync import TokenVault       # the same, blocking

Reading order, the journey of a token: `rules` (what may happen), `ports` (what the rules need from the world),
`transactions` (what is read and written), `engine` (the protocol), `database` (where the pair is stored), `wire` (how
it leaves), `runtime` (drivers picked), `vault` (one object for all of it), `sync` (the same, blocking), `app` (the
service), `cli` (the command line).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudbeds_auth.errors import (
        AmbiguousProperty,
        AuthorizationDenied,
        AuthorizationExpired,
        BodyNotReplayable,
        ClientRefused,
        ConfigurationError,
        ConnectionDisconnected,
        ConnectionUnusable,
        Diagnosis,
        Error,
        Forbidden,
        ForeignOrigin,
        InvalidRequest,
        InvalidReturnTo,
        KeyRefused,
        MigrationRefused,
        NotRefreshable,
        OutcomeUnknown,
        PropertyMismatch,
        RateLimited,
        ReauthorizationRequired,
        RefreshInDoubt,
        RefreshPending,
        StateMismatch,
        StoreReadOnly,
        StoreUnavailable,
        TokenEndpointUnavailable,
        TryAgain,
        Unauthenticated,
        Unclaimed,
        UnknownConnection,
        UpstreamError,
        UpstreamFailed,
        VaultClosed,
    )
    from cloudbeds_auth.rules.audit import AuditEntry
    from cloudbeds_auth.rules.imports import Handover, Imported, Outcome
    from cloudbeds_auth.rules.lifecycle import State
    from cloudbeds_auth.rules.links import AppRequest, LinkRequest
    from cloudbeds_auth.rules.model import (
        AccessToken,
        App,
        AuthorizationRequest,
        Connection,
        Event,
        Finished,
        Link,
        Page,
    )
    from cloudbeds_auth.rules.secret import Secret
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.vault import TokenVault
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

_WHERE = {
    "cloudbeds_auth.vault": ("TokenVault",),
    "cloudbeds_auth.settings": ("Settings",),
    "cloudbeds_auth.rules.secret": ("Secret",),
    "cloudbeds_auth.rules.lifecycle": ("State",),
    "cloudbeds_auth.wire.httpx_auth": ("CloudbedsAuth",),
    "cloudbeds_auth.rules.audit": ("AuditEntry",),
    "cloudbeds_auth.rules.links": ("AppRequest", "LinkRequest"),
    "cloudbeds_auth.rules.imports": ("Handover", "Imported", "Outcome"),
    "cloudbeds_auth.rules.model": (
        "AccessToken",
        "App",
        "AuthorizationRequest",
        "Connection",
        "Event",
        "Finished",
        "Link",
        "Page",
    ),
}

__all__ = [
    "AccessToken",
    "AmbiguousProperty",
    "App",
    "AppRequest",
    "AuditEntry",
    "AuthorizationDenied",
    "AuthorizationExpired",
    "AuthorizationRequest",
    "BodyNotReplayable",
    "ClientRefused",
    "CloudbedsAuth",
    "ConfigurationError",
    "Connection",
    "ConnectionDisconnected",
    "ConnectionUnusable",
    "Diagnosis",
    "Error",
    "Event",
    "Finished",
    "Forbidden",
    "ForeignOrigin",
    "Handover",
    "Imported",
    "InvalidRequest",
    "InvalidReturnTo",
    "KeyRefused",
    "Link",
    "LinkRequest",
    "MigrationRefused",
    "NotRefreshable",
    "Outcome",
    "OutcomeUnknown",
    "Page",
    "PropertyMismatch",
    "RateLimited",
    "ReauthorizationRequired",
    "RefreshInDoubt",
    "RefreshPending",
    "Secret",
    "Settings",
    "State",
    "StateMismatch",
    "StoreReadOnly",
    "StoreUnavailable",
    "TokenEndpointUnavailable",
    "TokenVault",
    "TryAgain",
    "Unauthenticated",
    "Unclaimed",
    "UnknownConnection",
    "UpstreamError",
    "UpstreamFailed",
    "VaultClosed",
]


def __getattr__(name: str) -> object:
    """Public names are imported when they are first used: a short command pays only for what it needs."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = next((module for module, names in _WHERE.items() if name in names), "cloudbeds_auth.errors")
    return getattr(import_module(where), name)


def __dir__() -> list[str]:
    """What is public."""
    return sorted(__all__)
