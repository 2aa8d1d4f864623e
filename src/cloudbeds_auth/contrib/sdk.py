"""Cloudbeds' own packages, `cloudbeds-pms` and `cloudbeds-pms-v1-3`, over a vault. The `sdk` extra.

    with TokenVault.open() as vault:  # of cloudbeds_auth.sync
        client = sdk.api_client(vault, connection_id, package=cloudbeds_pms_v1_3)
        cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get()

Both packages come from the same generator, so one mixin serves the `ApiClient` of either: it adds the credential to
each request at the moment it is sent. Neither package is imported here.
"""

from __future__ import annotations

import copy
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from cloudbeds_auth.contrib import Vault, missing
from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.auth_flow import Answered, PassOn, auth_flow
from cloudbeds_auth.rules.inputs import Unreadable, one_line, read_object, says_false
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.rate_limit import pause_of
from cloudbeds_auth.wire.lender import Lender

PACKAGES = ("cloudbeds_pms", "cloudbeds_pms_v1_3")

try:
    if not any(find_spec(package) for package in PACKAGES):
        raise ModuleNotFoundError(name=PACKAGES[0])
    from urllib3 import PoolManager, Retry
    from urllib3.exceptions import LocationValueError
    from urllib3.util import Url, parse_url

    from cloudbeds_auth.contrib.blocking_flow import counted, drive, look_at, must_be_ours, must_stay_ours
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(missing(__name__, "sdk"), name=_error.name) from None

__all__ = ["api_client"]

CREDENTIALS = frozenset({"authorization", "x-api-key"})  # header fields: exactly one of them is sent, with one value
LENT = "lent by cloudbeds_auth when a request is sent"  # the packages take this for the access token
MOST_WORDS = 500  # characters of the vendor's message


def api_client(
    vault: Vault, connection_id: str, *, package: ModuleType, configuration: Any = None, raise_on_failure: bool = True
) -> Any:
    """An `ApiClient` of `package` (`cloudbeds_pms` or `cloudbeds_pms_v1_3`) that calls for one hotel.

    `configuration` is one of the package's own, for its other settings (TLS, proxy, pool, `retries`); it is copied, its
    credentials are not used, and if it names no host of its own, the vault's `base_url` is called. Without `retries`, a
    request is sent again only after a 401; each retry waits for a turn under the rate limit. `raise_on_failure`: a 200
    response with `success: false` raises the package's `ApiException`, like any other failure.

    A call raises ForeignOrigin before anything is sent to an origin other than that of `vault.base_url`, InvalidRequest
    for `_request_auth` and for the token endpoint, what `vault.access_token` raises, and what the package raises.
    """
    return _kind(package)(vault, connection_id, package, configuration, raise_on_failure)


@cache
def _kind(package: ModuleType) -> type[Any]:
    return type("ApiClient", (_Lent, package.ApiClient), {"__module__": __name__})


