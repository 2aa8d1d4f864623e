"""What `/userinfo` says of an access token, asked in its turn at the rate: the proof that a grant works (rule 3)."""

from __future__ import annotations

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import BEHIND, Budget
from cloudbeds_auth.errors import Error, RateLimited, StoreUnavailable
from cloudbeds_auth.rules.api_errors import Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, Grant


class Proofs:
    """Asks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._budget = Budget(world)

    async def ask(self, app: App, row: Grant, patience: float = BEHIND) -> Verdict | Error:
        """What Cloudbeds says of the stored access token, or why there was no turn within `patience` seconds to ask.

        `app` is the registration that the token was issued to: the turn counts for its client id.
        """
        world = self._world
        try:
            await self._budget.spend(app, patience)
        except (RateLimited, StoreUnavailable) as error:
            error.connection_id = row.connection_id
            return error
        verdict = await world.vendor.userinfo(row.access)
        world.observer.happened(Happening.PROOF, verdict=type(verdict).__name__)
        await self._budget.heed_verdict(app, verdict)
        return verdict
