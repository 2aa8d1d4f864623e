"""`POST /hooks/{secret}`: both secrets or nothing; an answer at once, whatever the payload says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.app.running import Running, Vendor, a_service, raw
from tests.app.vaults import RealVault, given
from tests.support.simulator import vendor as simulator

from cloudbeds_auth.app import api
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator.webhooks import ANSWER_WITHIN

PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"
BODY = b'{"newState": "disabled", "propertyID": 1000}'


async def posted(
    service: Running[Any], path: str = PATH, header: str | None = HEADER, body: bytes = BODY
) -> tuple[int, str]:
    """Status and code of the answer to one delivery."""
    headers = {} if header is None else {"X-Hook-Secret": header}
    async with service.http.post(f"{service.url}/hooks/{path}", data=body, headers=headers) as answer:
        return answer.status, answer.headers["x-cloudbeds-auth-code"]


def hints(vault: RealVault) -> list[str]:
    """What became of those that were noted."""
    return [what for what, _ in vault.observer.seen if what.startswith("hint")]


async def test_both_secrets(vendor: Vendor) -> None:
    """Noted, whatever it says."""
    vault = RealVault(given(base_url=vendor.base_url, hook_secret=Secret(PATH), hook_header=Secret(HEADER)))
    async with a_service(vault) as service:
        assert await posted(service) == (200, "ok")
        assert await posted(service, body=b"not JSON") == (200, "ok")
    assert hints(vault) == ["hint_received", "hint_ignored"]


@pytest.mark.parametrize(
    ("path", "header"),
    [(PATH, None), (PATH, ""), (PATH, PATH), (PATH[:-1], HEADER), (HEADER, HEADER), ("x", "x")],
)
async def test_one_secret_is_not_enough(vendor: Vendor, path: str, header: str | None) -> None:
    """As any path without a credential: nobody learns that there is a hook, or which half was right."""
    vault = RealVault(given(base_url=vendor.base_url, hook_secret=Secret(PATH), hook_header=Secret(HEADER)))
    async with a_service(vault) as service:
        assert await posted(service, path, header) == (401, "unauthenticated")
    assert hints(vault) == []


@pytest.mark.parametrize("header", [None, "", HEADER])
async def test_no_hook_is_set(service: Running[RealVault], header: str | None) -> None:
    """Nothing opens it, nor does nothing."""
    assert await posted(service, PATH, header) == (401, "unauthenticated")
    assert hints(service.vault) == []


async def test_a_large_payload(vendor: Vendor) -> None:
    """Refused before it is read."""
    vault = RealVault(given(base_url=vendor.base_url, hook_secret=Secret(PATH), hook_header=Secret(HEADER)))
    async with a_service(vault) as service:
        assert (await posted(service, body=b"x" * 70_000))[0] == 413
    assert hints(vault) == []


async def test_a_payload_that_does_not_end(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """408 before the sender gives up; it tries again."""
    monkeypatch.setattr(api, "HOOK_WITHIN", 0.01)
    vault = RealVault(given(base_url=vendor.base_url, hook_secret=Secret(PATH), hook_header=Secret(HEADER)))
    head = f"POST /hooks/{PATH} HTTP/1.1\r\nHost: localhost\r\nX-Hook-Secret: {HEADER}\r\nContent-Length: 50\r\n"
    async with a_service(vault) as service:
        answer = await raw(service, f"{head}Connection: close\r\n\r\n{{".encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert hints(vault) == []


async def test_an_answer_before_cloudbeds_gives_up(tmp_path: Path) -> None:
    """Sooner than its two seconds: a body may take less, and nobody waits for what follows from it, however slow."""
    assert api.HOOK_WITHIN < ANSWER_WITHIN == 2.0
    secrets = {"hook_secret": Secret(PATH), "hook_header": Secret(HEADER)}
    async with (
        simulator() as cloud,
        TokenVault.open(cloud.settings(tmp_path, token_timeout=600.0, **secrets)) as vault,  # it gives up much later
        a_service(vault) as service,
    ):
        connection = await cloud.connect(vault)
        cloud.fault("hang_before", "getAppState", times=None)
        async with asyncio.timeout(30):
            assert await posted(service, body=b'{"newState": "disabled", "propertyID": 100001}') == (200, "ok")
        asked = await cloud.simulator.journal.wait_for({"path": "/api/v1.3/getAppState"}, 0, 30.0)
        assert asked is not None
        assert not asked.answered
        assert (await vault.connection(connection.id)).state == "fresh"


async def test_the_secret_is_in_no_happening(vendor: Vendor) -> None:
    """Neither the one in the path nor the one in the header."""
    vault = RealVault(given(base_url=vendor.base_url, hook_secret=Secret(PATH), hook_header=Secret(HEADER)))
    async with a_service(vault) as service:
        await posted(service)
    assert ("request", "/hooks/…") in [(what, facts.get("path")) for what, facts in vault.observer.seen]
    assert PATH not in repr(vault.observer.seen)
    assert HEADER not in repr(vault.observer.seen)
