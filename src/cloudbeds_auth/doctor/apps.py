"""Checks of registrations: do browsers come back to this service for further ones, do their secrets open, and did what
is stored come from the origin and the client ids of the settings?
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudbeds_auth.doctor.configuration import other_port
from cloudbeds_auth.doctor.findings import Check, Finding, Level, ok
from cloudbeds_auth.doctor.subject import Subject
from cloudbeds_auth.rules.model import App

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

ONE_SCHEME = "is https where the settings' own is http, or the other way round"


async def further_apps(subject: Subject) -> Sequence[Finding]:
    """Each app of the store. The settings may have changed since it was added."""
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
    assert subject.vault is not None  # noqa: S101 - … and without a vault
    own, *further = await subject.vault.apps.list()
    found: list[Finding] = []
    for app in further:
        found += list(_wrong(app, own, subject.settings)) or ok(
            f"{app.id}: {app.redirect_uri} (must be registered for {app.client_id} exactly like this)"
        )
    return found or ok("only the settings' own")


def _wrong(app: App, own: App, settings: Settings) -> Iterator[Finding]:
    again = f"cloudbeds-auth apps remove {app.id}, then add it as it should be"
    if not app.secrets:
        yield Finding(
            Level.PROBLEM, f"{app.id}: its client secret does not open", f"cloudbeds-auth apps rotate-secret {app.id}"
        )
    if app.client_id == own.client_id:
        yield Finding(Level.PROBLEM, f"{app.id}: has the client id of the settings' own app", again)
    if app.redirect_path == own.redirect_path:
        yield Finding(Level.PROBLEM, f"{app.id}: its redirect URI has the path of the settings' own", again)
    if urlsplit(app.redirect_uri).scheme != urlsplit(own.redirect_uri).scheme:
        yield Finding(Level.PROBLEM, f"{app.id}: its redirect URI {ONE_SCHEME}", again)
    host = urlsplit(app.redirect_uri).hostname or ""
    if not settings.derived_hosts and host not in settings.allowed_hosts:
        yield Finding(
            Level.PROBLEM, f"{app.id}: {host} of its redirect URI is not allowed",
            f"add {host} to CLOUDBEDS_AUTH_ALLOWED_HOSTS",
        )  # fmt: skip
    port = other_port(app.redirect_uri, settings)
    if port is not None:
        yield Finding(
            Level.WARNING, f"{app.id}: {app.redirect_uri} leads to port {port}, CLOUDBEDS_AUTH_PORT is {settings.port}",
            "register a redirect URI with the service's port at Cloudbeds",
        )  # fmt: skip


async def where_from(subject: Subject) -> Sequence[Finding]:
    """Tokens and secrets that came from another origin or client id: nothing of them is sent; no hotel is at fault."""
    assert subject.vault is not None  # noqa: S101 - the registry skips us without a vault
    found = [Finding(Level.PROBLEM, one.what, one.next_step) for one in await subject.vault.apps.foreign()]
    return found or ok("everything stored came from the origin and the client ids of the settings")


CHECKS = (Check("apps", further_apps, needs_vault=True), Check("origins", where_from, needs_vault=True))
