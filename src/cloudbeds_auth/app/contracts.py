"""What the service needs from the vault: the part of `facade.TokenVault` that HTTP is built on, as a protocol.

Tests give it a small vault in memory; production gives it the real one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.ports.entropy import Entropy
from cloudbeds_auth.ports.observer import Observer
from cloudbeds_auth.rules.api_errors import Refusal
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, Begun, Connection, Event, Finished, Link
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.connections import Page
from cloudbeds_auth.transactions.outbox import Outbox


class Settings(Protocol):
    """The settings that the service reads; limits are bytes."""

    @property
    def redirect_uri(self) -> str: ...  # noqa: D102 - each is the setting of the same name
    @property
    def base_url(self) -> str: ...  # noqa: D102
    @property
    def api_version(self) -> str: ...  # noqa: D102
    @property
    def host(self) -> str: ...  # noqa: D102
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def workers(self) -> int: ...  # noqa: D102
    @property
    def public_url(self) -> str: ...  # noqa: D102
    @property
    def allowed_hosts(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def derived_hosts(self) -> bool: ...  # noqa: D102 - whether `allowed_hosts` follow from the addresses
    @property
    def trusted_proxies(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def return_origins(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def open_connect(self) -> bool: ...  # noqa: D102
    @property
    def marketplace(self) -> str: ...  # noqa: D102
    @property
    def hook_secret(self) -> Secret | None: ...  # noqa: D102
    @property
    def hook_header(self) -> Secret | None: ...  # noqa: D102
    @property
    def body_limit(self) -> int: ...  # noqa: D102
    @property
    def replay_limit(self) -> int: ...  # noqa: D102
    @property
    def credential_header(self) -> str: ...  # noqa: D102


class Apps(Protocol):
    """Registrations beside the settings' own."""

    async def redirect_uris(self) -> Mapping[str, str]:
        """Where Cloudbeds sends browsers for each, by name."""
        ...


class Vault(Protocol):
    """The asynchronous vault; every method raises `errors.Error` subclasses only."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def base_url(self) -> str: ...  # noqa: D102
    @property
    def admin_token(self) -> Secret: ...  # noqa: D102
    @property
    def clock(self) -> Clock: ...  # noqa: D102
    @property
    def entropy(self) -> Entropy: ...  # noqa: D102
    @property
    def observer(self) -> Observer: ...  # noqa: D102
    @property
    def apps(self) -> Apps: ...  # noqa: D102

    async def resolve(self, id_or_property: str, /) -> str:
        """The connection id; raises UnknownConnection, AmbiguousProperty."""
        ...

    async def access_token(
        self, connection_id: str, /, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        """A token valid for `min_valid` seconds; `rejected` names the one that was answered 401."""
        ...

    async def lifetime(self, connection_id: str, /) -> float:
        """Seconds from issue to end of its stored access token; infinite where there is none, or none that ends."""
        ...

    async def turn(self, connection_id: str, /) -> None:
        """Wait for this hotel's next turn at the vendor; then exactly one request may go. Raises RateLimited."""
        ...

    async def heed_pause(self, connection_id: str, pause: float, /) -> None:
        """A call was answered 429: nobody of this client id has a turn for `pause` seconds."""
        ...

    def newest(self, connection_id: str, token: AccessToken, /) -> AccessToken:
        """A token that came while a request with `token` waited for its turn; else `token`."""
        ...

    def note_call(self, token: AccessToken, method: str, path: str, status: int, /) -> None:
        """One sending of this token, for the history; `status` 0: no answer came."""
        ...

    def heed(self, token: AccessToken, refusal: Refusal, method: str, path: str, /) -> None:
        """An answer to a call with this token refused it: the connection's health learns from that."""
        ...

    def carrying(self, token: AccessToken, /) -> AbstractContextManager[None]:
        """While a body that cannot be sent again is under way with this token: a refresh that is due waits for it."""
        ...

    async def create_link(
        self,
        *,
        app: str = "default",
        reference: str | None = None,
        return_to: str | None = None,
        connection_id: str | None = None,
        expires_in: float,
    ) -> Link:
        """A one-time link, valid for `expires_in` seconds."""
        ...

    async def begin_authorization(
        self,
        *,
        reference: str | None = None,
        return_to: str | None = None,
        app: str = "default",
        connection_id: str | None = None,
        browser: str | None = None,
        trusted: bool = True,
    ) -> Begun:
        """A one-time `state` bound to this browser, and the approval page's address.

        `trusted`: whether the reference comes from a program of ours.
        """
        ...

    async def begin_from_link(self, token: str, browser: str, /) -> Begun:
        """The same, with what the link was made for; raises AuthorizationExpired, StateMismatch."""
        ...

    async def finish(self, *, code: str, state: str, browser: str | None = None) -> Finished:
        """The one exchange of this code; an error after the state was spent carries its `return_to`."""
        ...

    async def arrive(self, *, code: str, app: str = "default") -> Connection:
        """The one exchange of a code that the hotel brought from the Marketplace; parked until it is claimed."""
        ...

    async def claim(self, connection_id: str, /, reference: str | None = None) -> Connection:
        """Make usable what is parked there; the connection that it is from now on."""
        ...

    async def deny(self, *, state: str, browser: str | None = None) -> str | None:
        """Spend the state after a denial: where the browser wanted to go."""
        ...

    async def connection(self, connection_id: str, /) -> Connection:
        """One connection."""
        ...

    async def connections(
        self,
        *,
        state: str | None = None,
        reference: str | None = None,
        property_id: str | None = None,
        app: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
        lacking_scopes: bool = False,
    ) -> Page:
        """Connections, newest first."""
        ...

    async def missing_scopes(self, connection_id: str, /) -> tuple[str, ...]:
        """What the app asks for and the hotel did not grant."""
        ...

    async def events(self, connection_id: str, /, cursor: str | None = None, limit: int = 100) -> Sequence[Event]:
        """History, newest first."""
        ...

    async def count_states(self) -> Mapping[State, int]:
        """Connections by how they look now."""
        ...

    def hint(self, body: bytes, /) -> None:
        """A webhook of the vendor's came with the right secrets: returns at once, confirmed behind."""
        ...

    async def outbox(self) -> Outbox:
        """What waits to be told to the receiver of webhooks."""
        ...

    async def refresh(self, connection_id: str, /) -> Connection:
        """Refresh now, as an operator."""
        ...

    async def disconnect(self, connection_id: str, /, forget: bool = False) -> Connection:
        """Tell the vendor, then forget the tokens; `forget`: even when the vendor cannot be told."""
        ...

    async def check(self) -> None:
        """Whether the store is writable and the keys open the canary; raises StoreUnavailable."""
        ...

    async def aclose(self) -> None:
        """Let what runs finish and commit, then close."""
        ...
