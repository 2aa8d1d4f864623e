"""A request for one of the pages, and its answer, as plain values: each framework has its own adapter for them.

A rim reads a `PageRequest` from its framework's request, and writes a `PageAnswer` as its framework's response. The
service and FastAPI share one (`app.asgi`); `contrib` has those of Flask and Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.model import Connection

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What the pages read of a request.

    `query`: as it came, without its question mark. `headers`: names in lower case; of one that came twice the first.
    `cookies`: the value of each Cookie header. `address`: who shares a limit with this browser. `parameters`: of the
    path. `app`: whose callback it is; read only where no state of ours says so. `body`: of a form that `app.forms` says
    may be read. `scheme`: `http` or `https`, as it reached us or a trusted proxy, for the service's own forms.
    """

    method: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    cookies: tuple[str, ...] = field(repr=False)
    address: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    app: str = "default"
    body: bytes = field(default=b"", repr=False)
    scheme: str = "http"

    @property
    def has_body(self) -> bool:
        """Whether something follows the head (RFC 9112 section 6.3)."""
        return "transfer-encoding" in self.headers or (self.headers.get("content-length") or "0") != "0"


class CookieToSet(NamedTuple):
    """A cookie, by the names that the `set_cookie` of Starlette, of Flask and of Django have for its parts."""

    key: str
    value: str
    max_age: int  # seconds; 0 deletes it
    secure: bool
    path: str = "/"
    httponly: bool = True
    samesite: str = "lax"


@dataclass(frozen=True, slots=True)
class Connected:
    """A hotel approved: an application that mounts the pages may answer it itself."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Parked:
    """An approval from the Marketplace waits to be claimed: an application may answer it itself."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Failed:
    """An approval was not begun, or led to no connection: an application may answer it itself."""

    error: Error


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """An answer of ours. `about`: what an application that mounts the pages is asked about before it is sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    cookies: tuple[CookieToSet, ...] = field(default=(), repr=False)
    about: Connected | Parked | Failed | None = None

    def with_headers(self, headers: Mapping[str, str]) -> PageAnswer:
        """With these headers, each replacing an existing one of the same name."""
        return replace(self, headers={**self.headers, **headers})

    def with_cookies(self, *cookies: CookieToSet) -> PageAnswer:
        """With these cookies besides."""
        return replace(self, cookies=(*self.cookies, *cookies))


def redirect(where: str) -> PageAnswer:
    """303: the browser sends a GET there, whichever method it used here."""
    return PageAnswer(303, {"location": where})


def put_beside(response: R, answer: PageAnswer) -> R:
    """Give a response of Starlette's, Flask's or Django's this answer's headers and cookies."""
    made: Any = response
    for name, value in answer.headers.items():
        made.headers[name] = value
    for cookie in answer.cookies:
        made.set_cookie(**cookie._asdict())
    return response
