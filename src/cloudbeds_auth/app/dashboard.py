"""The first pages of an operator: hotels by state, a list of them, and callers' keys. One hotel's page is in
`connection_page`, what is about the service itself in `service_pages`.

Who did what is in histories and in the audit, as `session:` and the id of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from cloudbeds_auth.app.browser import CONNECT
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import parameters
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages.operator_pages import ROWS, OperatorPages, when
from cloudbeds_auth.app.problems import POLICY, policy
from cloudbeds_auth.rules.audit import actor_words
from cloudbeds_auth.rules.caller_keys import CallerKey, limits_of, reach_of
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.overview import BY_WORDS, Bound, WordCount, name_of, offer_of, properties_of, word_counts
from cloudbeds_auth.rules.presentation import Responsible, presentation
from cloudbeds_auth.rules.sessions import Session
from cloudbeds_auth.rules.time_words import duration

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

SEARCHED = ("search", "show", "app", "order")
OLDEST = "oldest"  # first; any other order is newest first
WAITS = {Responsible.HOTEL: "Waits for the hotel.", Responsible.OPERATOR: "Waits for you.", Responsible.NOBODY: ""}
BOUNDS = {Bound.EXACTLY: "{:,}", Bound.AT_LEAST: "{:,}+", Bound.AT_MOST: "≤ {:,}"}


class Dashboard:
    """The handlers of its pages, each for a session."""

    def __init__(self, vault: TokenVault, pages: OperatorPages) -> None:
        self._vault = vault
        self._pages = pages
        self._prefix = path_prefix(vault.settings.public_url)
        # Where a first hotel may be connected without a link.
        self._first = f"{self._prefix}{CONNECT}" if vault.settings.open_connect else None

    async def hotels(self, request: PageRequest, session: Session) -> PageAnswer:
        """All hotels at a glance: how many look how, and a page of those that are searched for."""
        asked = {name: text.strip() for name, text in parameters(request, *SEARCHED, "cursor").items()}
        views = self._vault.engine.views
        search = Search(
            words=asked.get("show") or None, either=asked.get("search") or None, app=asked.get("app") or None,
            oldest=asked.get("order") == OLDEST, cursor=asked.get("cursor") or None, limit=ROWS,
        )  # fmt: skip
        page = await views.connections(search)
        counts = await views.count_looks()  # None: they are being counted
        narrowed = _narrowed(search)
        shown = self._pages.show(
            session,
            "hotels.html",
            tiles=None if counts is None else [_tile(one) for one in word_counts(counts)],
            age=None if counts is None or counts.age < 1 else duration(counts.age),
            rows=[_hotel(one) for one in page],
            search=search,
            words=[*BY_WORDS],
            narrowed=bool(narrowed),
            following=page.next,
            query=narrowed | ({"order": OLDEST} if search.oldest else {}),
            later=search.cursor is not None,
            first=self._first,
        )
        return shown.with_headers({POLICY: policy(script=True, connect=True)})

    async def keys(self, request: PageRequest, session: Session) -> PageAnswer:
        """Callers' keys, newest first; or the children of one."""
        asked = parameters(request, "cursor", "parent")
        parent = asked.get("parent")
        page = await self._vault.keys.list(parent=parent, cursor=asked.get("cursor"), limit=ROWS)
        following = page[-1].id if len(page) == ROWS else None
        return self._pages.show(
            session, "keys.html", rows=[_key(one) for one in page], parent=parent, following=following
        )

    async def revoke(self, request: PageRequest, session: Session) -> PageAnswer:
        """End a key and its children."""
        await self._vault.keys.revoke(request.parameters["key_id"])
        return redirect(f"{self._prefix}/keys")


def _narrowed(search: Search) -> dict[str, str]:
    """What it asks for, as the query of its page has it."""
    given = {"search": search.either, "show": search.words, "app": search.app}
    return {name: value for name, value in given.items() if value is not None}


def _tile(one: WordCount) -> dict[str, str]:
    return {
        "words": one.words, "badge": one.badge, "number": BOUNDS[one.bound].format(one.connections),
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


def _key(key: CallerKey) -> dict[str, object]:
    used = "never" if key.used_at is None else f"{when(key.used_at)}, from {key.used_from}"
    ends = f"revoked {when(key.ended_at)}" if key.ended_at is not None else when(key.expires_at) or "never"
    return {
        "id": key.id, "name": key.name, "scopes": ", ".join(sorted(key.scopes)), "reach": reach_of(key),
        "limits": limits_of(key) or "none", "maker": actor_words(key.created_by), "made": when(key.created_at),
        "parent": key.parent, "used": used, "ends": ends, "revoked": key.ended_at is not None,
    }  # fmt: skip
