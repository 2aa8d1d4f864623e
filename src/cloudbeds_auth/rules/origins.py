"""Where a credential came from, and whether it may be used here: only at the vendor's origin that issued it, and under
the client id that it was issued to (rule-11).

`foreign` decides this; `engine.context` calls it before anything of a grant is sent or handed out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

ONE_SERVICE = (
    frozenset({"https://api.cloudbeds.com", "https://hotels.cloudbeds.com"}),  # cloudbeds-facts.md section 2
    frozenset({"https://api.cloudbeds-stage.com", "https://hotels.cloudbeds-stage.com"}),  # by the same names
)
"""Origins that are one service: a credential that came from one of them may be sent to the others."""

VENDORS_DOMAIN = "cloudbeds.com"


@dataclass(frozen=True, slots=True)
class Source:
    """The issuer, which is the vendor's origin, and the client id. None: unknown, as in rows from before these were
    stored. An empty client id: the settings are for API keys alone and have none.
    """

    issuer: str | None = None
    client_id: str | None = None


UNKNOWN = Source()


@dataclass(frozen=True, slots=True)
class Cohort:
    """Connections of one app whose credentials are of one kind and one source, and came by one `registration`: our own
    credentials are refused for all of them or for none. `app` and `registration` differ only after a move to a key
    under another app.
    """

    app: str
    registration: str
    kind: str
    source: Source

    @classmethod
    def parse(cls, key: str) -> Cohort:
        """The inverse of `key`: only a client id may hold a space."""
        app, registration, kind, issuer, client_id = key.split(" ", 4)
        return cls(app, registration, kind, Source(issuer or None, client_id or None))

    @property
    def key(self) -> str:
        """The cohort as an index has it."""
        source = self.source
        return f"{self.app} {self.registration} {self.kind} {source.issuer or ''} {source.client_id or ''}"


@dataclass(frozen=True, slots=True)
class Foreign:
    """Why a credential may not be used here, with both places named, and what an operator does about it."""

    what: str
    next_step: str


def origins_of(origin: str) -> Collection[str]:
    """The origins that are known to be one service with this one, including itself."""
    return next((names for names in ONE_SERVICE if origin in names), {origin})


def same_service(one: str, other: str) -> bool:
    """Whether two origins are the same, or are known to be one service."""
    return other in origins_of(one)


def is_vendors(origin: str) -> bool:
    """Whether this is a host of the vendor's own domain, reached over TLS."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    return parts.scheme == "https" and (host == VENDORS_DOMAIN or host.endswith(f".{VENDORS_DOMAIN}"))


def foreign(source: Source, here: Source, app: str, *, own: bool) -> Foreign | None:
    """Why a grant of `source` may not be used by `app` as it is registered here; None: it may.

    `own`: whether the registration is that of the settings. A value that is unknown on either side forbids nothing.
    """
    if source.issuer and here.issuer and not same_service(source.issuer, here.issuer):
        return Foreign(
            f"tokens were issued by {source.issuer}, and CLOUDBEDS_BASE_URL is {here.issuer}",
            _back_to(source.issuer, app),
        )
    if source.client_id and here.client_id is not None and source.client_id != here.client_id:
        known_as = "CLOUDBEDS_CLIENT_ID is" if own else f"the app {app!r} has"
        step = "set CLOUDBEDS_CLIENT_ID to" if own else f"register the app {app!r} with"
        return Foreign(
            f"tokens were issued to the client id {source.client_id}, and {known_as} {here.client_id or 'not set'}",
            f"{step} {source.client_id} and its secret again; no hotel is at fault",
        )
    return None


def foreign_secret(bound: str | None, here: str, app: str) -> Foreign | None:
    """Why the client secret of an app that is bound to the origin `bound` may not be sent to `here`; None: it may."""
    if bound is None or same_service(bound, here):
        return None
    return Foreign(
        f"the client secret of the app {app!r} is for {bound}, and CLOUDBEDS_BASE_URL is {here}", _back_to(bound, app)
    )


def of_hotels(count: int, found: Foreign) -> Foreign:
    """The same, worded for an operator about so many hotels together."""
    hotels = "1 hotel: its" if count == 1 else f"{count} hotels: their"
    return replace(found, what=f"{hotels} {found.what}")


def _back_to(issuer: str, app: str) -> str:
    return (
        f"set CLOUDBEDS_BASE_URL to {issuer} again; only where the vendor really moved, "
        f"`cloudbeds-auth apps move-origin {app} --from {issuer}`"
    )
