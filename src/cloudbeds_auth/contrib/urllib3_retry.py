"""Retries that urllib3 makes below a client, under the rate limit: its `Retry` objects with turns. Needs urllib3."""

from __future__ import annotations

import copy
from contextlib import nullcontext, suppress
from typing import Any, Self

from urllib3 import Retry

from cloudbeds_auth.errors import RateLimited
from cloudbeds_auth.rules.auth_flow import following
from cloudbeds_auth.rules.rate_limit import TOO_MANY, UNSAID, pause_of
from cloudbeds_auth.wire.lender import Lender

UNSENT = "may have been carried out, and the rate limit leaves no room to send it again"


def counted(retries: Retry, lender: Lender) -> Retry:
    """A copy that honours every 429, and waits for a turn, after its own pause, before it sends again.

    A request then raises RateLimited where there is no turn; OutcomeUnknown if it was a write that Cloudbeds may have
    carried out.
    """
    made = copy.copy(retries)
    made.__class__ = type(type(retries).__name__, (_Counted, type(retries)), {"lender": lender})
    return made


def make_up(retries: object, lender: Lender) -> None:
    """For what an answer's `retries` sent without a turn: the turns are taken afterwards, as far as there are any."""
    if not isinstance(retries, Retry) or isinstance(retries, _Counted) or not retries.history:
        return
    with suppress(RateLimited):  # the answer came all the same
        for _ in retries.history:
            lender.turn_blocking()
    if any(tried.status == TOO_MANY for tried in retries.history):
        lender.heed_pause_blocking(UNSAID)  # what it asked for is not kept


class _Counted(Retry):
    """Mixed into the kind of the copied one; `lender` is the class's, because every attempt makes a new object."""

    lender: Lender

    def increment(
        self, method: str | None = None, url: str | None = None, response: Any = None, *cause: Any, **causes: Any
    ) -> Self:
        if response is not None:
            pause = pause_of(response.status, response.headers)
            if pause is not None:
                self.lender.heed_pause_blocking(pause)
        return super().increment(method, url, response, *cause, **causes)

    def sleep(self, response: Any = None) -> None:
        super().sleep(response)
        tried = self.history[-1]
        refused = tried.status == TOO_MANY
        with nullcontext() if refused else following(tried.method or "", UNSENT):
            self.lender.turn_blocking()
