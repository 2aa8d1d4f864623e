"""Keeps hotels subscribed to webhooks of Cloudbeds: to the one that reports a disconnect to the service, and to those
that the settings name, which Cloudbeds posts to a program's own endpoint.

Compared at connect, when a hotel comes back, when a group grows, when the settings change, and daily: list, record what
is to be made, make it, record the result. A lost answer leaves the record of the second step, and the next comparison
begins with a list again, so nothing is made twice. With the same token, risks to the connection are assessed
(`engine.risks`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World, current_grant
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.engine.refused_calls import RefusedCalls
from cloudbeds_auth.engine.risks import Risks
from cloudbeds_auth.engine.tasks import each
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.api_errors import NEXT_STEP, OUTAGE, UNREADABLE, Act, Refusal
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App, Connection, Role
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import (
    APP_STATE,
    HOLD,
    SUBSCRIPTION_REFUSED,
    Comparison,
    Subscription,
    Wanted,
    compare,
    settings_of,
    unlisted,
)
from cloudbeds_auth.transactions.subscriptions import (
    claim_subscriptions,
    note_subscriptions,
    subscriptions_compared,
    want_subscriptions,
)

AT_ONCE = 4  # connections that one tick compares
FINAL = (Act.REPORT, Act.NOTHING)  # such a refusal is recorded, and asked about again a day later

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Hotel:
    """One connection whose turn it is."""

    app: App
    connection: Connection
    token: AccessToken
    wanted: Sequence[Wanted]
    decided: bool = True

    def stored(self, property_id: str) -> list[Subscription]:
        """What is stored for one property."""
        return [one for one in self.connection.subscriptions if one.property_id == property_id]


class Subscriber:
    """Makes the `wanted` subscriptions, and ends those no longer wanted, with the token that callers are lent.

    Unless the settings are `decided`, they say nothing about events outside `wanted`: existing ones for these stay.
    """

    def __init__(
        self,
        world: World,
        access: Access,
        refused_calls: RefusedCalls,
        risks: Risks,
        wanted: Sequence[Wanted],
        *,
        decided: bool,
    ) -> None:
        self._world = world
        self._access = access
        self._refused_calls = refused_calls
        self._risks = risks
        self._wanted = wanted
        self._decided = decided
        self._begun = False

    async def tick(self) -> float:
        """Compare a few connections whose turn it is; seconds until the next tick. Raises StoreUnavailable."""
        settings = settings_of(self._wanted, decided=self._decided)
        if not self._begun:
            self._begun = await self._world.db.write(want_subscriptions(settings))
            if not self._begun:
                return 0.0
        claimed = await self._world.db.write(claim_subscriptions(settings, AT_ONCE, HOLD))
        await each(claimed, self._compare, self._failed)
        return 0.0 if len(claimed) == AT_ONCE else PAUSE

    async def end(self, app: App, connection: Connection, token: AccessToken) -> None:
        """The hotel is about to be disconnected here: end the subscriptions made here, as far as Cloudbeds answers.

        A disconnect waits for that no longer than a caller would. If the disconnect then fails, a comparison makes
        them anew.
        """
        hotel, clock = _Hotel(app, connection, token, ()), self._world.clock
        until = clock.steady() + self._world.timing.wait
        with suppress(Error):
            for property_id in connection.property_ids or ("",):
                if hotel.stored(property_id) and clock.steady() < until:
                    await self._of_property(hotel, property_id)

    def _failed(self, connection_id: str, error: Exception) -> None:
        """Report it; the comparison is repeated."""
        code = getattr(error, "code", type(error).__name__)
        self._world.observer.happened(Happening.SUBSCRIPTION_FAILED, connection_id=connection_id, error=code)

    async def _compare(self, connection_id: str) -> None:
        row = await current_grant(self._world.db, connection_id)
        if row is None or row.role is not Role.ACTIVE or row.reauth:
            return
        app, connection = await self._world.app_of(row), await self._world.known(connection_id)
        # A property-level client has no app state (cloudbeds-facts.md section 7).
        wanted = [one for one in self._wanted if app.level == "partner" or one.event != APP_STATE]
        token = await self._access.access_token(connection_id)
        if token.grant_id != row.id:  # the hotel approved again, in another process perhaps
            self._access.forget(connection_id)
            token = await self._access.access_token(connection_id)
        if token.grant_id != row.id:
            return  # … a moment ago
        hotel, settled = _Hotel(app, connection, token, wanted, self._decided), True
        if wanted or (self._decided and connection.subscriptions):
            settled = all([await self._of_property(hotel, one) for one in row.property_ids or ("",)])
        await self._risks.assess(app, await self._world.known(connection_id), token)
        if settled:
            await self._world.db.write(subscriptions_compared(row.id))

    async def _of_property(self, hotel: _Hotel, property_id: str) -> bool:
        """Whether all is as wanted, or refused; else an answer was lost, and the property is compared again soon."""
        vendor, part = self._world.vendor, property_id or None
        found = await self._asked(hotel, partial(vendor.subscriptions, property_id=part), "GET", "getWebhooks")
        if isinstance(found, Refusal):
            return await self._unlisted(hotel, property_id, found)
        step = compare(property_id, hotel.wanted, hotel.stored(property_id), found, decided=hotel.decided)
        if step.make:
            await self._note(hotel, property_id, step.stored)
        kept = [one for one in step.stored if one not in step.end]
        settled = await self._made(hotel, step, kept)
        answer: Refusal | None = None
        for one in step.end:
            answer = OUTAGE if answer == OUTAGE else await self._ended(hotel, one)
            if answer is not None:
                kept.append(one)
                settled &= _is_final(answer)
        await self._note(hotel, property_id, kept)
        return settled

    async def _unlisted(self, hotel: _Hotel, property_id: str, refusal: Refusal) -> bool:
        """Without the list, nothing is sent that could make duplicates. A final refusal is recorded for people."""
        if not _is_final(refusal):
            return False
        problem, said = _problem(refusal), refusal.said
        await self._note(
            hotel, property_id, unlisted(property_id, hotel.wanted, hotel.stored(property_id), problem, said)
        )
        return True

    async def _made(self, hotel: _Hotel, step: Comparison, kept: list[Subscription]) -> bool:
        """Make each of `step.make`, and put the results into `kept`; returns whether all have an answer."""
        settled = True
        for one, wanted in step.make:
            subscribe = partial(self._world.vendor.subscribe, wanted=wanted, property_id=one.property_id or None)
            answer = await self._asked(hotel, subscribe, "POST", "postWebhook")
            if isinstance(answer, str):
                if one.made and one.id and one.id != answer:  # with its new header it is a new subscription
                    await self._ended(hotel, one)
                kept[kept.index(one)] = one.taken(wanted, answer)
            elif _is_final(answer):
                kept[kept.index(one)] = one.refused(_problem(answer), wanted.veiled(answer.said))
            else:
                settled = False
        return settled

    async def _ended(self, hotel: _Hotel, one: Subscription) -> Refusal | None:
        end = partial(self._world.vendor.unsubscribe, subscription_id=one.id, property_id=one.property_id or None)
        return await self._asked(hotel, end, "DELETE", "deleteWebhook")

    async def _note(self, hotel: _Hotel, property_id: str, subscriptions: Sequence[Subscription]) -> None:
        about = hotel.connection.id
        changed = await self._world.db.write(note_subscriptions(hotel.token.grant_id, property_id, subscriptions))
        if changed is None:
            return
        if changed.made or changed.ended:
            made, ended = len(changed.made), len(changed.ended)
            self._world.observer.happened(
                Happening.SUBSCRIPTIONS_CHANGED, connection_id=about, property=property_id, made=made, ended=ended
            )
        for reason in changed.refused.values():
            self._world.observer.happened(Happening.SUBSCRIPTION_FAILED, connection_id=about, error=reason)

    async def _asked(
        self, hotel: _Hotel, request: Callable[[Secret], Awaitable[T | Refusal]], method: str, name: str
    ) -> T | Refusal:
        """One request when its turn comes. A refused token is looked into or renewed as any caller's is, and the next
        comparison uses the result.
        """
        answer = await self._world.limiter(hotel.app).ask(BEHIND, partial(request, hotel.token.value))
        if not isinstance(answer, Refusal) or _is_final(answer):
            return answer
        about, reason = hotel.connection.id, answer.reason
        self._world.observer.happened(Happening.SUBSCRIPTION_FAILED, connection_id=about, error=reason)
        if answer.act not in FINAL:
            self._refused_calls.note_refusal(hotel.token, answer, method, name)
            if answer.act is Act.HEAL:
                await self._access.access_token(hotel.connection.id, rejected=hotel.token)
        return answer


def _is_final(refusal: Refusal) -> bool:
    """Whether the same answer is to be expected for now; if not, no answer came, or the token was refused."""
    return refusal.act in FINAL and refusal not in (OUTAGE, UNREADABLE)


def _problem(refusal: Refusal) -> str:
    """How the connection shows it."""
    return refusal.reason if refusal.reason in NEXT_STEP else SUBSCRIPTION_REFUSED
