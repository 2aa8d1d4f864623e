"""Checks of a PostgreSQL database, by what the server says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

from cloudbeds_auth.doctor.findings import Finding, ok, problem, warning
from cloudbeds_auth.doctor.subject import Subject
from cloudbeds_auth.settings import is_loopback

VERIFYING = {"verify-ca", "verify-full"}


def durability(told: Mapping[str, str]) -> list[Finding]:
    """What was committed survives a crash of the server, and a failover."""
    facts = ", ".join(f"{name} {told[name]}" for name in ("fsync", "full_page_writes", "synchronous_commit"))
    found = f"PostgreSQL {told['postgresql']}, {facts}"
    if told["role"] != "primary":
        return problem(f"{found}: this server is a standby, nothing can be written", "name the primary in the URL")
    if told["asynchronous_standbys"] != "0":
        number = told["asynchronous_standbys"]
        return warning(
            f"{found}; {number} standbys follow asynchronously: a failover can lose the last pairs",
            "name a standby in synchronous_standby_names, or accept that its hotels approve again after a failover",
        )
    return ok(found)


async def encryption(subject: Subject) -> Sequence[Finding]:
    """The way to the server is encrypted, and the server is who it says, unless it is this machine."""
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
    parts = urlsplit(subject.settings.database_url)
    mode = parse_qs(parts.query).get("sslmode", ["prefer"])[0]
    if parts.hostname is None or is_loopback(parts.hostname) or parts.hostname.startswith("/"):
        return ok("the server is on this machine")
    if mode in VERIFYING:
        return ok(f"sslmode={mode}")
    return warning(
        f"sslmode={mode}: somebody on the way can be taken for the server",
        "add ?sslmode=verify-full to CLOUDBEDS_AUTH_DATABASE_URL (and sslrootcert= for a certificate of your own)",
    )
