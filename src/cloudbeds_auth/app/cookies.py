"""The cookies of the hotel's way: a random browser id, where the browser began, and how its approval ended.

And the one of an operator's session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from cloudbeds_auth.app.exchanges import CookieToSet, PageAnswer, PageRequest
from cloudbeds_auth.errors import Error, PropertyMismatch
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.sessions import LONGEST_SESSION, Session

LIFETIME = 86400  # seconds
_BROWSER = re.compile(r"[A-Za-z0-9_-]{32,128}\Z")
_START = re.compile(r"/connect(?:/[A-Za-z0-9_-]{1,256})?(?:\?[!-~]*)?\Z")
_LONGEST_START = 1500  # characters, quoted
_SHOWN_FOR = 600  # seconds that the page about the end of an approval can be shown again as it was
LONGEST_WORDS = 2000  # characters of each; every scope that Cloudbeds has takes 1,658
LONGEST_COOKIE = 3500  # characters, quoted; browsers keep 4096 bytes of one (RFC 6265bis section 5.6)
_MOST_PROPERTIES = 5  # of a group that are named


class OutcomeCookie(NamedTuple):
    """How an approval failed, for the page about it; nothing of it is secret, and nothing of it is trusted.

    `expected`, `found`: the properties of a PropertyMismatch, with commas between them.
    """

    code: str
    detail: str
    expected: str = ""
    found: str = ""

    @classmethod
    def of(cls, error: Error) -> OutcomeCookie:
        """What is kept of an error."""
        if isinstance(error, PropertyMismatch):
            return cls(error.code, error.detail, _some(error.expected), _some(error.found))
        return cls(error.code, error.detail)

    def error(self, kind: type[Error]) -> Error:
        """The error of this kind that was kept."""
        if issubclass(kind, PropertyMismatch):
            return kind(self.detail, expected=_split(self.expected), found=_split(self.found))
        return kind(self.detail)


class ConnectedCookie(NamedTuple):
    """Which hotel was connected, and what it granted, for the page that says so; nothing of it is trusted either."""

    connection_id: str = ""
    reference: str = ""
    properties: str = ""
    app: str = ""
    scopes: str = ""

    @classmethod
    def of(cls, one: Connection) -> ConnectedCookie:
        """What is shown of a connection; if the scopes are too long, none, because a part would look complete."""
        scopes = " ".join(one.scopes)
        granted = scopes if len(scopes) <= LONGEST_WORDS else ""
        return cls(one.id, one.reference or "", _some(one.property_ids), one.app, granted)


class Cookies:
    """`secure`: the redirect URI is https. The names then have the prefix `__Host-`: no subdomain and no plain http
    page can set such a cookie (RFC 6265bis section 4.1.3.2). On plain http, which is loopback only, they have none.
    """

    def __init__(self, *, secure: bool) -> None:
        prefix = "__Host-" if secure else ""
        self._secure = secure
        self.browser_name = f"{prefix}cloudbeds-auth-browser"
        self.start_name = f"{prefix}cloudbeds-auth-start"
        self.outcome_name = f"{prefix}cloudbeds-auth-outcome"
        self.connected_name = f"{prefix}cloudbeds-auth-connected"

    def browser(self, request: PageRequest) -> str | None:
        """This browser's id; None if there is none, or if there are several that differ: one of them was planted."""
        found = _values(request.cookies, self.browser_name)
        return found.pop() if len(found) == 1 and all(_BROWSER.match(value) for value in found) else None

    def start(self, request: PageRequest) -> str | None:
        """The path of ours that the last approval began at."""
        found = {unquote(value) for value in _values(request.cookies, self.start_name)}
        return found.pop() if len(found) == 1 and all(_START.match(value) for value in found) else None

    def remember(self, answer: PageAnswer, browser: str, start: str) -> PageAnswer:
        """Set the browser's id, and the path of the start where it is not too long."""
        remembered = self.remember_browser(answer, browser)
        quoted = quote(start, safe="/")
        if len(quoted) > _LONGEST_START:
            return remembered
        return remembered.with_cookies(self._cookie(self.start_name, quoted, LIFETIME))

    def remember_browser(self, answer: PageAnswer, browser: str) -> PageAnswer:
        """Set the browser's id."""
        return answer.with_cookies(self._cookie(self.browser_name, browser, LIFETIME))

    def forget_start(self, answer: PageAnswer) -> PageAnswer:
        """Delete the path of the start: the approval is over."""
        return answer.with_cookies(self._cookie(self.start_name, "", 0))

    def remember_outcome(self, answer: PageAnswer, outcome: OutcomeCookie) -> PageAnswer:
        """Set what the page about a failure shows, for as long as it may be loaded again."""
        return self._remember_words(answer, self.outcome_name, outcome)

    def outcome(self, request: PageRequest, code: str) -> OutcomeCookie | None:
        """How the last approval of this browser failed, where it did with this code."""
        words = _words(request.cookies, self.outcome_name, len(OutcomeCookie._fields))
        return None if words is None or words[0] != code else OutcomeCookie(*words)

    def remember_connected(self, answer: PageAnswer, hotel: ConnectedCookie) -> PageAnswer:
        """Set what the page after an approval shows, for as long as it may be loaded again."""
        return self._remember_words(answer, self.connected_name, hotel)

    def connected(self, request: PageRequest, connection_id: str) -> ConnectedCookie | None:
        """The hotel that this browser connected last, where it is this connection."""
        words = _words(request.cookies, self.connected_name, len(ConnectedCookie._fields))
        return None if words is None or words[0] != connection_id else ConnectedCookie(*words)

    def _remember_words(self, answer: PageAnswer, name: str, words: Iterable[str]) -> PageAnswer:
        """Set them, unless they are too long: then the page says what it says in any browser."""
        quoted = quote(json.dumps([text[:LONGEST_WORDS] for text in words]), safe="")
        fits = len(quoted) <= LONGEST_COOKIE
        return answer.with_cookies(self._cookie(name, quoted if fits else "", _SHOWN_FOR if fits else 0))

    def _cookie(self, name: str, value: str, lifetime: int) -> CookieToSet:
        return CookieToSet(name, value, lifetime, secure=self._secure)


