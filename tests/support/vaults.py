"""`TokenVault` in virtual time: wired as `runtime` does it, over a real SQLite file and `support.cloud`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.cloud import BASE, CALLBACK, CLIENT, SCOPES, Cloud
from tests.support.fakes import Dice
from tests.support.keys import KEY
from tests.support.virtual import VirtualClock

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.database.sqlite import SqliteDriver
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.runtime import OpenEngine
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.vault import TokenVault
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.cloudbeds_api import HttpVendor
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

VERSION = "v1.3"


@dataclass
class House:
    """One machine of ours: a database file and the client secret that its settings name."""

    path: Path
    clock: VirtualClock
    cloud: Cloud
    observer: Observer
    secret: str = "secret-1"
    timing: Timing = field(default_factory=Timing)
    dice: Dice = field(default_factory=Dice)
    opened: int = 0

    def settings(self) -> Settings:
        """As they are now."""
        given: dict[str, Any] = {
            "client_id": CLIENT,
            "client_secret": self.secret,
            "redirect_uri": CALLBACK,
            "scopes": " ".join(SCOPES),
            "base_url": BASE,
            "database_url": f"sqlite:///{self.path}",
            "rate_limit": 0,
        }
        return Settings(**given)

    async def open(self) -> TokenVault:
        """Another process's vault; nothing runs in its background that a test does not begin."""
        self.opened += 1
        settings = self.settings()
        driver = SqliteDriver(self.path, self.clock.instant)
        await driver.open()
        store = Database(driver, AesGcmSealer([KEY]), lambda *_: False)
        await store.open()
        apps = {"default": settings.app()}
        token_endpoint = HttpTokenEndpoint(f"{BASE}/api/{VERSION}/access_token", self.timing, self.cloud)
        vendor = HttpVendor(BASE, VERSION, f"{BASE}/oauth", self.timing, self.cloud)
        world = World(
            clock=self.clock,
            entropy=self.dice,
            db=store,
            token_endpoint=token_endpoint,
            vendor=vendor,
            observer=self.observer,
            timing=self.timing,
            apps=apps,
            owner=f"process-{self.opened}",
            issuer=BASE,
            public_url="http://localhost:7000",
            reread_apps=lambda: apps.update(default=self.settings().app()),
        )
        return TokenVault(OpenEngine(world, settings, token_endpoint, Secret("a" * 32)))

    async def call(self, vault: TokenVault, connection_id: str) -> int:
        """A protected call as a user's program makes it, with `auth=`; the status of the answer."""
        async with http_client.client(self.timing, self.cloud, keep_alive=0) as http:
            auth = vault.auth(connection_id)
            return (await http.get(f"{BASE}/api/{VERSION}/getHotelDetails", auth=auth)).status_code
