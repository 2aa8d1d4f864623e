"""What values must look like: each function returns the normal form, or raises ValueError with what is wrong.

No message repeats the value: some of them are secrets, and a URL may hold a password.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pydantic import ValidationInfo

from cloudbeds_auth.rules.redirects import written_origin
from cloudbeds_auth.rules.secret import Secret

FASTEST = 10_000  # requests per second; Cloudbeds allows 10
PRIVATE = [
    ip_network(one) for one in ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
]
EMBEDDING = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))  # IPv4 written as IPv6 (RFC 4291, RFC 6052)
EMBEDDED = 96  # bits before the IPv4 address
MOST_IPV4, MOST_IPV6 = 1 << 32 - 8, 1 << 128 - 20  # public addresses to trust: as many as the largest provider has
LISTED = re.compile(r"[\s,]+")
HOST_NAME = re.compile(r"(?!-)(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")  # RFC 1035 section 2.3.4
LONGEST_NAME, LONGEST_PATH = 200, 900  # bytes of a file name and path: systems allow 255 and 1,024, we add to both
PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?")  # RFC 3986, no segment empty
NEEDLESS = re.compile(r"%(?:2[DE]|3[0-9]|[46][1-9A-F]|[57][0-9A]|5F|7E)", re.IGNORECASE)  # escapes of `unreserved`
NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")  # a `%` that begins no escape, or the byte that libpq forbids
IN_PASSWORDS = "in a password write % as %25, @ as %40, / as %2F, ? as %3F and # as %23"
OUR_PATHS = (
    "/api/v1", "/proxy", "/healthz", "/readyz", "/metrics", "/claim", "/connect", "/connected", "/not-connected",
    "/paste-key", "/add-app", "/errors", "/session", "/sign-in", "/hooks", "/static", "/connections", "/apps", "/keys",
    "/audit", "/work", "/settings", "/live", "/docs", "/openapi.json", "/favicon.ico",
)  # fmt: skip
_BELOW = tuple(f"{path}/" for path in OUR_PATHS)


def is_loopback(host: str) -> bool:
    """Whether `host` reaches only this machine: `localhost`, 127.0.0.0/8 or ::1 (brackets allowed)."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_local(host: str, public_url: str) -> bool:
    """Whether only this machine reaches the service: it listens on loopback, and no proxy publishes another name."""
    return is_loopback(host) and is_loopback(url(public_url).hostname or "")


def listed(value: object) -> tuple[str, ...]:
    """A list separated by commas or spaces, or any iterable of strings, as a tuple."""
    parts = LISTED.split(value) if isinstance(value, str) else value
    if not isinstance(parts, Iterable):
        raise ValueError("is not a list")
    return tuple(str(part) for part in parts if part)


def text(value: object) -> str:
    """Visible ASCII and spaces, as RFC 6749 appendix A allows for client ids and secrets."""
    if not isinstance(value, str) or not all(" " <= letter <= "~" for letter in value):
        raise ValueError("contains a character that is not visible ASCII")
    return value


def as_variable(value: object) -> str:
    """A Python value as an environment variable: None as an unset one, a list separated by spaces."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(map(as_variable, value))
    if isinstance(value, Secret):
        return value.reveal()
    return "" if value is None else str(value)


def word(value: object) -> object:
    """One of a few words, in any case."""
    return value.strip().lower() if isinstance(value, str) else value


def secret(value: object) -> Secret:
    """Any value of `text` as a Secret."""
    return value if isinstance(value, Secret) else Secret(text(value))


def scopes(value: object) -> tuple[str, ...]:
    """Scopes in the order given (RFC 6749 section 3.3)."""
    found = tuple(value.split()) if isinstance(value, str) else listed(value)
    if any(not re.fullmatch(r"[!#-\[\]-~]+", scope) for scope in found):
        raise ValueError("contains a character that is not allowed in a scope")
    return found


def events(value: object) -> tuple[str, ...]:
    """Events of Cloudbeds' webhooks, each once, as `object/action`; or `none`. Cloudbeds accepts any name, and posts
    the events that exist.
    """
    found = () if word(value) == "none" else listed(value)
    if any(not re.fullmatch(r"[A-Za-z_]+/[A-Za-z_]+", one) for one in found):
        raise ValueError("contains something that is not an `object/action`")
    return tuple(dict.fromkeys(found))


def url(value: object) -> SplitResult:
    """An absolute http or https URL without credentials or fragment."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-\[\]-~]+", value):
        raise ValueError("is not a URL: it contains a space, a backslash or a character that is not ASCII")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is not an absolute http or https URL")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or password, which must not be in a URL")
    if "#" in value:
        raise ValueError("has a fragment (`#…`)")
    return parts


def guarded_url(value: object) -> str:
    """A URL that secrets may be sent to: https, or plain http to this machine; may have a query."""
    parts = url(value)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("is plain http to another machine")
    return str(value)


def base_url(value: object) -> str:
    """The vendor's origin."""
    return _bare(guarded_url(value), "has more than scheme and host")


