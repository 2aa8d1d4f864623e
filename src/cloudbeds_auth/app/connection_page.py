"""One hotel's page, and what an operator does there: refresh, a link to reconnect, disconnect, try a call. It works
without a script; that copies a field at a press.

Who did what is in the hotel's history and in the audit, as `session:` and the id of the session; of a call to try,
which changes nothing, in the log.
"""

from __future__ import annotations

from datetime import datetime
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import FORM_TOKEN, fields, parameters
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.pages.operator_pages import OperatorPages
from cloudbeds_auth.app.pages.pair_svg import pair_svg
from cloudbeds_auth.app.problems import POLICY, policy
from cloudbeds_auth.app.relaying import Relay
from cloudbeds_auth.app.trying import TryIt
from cloudbeds_auth.errors import by_code
from cloudbeds_auth.rules.audit import actor_words
from cloudbeds_auth.rules.documents import stamp
from cloudbeds_auth.rules.event_words import event_words
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, CredentialKind, Event, moment
from cloudbeds_auth.rules.overview import Offer, name_of, offer_of
from cloudbeds_auth.rules.pair_drawing import drawing
from cloudbeds_auth.rules.presentation import Responsible, has_tokens, presentation
from cloudbeds_auth.rules.sessions import Session
from cloudbeds_auth.rules.time_words import relative, span

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

LINES = 50  # of a history, in one page
ASKED = "path"  # the field of the form to try a call
WHO = {
    Responsible.HOTEL: "The hotel has to do this; you can ask it to.",
    Responsible.OPERATOR: "This is for you, the operator.",
    Responsible.NOBODY: "",
}
SCRIPT = {POLICY: policy(script=True)}


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


class ConnectionPage:
    """The handlers, each for a session."""

    def __init__(self, vault: TokenVault, pages: OperatorPages, relay: Relay) -> None:
        self._vault = vault
        self._pages = pages
        self._prefix = path_prefix(vault.settings.public_url)
        self._proxy = f"{vault.settings.public_url.rstrip('/')}/proxy"  # where programs reach it
        self._try_it = TryIt(vault, relay)

    async def show(self, request: PageRequest, session: Session) -> PageAnswer:
        """What is known of it, the picture of its tokens, and a page of its history; by a property's id, too."""
        one = await self._vault.connection(request.parameters["identifier"])
        cursor = parameters(request, "cursor").get("cursor")
        events = await self._vault.events(one.id, cursor=cursor, limit=LINES)
        timeline = await self._vault.engine.views.timeline(one.id, cursor=cursor)
        seen, found, planned, now = presentation(one), drawing(timeline), timeline.planned, self._now()
        return self._pages.show(
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
            proxy=f"{self._proxy}/{one.id}",
            examples=self._try_it.examples,
            picture=found and pair_svg(found),
            planned=_planned(planned, now),
            unused=planned is not None and one.expires_at is not None and planned > one.expires_at,
            known=[(label, value) for label, value in _known(one) if value],
            moments=[(label, at) for label, at in _moments(one, now) if at is not None],
            events=[_line(event, now) for event in events],
            first=cursor is None,
            following=events[-1].cursor if len(events) == LINES else None,
        ).with_headers(SCRIPT)

    async def renew(self, request: PageRequest, session: Session) -> PageAnswer:
        """Refresh it now."""
        return self._shown((await self._vault.refresh(request.parameters["identifier"])).id)

    async def link(self, request: PageRequest, session: Session) -> PageAnswer:
        """Make a link by which the hotel approves again, and show it: it is sent to the hotel by the operator."""
        one = await self._vault.connection(request.parameters["identifier"])
        link = await self._vault.create_link(connection_id=one.id)
        ends = _moment(link.expires_at, self._now())
        shown = self._pages.show(session, "link_made.html", id=one.id, hotel=name_of(one), url=link.url, ends=ends)
        return shown.with_headers(SCRIPT)

    async def disconnect(self, request: PageRequest, session: Session) -> PageAnswer:
        """Tell Cloudbeds, and forget its tokens."""
        engine = self._vault.engine
        found = await engine.ids.find(request.parameters["identifier"])
        await engine.disconnecter.disconnect(found, forget=False)
        return self._shown(found)

    async def attempt(self, request: PageRequest, session: Session) -> PageAnswer:
        """Make a call to Cloudbeds, and show what came back."""
        one = await self._vault.connection(request.parameters["identifier"])
        examples = self._try_it.examples
        asked = fields(request, FORM_TOKEN, ASKED)[ASKED] or examples[0]
        tried = await self._try_it.call(one.id, asked, session.actor, request.address)
        return self._pages.show(
            session, "tried.html", id=one.id, hotel=name_of(one), tried=tried, examples=examples, path=tried.path,
            took=span(tried.seconds), command=f"cloudbeds-auth call {one.id} {quote(tried.path)}",
        )  # fmt: skip

    def _now(self) -> datetime:
        return moment(self._vault.engine.world.clock.wall())

    def _shown(self, connection_id: str) -> PageAnswer:
        return redirect(f"{self._prefix}/connections/{connection_id}")


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
