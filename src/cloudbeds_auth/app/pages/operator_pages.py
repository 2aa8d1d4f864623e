"""The frame of operators' pages, and those of no session: to sign in, what a stranger reads, what could not be done.

They work without a script: those that have one say more with it. What each page of a session shows is with its handler.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.pages import Pages
from cloudbeds_auth.app.problems import POLICY, policy
from cloudbeds_auth.errors import Error, UnknownConnection
from cloudbeds_auth.rules.sessions import Session
from cloudbeds_auth.rules.time_words import duration

ROWS = 50  # of a list, in one page


class OperatorPages(Pages):
    """Renders them."""

    def show(self, session: Session | None, name: str, **values: object) -> PageAnswer:
        """The page of this template; its forms are the session's."""
        form_token = "" if session is None else session.form_token
        return self._page(name, None, form_token=form_token, **values)

    def welcome(self) -> PageAnswer:
        """What a stranger reads: what this is, and where to sign in."""
        return self._page("welcome.html")

    def sign_in(self, error: Error | None = None) -> PageAnswer:
        """The form to sign in; `error`: why, or what was wrong with what was entered."""
        return self._page("sign_in.html", error).with_headers({POLICY: policy(script=True)})

    def trouble(self, error: Error) -> PageAnswer:
        """What could not be done, and what to do."""
        return self._page(
            "trouble.html",
            error,
            wait=None if error.retry_after is None else duration(max(1.0, error.retry_after)),
            connection_id=None if isinstance(error, UnknownConnection) else error.connection_id,
        )


def when(moment: datetime | None) -> str | None:
    """`24 Nov 2026, 07:00 UTC`, for who looks may be anywhere; None stays None."""
    return None if moment is None else f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
