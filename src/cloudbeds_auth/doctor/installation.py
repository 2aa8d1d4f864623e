"""Checks of this installation: its settings, the redirect URI, the network path to Cloudbeds, the clock, and which
process uses the port, which `connect` checks, too. Nothing secret is sent: GETs, and one POST without credentials.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from cloudbeds_auth.doctor.examination import Finding, Level, Subject, ok, problem, warning
from cloudbeds_auth.errors import AuthorizationExpired
from cloudbeds_auth.os_files import holder_of, take_port

if TYPE_CHECKING:
    import httpx2

    from cloudbeds_auth.settings import Settings

OLDEST_NOW = 1_764_000_000.0  # this code was written later, so an earlier clock is wrong
LARGEST_SKEW = 120.0  # seconds
VENDOR_SECONDS, PORT_SECONDS = 10.0, 2.0
NETWORK_MEND = "check CLOUDBEDS_BASE_URL, DNS, firewall and certificates between this machine and Cloudbeds"
CODE_HEADER = "x-cloudbeds-auth-code"
GONE = {404, 410}


async def settings_complete(subject: Subject) -> Sequence[Finding]:
    """Every problem and warning that the settings report."""
    odd = subject.read.warnings if subject.read else ()
    found = [_worded(Level.PROBLEM, text) for text in subject.problems] + [_worded(Level.WARNING, text) for text in odd]
    return found or ok("complete and well-formed")


def _worded(level: Level, text: str) -> Finding:
    """A sentence of the settings: what is wrong, and after a semicolon what to do about it."""
    what, _, mend = text.partition("; ")
    return Finding(level, what, mend or "correct it in the environment or in .env")


async def redirect_uri(subject: Subject) -> Sequence[Finding]:
    """The redirect URI leads to where `serve` listens, as far as can be seen from here."""
    settings = subject.settings
    fine = f"{settings.redirect_uri} (must be registered at Cloudbeds exactly like this)"
    return leads_elsewhere(settings) or ok(
        fine if settings.client_id else "no client id is set: hotels connect with API keys alone"
    )


def leads_elsewhere(settings: Settings) -> Sequence[Finding]:
    """Whether hotels are sent to another port of this machine than the one where `serve` listens: by the redirect
    URI, or, without a client id, by links to the pages where they paste their keys.
    """
    if not settings.client_id:
        if other_port(urlsplit(settings.public_url), settings) is None:
            return ()
        return warning(
            f"links lead to {settings.public_url}, but CLOUDBEDS_AUTH_PORT is {settings.port}",
            f"set CLOUDBEDS_AUTH_PUBLIC_URL=http://localhost:{settings.port}",
        )
    port = other_port(urlsplit(settings.redirect_uri), settings)
    if port is None:
        return ()
    return warning(
        f"{settings.redirect_uri} leads to port {port}, but CLOUDBEDS_AUTH_PORT is {settings.port}",
        f"set CLOUDBEDS_AUTH_PORT={port}, or register another redirect URI at Cloudbeds; ignore this if an "
        "application of yours serves that address",
    )


def other_port(parts: SplitResult, settings: Settings) -> int | None:
    """The port on this machine that a redirect URI leads to, if it is not the service's port."""
    from cloudbeds_auth.settings import is_loopback

    port = parts.port or (443 if parts.scheme == "https" else 80)
    is_elsewhere = port != settings.port and parts.scheme == "http" and is_loopback(parts.hostname or "")
    return port if is_elsewhere else None


async def addresses(subject: Subject) -> Sequence[Finding]:
    """Requests to the addresses that hotels get are accepted, and callers behind a proxy are distinguished."""
    settings = subject.settings
    named = {"CLOUDBEDS_AUTH_PUBLIC_URL": settings.public_url}
    if settings.client_id:
        named["CLOUDBEDS_REDIRECT_URI"] = settings.redirect_uri
    found: list[Finding] = []
    for name, url in named.items():
        host = urlsplit(url).hostname or ""
        if host not in settings.allowed_hosts:
            found += problem(
                f"{host} of {name} is not in CLOUDBEDS_AUTH_ALLOWED_HOSTS: requests to it are answered 421",
                f"add {host} to CLOUDBEDS_AUTH_ALLOWED_HOSTS, or leave that setting unset",
            )
    if urlsplit(settings.public_url).scheme == "https" and not settings.trusted_proxies:
        found += warning(
            f"{settings.public_url} is https, so there is a reverse proxy, but none is trusted: "
            "all callers count as one address and share one limit",
            "set CLOUDBEDS_AUTH_TRUSTED_PROXIES to the proxy's address, like 127.0.0.1",
        )
    return found or ok("requests to them are accepted")


# --- the network path to Cloudbeds


async def vendor_reachable(subject: Subject) -> Sequence[Finding]:
    """The approval page's host answers, over TLS unless it is this machine."""
    url = subject.settings.authorize_url
    answer = await _ask("GET", url)
    if isinstance(answer, str):
        return problem(f"{url} does not answer: {answer}", NETWORK_MEND)
    _note_skew(subject, answer)
    if answer.status_code in GONE:
        return problem(
            f"{url} answers {answer.status_code}: there is no approval page", "check CLOUDBEDS_AUTHORIZE_URL"
        )
    if answer.status_code >= 500 or answer.status_code == 429:
        return warning(f"{url} answers {answer.status_code}", "try again later; Cloudbeds may be unavailable")
    return ok(f"{url} answers")


