"""Checks of the way to Cloudbeds. Nothing secret is sent: one GET, and one POST without credentials."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from cloudbeds_auth.doctor.configuration import CLOCK
from cloudbeds_auth.doctor.findings import Check, Finding, ok, problem, warning
from cloudbeds_auth.doctor.subject import Subject

if TYPE_CHECKING:
    import httpx2

SECONDS = 10.0
NETWORK_MEND = "check CLOUDBEDS_BASE_URL, DNS, firewall and certificates between this machine and Cloudbeds"


async def vendor_reachable(subject: Subject) -> Sequence[Finding]:
    """The approval page's host answers, over TLS unless it is this machine."""
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
    url = subject.settings.authorize_url
    answer = await _ask("GET", url)
    if isinstance(answer, str):
        return problem(f"{url} does not answer: {answer}", NETWORK_MEND)
    _note_skew(subject, answer)
    if answer.status_code >= 500 or answer.status_code == 429:
        return warning(f"{url} answers {answer.status_code}", "try again later; Cloudbeds may be out of order")
    return ok(f"{url} answers")


def _note_skew(subject: Subject, answer: httpx2.Response) -> None:
    try:
        theirs = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return
    subject.seen["skew"] = subject.clock.wall() - theirs


async def token_endpoint(subject: Subject) -> Sequence[Finding]:
    """The token endpoint's address is an API's: JSON, where a wrong path gets the marketing site's HTML page."""
    assert subject.settings is not None  # noqa: S101 - the registry skips us without settings
    url = f"{subject.settings.base_url}/api/{subject.settings.api_version}/access_token"
    answer = await _ask("POST", url)
    if isinstance(answer, str):
        return problem(f"{url} does not answer: {answer}", NETWORK_MEND)
    if "json" not in answer.headers.get("content-type", "").lower():
        return problem(
            f"{url} answers {answer.status_code} with something that is not JSON",
            "check CLOUDBEDS_BASE_URL and CLOUDBEDS_API_VERSION (like v1.3): a wrong path gets a web page",
        )
    return ok(f"{url} answers as an API")


async def _ask(method: str, url: str) -> httpx2.Response | str:
    """The answer, or what kept it from coming; redirects are not followed and the environment is not asked."""
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False) as client:
            return await client.request(method, url)
    except httpx2.HTTPError as error:
        return f"{type(error).__name__}" + (f" ({error})" if str(error) else "")


CHECKS = (Check("Cloudbeds", vendor_reachable), Check("token endpoint", token_endpoint), CLOCK)
