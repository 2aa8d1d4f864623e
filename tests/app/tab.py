"""A browser of a few lines."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

from tests.app.running import Running

BROWSER = "cloudbeds-auth-browser"
START = "cloudbeds-auth-start"


class Tab:
    """One browser: keeps its cookies, follows nothing by itself."""

    def __init__(self, service: Running[Any], host: str = "localhost:7000") -> None:
        self.service = service
        self.host = host
        self.cookies: dict[str, str] = {}
        self.flags: dict[str, str] = {}

    async def open(self, path: str, method: str = "GET", **more: bytes) -> tuple[int, str, str]:
        """Status, Location, and the page."""
        headers = {"Host": self.host}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        url = self.service.url + path
        async with self.service.http.request(
            method, url, headers=headers, allow_redirects=False, data=more.get("data")
        ) as answer:
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.cookies[name], self.flags[name] = morsel.value, line
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def begin(self, query: str = "") -> str:
        """Start an approval; its state."""
        status, location, _ = await self.open(f"/connect{query}")
        assert status == 303
        return location.partition("state=")[2]
