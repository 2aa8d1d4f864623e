"""The pages in a blocking application: answered on the loop of its vault, which opens at its first use.

Shared by the Flask and Django integrations. After `fork()`, the child has its own vault, loop and connections.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from cloudbeds_auth import vault as aio
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, Parked
from cloudbeds_auth.app.gateway import path_prefix, small_body
from cloudbeds_auth.app.limits import counted
from cloudbeds_auth.app.problems import MethodNotAllowed
from cloudbeds_auth.app.vendor_hook import HOOK_HEADER, NOTED, require_hook_secrets
from cloudbeds_auth.contrib.hotel_session import HotelSessions
from cloudbeds_auth.contrib.web_flow import (
    Hook,
    Hooks,
    MountedPages,
    mounted_settings,
    must_lie_there,
    ours,
    problem_document,
)
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.settings import Need, Settings, as_variable, env_file, known, load
from cloudbeds_auth.sync import TokenVault

Configured = Callable[[str], Any]  # the value of a setting in the framework's configuration, by name; None if not set


class BlockingPages:
    """Vault and pages of one application. May be used from many threads.

    `vault` is one that the application opened itself, and closes. Without it, a vault with the settings of `configured`
    (see `settings_of`) is opened at its first use and closed when the program ends; its settings are read again when
    the client secret is refused. `served` is the path of the callback in the application. Raises ConfigurationError if
    that path does not match the settings.
    """

    def __init__(
        self,
        configured: Configured,
        callback: str,
        served: str,
        *,
        vault: TokenVault | None = None,
        upkeep: bool = False,
    ) -> None:
        if vault is None:
            read = partial(settings_of, configured)
            vault = TokenVault(mounted_settings(read(), callback, served), reread=read, upkeep=upkeep)
        else:
            must_lie_there(vault.settings, callback, served)
        self._callback = callback
        self.vault: Final = vault
        self._pages: tuple[aio.TokenVault, MountedPages] | None = None
        self.hotels: Final = HotelSessions(vault)

    def page(
        self, name: str, request: PageRequest, hooks: Hooks, call: Callable[[Hook, Any], Any]
    ) -> tuple[PageAnswer, Any]:
        """The answer of the handler with this name, and the application's own one, or None: `call` gets it from one of
        the `hooks`.
        """
        usual = self.vault.run(lambda there: self._over(there).answer(name, request))
        try:
            return usual, hooks.ask(usual, call)
        except Error as error:
            if not isinstance(usual.about, Parked):
                raise
            failed = self.vault.run(partial(self._failed, error))  # it could not be claimed
            return failed, hooks.ask(failed, call)

    async def _failed(self, error: Error, there: aio.TokenVault) -> PageAnswer:
        return ours(self._over(there).failed(error))

    def note_hook(self, request: PageRequest, read: Callable[[], bytes]) -> PageAnswer:
        """The answer to a Cloudbeds webhook; its body is read only after its secrets are verified."""
        try:
            if request.method != "POST":
                raise MethodNotAllowed
            small_body((name.encode(), value.encode("latin-1")) for name, value in request.headers.items())
            given = request.headers.get(HOOK_HEADER, "")
            require_hook_secrets(self.vault.settings, request.parameters["secret"], given)
            body = read()

            async def pass_on(there: aio.TokenVault) -> None:
                there.engine.app_states.hint(body)

            self.vault.run(pass_on)
        except Error as error:
            return ours(problem_document(error, path_prefix(self.vault.settings.public_url)))
        return ours(NOTED)

    def _over(self, there: aio.TokenVault) -> MountedPages:
        """The pages over this process's vault; called on its loop only."""
        if self._pages is None or self._pages[0] is not there:
            self._pages = there, MountedPages(there, self._callback)
        return self._pages[1]


def page_request(
    method: str, query: str, headers: Iterable[tuple[str, str]], address: str | None, parameters: Mapping[str, str]
) -> PageRequest:
    """The parts of a request that the pages read, without its body; `address`: the caller's, or None."""
    named = {name.lower(): value for name, value in headers if value}
    cookies = (named.get("cookie", ""),)
    return PageRequest(method, query, named, cookies, counted(address or "local"), parameters)


def settings_of(configured: Configured) -> Settings:
    """The settings of the environment and `.env`, overridden by those in the framework's configuration.

    There they have the same names, and Python values: `True`, 20.0, a list. Raises ConfigurationError.
    """
    try:
        return _loaded(configured)
    except ConfigurationError as error:
        refused = error.with_traceback(None)
    raise refused from None  # from a frame without values: a debug page shows the variables of every frame


def _loaded(configured: Configured) -> Settings:
    given = {name: as_variable(value) for name in known() if (value := configured(name)) is not None}
    others = {f"{name}_FILE" for name in given} | {name.removesuffix("_FILE") for name in given}  # of the same secrets
    path, named = env_file()
    environ = {name: value for name, value in os.environ.items() if name not in others}
    return load({**environ, **given}, path, need=Need.APP, named=named)
