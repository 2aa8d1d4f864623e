"""The pages of operators: to sign in, and what a session sees. Plain HTML; none but that to sign in has a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.pages import FINE, Pages
from cloudbeds_auth.app.problems import POLICY, headers_of, policy
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.caller_keys import CallerKey
from cloudbeds_auth.rules.documents import stamp
from cloudbeds_auth.rules.model import Connection, CredentialKind, Event, Page, StateCounts
from cloudbeds_auth.rules.presentation import STATES, Responsible, presentation
from cloudbeds_auth.rules.sessions import Session

WORDS = tuple(dict.fromkeys(row.words for row in STATES.values()))  # each once, in the order of the states


class OperatorPages(Pages):
    """Renders them; `prefix` is the public URL's path, before every link of ours."""

    def __init__(self, prefix: str, assets: str) -> None:
        super().__init__(prefix, assets)
        self._home = prefix

    def welcome(self) -> PageAnswer:
        """What a stranger reads: what this is, and where to sign in."""
        return self._page("welcome.html", 200, FINE, home=self._home)

    def sign_in(self, error: Error | None = None) -> PageAnswer:
        """The form to sign in; `error`: why, or what was wrong with what was entered."""
        status, headers = (200, FINE) if error is None else (error.status, headers_of(error))
        detail = None if error is None else error.detail
        shown = self._page("sign_in.html", status, headers, home=self._home, detail=detail)
        return shown.with_headers({POLICY: policy(script=True)})

    def trouble(self, error: Error) -> PageAnswer:
        """What could not be done, and what to do."""
        return self._page(
            "trouble.html",
            error.status,
            headers_of(error),
            home=self._home,
            title=error.title(),
            detail=error.detail if error.detail != error.title() else None,
            next_step=error.next_step,
            code=error.code,
        )

    def overview(self, session: Session, counts: StateCounts | None) -> PageAnswer:
        """How many hotels are in which state, in the words that people read; None: they are being counted."""
        by_words = Counter[str]()
        for state, count in ({} if counts is None else counts.connections).items():
            by_words[STATES[state].words] += count
        shown = [(words, by_words[words]) for words in WORDS if words in by_words]
        age = 0.0 if counts is None else counts.age
        return self._of(session, "overview.html", counts=None if counts is None else shown, age=age)

    def connections(self, session: Session, page: Page, search: Mapping[str, str]) -> PageAnswer:
        """A list of hotels, and the search that led to it."""
        given = {name: value for name, value in search.items() if value}
        return self._of(
            session,
            "connections.html",
            rows=[(one, presentation(one)) for one in page.connections],
            search=search,
            states=[(state.value, row.words) for state, row in STATES.items()],
            following=page.next and urlencode(given | {"cursor": page.next}),
        )

    def connection(
        self, session: Session, one: Connection, events: Sequence[Event], following: str | None
    ) -> PageAnswer:
        """One hotel: its state, what to do next, and its history; `following`: the cursor of what was before that."""
        return self._of(
            session,
            "connection.html",
            id=one.id,
            badge=presentation(one).badge,
            fields=[(name, value) for name, value in _fields(one) if value],
            events=[_line(event) for event in events],
            following=following and urlencode({"cursor": following}),
        )

    def keys(self, session: Session, keys: Sequence[CallerKey], following: str | None) -> PageAnswer:
        """Callers' keys; `following`: the cursor of the next page."""
        rows = [_row(key) for key in keys]
        return self._of(session, "keys.html", rows=rows, following=following and urlencode({"cursor": following}))

    def _of(self, session: Session, name: str, **values: object) -> PageAnswer:
        return self._page(name, 200, FINE, home=self._home, form_token=session.form_token, **values)


def _fields(one: Connection) -> list[tuple[str, str | None]]:
    """Name and value of what is known of a hotel; its id is the first."""
    user, seen = one.authorizing_user, presentation(one)
    return [
        ("Connection", one.id),
        ("State", seen.words if seen.words == one.state.value else f"{seen.words} ({one.state.value})"),
        ("Problem", one.problem),
        ("Next step", one.next_step),
        ("Waits for", None if seen.by is Responsible.NOBODY else seen.by.value),
        ("Connect link", one.connect_url),
        ("Properties", ", ".join(one.property_ids)),
        ("Reference", one.reference),
        ("App", one.app),
        ("Credential", "API key" if one.credential == CredentialKind.API_KEY else "OAuth"),
        ("Approved by", None if user is None else f"{user.name} <{user.email}>"),
        ("Scopes", " ".join(one.scopes)),
        ("Connected", stamp(one.connected_at)),
        ("Token expires", stamp(one.expires_at)),
        ("Refreshed", stamp(one.refreshed_at)),
        ("Last used", stamp(one.used_at)),
    ]


def _line(event: Event) -> dict[str, object]:
    generation = "" if event.generation is None else event.generation
    return {
        "at": stamp(event.at), "kind": event.kind.replace("_", " "), "generation": generation, "actor": event.actor,
    }  # fmt: skip


def _row(key: CallerKey) -> dict[str, object]:
    used = "never" if key.used_at is None else f"{stamp(key.used_at)} from {key.used_from}"
    ends = f"revoked {stamp(key.ended_at)}" if key.ended_at is not None else stamp(key.expires_at) or "never"
    return {
        "id": key.id, "name": key.name, "scopes": " ".join(sorted(key.scopes)), "used": used, "ends": ends,
        "revoked": key.ended_at is not None,
    }  # fmt: skip
