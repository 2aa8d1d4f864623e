"""What Cloudbeds' resource API is asked on our own behalf."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from cloudbeds_auth.rules.api_errors import Act, Refusal, Verdict
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret

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
class Hook:
    """Where Cloudbeds posts a change of the app's state, and the header that it sends with it."""

    url: str = field(repr=False)
    header: str
    value: Secret


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
        return self.refusal.act is Act.TELL


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

    async def subscribe(self, access: Secret, hook: Hook, property_id: str | None) -> bool:
        """`postWebhook` for `integration/appstate_changed`: whether it was taken. Raises Throttled.

        Repeating it changes nothing.
        """
        ...
