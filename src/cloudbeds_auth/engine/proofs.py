"""What `/userinfo` says of an access token: the proof that a grant works (rule-3)."""

from __future__ import annotations

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.errors import Error, RateLimited, StoreUnavailable
from cloudbeds_auth.rules.api_errors import Verdict
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, Grant


async def verdict_on(world: World, app: App, row: Grant, patience: float = BEHIND) -> Verdict | Error:
    """What Cloudbeds says of the stored access token, or why there was no turn within `patience` seconds to ask.

    `app` is the registration that the token was issued to: the turn counts for its client id.
    """
    try:
        await world.limiter(app).spend(patience)
    except (RateLimited, StoreUnavailable) as error:
        error.connection_id = row.connection_id
        return error
    verdict = await world.vendor.userinfo(row.access)
    world.observer.happened(Happening.PROOF, verdict=type(verdict).__name__)
    await world.limiter(app).pause_after(verdict)
    return verdict
