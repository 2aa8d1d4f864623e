"""`auth=` for `requests`: adds the credential for the vendor's origin only, and heals 401s. The `requests` extra.

    with TokenVault.open() as vault:  # of cloudbeds_auth.sync
        requests.get(f"{vault.base_url}/api/v1.3/userinfo", auth=RequestsAuth(vault, connection_id))

requests calls an auth when it prepares a request, and afterwards only for responses: it sends the request the first
time, and this module any other time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import urlsplit

from cloudbeds_auth.contrib import Vault, missing
from cloudbeds_auth.errors import BodyNotReplayable
from cloudbeds_auth.rules.auth_flow import Answered, Flow, PassOn, Send, auth_flow, following, unanswered
from cloudbeds_auth.rules.inputs import count_of, is_json
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.rate_limit import pause_of
from cloudbeds_auth.wire.lender import Lender

try:
    from requests import PreparedRequest, Response
    from requests.auth import AuthBase
    from requests.exceptions import UnrewindableBodyError
    from requests.utils import rewind_body
    from urllib3 import Retry

    from cloudbeds_auth.contrib.blocking_flow import (
        counted,
        drive,
        look_at,
        make_up,
        must_be_ours,
        must_stay_ours,
    )
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(missing(__name__, "requests"), name=_error.name) from None

__all__ = ["RequestsAuth"]

BLOCK = 64 * 1024  # bytes read at a time from a body that streams through
SPENT = "its body can be read only once, and a retry or a redirect would send it again"


class RequestsAuth(AuthBase):
    """`auth=` for `requests.get` and similar functions, and for `requests.Session`. May be used from many threads.

    Raises ForeignOrigin before anything is sent to an origin other than that of `vault.base_url`, and for a response
    that redirects there, even if redirects are not followed: requests does not tell. After a 401 the request is sent at
    most twice more. A body in memory, a file, and a stream of known length up to the replay limit can be sent again;
    any other raises BodyNotReplayable after a 401, and OutcomeUnknown (UpstreamFailed, if the request only reads) where
    a retry of the session's own or a redirect would repeat it. Also raises what `vault.access_token` raises.
    """

    def __init__(self, vault: Vault, connection_id: str) -> None:
        self._base_url = vault.base_url
        self._lender = vault.lender(connection_id)
        self._replay_limit = vault.settings.replay_limit

    def retries(self, given: Retry | int) -> Retry:
        """For `HTTPAdapter(max_retries=…)`: these retries, each in its own turn under the rate limit, honouring 429s.

        Raises RateLimited if there is no turn, or OutcomeUnknown if a write may have been carried out. Any other
        retries of a session are counted afterwards, or not at all if no response comes in the end.
        """
        return counted(Retry.from_int(given), self._lender)

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        """Called by requests for every request that it prepares."""
        must_be_ours(r.url or "", self._base_url)
        _keep(r, self._replay_limit)
        flow = _flow_of(r)
        step = next(flow)
        while not isinstance(step, Send | PassOn):
            step = flow.send(self._lender.perform_blocking(step))
        token = step.token
        if not _in_memory(r) and not _rewindable(r):
            r.body = _Once(r.body, r.method or "", self._lender.carrying(token))
        self._lender.show(r.headers, token)
        r.register_hook("response", _Sent(self._base_url, self._lender, token).answered)
        return r


class _Sent:
    """One request under way: its token, and what to do with its response.

    requests calls it for every response: the first, and those of redirects within the vendor's origin.
    """

    def __init__(self, base_url: str, lender: Lender, token: AccessToken) -> None:
        self.token = token
        self._base_url = base_url
        self._lender = lender

    def answered(self, response: Response, **sending: Any) -> Response:
        """The response that may be passed on; `sending` are the arguments that the request was sent with."""
        last = response

        def send(token: AccessToken) -> Answered:
            nonlocal last
            last = self._again(last, token, sending)
            return self._arrived(last)

        try:
            flow = _flow_of(response.request)
            next(flow)
            flow.send(self.token)  # fetched, and
            flow.send(self.token)  # its turn taken before the first sending, which was requests' own
            passed = drive(flow, flow.send(self._arrived(last)), self._lender, send)
            must_stay_ours(last.status_code, last.request.url or "", last.headers.get("Location"), self._base_url)
            if last.is_redirect:  # followed or not: requests does not say
                with following(passed.method):
                    self._lender.turn_blocking()
            self._look_at(last, passed, streamed=bool(sending.get("stream")))
        except BaseException:
            last.close()
            raise
        return last

    def _look_at(self, answer: Response, passed: PassOn, *, streamed: bool) -> None:
        """Learn of a refusal from the body if requests reads it anyway; a streamed body is only for the caller."""
        if streamed or not is_json(answer.headers.get("Content-Type") or ""):
            return
        self._lender.learn(passed, look_at(answer.status_code, answer.headers, answer.content))

    def _again(self, refused: Response, token: AccessToken, sending: dict[str, Any]) -> Response:
        request = refused.request
        _rewind(request)
        refused.content  # noqa: B018 - read to its end, so that the connection can be used again
        refused.close()
        self.token = token
        self._lender.show(request.headers, token)
        answer: Response = refused.connection.send(request, **sending)
        answer.history = [*refused.history, refused]
        return answer

    def _arrived(self, response: Response) -> Answered:
        request = response.request
        if isinstance(request.body, _Once):
            request.body.close()
        must_be_ours(request.url or "", self._base_url)
        make_up(getattr(response.raw, "retries", None), self._lender)
        return Answered(response.status_code, pause_of(response.status_code, response.headers))


class _Once:
    """A body that can be sent once, counted as under way until its response arrives or no reference to it is left."""

    def __init__(self, body: Any, method: str, carrying: AbstractContextManager[None]) -> None:
        self._body = body
        self._method = method
        self._carrying = carrying
        self._under_way = ExitStack()
        self._begun = False

    def __iter__(self) -> Iterator[Any]:
        """Nothing is begun before the first part is asked for: urllib3 calls this before it connects."""
        if self._begun:  # a 401 does not lead here, so the first sending may have been acted upon
            raise unanswered(self._method, SPENT)
        self._begun = True
        self._under_way.enter_context(self._carrying)
        try:
            yield from _parts(self._body)
        except BaseException:  # it was interrupted: there will be no response
            self.close()
            raise

    def close(self) -> None:
        """The response has arrived."""
        self._under_way.close()

    def __del__(self) -> None:
        self.close()


def _flow_of(request: PreparedRequest) -> Flow:
    path = urlsplit(request.url or "").path
    return auth_flow(request.method or "", path, replayable=not isinstance(request.body, _Once))


def _in_memory(request: PreparedRequest) -> bool:
    return request.body is None or isinstance(request.body, str | bytes | bytearray | memoryview)


def _rewindable(request: PreparedRequest) -> bool:
    """Whether requests recorded the position where the body began, and the body can seek to it."""
    seekable = getattr(request.body, "seekable", None)
    return isinstance(request._body_position, int) and (seekable is None or bool(seekable()))


def _rewind(request: PreparedRequest) -> None:
    """Raises BodyNotReplayable if the body cannot be read again."""
    if _in_memory(request):
        return
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError) as error:  # ValueError: the file was closed meanwhile
        raise BodyNotReplayable from error


def _keep(request: PreparedRequest, limit: int) -> None:
    """Read a body of known length into memory if it is small enough."""
    length = str(request.headers.get("Content-Length", ""))
    if _in_memory(request) or not count_of(length) <= limit:
        return
    parts = _parts(request.body)
    request.body = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    request._body_position = None  # no position to seek to, as requests would do at a redirect
    request.headers.pop("Transfer-Encoding", None)


def _parts(body: Any) -> Iterator[Any]:
    if not hasattr(body, "read"):
        yield from body
        return
    while part := body.read(BLOCK):
        yield part
