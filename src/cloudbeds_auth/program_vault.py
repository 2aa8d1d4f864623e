"""A `TokenVault` that lives as long as its program: any event loop may use it, several at a time or one after another.

Its work runs on a loop and a thread of its own, so a refresh finishes and is committed even if the loop that waited for
it is closed. It is opened at its first use, and opened anew in a child process after `fork()`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

from cloudbeds_auth import vault as aio
from cloudbeds_auth.engine.apps import Apps
from cloudbeds_auth.engine.caller_keys import CallerKeys
from cloudbeds_auth.errors import VaultClosed
from cloudbeds_auth.loop_thread import ThreadedVault
from cloudbeds_auth.ports import Observer
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.proxy_policy import property_of
from cloudbeds_auth.rules.refresh import Timing

if TYPE_CHECKING:
    from cloudbeds_auth.rules.api_errors import Refusal
    from cloudbeds_auth.runtime import OpenEngine
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.wire.lender import Lender

P = ParamSpec("P")
T = TypeVar("T")


class ProgramVault(aio.TokenVault):
    """As `TokenVault`, in any event loop. It is closed by `aclose`, else when the program ends.

    At exit the program waits for a response under way, and five seconds more for it to be committed. If `settings` is
    None, they are read from the environment, and read again from there. Raises ConfigurationError.
    """

    def __init__(
        self,
        settings: Settings | None,
        *,
        observers: Sequence[Observer] = (),
        reread: Callable[[], Settings] | None = None,
        upkeep: bool = False,
    ) -> None:
        import cloudbeds_auth.runtime  # noqa: F401 - here, and not in the vault's own thread or in each forked child

        if settings is None:
            from cloudbeds_auth.settings import Settings

            settings, reread = Settings.load(), reread or Settings.load
        self._settings = settings
        opener = partial(aio.TokenVault.open, settings, observers=tuple(observers), reread=reread, upkeep=upkeep)
        self.threaded: Final = ThreadedVault(opener, Timing.of(settings.token_timeout).deadline)

    @property
    def engine(self) -> OpenEngine:
        """See TokenVault. Its asynchronous parts run on this vault's own loop, and on no other."""
        return self.threaded.here().engine

    @property
    def apps(self) -> Apps:
        """See TokenVault."""
        return _AppsElsewhere(self.threaded)

    @property
    def keys(self) -> CallerKeys:
        """See TokenVault."""
        return _KeysElsewhere(self.threaded)

    async def aclose(self) -> None:
        """See TokenVault."""
        await self.threaded.aclose()

    def cached(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken | None:
        """See TokenVault. A vault that was not used yet has nothing in memory; it is not opened for this."""
        vault = self.threaded.opened()
        return None if vault is None else vault.cached(connection_id, min_valid, rejected)

    async def access_token(
        self, connection_id: str, min_valid: float = 60.0, rejected: AccessToken | int | None = None
    ) -> AccessToken:
        """See TokenVault."""
        fresh = self.cached(connection_id, min_valid, rejected)
        if fresh is not None:
            return fresh
        return await self.threaded.elsewhere(lambda vault: vault.access_token(connection_id, min_valid, rejected))

    def lender(self, connection_id: str) -> Lender:
        """See TokenVault. It works in any event loop, from any thread, and in a child after `fork()`."""
        from cloudbeds_auth.wire.lender import Lender

        self.threaded.must_be_open()

        def blocking(rejected: AccessToken | None) -> AccessToken:
            fresh = self.cached(connection_id, rejected=rejected)
            return fresh or self.threaded.wait(lambda vault: vault.access_token(connection_id, rejected=rejected))

        def note_pause(pause: float) -> None:
            with suppress(VaultClosed):
                self.threaded.wait(lambda vault: vault.note_pause(connection_id, pause))

        lender = Lender(
            lambda rejected: self.access_token(connection_id, rejected=rejected), blocking,
            self.note_call, self.carrying, self.note_refusal,
            note_pause=partial(self.note_pause, connection_id), note_pause_blocking=note_pause,
            newest=partial(self.newest, connection_id), keys=self.settings.credential_header,
            property_id=property_of(connection_id),
        )  # fmt: skip
        if self.settings.limit is None:
            return lender
        turn_blocking = partial(self.threaded.wait, lambda vault: vault.turn(connection_id))
        return replace(lender, turn=partial(self.turn, connection_id), turn_blocking=turn_blocking)

    async def note_pause(self, connection_id: str, pause: float) -> None:
        """See TokenVault."""
        with suppress(VaultClosed):
            await self.threaded.elsewhere(lambda vault: vault.note_pause(connection_id, pause))

    def note_call(self, token: AccessToken, method: str, path: str, status: int) -> None:
        """See TokenVault."""
        with suppress(VaultClosed):
            self.threaded.here().note_call(token, method, path, status)

    def note_refusal(self, token: AccessToken, refusal: Refusal, method: str, path: str) -> None:
        """See TokenVault."""
        with suppress(VaultClosed):
            self.threaded.here().note_refusal(token, refusal, method, path)


class _AppsElsewhere(Apps):
    """The registrations of a vault on another thread."""

    def __init__(self, threaded: ThreadedVault[aio.TokenVault]) -> None:
        self.threaded = threaded


class _KeysElsewhere(CallerKeys):
    """The callers' keys of a vault on another thread."""

    def __init__(self, threaded: ThreadedVault[aio.TokenVault]) -> None:
        self.threaded = threaded


def _elsewhere(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], part: Callable[[aio.TokenVault], object]
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The method, run on the vault's own thread and awaited in the caller's loop."""

    @wraps(method)
    async def carried(self: ProgramVault | _AppsElsewhere | _KeysElsewhere, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.threaded.elsewhere(lambda vault: method(part(vault), *args, **kwargs))

    return carried


def _carry(kind: type, own: type, part: Callable[[aio.TokenVault], object]) -> None:
    """Give `kind` each asynchronous method of `own` that it does not define itself."""
    for name, method in vars(own).items():
        if iscoroutinefunction(method) and not name.startswith("_") and name not in vars(kind):
            setattr(kind, name, _elsewhere(method, part))


_carry(ProgramVault, aio.TokenVault, lambda vault: vault)
_carry(_AppsElsewhere, Apps, lambda vault: vault.apps)
_carry(_KeysElsewhere, CallerKeys, lambda vault: vault.keys)
