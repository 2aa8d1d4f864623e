"""`TokenVault` for blocking code: the same vault over the same store, run by an event loop on a thread of its own.

Its methods are those of `cloudbeds_auth.TokenVault` made blocking, with the same signatures and docstrings. A fresh
token is read in the caller's own thread. After `fork()`, the child opens a vault of its own at its next call.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, closing, suppress
from functools import update_wrapper
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar

from cloudbeds_auth import vault as aio
from cloudbeds_auth.engine import apps as aio_apps
from cloudbeds_auth.engine import caller_keys as aio_keys
from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.program_vault import ProgramVault
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
    from cloudbeds_auth.wire.lender import Lender

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def _presents(method: Callable[..., Any]) -> Callable[[F], F]:
    """As `functools.wraps`, but without `__wrapped__`: FastAPI would follow it, and await a blocking function."""

    def decorated(derived: F) -> F:
        update_wrapper(derived, method)
        derived.__dict__.update(__signature__=signature(method))
        del derived.__dict__["__wrapped__"]
        return derived

    return decorated


class Blocking(Protocol[A_co]):
    """Has an asynchronous `A` on another thread."""

    def _here(self) -> A_co:
        """The `A`, for what may be done from any thread. Raises VaultClosed."""

    def _wait(self, work: Callable[[A_co], Coroutine[Any, Any, T]]) -> T:
        """The result of `work` on that thread. Raises VaultClosed."""


def blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
    at_once: Callable[Concatenate[A, P], T | None] | None = None,
) -> Callable[Concatenate[Blocking[A], P], T]:
    """The method, made blocking; if `at_once` has the result, it is returned in the caller's own thread."""

    @_presents(method)
    def blocks(self: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        found = None if at_once is None else at_once(self._here(), *args, **kwargs)
        return self._wait(lambda there: method(there, *args, **kwargs)) if found is None else found

    return blocks


def from_any_thread(method: Callable[Concatenate[A, P], T]) -> Callable[Concatenate[Blocking[A], P], T]:
    """The method as it is, because it never waits."""

    @_presents(method)
    def runs(self: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self._here(), *args, **kwargs)

    return runs


def if_open(method: Callable[P, None]) -> Callable[P, None]:
    """The method, which reports something that has already happened: on a closed vault it does nothing."""

    @_presents(method)
    def says(*args: P.args, **kwargs: P.kwargs) -> None:
        with suppress(VaultClosed):
            method(*args, **kwargs)

    return says


class TokenVault:
    """As `cloudbeds_auth.TokenVault`, method by method, blocking. May be used from many threads."""

    def __init__(
        self,
        settings: Settings | None,
        *,
        observers: Sequence[Observer] = (),
        reread: Callable[[], Settings] | None = None,
        upkeep: bool = False,
    ) -> None:
        self._program = ProgramVault(settings, observers=observers, reread=reread, upkeep=upkeep)

    @staticmethod
    def open(
        settings: Settings | None = None, *, observers: Sequence[Observer] = (), upkeep: bool = False
    ) -> AbstractContextManager[TokenVault]:
        """Open the vault; without `settings`, they are read from the environment and `.env`. Raises ConfigurationError.

        It is closed at the end of the `with` block, by `close`, or when the program ends, whichever comes first.
        Observers are called on the vault's own thread, where its methods raise RuntimeError. `upkeep`: as in
        `cloudbeds_auth.TokenVault.open`.
        """
        vault = TokenVault(settings, observers=observers, upkeep=upkeep)
        vault._here()
        return closing(vault)

    @staticmethod
    def from_environment(*, observers: Sequence[Observer] = (), upkeep: bool = False) -> TokenVault:
        """A vault for a module-level variable: it lives as long as the program. Settings: the environment and `.env`.

        It is opened at its first use, and opened anew in a child process after `fork()`. It need not be closed: at exit
        the program waits for a response under way, and five seconds more for it to be committed. Raises
        ConfigurationError.
        """
        return TokenVault(None, observers=observers, upkeep=upkeep)

    def close(self) -> None:
        """Let refreshes and exchanges finish and commit, cut off any `call`, and close; then methods raise VaultClosed.

        While the program ends, from `atexit` for example, it waits at most five seconds for a pair to be committed.
        """
        self._program.threaded.close()

    def _here(self) -> aio.TokenVault:
        return self._program.threaded.here()

    def _wait(self, work: Callable[[aio.TokenVault], Coroutine[Any, Any, T]]) -> T:
        return self._program.threaded.wait(work)

    def run(self, work: Callable[[aio.TokenVault], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with the asynchronous vault, on its loop, and return the result: for code written for that vault.

        Raises VaultClosed, and what `work` raises.
        """
        return self._wait(work)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self._program.settings

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor: the only origin that `auth` sends a credential to."""
        return self._program.base_url

    @property
    def admin_token(self) -> Secret:
        """The service's admin token."""
        return self._here().admin_token

    @property
    def apps(self) -> Apps:
        """Registrations at Cloudbeds: the one in the settings, and any added here."""
        return Apps(self, lambda vault: vault.apps)

    @property
    def keys(self) -> CallerKeys:
        """API keys for callers of the service."""
        return CallerKeys(self, lambda vault: vault.keys)

    begin_authorization: Final = blocking(aio.TokenVault.begin_authorization)
    finish_authorization: Final = blocking(aio.TokenVault.finish_authorization)
    finish: Final = blocking(aio.TokenVault.finish)
    arrive: Final = blocking(aio.TokenVault.arrive)
    claim: Final = blocking(aio.TokenVault.claim)
    deny: Final = blocking(aio.TokenVault.deny)
    create_link: Final = blocking(aio.TokenVault.create_link)
    read_link: Final = blocking(aio.TokenVault.read_link)
    begin_from_link: Final = blocking(aio.TokenVault.begin_from_link)
    link_outcome: Final = blocking(aio.TokenVault.link_outcome)
    import_hotel: Final = blocking(aio.TokenVault.import_hotel)
    add_api_key: Final = blocking(aio.TokenVault.add_api_key)

    access_token: Final = blocking(aio.TokenVault.access_token, at_once=aio.TokenVault.cached)
    cached: Final = from_any_thread(aio.TokenVault.cached)
    newest: Final = from_any_thread(aio.TokenVault.newest)
    call: Final = blocking(aio.TokenVault.call)
    turn: Final = blocking(aio.TokenVault.turn)
    note_pause: Final = if_open(blocking(aio.TokenVault.note_pause))
    note_call: Final = if_open(from_any_thread(aio.TokenVault.note_call))
    note_refusal: Final = if_open(from_any_thread(aio.TokenVault.note_refusal))
    carrying: Final = from_any_thread(aio.TokenVault.carrying)

    resolve: Final = blocking(aio.TokenVault.resolve)
    connection: Final = blocking(aio.TokenVault.connection)
    connections: Final = blocking(aio.TokenVault.connections)
    missing_scopes: Final = blocking(aio.TokenVault.missing_scopes)
    events: Final = blocking(aio.TokenVault.events)
    audit: Final = blocking(aio.TokenVault.audit)
    outbox: Final = blocking(aio.TokenVault.outbox)

    refresh: Final = blocking(aio.TokenVault.refresh)
    migrate_to_api_key: Final = blocking(aio.TokenVault.migrate_to_api_key)
    disconnect: Final = blocking(aio.TokenVault.disconnect)
    forget: Final = blocking(aio.TokenVault.forget)
    check: Final = blocking(aio.TokenVault.check)
    store_report: Final = blocking(aio.TokenVault.store_report)

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for `httpx2.Client`, and for `httpx2.AsyncClient`.

        The credential is added only for the origin of `base_url`; a request to any other raises ForeignOrigin unsent.
        """
        return self._program.auth(connection_id)

    def lender(self, connection_id: str) -> Lender:
        """What an adapter for another HTTP library is built on; `cloudbeds_auth.contrib` has several."""
        return self._program.lender(connection_id)


class _Part(Generic[A]):
    """A part of a vault, made blocking."""

    def __init__(self, vault: TokenVault, part: Callable[[aio.TokenVault], A]) -> None:
        self._vault = vault
        self._part = part

    def _here(self) -> A:
        return self._part(self._vault._here())

    def _wait(self, work: Callable[[A], Coroutine[Any, Any, T]]) -> T:
        return self._vault._wait(lambda vault: work(self._part(vault)))


class Apps(_Part[aio_apps.Apps]):
    """As `cloudbeds_auth.TokenVault.apps`, blocking."""

    list: Final = blocking(aio_apps.Apps.list)
    get: Final = blocking(aio_apps.Apps.get)
    foreign: Final = blocking(aio_apps.Apps.foreign)
    redirect_uris: Final = blocking(aio_apps.Apps.redirect_uris)
    add: Final = blocking(aio_apps.Apps.add)
    create_link: Final = blocking(aio_apps.Apps.create_link)
    read_link: Final = blocking(aio_apps.Apps.read_link)
    add_from_link: Final = blocking(aio_apps.Apps.add_from_link)
    rotate_secret: Final = blocking(aio_apps.Apps.rotate_secret)
    drop_previous_secret: Final = blocking(aio_apps.Apps.drop_previous_secret)
    move_origin: Final = blocking(aio_apps.Apps.move_origin)
    remove: Final = blocking(aio_apps.Apps.remove)


class CallerKeys(_Part[aio_keys.CallerKeys]):
    """As `cloudbeds_auth.TokenVault.keys`, blocking."""

    create: Final = blocking(aio_keys.CallerKeys.create)
    list: Final = blocking(aio_keys.CallerKeys.list)
    get: Final = blocking(aio_keys.CallerKeys.get)
    revoke: Final = blocking(aio_keys.CallerKeys.revoke)
    authenticate: Final = blocking(aio_keys.CallerKeys.authenticate)
    hotel: Final = blocking(aio_keys.CallerKeys.hotel)
    require_good: Final = blocking(aio_keys.CallerKeys.require_good)
    turn: Final = blocking(aio_keys.CallerKeys.turn)
    left_by: Final = blocking(aio_keys.CallerKeys.left_by)
    tick: Final = blocking(aio_keys.CallerKeys.tick)