class SessionCookie:
    """An operator's, with `__Host-` where the public URL is https, as `Cookies` has it.

    SameSite=Lax: a link from mail or a chat opens its page. What changes anything is a POST, which brings no such
    cookie from another site, and has to bring more than that (decision 0028).
    """

    def __init__(self, public_url: str) -> None:
        self._secure = urlsplit(public_url).scheme == "https"
        self.name = f"{'__Host-' if self._secure else ''}cloudbeds-auth-session"

    def read(self, headers: Iterable[str]) -> str | None:
        """What it holds; None when there is none, or several that differ, of which one was planted."""
        found = _values(headers, self.name)
        return found.pop() if len(found) == 1 else None

    def of(self, session: Session) -> CookieToSet:
        """The cookie of this session, for as long as the session may be."""
        return CookieToSet(self.name, session.text.reveal(), int(LONGEST_SESSION), secure=self._secure)

    def deleted(self) -> CookieToSet:
        """The end of it in the browser."""
        return CookieToSet(self.name, "", 0, secure=self._secure)


def _some(properties: Sequence[str]) -> str:
    """Their ids; of very many the first."""
    more = "…" if len(properties) > _MOST_PROPERTIES else ""
    return ", ".join(properties[:_MOST_PROPERTIES]) + more


def _split(properties: str) -> list[str]:
    return [one for one in properties.split(", ") if one]


def _words(headers: Iterable[str], name: str, number: int) -> list[str] | None:
    """So many texts that were kept in a cookie; None where there are none."""
    found = _values(headers, name)
    try:
        words = json.loads(unquote(found.pop())) if len(found) == 1 else None
    except (ValueError, RecursionError):
        return None
    return words if isinstance(words, list) and len(words) == number and all(map(_is_line, words)) else None


def _is_line(words: object) -> bool:
    return isinstance(words, str) and words.isprintable() and len(words) <= LONGEST_WORDS


def _values(headers: Iterable[str], name: str) -> set[str]:
    """Every different value that the browser sent under this name; parsers would keep only one of them."""
    pairs = (pair.partition("=") for header in headers for pair in header.split(";"))
    return {value.strip().strip('"') for key, _, value in pairs if key.strip() == name}
