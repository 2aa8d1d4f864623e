"""The simulator in this process, on a free port, and settings of a vault that calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
from yarl import URL

from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator import faults
from cloudbeds_simulator.__main__ import build, parser
from cloudbeds_simulator.http_shell import SimulatorServer, listen
from cloudbeds_simulator.journal import JournalEntry

CLIENT, SECRET = "simulated-app", "simulated-secret"


@dataclass
class Vendor:
    """A running simulator, looked at and steered from within."""

    base: str
    simulator: SimulatorServer
    session: aiohttp.ClientSession

    def settings(self, folder: Path, **changes: Any) -> Settings:
        """A vault's settings over a database in `folder`."""
        given: dict[str, Any] = {
            "client_id": CLIENT,
            "client_secret": SECRET,
            "base_url": self.base,
            "database_url": f"sqlite:///{folder / 'vault.sqlite3'}",
            "rate_limit": 0,  # the tests' deadlines are scaled down, the vendor's second is not
        }
        return Settings(**(given | changes))

    async def approve(self, url: str, *property_ids: str) -> tuple[str, str]:
        """What the hotel does at `url`: the code and the state that come back."""
        self.simulator.model.choose(property_ids or list(self.simulator.model.hotels)[:1])
        async with self.session.get(URL(url, encoded=True), allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            back = parse_qs(urlsplit(answer.headers["Location"]).query)
        return back["code"][0], back["state"][0]

    async def connect(self, vault: TokenVault, *property_ids: str, **parts: Any) -> Connection:
        """The whole way in."""
        begun = await vault.begin_authorization(**parts)
        code, state = await self.approve(begun.url, *property_ids)
        return await vault.finish_authorization(code=code, state=state)

    def fault(self, kind: str, target: str = "token", **fields: Any) -> None:
        """Arm one fault."""
        self.simulator.faults.rules.append(faults.parse({"kind": kind, "target": target, **fields}))

    def expire(self) -> None:
        """Every access token runs out now, at the vendor."""
        for grant in self.simulator.model.grants:
            grant.rotation.expire(self.simulator.clock.now())

    def token_requests(self, grant_type: str = "refresh_token") -> list[JournalEntry]:
        """The log of the token endpoint."""
        return [one for one in self.simulator.journal.entries if one.grant_type == grant_type]

    def accepted(self) -> set[str]:
        """Every refresh token that the vendor accepts now."""
        return {token for grant in self.simulator.model.grants for token in grant.rotation.accepted}


@asynccontextmanager
async def vendor(variant: str = "V2/n", hotels: int = 3) -> AsyncIterator[Vendor]:
    """A simulator that approves by itself."""
    arguments = ["--auto-approve", "--variant", variant, "--hotels", str(hotels)]
    simulator = build(parser().parse_args(arguments))
    runner, port = await listen(simulator)
    try:
        async with aiohttp.ClientSession() as session:
            yield Vendor(f"http://127.0.0.1:{port}", simulator, session)
    finally:
        simulator.faults.clear()
        await runner.cleanup()