def _bare(given: str, wrong: str) -> str:
    """A URL's origin; raises ValueError with `wrong` if the URL has a path or query."""
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
        raise ValueError("has no path, but the dashboard is there")
    if not PATH.fullmatch(path) or NEEDLESS.search(path) or {".", ".."} & set(path.split("/")):
        raise ValueError("has a path that browsers or proxies rewrite")
    if is_our_path(path):
        raise ValueError("has a path that belongs to this service")
    return given


def is_our_path(path: str, public_url: str = "") -> bool:
    """Whether this path, or one above it, is a route of the service, so that no approval would be recognized there.
    A proxy may remove the public URL's path first.
    """
    prefix = urlsplit(public_url).path.rstrip("/")
    left = path.removeprefix(prefix) if f"{path}/".startswith(f"{prefix}/") else path
    return left in {"", "/"} or any(f"{one}/".startswith(_BELOW) for one in (path, left))


def public_url(value: object, info: ValidationInfo) -> str:
    """The base of links, without a trailing slash; `info` has the redirect URI."""
    url(value)
    if "?" in str(value):
        raise ValueError("has a query")
    path = urlsplit(info.data.get("redirect_uri", "")).path
    if path and is_our_path(path, str(value)):
        raise ValueError("has a path that turns CLOUDBEDS_REDIRECT_URI into a page of this service: change one of them")
    return str(value).rstrip("/")


def return_origins(value: object) -> tuple[str, ...]:
    """Origins in normal form."""
    found = listed(value)
    for one in found:
        url(one)
    return tuple(_bare(one, "contains an origin with a path or a query") for one in found)


def rate_limit(value: object) -> float | Literal["observe"]:
    """Requests per second: 0 (no limit), 1 and more, or `observe`."""
    if isinstance(value, str) and value.strip().lower() == "observe":
        return "observe"
    try:
        rate = Decimal(str(value))  # exactly as written: a float would turn 1e-400 into 0, which means no limit
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or (rate and not 1 <= rate <= FASTEST):
        raise ValueError("is not a valid number of requests per second")
    return float(rate)


def host(value: object) -> str:
    """An address or a host name, in lower case and without brackets."""
    name = text(value).strip("[]").lower()
    try:
        if ":" in name:
            return str(ip_address(name))
    except ValueError:  # its message repeats the value
        name = ""
    if not HOST_NAME.fullmatch(name):
        raise ValueError("is neither an address nor a host name")
    return name


def allowed_hosts(value: object) -> tuple[str, ...]:
    """Host names, each once; no wildcard, which would undo the protection."""
    try:
        return tuple(dict.fromkeys(host(name) for name in listed(value)))
    except ValueError:
        raise ValueError("contains something that is not a plain host name") from None


def trusted_proxies(value: object) -> tuple[str, ...]:
    """Addresses or networks."""
    found = listed(value)
    try:
        networks = [ip_network(one, strict=False) for one in found]
    except ValueError:
        raise ValueError("contains something that is neither an address nor a network") from None
    if _is_everybody(networks):
        raise ValueError("trusts so many addresses that anyone could forge their own")
    shown = zip(found, networks, strict=True)
    return tuple(str(network if "/" in one else network.network_address) for one, network in shown)


def _is_everybody(networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether together they are more addresses than any provider has; private ones do not count."""
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
    """The IPv4 network of one written as IPv6; all of IPv4 if the IPv6 network is wider."""
    if isinstance(network, IPv6Network) and any(network.overlaps(one) for one in EMBEDDING):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, max(network.prefixlen - EMBEDDED, 0)))
    return network


def _postgres_url(given: str) -> str:
    """A URL as libpq reads it, with a database name; several hosts, separated by commas, are tried in turn."""
    try:
        parts = urlsplit(given)
        for host in parts.netloc.rpartition("@")[2].split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        raise ValueError(f"is not a URL ({IN_PASSWORDS})") from None
    if not parts.path.strip("/"):
        raise ValueError("names no database")
    # libpq ends user and password at the first `@`: after another one, the rest of the password would be the host, and
    # after a `/` the name of the database, which are both shown to people.
    if parts.netloc.count("@") > 1 or "@" in parts.path + parts.fragment:
        raise ValueError(f"has an `@` that does not end user and password ({IN_PASSWORDS})")
    if NO_ESCAPE.search(given):
        raise ValueError(f"has a `%` that begins no valid escape ({IN_PASSWORDS})")
    _check_with_libpq(given, parts.query)
    return given


def _check_with_libpq(given: str, query: str) -> None:
    """Raises ValueError if libpq refuses the URL. Nothing is checked without it: opening the database says that it is
    missing.
    """
    try:
        from psycopg import Error, pq
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        return
    try:
        conninfo_to_dict(given)
        return
    except (Error, UnicodeError):  # their messages repeat the password, or a part of the URL
        known = [one.keyword.decode() for one in pq.Conninfo.get_defaults()]
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)  # a name of libpq's, so that nothing is repeated
            raise ValueError("has an unknown parameter" + (f" (did you mean `{close[0]}`?)" if close else ""))
    raise ValueError("is not a URL that PostgreSQL understands")


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
