"""How an error is sent over HTTP: `application/problem+json` (RFC 9457) with the stable code of the public contract.

And the headers that every answer of ours has, problem or not.
"""

from __future__ import annotations

import json
import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.errors import Error, InvalidRequest, RateLimited, Unauthenticated
from cloudbeds_auth.ports import REQUEST_ID

if TYPE_CHECKING:
    from starlette.types import Message, Send

CODE = "x-cloudbeds-auth-code"
REQUEST = b"x-cloudbeds-auth-request-id"  # in every answer; `X-Request-ID` is the vendor's, in what it answered
PROBLEM = "application/problem+json"
ERRORS = "/errors"  # below the public URL: the page about each code
TYPES: ContextVar[str | None] = ContextVar("cloudbeds_auth_types", default=f"{ERRORS}/")
"""What comes before the code in the `type` of a problem: a path of ours, below the public URL's prefix.

None: no page about codes is served here.
"""

POLICY = "content-security-policy"
REFUSAL = "cloudbeds_refusal"  # in a request's state: the error that it was answered with
_CODE, _OK, _POLICY = CODE.encode(), b"ok", POLICY.encode()


def policy(*beyond: str, script: bool = False, connect: bool = False) -> str:
    """What a page of ours may load, and where its forms may lead: to us, and from there by redirects to `beyond`
    (browsers apply `form-action` to redirects, too: Content Security Policy Level 3, section 6.4.1.1).

    `script`: it has one, which is a file of ours; `connect`: which asks us for more.
    """
    leads = " ".join(("'self'", *beyond))
    scripts = ("script-src 'self'; " if script else "") + ("connect-src 'self'; " if connect else "")
    return (
        f"default-src 'none'; {scripts}style-src 'self'; img-src 'self'; form-action {leads}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


# Our answers are not cached, framed, sniffed or disclosed to the next site; a page loads style and images from us only.
SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (POLICY.encode(), policy().encode()),
)
# What we add to the vendor's own answers: shared caches between us and the caller keep none of them.
VENDOR: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Misdirected(InvalidRequest):
    """This host name is not one of ours"""

    status = 421
    next_step_default = "use the address of the service, or list the name in CLOUDBEDS_AUTH_ALLOWED_HOSTS"


class NotFound(InvalidRequest):
    """There is nothing at this path"""

    status = 404


class MethodNotAllowed(InvalidRequest):
    """This method is not served here"""

    status = 405


class TargetTooLong(InvalidRequest):
    """The address that was asked for is longer than this service takes"""

    status = 414


class HeadTooLarge(InvalidRequest):
    """The request has more headers, or larger ones, than this service takes"""

    status = 431


class RequestTimedOut(InvalidRequest):
    """The request did not arrive in time"""

    status = 408


class LengthRequired(InvalidRequest):
    """This path takes a body only when its length is announced"""

    status = 411
    next_step_default = "send a Content-Length"


class BodyTooLarge(InvalidRequest):
    """The body is larger than this service takes"""

    status = 413
    next_step_default = "send less, or raise CLOUDBEDS_AUTH_BODY_LIMIT"


class TooManyCalls(RateLimited):
    """Too many calls of this caller are under way"""


class TooManyGuesses(RateLimited):
    """Too many credentials of this address wait to be checked, and this one was not"""


class AboutToStop(Error):
    """The service is about to stop

    It serves what still comes for some seconds; a balancer sends the next call to another one.
    """

    code = "draining"
    status = 503
    retry_after_default: ClassVar[float | None] = 1.0
    next_step_default = "ask another instance, or this one again when it was restarted"


class Unexpected(Error):
    """Something went wrong on our side

    An error in the service itself, or a state of it that was not foreseen.
    """

    code = "internal_error"
    status = 500
    next_step_default = "the operator finds the cause in the log"


def describe(error: Error) -> dict[str, Any]:
    """The members of the problem document."""
    types = TYPES.get()
    members: dict[str, Any] = {
        "type": "about:blank" if types is None else types + error.code,  # RFC 9457 section 4.2.1
        "title": error.title(),
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "connection_id": error.connection_id,
        "next_step": error.next_step,
        "connect_url": error.connect_url,
    }
    return {name: value for name, value in members.items() if value is not None}


def headers_of(error: Error) -> dict[str, str]:
    """The headers that an error brings besides those of every answer."""
    headers = {CODE: error.code}
    if error.retry_after is not None and math.isfinite(error.retry_after):
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))  # whole seconds, rounded up
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="cloudbeds-auth"'  # RFC 6750 section 3
    return headers


def answer_for(error: Error) -> PageAnswer:
    """The error as an answer."""
    body = json.dumps(describe(error), ensure_ascii=False).encode()
    return PageAnswer(error.status, {"content-type": PROBLEM, **headers_of(error)}, body)


def request_id() -> tuple[tuple[bytes, bytes], ...]:
    """The header that gives the request's id back; none where the service has not read the request."""
    given = REQUEST_ID.get()
    return () if given is None else ((REQUEST, given.encode("ascii")),)


def raw_headers(answer: PageAnswer) -> list[tuple[bytes, bytes]]:
    """All headers of an answer of ours that no framework sends."""
    given = ((name.encode("ascii"), value.encode("ascii", "replace")) for name, value in answer.headers.items())
    return [*given, (b"content-length", str(len(answer.body)).encode()), *SECURITY, *request_id()]


async def send_problem(send: Send, error: Error, *extra: tuple[bytes, bytes]) -> None:
    """The error as an answer without the framework; `extra` are further headers."""
    answer = answer_for(error)
    headers = [*raw_headers(answer), *extra]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


class Ours:
    """A `send` that completes the head of an answer, and remembers its status, and the code of a refusal, for the log.

    `vendor` in the request's state: the answer is Cloudbeds' own.
    """

    __slots__ = ("_send", "_state", "code", "status")

    def __init__(self, send: Send, state: dict[str, Any]) -> None:
        self._send = send
        self._state = state
        self.status: int = 0
        self.code: str | None = None

    async def refuse(self, error: Error, *extra: tuple[bytes, bytes]) -> None:
        """Send the refusal."""
        self.status, self._state[REFUSAL] = error.status, error
        await send_problem(self._send, error, *extra)

    async def __call__(self, message: Message) -> None:
        """Pass a message on; heads get the headers, unless a route marked its answer as the vendor's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._complete(list(message.get("headers", [])))}
        await self._send(message)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        fixed = VENDOR if self._state.get("vendor") else SECURITY
        if any(name == _POLICY for name, _ in headers):  # a page with a form has its own
            fixed = tuple((name, value) for name, value in fixed if name != _POLICY)
        names = {name for name, _ in fixed}
        headers = [(name, value) for name, value in headers if name.lower() not in names]
        headers.extend((*fixed, *request_id()))
        if not self._state.get("vendor"):
            code = next((value for name, value in headers if name.lower() == _CODE), None)
            if code is None:
                headers.append((_CODE, _OK))
            elif code != _OK:
                self.code = code.decode("ascii")
        return headers
