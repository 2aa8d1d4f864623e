"""A form counts where a page of the session sent it (A17): what other sites can send, and what they cannot know.

Each attack brings the session's cookie, as if SameSite were not there, and succeeds where the defence is taken away.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.app.operators import Operator, signed_in
from tests.app.running import Running
from tests.app.vaults import RealVault

from cloudbeds_auth.app import session_routes

DISCONNECT = "/connections/con_1/disconnect"
Headers = dict[str, str | None]
EVIL: Headers = {"Origin": "https://evil.example"}
FOREIGN: dict[str, Headers] = {
    "another site": {"Sec-Fetch-Site": "cross-site", **EVIL},
    "another site, whose policy hides its origin": {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    "a subdomain, or another port": {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"},
    "another site, in a browser that does not say which": {"Sec-Fetch-Site": None, **EVIL},
    "a browser that says nothing": {"Sec-Fetch-Site": None, "Origin": None},
    "a page in a sandbox": {"Sec-Fetch-Site": None, "Origin": "null"},
}
TYPES = {
    "JSON as text": "text/plain",
    "JSON": "application/json",
    "a form with files": "multipart/form-data; boundary=x",
    "no type": None,
}
OVERRIDES = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]


@pytest.fixture
async def operator(service: Running[RealVault]) -> Operator:
    """Signed in."""
    return await signed_in(service)


async def is_connected(operator: Operator) -> bool:
    """Whether the attack did nothing."""
    return (await operator.service.vault.connection("con_1")).state == "fresh"


async def attack(operator: Operator, headers: Headers, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused and changes nothing; without the defence it disconnects the hotel."""
    status, _, page = await operator.post(DISCONNECT, body, headers)
    assert (status, "<code>forbidden</code>" in page, await is_connected(operator)) == (403, True, True)
    with monkeypatch.context() as undefended:
        undefended.setattr(session_routes, "must_be_sent_from_here", lambda *_: None)
        undefended.setattr(session_routes, "must_hold_form_token", lambda *_: None)
        status, _, _ = await operator.post(DISCONNECT, body, headers)
        assert (status, await is_connected(operator)) == (303, False)


@pytest.mark.row("A17")
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
async def test_a_form_of_another_site(operator: Operator, headers: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it knew the token."""
    await attack(operator, headers, urlencode({"form_token": await operator.form_token()}).encode(), monkeypatch)


@pytest.mark.row("A17")
@pytest.mark.parametrize("media", TYPES.values(), ids=TYPES)
async def test_a_body_that_is_no_form(operator: Operator, media: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it holds."""
    body = json.dumps({"form_token": await operator.form_token()}).encode()
    await attack(operator, {"Content-Type": media or "application/octet-stream"}, body, monkeypatch)


@pytest.mark.row("A17")
@pytest.mark.parametrize("name", OVERRIDES)
async def test_a_method_in_a_header(operator: Operator, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No form has one; a GET with one is a GET."""
    body = urlencode({"form_token": await operator.form_token()}).encode()
    for method in ("DELETE", "GET"):
        assert (await operator.post(DISCONNECT, body, {name: method}))[0] == 403
    cookie = "; ".join(f"{key}={value}" for key, value in operator.cookies.items())
    url, headers = operator.service.url + DISCONNECT, {"Cookie": cookie, name: "POST"}
    async with operator.service.http.get(url, headers=headers) as answer:
        assert answer.status == 405
    await attack(operator, {name: "POST"}, body, monkeypatch)


@pytest.mark.row("A17")
@pytest.mark.parametrize("case", ["none", "empty", "wrong", "another's", "twice", "something else, too", "a method"])
async def test_a_form_without_the_token(operator: Operator, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of this session, once, and nothing else: a page of the same origin that is not ours cannot know it."""
    own = await operator.form_token()
    bodies: dict[str, Any] = {
        "none": {},
        "empty": {"form_token": ""},
        "wrong": {"form_token": "0" * len(own)},
        "another's": {"form_token": await (await signed_in(operator.service)).form_token()},
        "twice": [("form_token", own), ("form_token", own)],
        "something else, too": {"form_token": own, "forget": "true"},
        "a method": {"form_token": own, "_method": "DELETE"},
    }
    await attack(operator, {}, urlencode(bodies[case]).encode(), monkeypatch)


@pytest.mark.row("A26")
@pytest.mark.parametrize("action", ["refresh", "link", "try", "disconnect", "revoke"])
async def test_a_session_that_ends_while_its_form_comes(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Does nothing more: it was known by the head alone."""
    vault, fields = operator.service.vault, {"form_token": await operator.form_token()}
    key = (await vault.keys.create("a job", scopes=["read"])).key
    path = f"/keys/{key.id}/revoke" if action == "revoke" else f"/connections/con_1/{action}"
    text = urlencode(fields | ({"path": ""} if action == "try" else {})).encode()
    sessions, known = vault.engine.sessions, asyncio.Event()
    recognize = sessions.recognize

    async def noticed(*given: Any, **how: Any) -> Any:
        found = await recognize(*given, **how)
        known.set()
        return found

    monkeypatch.setattr(sessions, "recognize", noticed)

    async def slowly() -> AsyncIterator[bytes]:
        yield text[:1]
        await known.wait()
        await sessions.end_all()
        yield text[1:]

    status, _, page = await operator.post(path, slowly(), {"Content-Length": str(len(text))})
    assert (status, "<code>unauthenticated</code>" in page) == (401, True)
    assert (await vault.keys.get(key.id)).ended_at is None
    assert (vault.links, vault.turns, vault.endpoint.refreshes) == ({}, 0, 0)
    assert await is_connected(operator)


@pytest.mark.row("A17")
@pytest.mark.parametrize(
    "path",
    [
        "/connections/con_1/refresh", "/connections/con_1/link", "/connections/con_1/try", DISCONNECT,
        "/keys/key_1/revoke", "/session/end",
    ],
)  # fmt: skip
async def test_every_form_is_asked(operator: Operator, path: str) -> None:
    """None is left out."""
    token = await operator.form_token()
    assert (await operator.send(path, {"Sec-Fetch-Site": "cross-site"}, form_token=token))[0] == 403
    assert (await operator.send(path))[0] == 403
    assert await operator.is_signed_in()
    assert await is_connected(operator)


async def test_the_form_of_a_page(operator: Operator) -> None:
    """Is taken, once the session's own page sent it."""
    assert (await operator.press(DISCONNECT))[0] == 303
    assert not await is_connected(operator)
