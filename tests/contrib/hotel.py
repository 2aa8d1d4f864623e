"""A connected hotel: the simulator, a blocking vault over it, and what the vendor saw of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import httpx2
from tests.acceptance.processes import Http, World, world

from cloudbeds_auth import vault as aio
from cloudbeds_auth.contrib.httpx import HttpxAuth
from cloudbeds_auth.settings import Need, Settings, load
from cloudbeds_auth.sync import TokenVault

LIBRARIES: tuple[ModuleType, ...] = (httpx2, httpx)
KEPT = 1000  # bytes: the largest body of unknown position that is kept, here
LARGE = bytes(range(256)) * 40  # more than is kept
SMALL = LARGE[: KEPT // 2]


@dataclass
class Hotel:
    """`id` is the connection; `settings` open another vault over the same store."""

    made: World
    settings: Settings
    vault: TokenVault
    id: str

    def url(self, method: str) -> str:
        """The address of an API method."""
        return f"{self.vault.base_url}/api/v1.3/{method}"

    def expire(self) -> None:
        """The vendor ends every access token."""
        self.made.vendor.control("expire")

    def fault(self, target: str, kind: str, **parts: Any) -> None:
        """Something goes wrong with the next request to `target`."""
        self.made.vendor.control("faults", target=target, kind=kind, **parts)

    def calls(self, method: str = "") -> list[dict[str, Any]]:
        """The protected calls that the vendor saw, those of `method` where one is named; the vault's own are not."""
        log = self.made.vendor.control("requests", "GET")["requests"]
        own = {"oauth", "access_token"} if method else {"oauth", "access_token", "userinfo"}
        names = [(one, one["path"].partition("?")[0].rpartition("/api/v1.3/")[2]) for one in log]
        return [one for one, name in names if name not in own and (not method or name == method)]

    def statuses(self, method: str = "") -> list[int]:
        """What those calls were answered with."""
        return [one["status"] for one in self.calls(method)]

    @property
    def refreshes(self) -> int:
        """How often the vendor issued a new pair."""
        return self.made.vendor.counts().get("issued", 0)

    @property
    def under_way(self) -> int:
        """Bodies under way that cannot be sent again, as the vault counts them."""
        engine = self.vault._program.threaded._now().vault.engine
        return len(engine.world.streams._under_way)

    def history(self) -> dict[str, int]:
        """Method and path of every counted call."""
        self.vault._wait(lambda vault: vault.engine.calls.flush(everything=True))
        found: dict[str, int] = {}
        for event in self.vault.events(self.id):
            if event.kind == "calls":
                methods = event.data["methods"]
                assert isinstance(methods, dict)
                for line, count in methods.items():
                    found[line] = found.get(line, 0) + count
        return found


def auth_for(library: ModuleType, vault: TokenVault | aio.TokenVault, connection_id: str) -> Any:
    """What a client of httpx2, or of the httpx before it, is given."""
    return vault.auth(connection_id) if library is httpx2 else HttpxAuth(vault, connection_id)


def connect(vault: TokenVault) -> str:
    """Approve as the hotel does; the connection's id."""
    begun = vault.begin_authorization()
    back = parse_qs(urlsplit(Http().get(begun.url).headers["Location"]).query)
    return vault.finish_authorization(code=back["code"][0], state=back["state"][0]).id


@contextmanager
def connected(folder: Path, **settings: str) -> Iterator[Hotel]:
    """A hotel for the time of a test."""
    given = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "20", "CLOUDBEDS_AUTH_REPLAY_LIMIT": str(KEPT), **settings}
    with world(folder, "--auto-approve", **given) as made:
        opened = load(made.settings, None, need=Need.APP)
        with TokenVault.open(opened) as vault:
            yield Hotel(made, opened, vault, connect(vault))
