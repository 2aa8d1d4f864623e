"""What the engine needs from the world, as protocols: every effect goes through one of these.

Time and dice; how secrets are stored; being notified by other processes; what Cloudbeds is asked at its token endpoint,
at its API and through the proxy; webhooks to a receiver; what is reported to logs and metrics. The port of the database
is `transactions.runner.Driver`. Production implements them in `system`, `database`, `wire` and `observe`; a test may
implement any of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from cloudbeds_auth.rules.api_errors import Act, Refusal, Verdict
from cloudbeds_auth.rules.audit import PROGRAM, Acting
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import VendorSubscription, Wanted
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer


class Clock(Protocol):
    """Production: `system.SystemClock`."""

    def wall(self) -> float:
        """Unix seconds. May jump; never used to measure a duration."""
        ...

    def steady(self) -> float:
        """Seconds that only run forward, also while the machine sleeps; comparable within one boot."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of steady time."""
        ...


class Entropy(Protocol):
    """Production: `system.SystemEntropy`, from the operating system's generator."""

    def token(self) -> str:
        """A URL-safe secret of 256 bits."""
        ...

    def identifier(self, prefix: str) -> str:
        """A unique id that sorts by the time it was made: `con_01J…`."""
        ...

    def unit(self) -> float:
        """A number in [0, 1), for jitter; not for secrets."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value belongs; it opens nowhere else (a moved, swapped or rolled-back row fails)."""

    table: str
    row: str
    position: int
    generation: int


class SealBroken(Exception):
    """A sealed value does not open: wrong key, altered bytes, or another row's value; the text says which, of "it"."""


class KeyNotAtHand(SealBroken):
    """It names a key that is not among those that are configured."""


class Sealer(Protocol):
    """Production: `database.sealing.AesGcmSealer`."""

    @property
    def key_id(self) -> str:
        """Names the key that seals; not a secret."""
        ...

    @property
    def key_ids(self) -> Sequence[str]:
        """Names every key that opens."""
        ...

    @property
    def sealed(self) -> int:
        """How many values this process has sealed."""
        ...

    def key_of(self, sealed: bytes) -> str:
        """Names the key that a sealed value is under, which may be at hand or not."""
        ...

    def seal(self, secret: Secret, place: Place) -> bytes:
        """The sealed bytes, different on every call."""
        ...

    def open(self, sealed: bytes, place: Place) -> Secret:
        """The value; raises SealBroken."""
        ...

    def new_key(self) -> Secret:
        """256 random bits in hex, for another use than sealing."""
        ...


class Heard(Protocol):
    """The notifications about one grant."""

    async def wait(self, seconds: float) -> None:
        """Return when it is worth reading the row again: after `seconds` at the latest, and too early now and then.

        The return itself says nothing about the grant: the row says what happened.
        """
        ...


class Wakeups(Protocol):
    """Production: `database.notify.Listener` over PostgreSQL; where there is none, `engine.lease` polls."""

    def hearing(self, grant_id: str, poll: float) -> AbstractContextManager[Heard]:
        """Listen for this grant until the context ends; `poll` seconds between two reads while nothing can be heard."""
        ...


MaySend = Callable[[], bool]


class TokenEndpoint(Protocol):
    """Production: `wire.token_endpoint`. Every call is one request on a connection of its own, never retried by itself,
    finished or aborted (its socket closed) before the call returns, and within the timing's `deadline`.

    `may_send` is asked when the connection is up, directly before the first byte (rule-7). Where it says no, nothing is
    sent, and the answer is TooLate.
    """

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        """`grant_type=authorization_code`, or the API key's own, as `app.credential` says."""
        ...

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        """`grant_type=refresh_token`."""
        ...

    async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
        """`grant_type=refresh_token_exchange`: an API key for the hotel of this refresh token."""
        ...


Turn = Callable[[], Awaitable[None]]


