"""A browser of a few lines."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.app.running import Running

BROWSER = "cloudbeds-auth-browser"
START = "cloudbeds-auth-start"
OUTCOME = "cloudbeds-auth-outcome"
CONNECTED = "cloudbeds-auth-connected"


class Tab:
    """One browser: keeps its cookies, and follows nothing by itself but the way to the page about a failure."""

    def __init__(self, service: Running[Any], host: str = "localhost:7000", prefix: str = "") -> None:
        self.service = service
        self.host = host
        self.prefix = prefix  # that a reverse proxy strips
        self.cookies: dict[str, str] = {}
        self.flags: dict[str, str] = {}
        self.secrets: dict[str, str] = {}  # what a test looks for

    async def open(
        self, path: str, method: str = "GET", *, data: bytes | None = None, follow: bool = True
    ) -> tuple[int, str, str]:
        """Status, Location, and the page."""
        answer = await self._ask(path, method, data)
        if follow and answer[0] == 303 and "/not-connected/" in answer[1]:
            return await self._ask(answer[1].removeprefix(self.prefix))
        return answer

    async def _ask(self, path: str, method: str = "GET", data: bytes | None = None) -> tuple[int, str, str]:
        headers = {"Host": self.host}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        url = self.service.url + path
        async with self.service.http.request(method, url, headers=headers, allow_redirects=False, data=data) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name], self.flags[name] = morsel.value, line
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def press(self, path: str) -> tuple[int, str, str]:
        """Open a link, and press the button of its page."""
        status, _, page = await self.open(path)
        assert (status, '<form method="post"' in page) == (200, True), page
        action = page.partition(' action="')[2].partition('"')[0]
        return await self.open(action.removeprefix(self.prefix), "POST", data=b"")

    async def begin(self, query: str = "") -> str:
        """Start an approval; its state."""
        status, location, _ = await self.open(f"/connect{query}")
        assert status == 303
        return parse_qs(urlsplit(location).query)["state"][0]
