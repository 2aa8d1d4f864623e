"""The page of one hotel, and what its forms lead to. It works without a script; that copies a field at a press."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import NamedTuple

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.pages.dashboard_pages import OperatorPages
from cloudbeds_auth.app.pages.pair_svg import pair_svg
from cloudbeds_auth.app.problems import POLICY, policy
from cloudbeds_auth.app.trying import TriedCall
from cloudbeds_auth.errors import by_code
from cloudbeds_auth.rules.audit import actor_words
from cloudbeds_auth.rules.documents import stamp
from cloudbeds_auth.rules.event_words import event_words
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, CredentialKind, Event, Link
from cloudbeds_auth.rules.overview import Offer, name_of, offer_of
from cloudbeds_auth.rules.pair_drawing import Timeline, drawing
from cloudbeds_auth.rules.presentation import Responsible, has_tokens, presentation
from cloudbeds_auth.rules.sessions import Session
from cloudbeds_auth.rules.time_words import relative, span

WHO = {
    Responsible.HOTEL: "The hotel has to do this; you can ask it to.",
    Responsible.OPERATOR: "This is for you, the operator.",
    Responsible.NOBODY: "",
}
SCRIPT = {POLICY: policy(script=True)}


@dataclass(frozen=True, slots=True)
class HotelStory:
    """What the page tells: the hotel, a page of its history and the cursor of what was before, its tokens over time,
    and whether this is the newest page.
    """

    connection: Connection
    events: Sequence[Event]
    following: str | None
    timeline: Timeline
    now: datetime
    first: bool


class Moment(NamedTuple):
    """A moment as people read it, exactly, and by the clock (UTC)."""

    words: str
    exact: str
    clock: str


class HotelActions(NamedTuple):
    """Which buttons the page has. `best`: the one that takes the next step."""

    refresh: bool
    link: bool
    disconnect: bool
    best: Offer | None


class ConnectionPages(OperatorPages):
    """Renders them; `public_url` is where programs reach the proxy."""

    def __init__(self, prefix: str, assets: str, public_url: str) -> None:
        super().__init__(prefix, assets)
        self._public_url = public_url.rstrip("/")

    def connection(self, session: Session, story: HotelStory, examples: Sequence[str]) -> PageAnswer:
        """One hotel; `examples`: paths to try."""
        one, seen, now = story.connection, presentation(story.connection), story.now
        found, planned = drawing(story.timeline), story.timeline.planned
        return self._of(
            session,
            "connection.html",
            id=one.id,
            hotel=name_of(one),
            seen=seen,
            who=WHO[seen.by],
            code=one.problem if one.problem in by_code() else one.state if one.state in by_code() else None,
            connect_url=one.connect_url,
            claims=one.state is State.PARKED,
            can=_actions(one),
            proxy=f"{self._public_url}/proxy/{one.id}",
            examples=examples,
            picture=found and pair_svg(found),
            planned=_planned(planned, now),
            unused=planned is not None and one.expires_at is not None and planned > one.expires_at,
            known=[(label, value) for label, value in _known(one) if value],
            moments=[(label, at) for label, at in _moments(one, now) if at is not None],
            events=[_line(event, now) for event in story.events],
            first=story.first,
            following=story.following,
        ).with_headers(SCRIPT)

    def link_made(self, session: Session, one: Connection, link: Link, now: datetime) -> PageAnswer:
        """The link that is to be sent to the hotel."""
        ends = _moment(link.expires_at, now)
        shown = self._of(session, "link_made.html", id=one.id, hotel=name_of(one), url=link.url, ends=ends)
        return shown.with_headers(SCRIPT)

    def tried(self, session: Session, one: Connection, tried: TriedCall, examples: Sequence[str]) -> PageAnswer:
        """What Cloudbeds answered."""
        return self._of(
            session, "tried.html", id=one.id, hotel=name_of(one), tried=tried, examples=examples, path=tried.path,
            took=span(tried.seconds), command=f"cloudbeds-auth call {one.id} {quote(tried.path)}",
        )  # fmt: skip


def _actions(one: Connection) -> HotelActions:
    oauth, living = one.credential == CredentialKind.OAUTH, one.state not in {State.SUPERSEDED, State.PARKED}
    refresh = oauth and living and has_tokens(one)
    link = living and one.connect_url is None
    return HotelActions(refresh, link, one.state is not State.SUPERSEDED and has_tokens(one), offer_of(one))


def _known(one: Connection) -> list[tuple[str, str | None]]:
    """What is known of a hotel, but for moments."""
    user, made = one.authorizing_user, "made by the hotel itself" if one.pasted else "in exchange for OAuth tokens"
    key = one.credential == CredentialKind.API_KEY
    return [
        ("Your reference", one.reference),
        ("Properties", ", ".join(one.property_ids)),
        ("Approved by", None if user is None else f"{user.name} <{user.email}>"),
        ("Allowed to", " ".join(one.scopes)),
        ("App", one.app),
        ("Credential", f"API key, {made}" if key else "OAuth tokens, which this service refreshes"),
        ("Webhooks of Cloudbeds", ", ".join(sorted({each.event for each in one.subscriptions}))),
        ("Problem", one.problem),
        ("State for programs", one.state.value),
        ("Connection id", one.id),
    ]


def _moments(one: Connection, now: datetime) -> list[tuple[str, Moment | None]]:
    return [
        ("Connected", _moment(one.connected_at, now)),
        ("Last refreshed", _moment(one.refreshed_at, now)),
        ("Last used", _moment(one.used_at, now)),
        ("Access token ends", _moment(one.expires_at, now)),
    ]


def _planned(at: datetime | None, now: datetime) -> Moment | None:
    """What is due is not done at once: another process may be at it, and each looks now and then."""
    found = _moment(at, now)
    return found._replace(words="now") if found is not None and at is not None and at <= now else found


def _moment(at: datetime | None, now: datetime) -> Moment | None:
    return None if at is None else Moment(relative(at, now), stamp(at) or "", f"{at:%b} {at.day}, {at:%H:%M:%S}")


def _line(event: Event, now: datetime) -> dict[str, object]:
    return {
        "at": _moment(event.at, now), "said": event_words(event), "kind": event.kind, "who": actor_words(event.actor),
        "generation": "" if event.generation is None else event.generation,
    }  # fmt: skip
