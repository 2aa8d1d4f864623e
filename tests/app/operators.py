"""An operator's browser: it says where its forms come from, as browsers do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.app.running import Running
from tests.app.tab import Tab
from tests.app.vaults import ADMIN_TOKEN, RealVault

SESSION = "cloudbeds-auth-session"
FROM_HERE = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Sec-Fetch-Site": "same-origin",
    "Origin": "null",  # our referrer policy makes it so
}
Answer = tuple[int, str, str]  # status, Location, and the page


class Operator(Tab):
    """One browser, signed in or not."""

    service: Running[RealVault]

    async def send(self, path: str, headers: dict[str, str | None] | None = None, /, **fields: str) -> Answer:
        """Send a form; a header that is None is left out."""
        return await self.post(path, urlencode(fields).encode(), headers or {})

    async def post(self, path: str, body: bytes | AsyncIterator[bytes], headers: dict[str, str | None]) -> Answer:
        """Send anything."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        wanted: dict[str, str | None] = {"Host": self.host, "Cookie": cookies or None, **FROM_HERE, **headers}
        given = {name: value for name, value in wanted.items() if value is not None}
        asked: dict[str, Any] = {"data": body, "headers": given, "allow_redirects": False}
        async with self.service.http.post(self.service.url + path, **asked) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name], self.flags[name] = morsel.value, line
            assert "access-control-allow-origin" not in {name.lower() for name in answer.headers}
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def sign_in(self, credential: str = ADMIN_TOKEN) -> Answer:
        """Enter this into the form."""
        return await self.send("/session", credential=credential)

    async def form_token(self) -> str:
        """What the forms of its pages carry."""
        _, _, page = await self.open("/keys")
        return page.partition('name="form_token" value="')[2].partition('"')[0]

    async def press(self, path: str) -> Answer:
        """Send the form of this path from a page of the session."""
        return await self.send(path, form_token=await self.form_token())

    async def is_signed_in(self) -> bool:
        """Whether a page is shown to it."""
        status, _, _ = await self.open("/connections")
        assert status in {200, 401}
        return status == 200


async def signed_in(service: Running[RealVault]) -> Operator:
    """By the admin token."""
    operator = Operator(service)
    assert (await operator.sign_in())[:2] == (303, "/")
    return operator


async def code(service: Running[RealVault]) -> str:
    """That of a new link."""
    link = await service.vault.engine.sessions.create_link()
    return link.url.reveal().partition("/sign-in#")[2]
