"""A `requests.Session` for one hotel in a blocking application; its TCP connections outlive it."""

from __future__ import annotations

import inspect
import os
import ssl
from functools import cached_property
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from requests import PreparedRequest, Request, Response, Session
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.exceptions import ConnectTimeout, RequestException
from urllib3.exceptions import NewConnectionError, SSLError

from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.errors import UpstreamFailed
from cloudbeds_auth.rules.auth_flow import unanswered
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.sync import TokenVault
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.hotel_client import KEEP_ALIVE, address
from cloudbeds_auth.wire.http_client import user_agent


class HotelSession(Session):
    """Calls Cloudbeds for one hotel, with the same policy as our other clients: the system's trust store, no
    proxy, no cookies, a deadline.

    A URL may be a path, as in `session.get("/api/v1.3/userinfo")`, or the bare name of an API method. Raises what
    `RequestsAuth` raises, UpstreamFailed if nothing was sent or the request was read-only, and OutcomeUnknown if a
    write may have happened.
    """

    def __init__(self, settings: Settings, auth: RequestsAuth) -> None:
        super().__init__()
        timing = Timing.of(settings.token_timeout)
        self._base_url, self._version = settings.base_url, settings.api_version
        self._timeout = (timing.connect, timing.deadline)  # seconds: to connect; until the next bytes of the answer
        self.auth: RequestsAuth = auth
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers.update({"Accept": "application/json", "User-Agent": user_agent()})

    def prepare_request(self, request: Request) -> PreparedRequest:
        """As `requests.Session.prepare_request`. Raises ForeignOrigin for any origin but that of Cloudbeds."""
        request.url = address(str(request.url), self._base_url, self._version)
        return super().prepare_request(request)

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """As `requests.Session.send`, but redirects are not followed, as in our other clients: after a write, a failure
        of the second request would look as if nothing had been sent.
        """
        kwargs["allow_redirects"] = False
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        try:
            return super().send(request, **kwargs)
        except RequestException as error:
            named = type(error).__name__
            # The last of several sendings says nothing of those before it.
            if _is_unsent(error) and not _repeats(self.get_adapter(str(request.url))):
                raise UpstreamFailed(f"Cloudbeds cannot be reached; nothing was sent ({named})") from error
            raise unanswered(request.method or "", named) from error


class HotelSessions:
    """Lends sessions over a pool of TCP connections that are kept; a child process has a pool of its own."""

    def __init__(self, vault: TokenVault) -> None:
        self._vault = vault
        self._pid, self._pool = os.getpid(), _Pool(pool_maxsize=KEEP_ALIVE)

    def session(self, identifier: str) -> HotelSession:
        """A session for the hotel with this connection id or property id; close it at the end of your own request."""
        if self._pid != os.getpid():
            self._pid, self._pool = os.getpid(), _Pool(pool_maxsize=KEEP_ALIVE)
        made = HotelSession(self._vault.settings, RequestsAuth(self._vault, identifier))
        made.mount("https://", self._pool)
        made.mount("http://", self._pool)  # a simulator on this machine
        return made


class _Pool(HTTPAdapter):
    """Outlives the sessions that share it. It trusts whom the vault trusts, instead of the list that comes with
    requests; a caller's own `verify` or `cert` is left to requests.
    """

    def close(self) -> None:
        """Do nothing: only a session ends."""

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As in `HTTPAdapter`: where to connect to, and how."""
        where, how = super().build_connection_pool_key_attributes(request, verify, cert)
        if where["scheme"] == "https" and _is_usual(verify, cert):
            how["ssl_context"] = self._trusting
        return where, how

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """As in `HTTPAdapter`, which would add its own list to what is trusted."""
        if not _is_usual(verify, cert):
            super().cert_verify(conn, url, verify, cert)

    @cached_property
    def _trusting(self) -> ssl.SSLContext:
        """Made as the vault's own, and not the same: urllib3 changes a context that it is given."""
        made: ssl.SSLContext = inspect.unwrap(http_client.tls)()
        return made


def _is_usual(verify: Any, cert: Any) -> bool:
    """Whether the caller named no certificates, and did not turn their verification off."""
    return verify is True and not cert


def _repeats(adapter: BaseAdapter) -> bool:
    """Whether it may send a request again by itself, by a caller's own `Retry`."""
    return not isinstance(adapter, HTTPAdapter) or adapter.max_retries.total != 0


def _is_unsent(error: RequestException) -> bool:
    """Whether no connection was established, so that nothing was sent."""
    cause = getattr(error.args[0] if error.args else None, "reason", None)
    return isinstance(error, ConnectTimeout) or isinstance(cause, NewConnectionError) or _is_mistrust(cause)


def _is_mistrust(cause: object) -> bool:
    """Whether the server's certificate was refused, which ends the handshake; another TLS error may come later."""
    why = cause.args[0] if isinstance(cause, SSLError) and cause.args else None
    return isinstance(why, ssl.SSLCertVerificationError)
