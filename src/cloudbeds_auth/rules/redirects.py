"""Where a browser may be sent after the approval, and what it brings back.

A browser is sent to a path of this service, or to an origin that the operator listed. A `return_to` comes from the
maker of the link, so it is untrusted: anything that a browser could read as another host is refused (A12), and the rest
is passed on as it came. The browser brings back a state: the service's, or Cloudbeds' if the hotel began in the
Marketplace.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, quote, unquote, unquote_plus, urlsplit, urlunsplit

from cloudbeds_auth.errors import InvalidReturnTo

LONGEST = 2048  # characters
_PRINTABLE = re.compile(r"[!-\[\]-~]+\Z")  # printable ASCII without space and backslash
_DEFAULT_PORTS = {"http": 80, "https": 443}


def allowed_return(return_to: str, origins: Iterable[str]) -> str:
    """`return_to` itself if it is a path of this service (`/x`) or an absolute URL of one of `origins`.

    Raises InvalidReturnTo for everything else: `//evil`, a backslash, `https:evil`, `/%09/evil`, `@evil`, other
    schemes, user names in the address, control characters in any form.
    """
    if len(return_to) > LONGEST or not _PRINTABLE.match(return_to):
        raise InvalidReturnTo("`return_to` is empty, too long, or holds characters that no address has")
    try:
        parts = urlsplit(return_to)
        where = _origin(parts) if parts.scheme or parts.netloc else None
    except ValueError:
        raise InvalidReturnTo("`return_to` is no well-formed address") from None
    if where is None:
        return _own_path(return_to)
    if where not in {origin for listed in origins if (origin := origin_of(listed)) is not None}:
        raise InvalidReturnTo("`return_to` names an origin that is not listed")
    return return_to


def origin_of(url: str) -> str | None:
    """`scheme://host[:port]` in lower case, without a default port; None if `url` has no such origin."""
    try:
        return _origin(urlsplit(url.strip()))
    except (ValueError, InvalidReturnTo):
        return None


def written_origin(parts: SplitResult) -> str:
    """The origin of a web address, in the form of `origin_of`, for any host."""
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}"


def with_query(url: str, **params: str | None) -> str:
    """`url` with `params` in its query (None: left out), in place of any of the same name; the rest stays as it is."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in params]
    kept += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in params.items() if value is not None]
    return urlunsplit(parts._replace(query="&".join(kept)))


def _own_path(return_to: str) -> str:
    """A path below our own origin: one slash at the start, nothing that a browser or a proxy might read otherwise."""
    decoded = unquote(return_to.partition("#")[0].partition("?")[0])  # urlsplit reads `///evil` as the path `/evil`
    segments = decoded.split("/")
    if (
        not return_to.startswith("/")
        or "//" in decoded
        or "\\" in decoded
        or any(segment in {".", ".."} for segment in segments)
        or any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in decoded)
    ):
        raise InvalidReturnTo("`return_to` is no plain path of ours")
    return return_to


def _origin(parts: SplitResult) -> str:
    """The origin of an absolute web address; raises InvalidReturnTo for anything else."""
    host = parts.hostname
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc or "%" in parts.netloc:
        raise InvalidReturnTo("`return_to` is no plain web address")
    return written_origin(parts)


STATE_PREFIX = "st_"
"""The beginning of every state issued here: one that was deleted long ago is still distinguished from the vendor's."""


MOST_PENDING = 10_000
"""Pending states that were begun without a link; anonymous ones and those of programs are counted separately."""


MOST_OF_ONE_LINK = 50
"""States of one link that are pending, or came back within a day without spending it: a link may be opened several
times until it has led to a connection.
"""


MOST_OF_ONE_KEY = 10_000
"""Unused links of a key and of the keys that it made: some 6 MB, and enough for a large fleet in a few rounds."""


MOST_PARKED = 200
"""Approvals that wait to be claimed, of all apps together; further ones are refused, and their codes not exchanged."""


def begun_here(state: str | None) -> bool:
    """Whether a callback's `state` is, or pretends to be, one that was issued here."""
    return state is not None and state.startswith(STATE_PREFIX)
