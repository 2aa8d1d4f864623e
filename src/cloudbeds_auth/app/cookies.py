"""The cookies of the hotel's way: a random browser id, where the browser began, and how its approval failed.

And the one of an operator's session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from cloudbeds_auth.app.exchanges import CookieToSet, PageAnswer, PageRequest
from cloudbeds_auth.rules.sessions import LONGEST_SESSION, Session

LIFETIME = 86400  # seconds
_BROWSER = re.compile(r"[A-Za-z0-9_-]{32,128}\Z")
_START = re.compile(r"/connect(?:/[A-Za-z0-9_-]{1,256})?(?:\?[!-~]*)?\Z")
_LONGEST_START = 1500  # characters, quoted
_OUTCOME_FOR = 600  # seconds that the page about a failure can be shown again as it was
_LONGEST_WORDS = 400  # characters


class OutcomeCookie(NamedTuple):
    """How an approval failed, for the page about it; nothing of it is secret, and nothing of it is trusted."""

    code: str
    detail: str
    next_step: str


class Cookies:
    """`secure`: the redirect URI is https; then the names carry `__Host-`, which no subdomain and no plain http can
    plant (RFC 6265bis section 4.1.3.2). On plain http, loopback only, the names are plain.
    """

    def __init__(self, *, secure: bool) -> None:
        prefix = "__Host-" if secure else ""
        self._secure = secure
        self.browser_name = f"{prefix}cloudbeds-auth-browser"
        self.start_name = f"{prefix}cloudbeds-auth-start"
        self.outcome_name = f"{prefix}cloudbeds-auth-outcome"

    def browser(self, request: PageRequest) -> str | None:
        """This browser's id; None when there is none, or several that differ, of which one was planted."""
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
        words = [text[:_LONGEST_WORDS] for text in outcome]
        return answer.with_cookies(self._cookie(self.outcome_name, quote(json.dumps(words), safe=""), _OUTCOME_FOR))

    def outcome(self, request: PageRequest, code: str) -> OutcomeCookie | None:
        """How the last approval of this browser failed, where it did with this code."""
        found = _values(request.cookies, self.outcome_name)
        try:
            words = json.loads(unquote(found.pop())) if len(found) == 1 else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(words, list) or len(words) != len(OutcomeCookie._fields) or not all(map(_is_line, words)):
            return None
        outcome = OutcomeCookie(*words)
        return outcome if outcome.code == code else None

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


def _is_line(words: object) -> bool:
    return isinstance(words, str) and words.isprintable() and len(words) <= _LONGEST_WORDS


def _values(headers: Iterable[str], name: str) -> set[str]:
    """Every different value that the browser sent under this name; parsers would keep only one of them."""
    pairs = (pair.partition("=") for header in headers for pair in header.split(";"))
    return {value.strip().strip('"') for key, _, value in pairs if key.strip() == name}
