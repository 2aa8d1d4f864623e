"""A caller that hangs up before its body's end: anyone may, so it is a refusal in the log, and no failure of ours."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.app.callers import CREDENTIAL, GUARD, connected, head
from tests.app.running import Vendor, a_service
from tests.app.vaults import RealVault, given

from cloudbeds_auth.ports import Fact
from cloudbeds_auth.rules.secret import Secret

PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"
FORM = b"Content-Type: application/x-www-form-urlencoded"
JSON = b"Content-Type: application/json"


async def request_of(vault: RealVault) -> dict[str, Fact]:
    """The facts of the one request, once it is over."""
    async with asyncio.timeout(GUARD):
        while True:
            for what, facts in vault.observer.seen:
                if what == "request":
                    return facts
            await asyncio.sleep(0)


@pytest.mark.row("A71")
@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/connect/abc", [FORM]),
        ("/paste-key/abc", [FORM]),
        ("/add-app/abc", [FORM]),
        ("/session", [FORM]),
        ("/session/end", [FORM]),
        (f"/hooks/{PATH}", [JSON, f"X-Hook-Secret: {HEADER}".encode()]),
        ("/api/v1/authorizations", [JSON, CREDENTIAL.strip()]),
        ("/api/v1/keys", [JSON, CREDENTIAL.strip()]),
        ("/api/v1/connections/con_1/claim", [JSON, CREDENTIAL.strip()]),
    ],
)
async def test_a_body_that_breaks_off_is_no_failure(
    vendor: Vendor, target: str, headers: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback and no 500: the log says what it was, with the status of a bad request."""
    vault = RealVault(given(base_url=vendor.base_url, hook_secret=Secret(PATH), hook_header=Secret(HEADER)))
    async with a_service(vault) as service:
        async with connected(service, head(target, *headers, b"Content-Length: 100") + b"abc"):
            pass  # and closed
        facts = await request_of(vault)
    assert (facts["status"], facts["code"], facts["reason"]) == (400, "invalid_request", "the body broke off")
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
