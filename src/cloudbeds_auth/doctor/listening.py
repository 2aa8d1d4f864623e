"""Who is on a port: nobody, a service of ours, or a stranger; `connect` asks the same question."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cloudbeds_auth.doctor.findings import Check, Finding, ok, problem
from cloudbeds_auth.doctor.subject import Subject
from cloudbeds_auth.os_files import holder_of, take_port

CODE_HEADER = "x-cloudbeds-auth-code"
SECONDS = 2.0


class Tenant(Enum):
    """Who is there."""

    NOBODY = "free"
    OURS = "this service"
    STRANGER = "another program"
    FORBIDDEN = "not ours to take"


@dataclass(frozen=True, slots=True)
class Port:
    """What was found on an address; `who` names a stranger where the system tells."""

    tenant: Tenant
    who: str = ""


async def look(host: str, port: int) -> Port:
    """Find out who listens on `host`:`port`."""
    refused = _binding(host, port)
    if refused is None:
        return Port(Tenant.NOBODY)
    if refused != errno.EADDRINUSE:
        return Port(Tenant.FORBIDDEN, errno.errorcode.get(refused, str(refused)))
    if await answers_as_ours(f"http://{_reachable(host)}:{port}"):
        return Port(Tenant.OURS)
    return Port(Tenant.STRANGER, holder_of(port) or "another program")


async def answers_as_ours(origin: str) -> bool:
    """Whether a service of ours answers there: every answer of ours names its code, and no credential is sent."""
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False) as client:
            answer = await client.get(f"{origin}/api/v1/connections")
    except httpx2.HTTPError:
        return False
    return CODE_HEADER in answer.headers


def _binding(host: str, port: int) -> int | None:
    """The error number of taking the port for a moment, under every address of the host; None when it is free."""
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
    """An address under which a listener on `host` answers."""
    if host in {"0.0.0.0", "", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def listening_port(subject: Subject) -> Sequence[Finding]:
    """The port of `serve` is free, or held by the service itself."""
    settings = subject.settings
    assert settings is not None  # noqa: S101 - the registry skips us without settings
    found = await look(settings.host, settings.port)
    where = f"{settings.host}:{settings.port}"
    if found.tenant is Tenant.NOBODY:
        return ok(f"{where} is free for `cloudbeds-auth serve`")
    if found.tenant is Tenant.OURS:
        return ok(f"the service answers on {where}")
    if found.tenant is Tenant.FORBIDDEN:
        return problem(f"{where} cannot be listened on ({found.who})", "change CLOUDBEDS_AUTH_HOST or _PORT")
    return problem(
        f"{where} is held by {found.who}",
        "stop it, or set CLOUDBEDS_AUTH_PORT and register the redirect URI with that port",
    )


CHECKS = (Check("port", listening_port),)
