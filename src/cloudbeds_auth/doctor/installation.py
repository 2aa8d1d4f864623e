"""Checks of what was configured: the settings, the redirect URI, the clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloudbeds_auth.doctor.findings import Check, Finding, Level, ok, problem, warning
from cloudbeds_auth.doctor.subject import Subject

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

OLDEST_NOW = 1_764_000_000.0  # this code was written after it, so a clock before it is wrong
LARGEST_SKEW = 120.0  # seconds


async def settings_complete(subject: Subject) -> Sequence[Finding]:
    """Every problem of the settings, in their own words."""
    odd = subject.settings.warnings if subject.settings else ()
    found = [_told(Level.PROBLEM, text) for text in subject.problems] + [_told(Level.WARNING, text) for text in odd]
    return found or ok("complete and well-formed")


def _told(level: Level, text: str) -> Finding:
    """A sentence of the settings: what is wrong, and behind a semicolon what to do about it."""
    what, _, mend = text.partition("; ")
    return Finding(level, what, mend or "mend it in the environment or in .env")


async def redirect_uri(subject: Subject) -> Sequence[Finding]:
    """The redirect URI leads to where `serve` listens, as far as that can be known from here."""
    settings = subject.settings
    assert settings is not None  # noqa: S101 - the registry skips us without settings
    port = other_port(settings.redirect_uri, settings)
    if port is not None:
        return warning(
            f"{settings.redirect_uri} leads to port {port}, but CLOUDBEDS_AUTH_PORT is {settings.port}",
            f"set CLOUDBEDS_AUTH_PORT={port}, or register another redirect URI at Cloudbeds",
        )
    return ok(f"{settings.redirect_uri} (must be registered at Cloudbeds exactly like this)")


def other_port(uri: str, settings: Settings) -> int | None:
    """The port on this machine that a redirect URI leads to, where that is another one than the service's."""
    from cloudbeds_auth.settings import is_loopback

    parts = urlsplit(uri)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    is_elsewhere = is_loopback(parts.hostname or "") and parts.scheme == "http" and port != settings.port
    return port if is_elsewhere else None


async def clock(subject: Subject) -> Sequence[Finding]:
    """The wall clock is not before this code was written, and agrees with the vendor's `Date` header."""
    if subject.clock.wall() < OLDEST_NOW:
        return problem("this machine's clock is years behind", "set the clock; certificates will fail like this")
    skew = subject.seen.get("skew")
    if skew is not None and abs(skew) > LARGEST_SKEW:
        return warning(
            f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Cloudbeds'",
            "set the clock (NTP); nothing depends on it but times shown to people",
        )
    return ok("plausible" if skew is None else "agrees with Cloudbeds'")


CHECKS = (Check("settings", settings_complete, needs_settings=False), Check("redirect URI", redirect_uri))
CLOCK = Check("clock", clock, needs_settings=False)
