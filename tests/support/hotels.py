"""A vendor that answers every hotel at once, notes when it was asked, and may be down; and a loop of upkeep."""

from __future__ import annotations

import asyncio
from itertools import count

from tests.support.fakes import issued, pair
from tests.support.quiet_hotels import QuietHotels
from tests.support.stage import Process, Stage, another

from cloudbeds_auth.ports import AppState, Listed, MaySend, Turn
from cloudbeds_auth.rules.api_errors import Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.model import App, CredentialKind, Grant, Pair
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Issued, KeyAnswer, NotSent

LATENCY = 0.2  # seconds


class BusyVendor(QuietHotels):
    """Token endpoint and `/userinfo` in one; `moments` are those of every request, `renewed` the tokens sent."""

    lists_properties = True

    def __init__(self) -> None:
        self.moments: list[float] = []
        self.renewed: list[str] = []
        self.proofs = 0
        self.down = False
        self.listed: tuple[str, ...] = ()
        self._numbers = count(1)

    async def _asked(self) -> None:
        self.moments.append(asyncio.get_running_loop().time())
        await asyncio.sleep(LATENCY)

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        await self._asked()
        return issued(f"code-{code}-{next(self._numbers)}")

    async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
        await self._asked()
        key = Pair(Secret(f"cbat_{token.reveal()}"), None, FOREVER, kind=CredentialKind.API_KEY)
        return Issued(key)

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        await self._asked()
        if self.down:
            return NotSent("down") if len(self.moments) % 2 else Ambiguous("HTTP 502")
        self.renewed.append(token.reveal())
        return issued(f"new-{next(self._numbers)}")

    def authorization_url(self, app: App, state: str) -> str:
        return f"https://vendor.example/oauth?state={state}"

    async def userinfo(self, access: Secret) -> Verdict:
        await self._asked()
        if self.down:
            return Inconclusive("HTTP 502")
        self.proofs += 1
        return Proof()

    async def properties(self, access: Secret, turn: Turn, /) -> Listed:
        await turn()
        await self._asked()
        return Listed(self.listed)

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        await self._asked()
        return AppState("enabled")

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        await self._asked()
        return True

    def most_in_a_second(self) -> int:
        """The most requests that any closed window of one second held."""
        return max((sum(start <= at <= start + 1.0 for at in self.moments) for start in self.moments), default=0)


async def limited(stage: Stage, vendor: BusyVendor, limit: float = 10) -> Process:
    """Another process of ours that asks this vendor and keeps this limit."""
    made = await stage.process(endpoint=vendor, vendor=vendor)
    stage.processes.remove(made)
    process = another(made, limit=Limit(rate_within(limit)))
    stage.processes.append(process)
    return process


async def keep_up(process: Process, seconds: float) -> None:
    """As `jobs.Jobs` for so many seconds."""
    clock = process.world.clock
    until = clock.steady() + seconds
    while clock.steady() < until:
        wait = await process.upkeep.tick() * (0.5 + 0.5 * process.world.entropy.unit())
        await clock.sleep(min(wait, until - clock.steady()))


async def hotels(stage: Stage, number: int, *, used: bool = True) -> list[Grant]:
    """So many connected hotels, the first to expire first; `used`: within their lifetime, so that they are due."""
    found = [await stage.connected(pair(f"{at}", property_ids=(str(1000 + at),))) for at in range(number)]
    if used:
        stage.sql("UPDATE grants SET used_at = ?, due_at = stale_at", stage.clock.wall())
    for at, grant in enumerate(found):
        stage.sql("UPDATE grants SET expires_at = expires_at + ?, due_at = due_at - ? WHERE id = ?",
                  at / 1000, (number - at) / 1000, grant.id)  # fmt: skip
    return found