class _Lent:
    """The mixin for the package's `ApiClient`; its methods keep their names and arguments."""

    configuration: Any
    rest_client: Any

    def __init__(
        self, vault: Vault, connection_id: str, package: ModuleType, configuration: Any, raise_on_failure: bool
    ) -> None:
        self._lender = vault.lender(connection_id)
        super().__init__(_configured(package, configuration, vault.base_url, self._lender))  # type: ignore[call-arg]
        self._base_url = vault.base_url
        self._package = package
        self._raise_on_failure = raise_on_failure
        _silence(self.rest_client.pool_manager)

    def __exit__(self, *exc: object) -> None:
        """Close the connections; the package leaves them open."""
        self.rest_client.pool_manager.clear()

    def param_serialize(self, *args: Any, **parts: Any) -> Any:
        """As in the package, but a credential for one call (`_request_auth`) is refused."""
        if parts.get("_request_auth"):
            raise InvalidRequest(
                "this client sends the hotel's own credential, but `_request_auth` names another",
                next_step="use an ApiClient of the package itself for other credentials",
            )
        return super().param_serialize(*args, **parts)  # type: ignore[misc]

    def call_api(
        self,
        method: str,
        url: str,
        header_params: dict[str, str] | None = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:
        """Send the serialized request, healing a 401; returns the package's `RESTResponse`."""
        path = _path(url, self._base_url)
        plain = {name: value for name, value in (header_params or {}).items() if name.lower() not in CREDENTIALS}
        call = super().call_api  # type: ignore[misc]
        answer: Any = None

        def send(token: AccessToken) -> Answered:
            nonlocal answer
            if answer is not None:
                answer.read()  # to its end, so that the connection can be used again
            headers = dict(plain)  # a new one each time: the package changes it
            self._lender.show(headers, token)
            answer = call(method, url, headers, body, post_params, _request_timeout)
            return Answered(int(answer.status), pause_of(answer.status, answer.headers))

        try:
            flow = auth_flow(method, path, replayable=True)
            passed = drive(flow, next(flow), self._lender, send)
            answer.lent = passed  # `response_deserialize` has no other way to know how it was asked for
            must_stay_ours(answer.status, url, answer.headers.get("Location"), self._base_url)
        except BaseException:
            if answer is not None:
                answer.response.close()
            raise
        return answer

    def response_deserialize(self, response_data: Any, response_types_map: Any = None) -> Any:
        """As in the package, except for a failure that the package would take for a success."""
        self._look_at(response_data)
        if self._raise_on_failure and 200 <= response_data.status <= 299:
            words = _failure(response_data)
            if words is not None:
                raise self._package.ApiException(status=response_data.status, reason=words, http_resp=response_data)
        return super().response_deserialize(response_data, response_types_map)  # type: ignore[misc]

    def _look_at(self, answer: Any) -> None:
        """Learn of a refusal from the body that the package has read; an unread body is only for the caller."""
        passed = getattr(answer, "lent", None)
        if isinstance(passed, PassOn):
            self._lender.learn(passed, look_at(answer.status, answer.headers, answer.data or b""))


def _configured(package: ModuleType, given: Any, base_url: str, lender: Lender) -> Any:
    """The package's configuration for the vendor at `base_url`, without anything that could be a credential."""
    default = package.Configuration()
    made = default if given is None else copy.copy(given)
    if made.host == default.host:
        made.host = base_url + urlsplit(default.host).path
    made.access_token, made.api_key = LENT, {}
    made.retries = _retries(made.retries, lender)
    return made


def _retries(given: Any, lender: Lender) -> Any:
    """The retries to use. None would let urllib3 repeat GETs after 429 and 503 and follow redirects: turn both off."""
    if given is None or given is False:
        return False
    return counted(Retry.from_int(given).new(redirect=0, raise_on_redirect=False), lender)


def _silence(pools: PoolManager) -> None:
    """`debug=True` in any configuration makes `http.client` print all headers: turn that off for these connections."""
    kinds: dict[str, Any] = dict(pools.pool_classes_by_scheme)
    for scheme, kind in kinds.items():
        connection = type(kind.ConnectionCls.__name__, (kind.ConnectionCls,), {"debuglevel": 0})
        kinds[scheme] = type(kind.__name__, (kind,), {"ConnectionCls": connection})
    pools.pool_classes_by_scheme = kinds


def _path(url: str, base_url: str) -> str:
    """The path of a URL at the vendor, parsed as urllib3 parses it to send. Raises ForeignOrigin, InvalidRequest."""
    try:
        parts = parse_url(url)
    except LocationValueError:
        parts = Url()
    must_be_ours(parts.url, base_url)
    path = parts.path or "/"
    if path.rstrip("/").endswith("/access_token"):
        raise InvalidRequest(
            "only the vault may call the token endpoint: any other refresh kills the token that it lends",
            next_step="connect hotels with `begin_authorization` and `finish_authorization`",
        )
    return path


def _failure(answer: Any) -> str | None:
    """The vendor's message if a 2xx says `success: false`, as a boolean or as a string."""
    try:
        said = read_object(answer.headers.get("Content-Type", ""), answer.data or b"")
    except Unreadable:
        return None
    return one_line(said.get("message"), MOST_WORDS) or "success: false" if says_false(said.get("success")) else None
