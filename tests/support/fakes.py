"""Scripted ports: what an endpoint answers, what was asked of it, what was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import count

from cloudbeds_auth.ports import AppState, Fact, Listed, MaySend, Throttled, Turn, Unlisted
from cloudbeds_auth.rules.api_errors import OUTAGE, Proof, Refusal, Verdict
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App, CredentialKind, Pair, User
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Hook, VendorSubscription, Wanted
from cloudbeds_auth.rules.token_response import Answer, Issued, KeyAnswer, NotOffered, TooLate, UnauthorizedClient

ISSUER = "https://vendor.example"
APP = App("default", "client-1", (Secret("secret-1"),), "http://localhost:7000/callback", ("read:hotel",))
HOOK = Hook("https://us.example/hotel-events", "X-Hook-Secret", Secret("canary-of-the-hook"))
HERE = Source(ISSUER, APP.client_id)
ADA = User("9001", "Ada Lindqvist", "ada@hotel.example")
HOUR = 3700.0  # after so many seconds the access token of a `pair` has run out
STALE = 3300.0  # after so many it is past nine tenths of its life

Either = Answer | KeyAnswer
Reply = Either | Callable[[], Awaitable[Either]] | Callable[[], Awaitable[Answer]]
Opinion = Verdict | Callable[[], Awaitable[Verdict]]


def pair(
    number: int | str,
    *,
    lifetime: float = 3600.0,
    refresh: str | None = "",
    property_ids: tuple[str, ...] = (),
    kind: CredentialKind = CredentialKind.OAUTH,
) -> Pair:
    """The pair (A-number, R-number); `refresh` names another R, or None."""
    token = f"R-{number}" if refresh == "" else refresh
    return Pair(
        Secret(f"A-{number}"), None if token is None else Secret(token), lifetime, property_ids, ("read:hotel",), kind
    )


def key(name: int | str, *property_ids: str) -> Issued:
    """The answer that carries an API key, and as the vendor's, nothing beside it unless it is asked for."""
    return Issued(Pair(Secret(f"cbat_{name}"), None, FOREVER, property_ids, None, CredentialKind.API_KEY))


def issued(number: int | str, **parts: object) -> Issued:
    """The answer that carries `pair(number)`."""
    return Issued(pair(number, **parts))  # type: ignore[arg-type]


class Dice:
    """ports.Entropy that counts; `unit` is always `roll`."""

    def __init__(self, roll: float = 0.5) -> None:
        self.roll = roll
        self._numbers = count(1)

    def token(self) -> str:
        return f"token-{next(self._numbers):04d}"

    def identifier(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers):06d}"

    def unit(self) -> float:
        return self.roll