class Throttled(Exception):
    """The vendor answered 429; no process sends under this client id for `pause` seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__(f"HTTP 429: nothing is sent for {pause:g} s")
        self.pause = pause


@dataclass(frozen=True, slots=True)
class AppState:
    """`state`: enabled, pending, installing or disabled; empty when the answer names none.

    `refused`: Cloudbeds refused to say. Neither: an outage.
    """

    state: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """It answered: the properties that a credential covers. Not `whole`: others may be covered too."""

    property_ids: tuple[str, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Unlisted:
    """It could not be asked, or gave no sensible answer, or refused to say."""

    refusal: Refusal

    @property
    def final(self) -> bool:
        """Whether it said that this credential may not ask: as long as that is so, asking again changes nothing."""
        return self.refusal.act is Act.REPORT


class Vendor(Protocol):
    """Production: `wire.cloudbeds_api`."""

    @property
    def lists_properties(self) -> bool:
        """Whether a credential without properties can be asked about; where not, none is waited for."""
        ...

    def authorization_url(self, app: App, state: str) -> str:
        """Where the hotel approves: the authorization endpoint with client_id, redirect_uri, response_type, state."""
        ...

    async def userinfo(self, access: Secret) -> Verdict:
        """`GET …/userinfo`: the proof call; needs no scope. Never raises for what the vendor or the network does."""
        ...

    async def properties(self, access: Secret, turn: Turn, /) -> Listed | Unlisted:
        """What `getHotels` lists; where the scope for it is missing, what `getHotelDetails` names.

        `turn` is awaited before each request. Raises what it raises, and Throttled.
        """
        ...

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        """`postAppState disabled` for every property: whether the vendor took note of all of them. Raises Throttled."""
        ...

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        """`getAppState` of one property, None: of the grant's own. Raises Throttled."""
        ...

    async def roles(self, access: Secret) -> Sequence[str] | Refusal:
        """`/userinfo` with `role_details`: the approving user's roles, as far as it names them. Raises Throttled."""
        ...

    async def subscriptions(self, access: Secret, property_id: str | None) -> Sequence[VendorSubscription] | Refusal:
        """`getWebhooks` of one property, None: of the grant's own; or how it was refused. Raises Throttled."""
        ...

    async def subscribe(self, access: Secret, wanted: Wanted, property_id: str | None) -> str | Refusal:
        """`postWebhook`: the subscription's id, or how it was refused. Raises Throttled.

        Of one that is there it replaces the header. After OUTAGE and UNREADABLE it may be there or not.
        """
        ...

    async def unsubscribe(self, access: Secret, subscription_id: str, property_id: str | None) -> Refusal | None:
        """`deleteWebhook`; None: it is gone. Raises Throttled."""
        ...


class Unsent(Exception):
    """No connection came about (address, network, TLS): the vendor cannot have acted."""


class Lost(Exception):
    """Something was sent and no usable answer came: the vendor may have acted."""


class Broken(Lost):
    """The connection broke before the head of an answer came, as a kept one does that the vendor has just closed."""


class UpstreamAnswer(Protocol):
    """An answer whose head has arrived and whose body has not been read yet."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers as they came, names in lower case."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the last of `chunks` was read."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they came, still encoded; raises Lost when they stop too early."""
        ...

    def close(self) -> None:
        """Let go of the connection: kept for the next request when the body was read to its end, else closed."""
        ...


class Upstream(Protocol):
    """Production: `wire.upstream.AiohttpUpstream`. Follows no redirect, keeps no cookie, reads no environment."""

    async def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | AsyncIterator[bytes]
    ) -> UpstreamAnswer:
        """Send one request for `target` (path and query, encoded already) to the vendor's host.

        Raises Unsent, Broken or Lost. Never sends twice. Cancelling it closes the connection.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is sent, now and at every later attempt; `attempts` have failed."""

    id: str
    connection_id: str
    kind: str
    body: str = field(repr=False)
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended. `problem` is None when the receiver took it; `retry_after`: what it asked for, seconds."""

    problem: str | None = None
    retry_after: float | None = None
    final: bool = False


class Deliverer(Protocol):
    """Production: `wire.webhook_sender`."""

    async def deliver(self, message: Message) -> Delivery:
        """Sign and send once. Never raises for what the receiver or the network does."""
        ...


Fact = str | int | float | bool | None
REQUEST_ID: ContextVar[str | None] = ContextVar("cloudbeds_auth_request_id", default=None)
"""The id of the request that is served: each line of the log that is written for it has it, and so has its answer."""
ACTING: ContextVar[Acting] = ContextVar("cloudbeds_auth_acting", default=PROGRAM)
"""Who asks for what is done now, as the audit names them; each transaction is handed it."""


class Observer(Protocol):
    """Production: `observe`. Implementations never raise: a broken metric is no reason to lose a hotel (F80)."""

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """`what` is a `str` as well: its stable name. `facts` are those that it declares: small, and never secrets."""
        ...
