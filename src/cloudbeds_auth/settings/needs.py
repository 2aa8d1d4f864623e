"""When a setting is required: what the table's rows are given as `needed`. Each returns why, else None."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cloudbeds_auth.settings import values
from cloudbeds_auth.settings.row import Need, rows

if TYPE_CHECKING:
    from cloudbeds_auth.settings.table import Settings


def for_an_app(settings: Settings, need: Need) -> str | None:
    """Client id and secret are required together; with a named database both may be missing (API keys only)."""
    either = settings.client_id or settings.client_secret
    if need is Need.NOTHING or (settings.names_database and not either):
        return None
    return "is not set" if either else "is not set (with API keys only, CLOUDBEDS_AUTH_DATABASE_URL is enough)"


def with_postgres(settings: Settings, need: Need) -> str | None:
    """Several machines may share the database: a file created on one of them is of no use to the others."""
    return "is required with PostgreSQL" if settings.is_postgres else None


def beyond_this_machine(settings: Settings, need: Need) -> str | None:
    """A service that other machines reach must not depend on a file that was created by itself."""
    wide = "is required when CLOUDBEDS_AUTH_HOST is not a loopback address"
    return with_postgres(settings, need) or (None if values.is_loopback(settings.host) else wide)


def beside(attribute: str) -> Callable[[Settings, Need], str | None]:
    """Required as soon as that other setting is given."""

    def needed(settings: Settings, need: Need) -> str | None:
        given = getattr(settings, attribute)
        return f"is required with {rows(type(settings))[attribute].name}" if given else None

    return needed
