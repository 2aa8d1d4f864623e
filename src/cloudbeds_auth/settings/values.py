"""What a value must look like: each function returns the normal form or raises ValueError saying what is wrong.

No message repeats the value: some of them are secrets, and a URL may hold a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationInfo

from cloudbeds_auth.rules.redirects import written_origin
from cloudbeds_auth.rules.secret import Secret

FASTEST = 10_000  # requests per second; Cloudbeds allows 10
PRIVATE = [
    ip_network(one) for one in ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
]
EMBEDDING = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))  # IPv4 written as IPv6 (RFC 4291, RFC 6052)
EMBEDDED = 96  # bits before the IPv4 address
MOST_IPV4, MOST_IPV6 = 1 << 32 - 8, 1 << 128 - 20  # public addresses to trust: as many as the largest providers have
LISTED = re.compile(r"[\s,]+")
HOST_NAME = re.compile(r"(?!-)(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")  # RFC 1035 section 2.3.4
LONGEST_NAME, LONGEST_PATH = 200, 900  # bytes of a file's name and path: systems take 255 and 1,024, and we add to both
PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")  # RFC 3986, no segment empty
NEEDLESS = re.compile(r"%(?:2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)  # escapes of `unreserved`
OUR_PATHS = (
    "/api/v1", "/proxy", "/healthz", "/readyz", "/metrics", "/claim", "/connect", "/connected", "/not-connected",
    "/paste-key", "/add-app", "/errors", "/session", "/sign-in", "/hooks", "/static", "/connections", "/apps", "/keys",
    "/audit", "/work", "/settings", "/live", "/docs", "/openapi.json", "/favicon.ico",
)  # fmt: skip
_BELOW = tuple(f"{path}/" for path in OUR_PATHS)


def is_loopback(host: str) -> bool:
    """Whether only this machine is reached under `host`: `localhost`, 127.0.0.0/8 or ::1 (brackets allowed)."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_local(host: str, public_url: str) -> bool:
    """Whether only this machine reaches the service: no other connects, and no proxy has it under another name."""
    return is_loopback(host) and is_loopback(url(public_url).hostname or "")


def listed(value: object) -> tuple[str, ...]:
    """A list with commas or spaces between, or any iterable of strings, as a tuple."""
    parts = LISTED.split(value) if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise ValueError("is not a list")
    return tuple(str(part) for part in parts if part)


def text(value: object) -> str:
    """Visible ASCII and spaces, as RFC 6749 appendix A allows for client ids and secrets."""
    if not isinstance(value, str) or not all(" " <= letter <= "~" for letter in value):
        raise ValueError("holds a character that is not visible ASCII")
    return value


def as_variable(value: object) -> str:
    """A value of Python's as a variable of the environment has it: None as one that is not set, a list with spaces."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(map(as_variable, value))
    if isinstance(value, Secret):
        return value.reveal()
    return "" if value is None else str(value)


def word(value: object) -> object:
    """One of a few words, however it is cased."""
    return value.strip().lower() if isinstance(value, str) else value


def secret(value: object) -> Secret:
    """Any value of `text` as a Secret."""
    return value if isinstance(value, Secret) else Secret(text(value))


def scopes(value: object) -> tuple[str, ...]:
    """Scopes in the order given (RFC 6749 section 3.3)."""
    found = tuple(value.split()) if isinstance(value, str) else listed(value)
    if any(not re.fullmatch(r"[!#-\[\]-~]+", scope) for scope in found):
        raise ValueError("holds a character that no scope may hold")
    return found


def events(value: object) -> tuple[str, ...]:
    """Events of Cloudbeds' webhooks, each once: `object/action`; or `none`. Cloudbeds takes any, and posts those that
    it has.
    """
    found = () if word(value) == "none" else listed(value)
    if any(not re.fullmatch(r"[A-Za-z_]+/[A-Za-z_]+", one) for one in found):
        raise ValueError("holds something that is no `object/action`")
    return tuple(dict.fromkeys(found))


def url(value: object) -> SplitResult:
    """An absolute http or https URL without credentials or fragment."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-\[\]-~]+", value):
        raise ValueError("is not a URL: it holds a space, a backslash or a character that is not ASCII")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an absolute http or https URL")
    if "@" in parts.netloc:
        raise ValueError("names a user or password, which do not belong into a URL")
    if "#" in value:
        raise ValueError("has a fragment (`#…`)")
    return parts


def guarded_url(value: object) -> str:
    """A URL that secrets may be sent to: https, or plain http to this machine; may carry a query."""
    parts = url(value)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("is plain http to another machine")
    return str(value)


def base_url(value: object) -> str:
    """The vendor's origin."""
    return _bare(guarded_url(value), "has more than scheme and host")


def _bare(given: str, wrong: str) -> str:
    """A URL's origin; raises ValueError with `wrong` where there is more to it."""
    if "?" in given or urlsplit(given).path not in {"", "/"}:
        raise ValueError(wrong)
    return written_origin(urlsplit(given))


