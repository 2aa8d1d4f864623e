"""The pages of operators: to sign in, hotels, the keys of callers, and the API. They work without a script: those that
have one say more with it. One hotel's page is in `connection_pages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

from cloudbeds_auth.app.api_reference import ApiGroup
from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.pages import Pages
from cloudbeds_auth.app.problems import POLICY, policy
from cloudbeds_auth.errors import Error, UnknownConnection
from cloudbeds_auth.rules.audit import actor_words
from cloudbeds_auth.rules.caller_keys import CallerKey, limits_of, reach_of
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.model import Connection, Page, StateCounts
from cloudbeds_auth.rules.overview import BY_WORDS, Bound, WordCount, name_of, offer_of, properties_of, word_counts
from cloudbeds_auth.rules.presentation import Responsible, presentation
from cloudbeds_auth.rules.sessions import Session
from cloudbeds_auth.rules.time_words import duration

WAITS = {Responsible.HOTEL: "Waits for the hotel.", Responsible.OPERATOR: "Waits for you.", Responsible.NOBODY: ""}


class OperatorPages(Pages):
    """Renders them."""

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

    def hotels(
        self, session: Session, search: Search, page: Page, counts: StateCounts | None, first: str | None
    ) -> PageAnswer:
        """All hotels at a glance. `counts` None: they are being counted; `first`: where a first hotel may be connected
        without a link.
        """
        narrowed = _narrowed(search)
        shown = self._of(
            session,
            "hotels.html",
            tiles=None if counts is None else [_tile(one) for one in word_counts(counts)],
            age=None if counts is None or counts.age < 1 else duration(counts.age),
            rows=[_hotel(one) for one in page],
            search=search,
            words=[*BY_WORDS],
            narrowed=bool(narrowed),
            following=page.next,
            query=narrowed | ({"order": "oldest"} if search.oldest else {}),
            later=search.cursor is not None,
            first=first,
        )
        return shown.with_headers({POLICY: policy(script=True, connect=True)})

    def api(
        self, session: Session | None, groups: Sequence[ApiGroup], public_url: str, base_url: str, version: str
    ) -> PageAnswer:
        """The API, described; `base_url` is Cloudbeds', `version` that of its API."""
        return self._page(
            "api.html",
            form_token="" if session is None else session.form_token,
            groups=groups,
            url=public_url.rstrip("/"),
            vendor=base_url,
            example=f"/api/{version}/getHotels",
        )

    def keys(
        self, session: Session, keys: Sequence[CallerKey], following: str | None, parent: str | None
    ) -> PageAnswer:
        """Callers' keys; `following`: the cursor of the next page; `parent`: whose children they are."""
        return self._of(session, "keys.html", rows=[_row(key) for key in keys], parent=parent, following=following)

    def _of(self, session: Session, name: str, **values: object) -> PageAnswer:
        return self._page(name, None, form_token=session.form_token, **values)


def when(moment: datetime | None) -> str | None:
    """`24 Nov 2026, 07:00 UTC`, for who looks may be anywhere; None stays None."""
    return None if moment is None else f"{moment.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def _row(key: CallerKey) -> dict[str, object]:
    used = "never" if key.used_at is None else f"{when(key.used_at)}, from {key.used_from}"
    ends = f"revoked {when(key.ended_at)}" if key.ended_at is not None else when(key.expires_at) or "never"
    return {
        "id": key.id, "name": key.name, "scopes": ", ".join(sorted(key.scopes)), "reach": reach_of(key),
        "limits": limits_of(key) or "none", "maker": actor_words(key.created_by), "made": when(key.created_at),
        "parent": key.parent, "used": used, "ends": ends, "revoked": key.ended_at is not None,
    }  # fmt: skip


def _narrowed(search: Search) -> dict[str, str]:
    """What it asks for, as the query of its page has it."""
    given = {"search": search.either, "show": search.words, "app": search.app}
    return {name: value for name, value in given.items() if value is not None}


_BOUNDS = {Bound.EXACTLY: "{:,}", Bound.AT_LEAST: "{:,}+", Bound.AT_MOST: "≤ {:,}"}


def _tile(one: WordCount) -> dict[str, str]:
    return {
        "words": one.words, "badge": one.badge, "number": _BOUNDS[one.bound].format(one.connections),
        "query": urlencode({"show": one.words}),
    }  # fmt: skip


def _hotel(one: Connection) -> dict[str, object]:
    """A row of the list: what people call it, what else is known of it, how it is, and what is next."""
    seen, name, user = presentation(one), name_of(one), one.authorizing_user
    facts = (
        properties_of(one), "" if user is None else f"approved by {user.name}",
        "" if one.app == "default" else f"app {one.app}",
    )  # fmt: skip
    return {
        "id": one.id, "name": name, "facts": [fact for fact in facts if fact not in {"", name}], "seen": seen,
        "waits_for": WAITS[seen.by] if seen.next_step else "", "offer": offer_of(one),
    }  # fmt: skip
