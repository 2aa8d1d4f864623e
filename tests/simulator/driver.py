"""A small client of a running simulator, with the steps every test needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from cloudbeds_simulator.http_shell import SimulatorServer

CLIENT, SECRET, CALLBACK = "simulated-app", "simulated-secret", "http://localhost:7000/callback"


@dataclass(frozen=True)
class Reply:
    """An answer read to its end."""

    status: int
    body: bytes
    headers: CIMultiDictProxy[str]
    json: Any


class Driver:
    """Talks to one simulator over real sockets."""

    def __init__(self, base: str, session: aiohttp.ClientSession, simulator: SimulatorServer) -> None:
        self.base, self.session, self.simulator = base, session, simulator

    async def ask(self, method: str, path: str, **kwargs: Any) -> Reply:
        """One request, redirects not followed, the path sent as written."""
        url = URL(self.base + path, encoded=True)
        async with self.session.request(method, url, allow_redirects=False, **kwargs) as response:
            body = await response.read()
            told = await response.json() if response.content_type == "application/json" and body else None
            return Reply(response.status, body, response.headers, told)

    async def api(self, method: str, name: str, token: str | None = None, **kwargs: Any) -> Reply:
        """A call of an API method with this bearer token."""
        headers = kwargs.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        return await self.ask(method, f"/api/v1.3/{name}", headers=headers, **kwargs)

    async def token(self, **fields: str) -> Reply:
        """A token request with the registered client's credentials unless others are given."""
        form = {"client_id": CLIENT, "client_secret": SECRET, **fields}
        return await self.ask("POST", "/api/v1.3/access_token", data=form)

    async def refresh(self, refresh_token: str) -> Reply:
        """A refresh."""
        return await self.token(grant_type="refresh_token", refresh_token=refresh_token)

    async def code(self, scope: str = "") -> str:
        """A code from an automatic approval, of all scopes unless some are named."""
        await self.control("POST", "settings", auto_approve=True)
        path = f"/api/v1.3/oauth?client_id={CLIENT}&redirect_uri={CALLBACK}&response_type=code&scope={quote(scope)}"
        reply = await self.ask("GET", path)
        return parse_qs(urlsplit(reply.headers["Location"]).query)["code"][0]

    async def exchange(self, code: str) -> Reply:
        """Spend a code."""
        return await self.token(grant_type="authorization_code", code=code, redirect_uri=CALLBACK)

    async def connect(self, scope: str = "") -> dict[str, Any]:
        """A whole connection: the token answer."""
        reply = await self.exchange(await self.code(scope))
        assert reply.status == 200, reply.body
        return dict(reply.json)

    async def control(self, method: str, route: str, **body: Any) -> Any:
        """A control request with a JSON object, or a GET with these query parameters."""
        if method == "GET":
            query = "&".join(f"{name}={value}" for name, value in body.items())
            return (await self.ask("GET", f"/_control/{route}?{query}")).json
        reply = await self.ask(method, f"/_control/{route}", json=body)
        assert reply.status == 200, reply.body
        return reply.json

    async def fault(self, kind: str, target: str = "token", **fields: Any) -> None:
        """Arm one fault."""
        await self.control("POST", "faults", kind=kind, target=target, **fields)
