"""What the blocking clients over urllib3 share: driving the 401 flow, checking the origin, and retries.

Retries are made by urllib3 itself, below the client; each waits for a turn under the rate limit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Self
from urllib.parse import urljoin

from urllib3 import Retry

from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.rules.api_errors import PassingBody, Refusal
from cloudbeds_auth.rules.auth_flow import Answered, Effect, Flow, PassOn, Send, following, require_origin
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.rate_limit import TOO_MANY, UNSAID, pause_of
from cloudbeds_auth.rules.redirects import origin_of
from cloudbeds_auth.wire.lender import Lender

REDIRECTS = frozenset({301, 302, 303, 307, 308})
UNSENT = "may have been carried out, and the rate limit leaves no room to send it again"


def drive(flow: Flow, step: Effect | Send | PassOn, lender: Lender, send: Callable[[AccessToken], Answered]) -> PassOn:
    """Drive the flow from this step to the response that is passed on."""
    while not isinstance(step, PassOn):
        step = flow.send(send(step.token) if isinstance(step, Send) else lender.perform_blocking(step))
    return step


def look_at(status: int, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """The refusal in a response whose body is already read and decoded, if any; `headers` is case-insensitive."""
    passing = PassingBody(status, headers.get("Content-Type") or "")
    passing.see(body)
    return passing.refusal()


def must_be_ours(url: str, base_url: str) -> None:
    """Raises ForeignOrigin unless the URL clearly has the origin of `base_url`; one with a user name does not."""
    if not url.startswith(f"{base_url}/"):  # the usual form, which is unambiguous
        require_origin(origin_of(url), base_url)


def must_stay_ours(status: int, url: str, location: str | None, base_url: str) -> None:
    """Raises ForeignOrigin if a response from `url` redirects to another origin."""
    if status in REDIRECTS and location is not None:
        must_be_ours(urljoin(url, location), base_url)


def counted(retries: Retry, lender: Lender) -> Retry:
    """A copy that honours every 429, and after its own pause waits for a turn before it sends again.

    If there is no turn, the request raises RateLimited, or OutcomeUnknown for a write that may have been carried out.
    """
    made = copy.copy(retries)
    made.__class__ = type(type(retries).__name__, (_Counted, type(retries)), {"lender": lender})
    return made


def make_up(retries: object, lender: Lender) -> None:
    """Take turns afterwards for the retries of a response that were sent without one, as far as turns are left."""
    if not isinstance(retries, Retry) or isinstance(retries, _Counted) or not retries.history:
        return
    with suppress(RateLimited):  # the answer came all the same
        for _ in retries.history:
            lender.turn_blocking()
    if any(tried.status == TOO_MANY for tried in retries.history):
        lender.note_pause_blocking(UNSAID)  # what it asked for is not kept


class _Counted(Retry):
    """Mixed into the class of the copied `Retry`; `lender` is a class attribute, as each attempt makes a new object."""

    lender: Lender

    def increment(
        self, method: str | None = None, url: str | None = None, response: Any = None, *cause: Any, **causes: Any
    ) -> Self:
        if response is not None:
            pause = pause_of(response.status, response.headers)
            if pause is not None:
                self.lender.note_pause_blocking(pause)
        return super().increment(method, url, response, *cause, **causes)

    def sleep(self, response: Any = None) -> None:
        super().sleep(response)
        tried = self.history[-1]
        refused = tried.status == TOO_MANY
        with nullcontext() if refused else following(tried.method or "", UNSENT):
            self.lender.turn_blocking()
