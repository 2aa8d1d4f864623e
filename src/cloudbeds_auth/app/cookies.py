"""The two cookies of the hotel's way: a random browser id, and where the browser began."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from fastapi import Request
from starlette.responses import Response

LIFETIME = 86400  # seconds
_BROWSER = re.compile(r"[A-Za-z0-9_-]{32,128}\Z")
_START = re.compile(r"/connect(?:/[A-Za-z0-9_-]{1,256})?(?:\?[!-~]*)?\Z")
_LONGEST_START = 1500  # characters, quoted


class Cookies:
    """`secure`: the redirect URI is https; then the names carry `__Host-`, which no subdomain and no plain http can
    plant (RFC 6265bis section 4.1.3.2). On plain http, loopback only, the names are plain.
    """

    def __init__(self, *, secure: bool) -> None:
        prefix = "__Host-" if secure else ""
        self._secure = secure
        self.browser_name = f"{prefix}cloudbeds-auth-browser"
        self.start_name = f"{prefix}cloudbeds-auth-start"

    def browser(self, request: Request) -> str | None:
        """This browser's id; None when there is none, or several that differ: somebody planted one."""
        found = _values(request, self.browser_name)
        return found.pop() if len(found) == 1 and all(_BROWSER.match(value) for value in found) else None

    def start(self, request: Request) -> str | None:
        """The path of ours that the last approval began at."""
        found = {unquote(value) for value in _values(request, self.start_name)}
        return found.pop() if len(found) == 1 and all(_START.match(value) for value in found) else None

    def remember(self, response: Response, browser: str, start: str) -> Response:
        """Set both."""
        self._set(response, self.browser_name, browser, LIFETIME)
        quoted = quote(start, safe="/")
        if len(quoted) <= _LONGEST_START:
            self._set(response, self.start_name, quoted, LIFETIME)
        return response

    def forget_start(self, response: Response) -> Response:
        """The approval is over."""
        self._set(response, self.start_name, "", 0)
        return response

    def _set(self, response: Response, name: str, value: str, lifetime: int) -> None:
        response.set_cookie(name, value, max_age=lifetime, path="/", secure=self._secure, httponly=True, samesite="lax")


def _values(request: Request, name: str) -> set[str]:
    """Every different value that the browser sent under this name; parsers would keep only one of them."""
    pairs = (pair.partition("=") for header in request.headers.getlist("cookie") for pair in header.split(";"))
    return {value.strip().strip('"') for key, _, value in pairs if key.strip() == name}