def _note_skew(subject: Subject, answer: httpx2.Response) -> None:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return
    subject.skew = subject.clock.wall() - theirs


async def token_endpoint(subject: Subject) -> Sequence[Finding]:
    """The token endpoint answers with JSON; a wrong path would get the marketing site's HTML page, or a 404."""
    url = f"{subject.settings.base_url}/api/{subject.settings.api_version}/access_token"
    answer = await _ask("POST", url)
    if isinstance(answer, str):
        return problem(f"{url} does not answer: {answer}", NETWORK_MEND)
    is_json = "json" in answer.headers.get("content-type", "").lower()
    if not is_json or answer.status_code in GONE:
        return problem(
            f"{url} answers {answer.status_code}" + ("" if is_json else " with something that is not JSON"),
            "check CLOUDBEDS_BASE_URL and CLOUDBEDS_API_VERSION (like v1.3): a wrong path returns a web page or a 404",
        )
    return ok(f"{url} answers as an API")


async def _ask(method: str, url: str, seconds: float = VENDOR_SECONDS) -> httpx2.Response | str:
    """The response, or why there is none; redirects are not followed, and proxies in the environment are ignored."""
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=seconds, follow_redirects=False, trust_env=False) as client:
            return await client.request(method, url)
    except httpx2.HTTPError as error:
        return f"{type(error).__name__}" + (f" ({error})" if str(error) else "")


async def clock(subject: Subject) -> Sequence[Finding]:
    """The wall clock is later than this code, and agrees with the vendor's `Date` header."""
    if subject.clock.wall() < OLDEST_NOW:
        return problem("this machine's clock is years behind", "set the clock; until then certificates will fail")
    skew = subject.skew
    if skew is not None and abs(skew) > LARGEST_SKEW:
        return warning(
            f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Cloudbeds'",
            "set the clock (NTP); it only affects times shown to people",
        )
    return ok("plausible" if skew is None else "agrees with Cloudbeds'")


# --- the port


class Tenant(Enum):
    """Which process uses a port. `OURS` is a service of this program, of whichever installation: only a secret would
    tell two of them apart, and none is sent to a listener that nothing vouches for.
    """

    NOBODY = "free"
    OURS = "a service of ours"
    STRANGER = "another program"
    FORBIDDEN = "not ours to take"


@dataclass(frozen=True, slots=True)
class Port:
    """What was found on an address; `who` names another program, if the system reveals it."""

    tenant: Tenant
    who: str = ""


async def look(host: str, port: int) -> Port:
    """Find out which process listens on `host`:`port`."""
    refused = _binding(host, port)
    if refused is None:
        return Port(Tenant.NOBODY)
    if refused != errno.EADDRINUSE:
        return Port(Tenant.FORBIDDEN, errno.errorcode.get(refused, str(refused)))
    if await answers_as_ours(f"http://{_reachable(host)}:{port}"):
        return Port(Tenant.OURS)
    return Port(Tenant.STRANGER, holder_of(port) or "another program")


async def answers_as_ours(origin: str) -> bool:
    """Whether a service of ours answers there: all its answers have a code header. No credential is sent."""
    answer = await _ask("GET", f"{origin}/api/v1/connections", PORT_SECONDS)
    return not isinstance(answer, str) and CODE_HEADER in answer.headers


async def refuses_link(url: str) -> bool:
    """Whether a service of ours answers there that does not know this one-time link: it has another database."""
    answer = await _ask("GET", url, PORT_SECONDS)
    return not isinstance(answer, str) and answer.headers.get(CODE_HEADER) == AuthorizationExpired.code


def _binding(host: str, port: int) -> int | None:
    """The error number of briefly binding the port on every address of the host; None if it is free."""
    try:
        taken = take_port(host, port)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EIO
    for sock in taken:
        sock.close()
    return None


def _reachable(host: str) -> str:
    """An address at which a listener on `host` answers."""
    if host in {"0.0.0.0", "", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def listening_port(subject: Subject) -> Sequence[Finding]:
    """The port of `serve` is free, or in use by a service of this program."""
    settings = subject.settings
    found = await look(settings.host, settings.port)
    where = f"{settings.host}:{settings.port}"
    if found.tenant is Tenant.NOBODY:
        return ok(f"{where} is free for `cloudbeds-auth serve`")
    if found.tenant is Tenant.OURS:
        return await _ours(where, f"http://{_reachable(settings.host)}:{settings.port}")
    if found.tenant is Tenant.FORBIDDEN:
        return problem(f"cannot listen on {where} ({found.who})", "change CLOUDBEDS_AUTH_HOST or CLOUDBEDS_AUTH_PORT")
    return problem(
        f"{where} is in use by {found.who}",
        "stop it, or set CLOUDBEDS_AUTH_PORT to another port and register a redirect URI with that port",
    )


async def _ours(where: str, origin: str) -> Sequence[Finding]:
    """Whether the service that answers there is ready, as it tells anybody."""
    answer = await _ask("GET", f"{origin}/readyz", PORT_SECONDS)
    if isinstance(answer, str) or answer.status_code != HTTPStatus.OK:
        why = answer if isinstance(answer, str) else answer.headers.get(CODE_HEADER, str(answer.status_code))
        return problem(
            f"the service of cloudbeds-auth on {where} is not ready: {why}",
            "look for `store_failed` in its log; if its database file was deleted or replaced, restart it",
        )
    return ok(
        f"a service of cloudbeds-auth is ready on {where}; that it belongs to this installation is not verified, "
        "because no secret is sent"
    )