def redirect_uri(value: object) -> str:
    """The URI as registered (RFC 6749 section 3.1.2); its path becomes one of our routes."""
    given = guarded_url(value)
    path = urlsplit(given).path
    if "?" in given:
        raise ValueError("has a query, which Cloudbeds does not allow")
    if path in {"", "/"}:
        raise ValueError("has no path, where the dashboard is")
    if not PATH.fullmatch(path) or NEEDLESS.search(path) or {".", ".."} & set(path.split("/")):
        raise ValueError("has a path that browsers or proxies write in another way")
    if is_our_path(path):
        raise ValueError("has a path that is one of this service's own")
    return given


def is_our_path(path: str, public_url: str = "") -> bool:
    """Whether the service answers it itself, or what lies above it: no approval that comes there is taken as one. A
    proxy may take the public URL's path off before it.
    """
    prefix = urlsplit(public_url).path.rstrip("/")
    left = path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path
    return left in {"", "/"} or any(f"{one}/".startswith(_BELOW) for one in (path, left))


def public_url(value: object, info: ValidationInfo) -> str:
    """The address that links are built from, without a slash at its end; `info` has the redirect URI."""
    url(value)
    if "?" in str(value):
        raise ValueError("has a query")
    path = urlsplit(info.data.get("redirect_uri", "")).path
    if path and is_our_path(path, str(value)):
        raise ValueError("has a path below which CLOUDBEDS_REDIRECT_URI is a page of this service: change either")
    return str(value).rstrip("/")


def return_origins(value: object) -> tuple[str, ...]:
    """Origins in normal form."""
    found = listed(value)
    for one in found:
        url(one)
    return tuple(_bare(one, "holds an origin with a path or a query") for one in found)


def rate_limit(value: object) -> float | Literal["observe"]:
    """Requests per second: 0 (no limit), 1 and more, or `observe`."""
    if isinstance(value, str) and value.strip().lower() == "observe":
        return "observe"
    try:
        rate = Decimal(str(value))  # as it is written: a float would take 1e-400 for 0, which means no limit
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or (rate and not 1 <= rate <= FASTEST):
        raise ValueError("is no number of requests per second")
    return float(rate)


def host(value: object) -> str:
    """An address or a host name, in lower case and without brackets."""
    name = text(value).strip("[]").lower()
    if ":" in name:
        return str(ip_address(name))
    if not HOST_NAME.fullmatch(name):
        raise ValueError("is neither an address nor a host name")
    return name


def allowed_hosts(value: object) -> tuple[str, ...]:
    """Host names, each once; no wildcard, which would undo the protection."""
    try:
        return tuple(dict.fromkeys(host(name) for name in listed(value)))
    except ValueError:
        raise ValueError("holds something that is no plain host name") from None


def trusted_proxies(value: object) -> tuple[str, ...]:
    """Addresses or networks."""
    found = listed(value)
    try:
        networks = [ip_network(one, strict=False) for one in found]
    except ValueError:
        raise ValueError("holds something that is neither an address nor a network") from None
    if _is_everybody(networks):
        raise ValueError("trusts a good part of all addresses, so that anybody may forge where they come from")
    shown = zip(found, networks, strict=True)
    return tuple(str(network if "/" in one else network.network_address) for one, network in shown)


def _is_everybody(networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether they are together more than a provider has; private ones do not count."""
    public = [
        network
        for network in map(_as_ipv4, networks)
        if not any(network.prefixlen >= one.prefixlen and network.network_address in one for one in PRIVATE)
    ]
    ipv4 = collapse_addresses(network for network in public if isinstance(network, IPv4Network))
    ipv6 = collapse_addresses(network for network in public if isinstance(network, IPv6Network))
    return (
        sum(network.num_addresses for network in ipv4) > MOST_IPV4
        or sum(network.num_addresses for network in ipv6) > MOST_IPV6
    )


def _as_ipv4(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """The IPv4 network where one is written as IPv6; all of IPv4 where it lies in a wider one."""
    if isinstance(network, IPv6Network) and any(network.overlaps(one) for one in EMBEDDING):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, max(network.prefixlen - EMBEDDED, 0)))
    return network


def _postgres_url(given: str) -> str:
    """A URL as libpq reads it, with a database's name; several hosts with commas between are tried in turn."""
    try:
        parts = urlsplit(given)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError("is not a URL") from None
    if not parts.path.strip("/"):
        raise ValueError("names no database")
    return given


def database_url(value: object) -> str:
    """A SQLite file or a PostgreSQL server."""
    given = value if isinstance(value, str) else ""
    if given.startswith(("postgresql://", "postgres://")):
        return _postgres_url(given)
    if not given.startswith("sqlite:///"):
        raise ValueError("is neither `sqlite:///…` nor `postgresql://…`")
    path = given.removeprefix("sqlite:///")
    if not path or path.endswith("/") or path == ":memory:" or "?" in path or not path.isprintable():
        raise ValueError("names no file")
    named = [len(os.fsencode(part)) for part in path.split("/")]
    if max(named) > LONGEST_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        raise ValueError(f"has more than {LONGEST_NAME} bytes in one name, or {LONGEST_PATH} in all")
    return given
