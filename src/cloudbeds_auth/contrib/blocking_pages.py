"""The pages in an application that blocks: answered on the loop of its vault, which opens at its first use.

What Flask's and Django's rims share. A process that `fork()` made has a vault, a loop and connections of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from cloudbeds_auth import vault as aio
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, json_answer
from cloudbeds_auth.app.gateway import path_prefix, small_body
from cloudbeds_auth.app.problems import MethodNotAllowed
from cloudbeds_auth.app.vendor_hook import HOOK_HEADER, NOTED, require_hook_secrets
from cloudbeds_auth.contrib.hotel_session import HotelSession, HotelSessions
from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.contrib.web_flow import MountedPages, mounted_settings, must_lie_there, ours, problem_document
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.rules.proxy_policy import property_of
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Need, Settings, env_file, load
from cloudbeds_auth.sync import TokenVault


class BlockingPages:
    """Vault and pages of one application. May be used from many threads.

    `vault` is one that the application opened itself, and closes; else one with `settings` is opened at its first use,
    and closed when the program ends. `reread` is called for the settings again when the client secret is refused.
    `served` is the path of the callback in the application. Raises ConfigurationError where it and the settings do not
    agree.
    """

    def __init__(
        self,
        settings: Settings,
        callback: str,
        served: str,
        *,
        vault: TokenVault | None = None,
        reread: Callable[[], Settings] | None = None,
        upkeep: bool = False,
    ) -> None:
        if vault is None:
            settings = mounted_settings(settings, callback, served)
        else:
            must_lie_there(settings, callback, served)
        self._settings = settings
        self._callback = callback
        self._reread = reread
        self._upkeep = upkeep
        self._opening = threading.Lock()
        self._vault = vault
        self._pages: tuple[aio.TokenVault, MountedPages] | None = None
        self._sessions = HotelSessions(settings)

    @property
    def vault(self) -> TokenVault:
        """The vault, which is opened where it is not. Raises ConfigurationError, StoreUnavailable."""
        with self._opening:
            if self._vault is None:
                self._vault = TokenVault(self._settings, reread=self._reread, upkeep=self._upkeep)
            return self._vault

    def page(self, name: str, request: PageRequest) -> PageAnswer:
        """The answer of the handler of this name."""
        return self.vault.run(lambda there: self._over(there).answer(name, request))

    def note_hook(self, request: PageRequest, read: Callable[[], bytes]) -> PageAnswer:
        """The answer to a webhook of Cloudbeds; its body is read once the secrets are seen to be right."""
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
            return ours(problem_document(error, path_prefix(self._settings.public_url)))
        return ours(json_answer(NOTED))

    def session(self, identifier: str) -> HotelSession:
        """A session that calls for the hotel with this connection id or property id; close it with its request.

        Raises UnknownConnection, AmbiguousProperty for a property id; for a connection id its first call does.
        """
        property_id = property_of(identifier)
        connection_id = identifier if property_id is None else self.vault.resolve(identifier)
        return self._sessions.session(RequestsAuth(self.vault, connection_id), property_id)

    def _over(self, there: aio.TokenVault) -> MountedPages:
        """The pages over this process's vault; called on its loop only."""
        if self._pages is None or self._pages[0] is not there:
            self._pages = there, MountedPages(there, self._callback)
        return self._pages[1]


def settings_of(config: Mapping[str, Any]) -> Settings:
    """The settings of the environment and `.env`, with those of ours that the framework's configuration names.

    There they have the same names, and values as Python has them: `True`, 20.0, a list. Raises ConfigurationError.
    """
    try:
        return _loaded(config)
    except ConfigurationError as error:
        refused = error.with_traceback(None)
    del config
    raise refused from None  # out of a frame that holds no value: a page for developers shows every frame's


def _loaded(config: Mapping[str, Any]) -> Settings:
    given = {name: _written(value) for name, value in config.items() if value is not None}
    path, named = env_file()
    return load({**os.environ, **given}, path, need=Need.APP, named=named)


def _written(value: object) -> str:
    """A value as a variable of the environment has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Secret):
        return value.reveal()
    return ",".join(map(_written, value)) if isinstance(value, list | tuple | set | frozenset) else str(value)
