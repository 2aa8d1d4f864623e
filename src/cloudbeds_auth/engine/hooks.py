"""Hotels that leave at Cloudbeds: learnt from its webhook, which is a hint, and by asking now and then.

Nothing is deleted for either. Where Cloudbeds itself says `disabled`, for every property of the grant, that is written
down, and the grant is checked by the one way there is (`engine.refused_calls`): a token that works withdraws it, and
a grant that is dead twice, an interval apart, is shown as disconnected and tried again like any other marked grant
(rule-12). A refusal instead of a state leads to the same check. A property-level client may not ask for an app state,
so for it that check is all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TypeVar

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World, current_grant, resolve
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.engine.refused_calls import Health
from cloudbeds_auth.engine.tasks import Tasks, each
from cloudbeds_auth.errors import Error
from cloudbeds_auth.ports import Hook, Throttled
from cloudbeds_auth.rules.api_errors import Act, Refusal
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App, CredentialKind, Grant, Role
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.rules.webhooks import APP_DISABLED, POLL, Hint, hint_of
from cloudbeds_auth.transactions.refusals import note_disabled, note_problem
from cloudbeds_auth.transactions.upkeep import claim_polls

T = TypeVar("T")
REST = 30.0  # seconds between two confirmations of one connection
MOST_WAITING = 200  # hints that are followed at one time; what is dropped is learnt by asking
MOST_REMEMBERED = 10_000
AT_ONCE = 4  # connections that one tick asks about
LEFT_OUT = "property_disconnected"
SUSPECTED = Refusal("app_state_refused", Act.SUSPECT)


class Inbound:
    """Follows hints, and asks by itself. Each hotel asked about is subscribed to `hook`, where there is one."""

    def __init__(self, world: World, access: Access, health: Health, hook: Hook | None = None) -> None:
        self._world = world
        self._access = access
        self._health = health
        self._hook = hook
        self._following = Tasks()
        self._numbers = count(1)
        self._waiting: set[str] = set()
        self._rests: dict[str, float] = {}

    def hint(self, body: bytes) -> None:
        """A payload came with the right secrets. Returns at once; what it reports is confirmed in the background."""
        hint = None if self._world.db.read_only else hint_of(body)  # a copy could believe it, and write nothing down
        if hint is None or len(self._following) >= MOST_WAITING:
            self._world.observer.happened(Happening.HINT_IGNORED if hint is None else Happening.HINT_DROPPED)
            return
        self._world.observer.happened(Happening.HINT_RECEIVED, property=hint.property_id)
        self._following.begin(f"follow hint {next(self._numbers)}", partial(self._follow, hint))

    async def stop(self) -> None:
        """End what runs: a hint that is not followed is learnt of by asking."""
        await self._following.stop()

    async def tick(self) -> float:
        """Ask about a few connections whose turn it is; seconds until the next tick. Raises StoreUnavailable."""
        claimed = await self._world.db.write(claim_polls(AT_ONCE, POLL))
        await each(claimed, partial(self._confirm, hint=None), self._failed)
        return 0.0 if len(claimed) == AT_ONCE else PAUSE

    async def _follow(self, hint: Hint) -> None:
        with suppress(Error):
            for connection_id in await resolve(self._world.db, hint.property_id):
                await self._rested(connection_id, hint)

    async def _rested(self, connection_id: str, hint: Hint) -> None:
        """Confirm, `REST` seconds after the last time or later; hints that come meanwhile share it."""
        clock = self._world.clock
        if connection_id in self._waiting:
            return
        self._waiting.add(connection_id)
        try:
            rest = self._rests.get(connection_id, 0.0) - clock.steady()
            if rest > 0:
                await clock.sleep(rest)
        finally:
            self._waiting.discard(connection_id)
        if len(self._rests) >= MOST_REMEMBERED:
            self._rests.clear()
        self._rests[connection_id] = clock.steady() + REST
        await each([connection_id], partial(self._confirm, hint=hint), self._failed)

    def _failed(self, connection_id: str, error: Exception) -> None:
        """It is asked about again."""
        code = getattr(error, "code", type(error).__name__)
        self._world.observer.happened(Happening.APP_STATE_FAILED, connection=connection_id, error=code)

    async def _confirm(self, connection_id: str, hint: Hint | None) -> None:
        """Ask Cloudbeds, and act on what it says itself."""
        row = await current_grant(self._world.db, connection_id)
        if row is None or row.role is not Role.ACTIVE or row.reauth:
            return
        app = await self._world.app_of(row)
        # A key may belong to the second set of credentials that a move was made with (docs/keys.md).
        if hint is not None and row.kind is CredentialKind.OAUTH and hint.client_id not in {"", app.client_id}:
            return
        token = await self._access.access_token(connection_id)
        if token.grant_id != row.id:
            return  # the hotel approved again meanwhile
        if app.level == "property":
            await self._look(token)
            return
        disabled = await self._disabled_parts(app, token, _parts(row, hint))
        if len(disabled) == len(_parts(row, hint)):
            # One answer may be wrong, so it is a hint: believed once the grant is dead, too (rule-12).
            if await self._world.db.write(note_disabled(row.id, token.generation)):
                self._world.observer.happened(Happening.DISABLED_SAID, connection=connection_id)
            await self._look(token)
            return
        if disabled:
            said = {"properties": ", ".join(disabled)}
            await self._world.db.write(note_problem(row.id, token.generation, LEFT_OUT, said))
        if hint is None:
            await self._subscribe(app, token, row)

    async def _disabled_parts(self, app: App, token: AccessToken, parts: list[str | None]) -> list[str]:
        """Those of which Cloudbeds says that the app is disabled, up to the first of which it says anything else."""
        disabled: list[str] = []
        for part in parts:
            answer = await self._in_turn(app, partial(self._world.vendor.app_state, token.value, part))
            if answer.refused:
                await self._look(token)
            if answer.state != APP_DISABLED:
                break
            disabled.append(part or "")
        return disabled

    async def _subscribe(self, app: App, token: AccessToken, row: Grant) -> None:
        """Once more each time: Cloudbeds deletes subscriptions, and an operator may have changed the secrets."""
        if self._hook is None:
            return
        for part in _parts(row, None):
            if not await self._in_turn(app, partial(self._world.vendor.subscribe, token.value, self._hook, part)):
                self._world.observer.happened(Happening.SUBSCRIPTION_FAILED, connection=row.connection_id)
                return

    async def _in_turn(self, app: App, ask: Callable[[], Awaitable[T]]) -> T:
        """One request when its turn comes; raises RateLimited, and Throttled once the pause holds in each process."""
        await self._world.limiter(app).spend(BEHIND)
        try:
            return await ask()
        except Throttled as throttled:
            await self._world.limiter(app).pause(throttled.pause)
            raise

    async def _look(self, token: AccessToken) -> None:
        """Have `/userinfo` asked whether the grant lives."""
        self._health.heed(token, SUSPECTED, "GET", "getAppState")


def _parts(row: Grant, hint: Hint | None) -> list[str | None]:
    """What is asked about: each property, the hinted one first; the grant's own where none is known."""
    first = [hint.property_id] if hint is not None and hint.property_id in row.property_ids else []
    found: list[str | None] = list(dict.fromkeys((*first, *row.property_ids)))
    return found or [None]
