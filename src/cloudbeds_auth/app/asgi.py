"""The adapter to Starlette, for the service and for FastAPI: translates requests, answers and errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Route

from cloudbeds_auth.app.exchanges import Failed, PageAnswer, PageRequest, put_beside
from cloudbeds_auth.app.forms import may_be_read
from cloudbeds_auth.app.gateway import APP, NOT_BY_HEAD
from cloudbeds_auth.app.limits import address_of
from cloudbeds_auth.app.problems import REFUSAL, BodyTooLarge, MethodNotAllowed, NotFound, Unexpected, answer_for
from cloudbeds_auth.errors import Error, InvalidRequest

BROKE_OFF = "the body broke off"
PageEndpoint = Callable[[Request], Awaitable[Response]]
_BY_STATUS: dict[int, type[InvalidRequest]] = {404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge}


def route(path: str, endpoint: PageEndpoint, methods: Collection[str] = ("GET",)) -> Route:
    """A route of pages, of which nothing is derived, neither parameters nor a description; Starlette would add HEAD."""
    made = Route(path, endpoint, include_in_schema=False)
    made.methods = {*methods}
    return made


async def page_request(request: Request) -> PageRequest:
    """What the pages read of it."""
    asked = PageRequest(
        method=request.method,
        query=request.scope["query_string"].decode("latin-1"),
        headers=dict(request.headers),
        cookies=tuple(request.headers.getlist("cookie")),
        address=address_of(request.scope),
        parameters=request.path_params,
        app=getattr(request.state, APP, "default"),
        scheme=request.scope["scheme"],
    )
    return replace(asked, body=await body_of(request)) if may_be_read(asked) else asked


async def body_of(request: Request) -> bytes:
    """The whole body; raises InvalidRequest if the caller hung up before its end: anyone may, and it is no failure."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise InvalidRequest(BROKE_OFF) from None


def response(answer: PageAnswer) -> Response:
    """The answer as the framework sends it."""
    return put_beside(Response(answer.body, answer.status), answer)


def answered(request: Request, answer: PageAnswer) -> Response:
    """A page of the service itself; a failure that it shows is put into the request's state, for the log."""
    if isinstance(answer.about, Failed):
        setattr(request.state, REFUSAL, answer.about.error)
    return response(answer)


async def on_error(request: Request, error: Exception) -> Response:
    """The framework's handler for our own errors, and for unexpected ones, without their internals."""
    return _refused(request, error if isinstance(error, Error) else Unexpected())


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The framework's own errors (no such path, no such method) as problems; or ours, if one occurred in a body."""
    if isinstance(error.__cause__, Error):
        return _refused(request, error.__cause__)
    if isinstance(error.__cause__, ClientDisconnect):
        return _refused(request, InvalidRequest(BROKE_OFF))
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = _refused(request, _BY_STATUS.get(status, InvalidRequest if 400 <= status < 500 else Unexpected)())
    if status == 405:
        answer.headers["allow"] = ", ".join(sorted(_allowed(request)))
    return answer


def _allowed(request: Request) -> set[str]:
    """The methods of every route of this path; the framework names those of the first (RFC 9110 section 10.2.1)."""
    routes = [one for one in request.app.routes if isinstance(one, Route)]
    named = {name for one in routes if one.matches(request.scope)[0] is not Match.NONE for name in one.methods or ()}
    return named | {"HEAD"} if "GET" in named and request.scope["path"] not in NOT_BY_HEAD else named


async def on_invalid(request: Request, error: Exception) -> Response:
    """A request that does not match the described schema: the problem says where, never what was sent."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    where = "; ".join(f"{'.'.join(str(part) for part in entry['loc'][1:])}: {entry['msg']}" for entry in found[:5])
    return _refused(request, InvalidRequest(where))


def _refused(request: Request, error: Error) -> Response:
    """The error as an answer, and in the request's state for the log."""
    setattr(request.state, REFUSAL, error)
    return response(answer_for(error))
