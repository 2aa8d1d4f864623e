"""What the engine needs from the world, as protocols: every effect goes through one of these.

Time and randomness; sealing of secrets; notifications from other processes; requests to Cloudbeds' token endpoint, to
its API and through the proxy; webhooks to a receiver; reports to logs and metrics. The port of the database is
`transactions.runner.Driver`. Production implements them in `system`, `database`, `wire` and `observe`; a test may
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
        """Seconds that never go back and run on while the machine sleeps; comparable within one boot."""
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
    """Where a sealed value belongs; it opens nowhere else (a moved, swapped or rolled-back value fails)."""

    table: str
    row: str
    position: int
    generation: int


class SealBroken(Exception):
    """A sealed value does not open: wrong key, altered bytes, or another row's value. The text says which, with the
    value as "it".
    """


class KeyNotAtHand(SealBroken):
    """The sealed value names a key that is not configured."""


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
        """Names the key that sealed a value, configured or not."""
        ...

    def seal(self, secret: Secret, place: Place) -> bytes:
        """The sealed bytes, different on every call."""
        ...

    def open(self, sealed: bytes, place: Place) -> Secret:
        """The value; raises SealBroken."""
        ...

    def new_key(self) -> Secret:
        """256 random bits in hex, for uses other than sealing."""
        ...


class Heard(Protocol):
    """The notifications about one grant."""

    async def wait(self, seconds: float) -> None:
        """Return when the row is worth reading again: after `seconds` at the latest, and sometimes too early.

        Returning says nothing about the grant: the row shows what happened.
        """
        ...


class Wakeups(Protocol):
    """Production: `database.notify.Listener` over PostgreSQL; where there is none, `engine.lease` polls."""

    def hearing(self, grant_id: str, poll: float) -> AbstractContextManager[Heard]:
        """Listen for this grant until the context ends; where that fails, the row is read every `poll` seconds."""
        ...


MaySend = Callable[[], bool]


class TokenEndpoint(Protocol):
    """Production: `wire.token_endpoint`. Every call is one request on a connection of its own, never retried, and
    finished or aborted (its socket closed) before the call returns, within the timing's `deadline`.

    `may_send` is called once the connection is up, directly before the first byte (rule-7). If it returns False,
    nothing is sent, and the answer is TooLate.
    """

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        """`grant_type=authorization_code`, or the one for API keys, as `app.credential` says."""
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

    `refused`: Cloudbeds refused to answer. If neither is set, it was an outage.
    """

    state: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """The properties that a credential covers, as the vendor listed them. Unless `whole`, it may cover others, too."""

    property_ids: tuple[str, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Unlisted:
    """The vendor could not be asked for the properties, gave no usable answer, or refused."""

    refusal: Refusal

    @property
    def final(self) -> bool:
        """Whether the vendor said that this credential may not ask: until that changes, asking again is of no use."""
        return self.refusal.act is Act.REPORT


class Vendor(Protocol):
    """Production: `wire.cloudbeds_api`."""

    @property
    def lists_properties(self) -> bool:
        """Whether the vendor can be asked for a credential's properties; if not, no credential waits for one."""
        ...

    def authorization_url(self, app: App, state: str) -> str:
        """Where the hotel approves: the authorization endpoint with client_id, redirect_uri, response_type, state."""
        ...

    async def userinfo(self, access: Secret) -> Verdict:
        """`GET …/userinfo`: the proof call; needs no scope. No failure of the vendor or the network raises."""
        ...

    async def properties(self, access: Secret, turn: Turn, /) -> Listed | Unlisted:
        """What `getHotels` lists; where the scope for it is missing, what `getHotelDetails` names.

        `turn` is awaited before each request. Raises what `turn` raises, and Throttled.
        """
        ...

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        """`postAppState disabled` for every property: whether the vendor acknowledged each. Raises Throttled."""
        ...

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        """`getAppState` of one property; None: the grant's own. Raises Throttled."""
        ...

    async def roles(self, access: Secret) -> Sequence[str] | Refusal:
        """`/userinfo` with `role_details`: the approving user's roles, as far as named. Raises Throttled."""
        ...

    async def subscriptions(self, access: Secret, property_id: str | None) -> Sequence[VendorSubscription] | Refusal:
        """`getWebhooks` of one property (None: the grant's own), or how it was refused. Raises Throttled."""
        ...

    async def subscribe(self, access: Secret, wanted: Wanted, property_id: str | None) -> str | Refusal:
        """`postWebhook`: the subscription's id, or how it was refused. Raises Throttled.

        For a subscription that exists already it replaces the header. After OUTAGE and UNREADABLE the subscription may
        exist or not.
        """
        ...

    async def unsubscribe(self, access: Secret, subscription_id: str, property_id: str | None) -> Refusal | None:
        """`deleteWebhook`; None: the subscription is gone. Raises Throttled."""
        ...


class Unsent(Exception):
    """No connection could be made (address, network, TLS): the vendor cannot have acted."""


class Lost(Exception):
    """Something was sent, but no usable answer came: the vendor may have acted."""


class Broken(Lost):
    """The connection broke before the head of an answer came, like an idle one that the vendor has just closed."""


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
        """The body's bytes as they came, still encoded; raises Lost if they end too early."""
        ...

    def close(self) -> None:
        """Release the connection: kept for the next request if the body was read to its end, else closed."""
        ...


class Upstream(Protocol):
    """Production: `wire.upstream.AiohttpUpstream`. Follows no redirect, keeps no cookie, reads no environment."""

    async def send(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | AsyncIterator[bytes]
    ) -> UpstreamAnswer:
        """Send one request for `target` (path and query, already encoded) to the vendor's host.

        Raises Unsent, Broken or Lost. Never sends twice. Cancelling it closes the connection.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook message, the same at every attempt; `attempts`: how many have failed."""

    id: str
    connection_id: str
    kind: str
    body: str = field(repr=False)
    attempts: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one attempt ended. `problem`: None if the receiver accepted it; `retry_after`: the seconds it asked for."""

    problem: str | None = None
    retry_after: float | None = None
    final: bool = False


class Deliverer(Protocol):
    """Production: `wire.webhook_sender`."""

    async def deliver(self, message: Message) -> Delivery:
        """Sign and send once. No failure of the receiver or the network raises."""
        ...


Fact = str | int | float | bool | None
REQUEST_ID: ContextVar[str | None] = ContextVar("cloudbeds_auth_request_id", default=None)
"""The id of the request being served; its answer and each log line written for it carry the id."""
ACTING: ContextVar[Acting] = ContextVar("cloudbeds_auth_acting", default=PROGRAM)
"""The actor of the current work, as the audit names it; passed to each transaction."""


class Observer(Protocol):
    """Production: `observe`. Implementations never raise: a broken metric must not lose a hotel (F80)."""

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        """`what` is also a `str`: its stable name. `facts` are the ones that it declares: small, and never secrets."""
        ...