class Notebook:
    """ports.Observer that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[Happening, dict[str, Fact]]] = []

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        self.told.append((what, facts))

    def times(self, what: str) -> int:
        """How often it happened."""
        assert what in set(Happening), what
        return sum(one == what for one, _ in self.told)

    def facts(self, what: str) -> list[dict[str, Fact]]:
        """What was reported with it, each time."""
        assert what in set(Happening), what
        return [facts for one, facts in self.told if one == what]


class ScriptedEndpoint:
    """ports.TokenEndpoint that reads its answers from a list; asked beyond its end, it fails the test.

    An answer may be a function: it runs while the request is under way, so it can do what others do meanwhile.
    """

    def __init__(self) -> None:
        self.script: list[Reply] = []
        self.sent: list[str] = []
        self.codes: list[str] = []
        self.exchanged: list[str] = []
        self.secrets: list[str] = []
        self.apps: list[str] = []
        self.running = 0
        self.most_running = 0

    def will(self, *replies: Reply) -> None:
        """Answer so, in this order."""
        self.script.extend(replies)

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        self.codes.append(code)
        self.apps.append(app.id)
        return _of_a_refresh(await self._next(secret))

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        if not may_send():
            return TooLate()
        self.sent.append(token.reveal())
        self.apps.append(app.id)
        return _of_a_refresh(await self._next(secret))

    async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
        if not may_send():
            return TooLate()
        self.exchanged.append(token.reveal())
        self.apps.append(app.id)
        answer = await self._next(secret)
        assert not isinstance(answer, UnauthorizedClient)
        return answer

    async def _next(self, secret: Secret) -> Either:
        self.secrets.append(secret.reveal())
        so_far = (self.sent, self.codes, self.exchanged)
        assert self.script, f"nobody expected another token request; sent so far: {so_far}"
        reply = self.script.pop(0)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return reply if not callable(reply) else await reply()
        finally:
            self.running -= 1


def _of_a_refresh(answer: Either) -> Answer:
    assert not isinstance(answer, NotOffered)
    return answer


class ScriptedVendor:
    """ports.Vendor: every token works, unless `opinions` or `script` say otherwise."""

    def __init__(self) -> None:
        self.opinions: dict[str, Opinion] = {}
        self.script: list[Opinion] = []
        self.asked: list[str] = []
        self.listed: tuple[str, ...] | Unlisted = ()
        self.lists_properties = True
        self.throttled: Throttled | None = None  # what `getHotels` and `postAppState` answer
        self.disables = True
        self.refuses: set[str] = set()  # access tokens that disable nothing
        self.app_states: dict[str | None, AppState] = {}
        self.asked_states: list[str | None] = []
        self.subscribed: list[tuple[str, str | None]] = []
        self.approver: tuple[str, ...] | Refusal = ("Owner",)
        self.unsubscribed: list[str] = []
        self.there: dict[tuple[str | None, str], str] = {}  # events by property and id
        self.webhooks_refuse: list[Refusal | None] = []  # what is answered next instead, None: nothing
        self.disabled: list[tuple[str, tuple[str, ...]]] = []

    def thinks(self, access: Iterable[str] | str, opinion: Opinion) -> None:
        """What `/userinfo` says about these access tokens from now on."""
        for token in [access] if isinstance(access, str) else access:
            self.opinions[token] = opinion

    def authorization_url(self, app: App, state: str) -> str:
        return f"https://vendor.example/oauth?client_id={app.client_id}&state={state}"

    async def userinfo(self, access: Secret) -> Verdict:
        self.asked.append(access.reveal())
        opinion = self.script.pop(0) if self.script else self.opinions.get(access.reveal(), Proof())
        return opinion if not callable(opinion) else await opinion()

    async def properties(self, access: Secret, turn: Turn, /) -> Listed | Unlisted:
        await turn()
        if self.throttled is not None:
            raise self.throttled
        return self.listed if isinstance(self.listed, Unlisted) else Listed(self.listed)

    async def roles(self, access: Secret) -> tuple[str, ...] | Refusal:
        return self.approver

    async def subscriptions(self, access: Secret, property_id: str | None) -> list[VendorSubscription] | Refusal:
        if refusal := self._refused():
            return refusal
        there = self.there.items()
        return [VendorSubscription(one, event, HOOK.url) for (part, one), event in there if part == property_id]

    async def subscribe(self, access: Secret, wanted: Wanted, property_id: str | None) -> str | Refusal:
        refusal = self._refused()
        self.subscribed.append((wanted.event, property_id))
        if refusal is None or refusal == OUTAGE:  # the answer is lost
            self.there[property_id, f"{wanted.event}@{property_id}"] = wanted.event
        return refusal or f"{wanted.event}@{property_id}"

    async def unsubscribe(self, access: Secret, subscription_id: str, property_id: str | None) -> Refusal | None:
        refusal = self._refused()
        self.unsubscribed.append(subscription_id)
        if refusal is None:
            del self.there[property_id, subscription_id]
        return refusal

    def _refused(self) -> Refusal | None:
        return self.webhooks_refuse.pop(0) if self.webhooks_refuse else None

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        self.asked_states.append(property_id)
        if self.throttled is not None:
            raise self.throttled
        return self.app_states.get(property_id, AppState("enabled"))

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        if self.throttled is not None:
            raise self.throttled
        self.disabled.append((access.reveal(), property_ids))
        return self.disables and access.reveal() not in self.refuses
