"""Checks of stored data: registrations, hotels that need action and what to do about them, webhooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from cloudbeds_auth.doctor.database import half_copied
from cloudbeds_auth.doctor.examination import Finding, Level, SkipCheck, Subject, ok, problem, warning
from cloudbeds_auth.doctor.installation import other_port
from cloudbeds_auth.rules.lifecycle import (
    HOTEL_SCOPE_MISSING,
    MIGRATION_CLIENT_UNKNOWN,
    MIGRATION_UNDER_WAY,
    State,
)
from cloudbeds_auth.rules.model import App, Connection, Page
from cloudbeds_auth.rules.overview import SECRET_REFUSED
from cloudbeds_auth.rules.presentation import SERVING, presentation
from cloudbeds_auth.rules.schedule import DAY, LONG_LIST
from cloudbeds_auth.rules.subscriptions import problem_in, unasked_scopes
from cloudbeds_auth.settings import is_our_path
from cloudbeds_auth.transactions.connections import Trouble

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

NEED_A_PERSON = {
    State.REAUTHORIZATION_REQUIRED: Level.PROBLEM,
    State.CLIENT_REFUSED: Level.PROBLEM,
    State.PARKED: Level.WARNING,
}
STUCK = {HOTEL_SCOPE_MISSING, MIGRATION_CLIENT_UNKNOWN}
OF_A_MOVE = {MIGRATION_CLIENT_UNKNOWN, MIGRATION_UNDER_WAY}
UNSETTLED = (State.IN_DOUBT, State.REFRESHING, State.BACKING_OFF)
HEALTHY = (State.FRESH, State.STALE)
SERVED = (*HEALTHY, State.BACKING_OFF)
MOST = 50
MOST_NAMED = 5
PAGE, MOST_PAGES = 200, 50
ADD_AGAIN = "run `cloudbeds-auth apps remove {}`, then add the app again with the right values"
ONE_SCHEME = "must be https if CLOUDBEDS_REDIRECT_URI is https, and http if it is http"
_SOON = "nothing, while the service or a vault with upkeep is running: they are compared soon"
MOST_HISTORIES = 10  # times MOST
ACCEPT = (
    "find out who writes to the database; `cloudbeds-auth database check` lists everything that was altered, and "
    "`cloudbeds-auth database accept con_...` accepts a connection as it is"
)
SLOW = 900.0  # seconds that the oldest message may wait
LATE = 3600.0  # seconds for which a hotel may be due; after an outage, many hotels take a while
BEGIN = (
    "run `cloudbeds-auth serve`, or open a vault with upkeep=True: Cloudbeds forgets tokens that are not refreshed for "
    "about a month; if one is running, look for `upkeep_failed` in its log"
)


# --- registrations


async def further_apps(subject: Subject) -> Sequence[Finding]:
    """Each stored app, because the settings may have changed since it was added."""
    own, *further = await subject.vault.apps.list()
    here = urlsplit(own.redirect_uri)
    wrong, well = list[Finding](), list[App]()
    for app in further:
        found = list(_wrong(app, own.client_id, here, subject.settings))
        wrong += found
        well += [] if found else [app]
    if len(wrong) > MOST:
        wrong[MOST:] = problem(f"{len(wrong) - MOST} more findings about apps", "fix these, then run this again")
    return [*wrong, *_well(well)] or ok("only the one in the settings")


async def client_secret(subject: Subject) -> Sequence[Finding]:
    """Whether Cloudbeds refused the client secret of the settings when it was last presented; none is sent here."""
    (own, *_), _ = await subject.vault.engine.views.app_looks(None, 1)
    if not own.app.client_id:
        raise SkipCheck("no client id is set")
    if own.seen.words == SECRET_REFUSED:
        return problem(f"{own.app.client_id}: {own.seen.words}", own.seen.next_step or "")
    return ok("not sent from here: the next approval or refresh shows whether Cloudbeds accepts it")


def _well(apps: Sequence[App]) -> Iterator[Finding]:
    """A finding for each of a few apps, or the number of many."""
    if len(apps) > MOST_NAMED:
        yield from ok(f"{len(apps)} apps (register each redirect URI exactly as `cloudbeds-auth apps` shows it)")
    else:
        for app in apps:
            yield from ok(f"{app.id}: {app.redirect_uri} (must be registered for {app.client_id} exactly like this)")


def _wrong(app: App, own_id: str, here: SplitResult, settings: Settings) -> Iterator[Finding]:
    """The problems of one app; `here` is the redirect URI in the settings. There may be very many apps."""
    where = urlsplit(app.redirect_uri)
    again = ADD_AGAIN.format(app.id)
    if not app.secrets:
        yield from problem(f"{app.id}: its client secret does not open", f"cloudbeds-auth apps rotate-secret {app.id}")
    if app.client_id == own_id:
        yield from problem(f"{app.id}: it has the client id of the app in the settings", again)
    if where.path == here.path:
        yield from problem(f"{app.id}: its redirect URI has the same path as CLOUDBEDS_REDIRECT_URI", again)
    if is_our_path(where.path, settings.public_url):
        yield from problem(f"{app.id}: {app.redirect_uri} is a page of the service, not a callback", again)
    if (where.scheme, where.netloc) != (here.scheme, here.netloc):
        yield from _elsewhere(app, where, here, settings)


def _elsewhere(app: App, where: SplitResult, here: SplitResult, settings: Settings) -> Iterator[Finding]:
    if where.scheme != here.scheme:
        yield from problem(f"{app.id}: its redirect URI {ONE_SCHEME}", ADD_AGAIN.format(app.id))
    host = where.hostname or ""
    if not settings.derived_hosts and host not in settings.allowed_hosts:
        what = f"{app.id}: {host} of its redirect URI is not allowed"
        yield from problem(what, f"add {host} to CLOUDBEDS_AUTH_ALLOWED_HOSTS")
    port = other_port(where, settings)
    if port is not None:
        what = f"{app.id}: {app.redirect_uri} leads to port {port}, but CLOUDBEDS_AUTH_PORT is {settings.port}"
        yield from warning(what, "register a redirect URI with the service's port at Cloudbeds")


async def where_from(subject: Subject) -> Sequence[Finding]:
    """Tokens and secrets that came from another origin or client id: they are not sent, and no hotel is at fault."""
    found = [Finding(Level.PROBLEM, one.what, one.next_step) for one in await subject.vault.apps.foreign()]
    return found or ok("everything stored came from the origin and the client ids of the settings")


# --- hotels


@dataclass(slots=True)
class _Reach:
    """How many hotels were looked at, and whether there are `more`."""

    seen: int = 0
    more: bool = False


async def need_a_person(subject: Subject) -> Sequence[Finding]:
    """Connections that cannot recover without a person."""
    found: list[Finding] = []
    for state, level in NEED_A_PERSON.items():
        if state is State.CLIENT_REFUSED:  # those from another origin or client id have one finding together
            page = await subject.vault.engine.views.refused_by_secret(MOST)
        else:
            page = await subject.vault.connections(state=state.value, limit=MOST)
        found += [_finding(one, level) for one in page]
        if page.next and page.connections:
            found.append(Finding(level, "and more", f"cloudbeds-auth connections list --state {state.value}"))
    found += await _stuck(subject)
    return found or ok("no hotel needs attention")


async def _stuck(subject: Subject) -> list[Finding]:
    """Most unsettled hotels settle by themselves; these do not, or only while upkeep runs. A move to an API key may be
    interrupted in any state of a hotel that is served, and once its access token has ended the hotel is not served.
    """
    found = list[Finding]()
    for state in UNSETTLED:
        read = partial(subject.vault.connections, state=state.value, limit=PAGE)
        the_list = f"cloudbeds-auth connections list --state {state.value}"
        found += await _stuck_among(read, f"hotels that are {state.value.replace('_', ' ')}", the_list)
    healthy = partial(subject.vault.engine.views.troubled, Trouble.PROBLEM)
    found += await _stuck_among(healthy, "healthy hotels with a problem", "cloudbeds-auth connections list")
    return found


async def _stuck_among(read: Callable[..., Awaitable[Page]], which: str, the_list: str) -> list[Finding]:
    problems, warnings, reach = list[Finding](), list[Finding](), _Reach()
    async for one in _all_of(read, reach):
        if (found := _why_stuck(one)) is not None:
            (problems if found.level is Level.PROBLEM else warnings).append(found)
        if len(problems) > MOST:
            break
    for each in (problems, warnings):
        each[MOST:] = [Finding(each[0].level, "and more", the_list)] if len(each) > MOST else []
    if reach.more:
        warnings += warning(f"of the {which}, only the newest {reach.seen} were looked at", the_list)
    return problems + warnings


def _why_stuck(one: Connection) -> Finding | None:
    if one.problem == MIGRATION_CLIENT_UNKNOWN or (one.problem in STUCK and one.state in UNSETTLED):
        return _finding(one)
    # Another problem may be shown instead: the last attempt's outcome, a refused call.
    if one.problem == MIGRATION_UNDER_WAY or one.moving_under is not None:
        shown = replace(one, problem=MIGRATION_UNDER_WAY, next_step=SERVING[MIGRATION_UNDER_WAY].text)
        return _finding(shown, Level.WARNING)
    return None


def _finding(one: Connection, level: Level = Level.PROBLEM) -> Finding:
    shown = presentation(one)
    named = f"{one.id} ({', '.join(one.property_ids)})" if one.property_ids else one.id
    why = f"{named}: {shown.words}" + (f": {one.problem}" if one.problem else "") + f"; waits for {shown.by}"
    return Finding(level, why, shown.next_step or one.connect_url or f"cloudbeds-auth connections show {one.id}")


async def looked_after(subject: Subject) -> Sequence[Finding]:
    """Due upkeep is done, by a running service or a vault with upkeep. Otherwise a hotel in use waits a moment at its
    next call, and an idle one loses its tokens in the end.
    """
    overdue = await subject.vault.engine.upkeep.overdue()
    if overdue <= LATE:
        return ok("no hotel waits to be refreshed or kept alive")
    level = Level.PROBLEM if overdue > DAY else Level.WARNING
    return [Finding(level, f"a hotel has been due to be refreshed or kept alive for {overdue / 3600:.0f} h", BEGIN)]


async def calls_refused(subject: Subject) -> Sequence[Finding]:
    """Connected hotels with calls refused for their scope or property; if there are very many, the newest."""
    found, reach = list[Finding](), _Reach()
    async for one in _all_of(partial(subject.vault.engine.views.troubled, Trouble.PROBLEM), reach):
        elsewhere = {problem_in(one.subscriptions), *one.risks, *OF_A_MOVE}  # other checks find these
        if one.state in HEALTHY and one.problem and one.problem not in elsewhere:
            found.append(_finding(one, Level.WARNING))
        if len(found) >= MOST:
            break
    return found or ok(f"no calls are refused for their scope or property{_newest(reach, 'a problem')}")


async def at_risk(subject: Subject) -> Sequence[Finding]:
    """Working hotels whose connection is at risk; if there are very many, the newest."""
    found, reach = list[Finding](), _Reach()
    async for one in _all_of(partial(subject.vault.engine.views.troubled, Trouble.RISK), reach):
        for risk, why in one.risks.items() if one.state in SERVED else ():
            step = presentation(replace(one, problem=risk, next_step=None)).next_step
            found += warning(f"{one.id} ({', '.join(one.property_ids)}): {risk}: {why}", step or "")
        if len(found) >= MOST:
            break
    return found or ok(f"nothing is known that would end a connection{_newest(reach, 'a risk')}")


def _newest(reach: _Reach, what: str) -> str:
    """What a sentence about all hotels ends with, if they were too many."""
    return f" (of the hotels with {what}, only the newest {reach.seen} were looked at)" if reach.more else ""


async def _all_of(read: Callable[..., Awaitable[Page]], reach: _Reach) -> AsyncIterator[Connection]:
    """The hotels of all pages, read by `cursor`, up to a limit, which `reach` records."""
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await read(cursor=cursor)
        for one in page:
            reach.seen += 1
            yield one
        cursor = page.next
        if cursor is None:
            return
    reach.more = True


async def _healthy(subject: Subject, reach: _Reach) -> AsyncIterator[Connection]:
    """Healthy hotels, by state and newest first, up to a limit for each state."""
    for state in HEALTHY:
        async for one in _all_of(partial(subject.vault.connections, state=state.value, limit=PAGE), reach):
            yield one


async def altered(subject: Subject) -> Sequence[Finding]:
    """Links, keys and histories are as this installation wrote them; if very many, the newest, and fewer histories."""
    if await half_copied(subject) is not None:
        raise SkipCheck("the rows of a copy that has not ended are not authentic yet")
    views = subject.vault.engine.views
    whole = partial(views.altered, histories=True)
    found, names = list[str](), list[str]()
    for name, newest, pages, limit, read in (
        ("links", "links of the newest {} hotels", MOST_PAGES, PAGE, partial(views.altered, histories=False)),
        ("keys for callers", "the newest {} keys for callers", MOST_PAGES, PAGE, views.altered_keys),
        ("histories", "histories of the newest {} hotels", MOST_HISTORIES, MOST, whole),
    ):
        before: str | None = None
        for _ in range(pages):
            page = await read(before, limit=limit)
            found += page.problems
            before = page.last
            if before is None:
                break
        names.append(name if before is None else newest.format(pages * limit))
    problems = [Finding(Level.PROBLEM, one, ACCEPT) for one in dict.fromkeys(found)]
    rest = "; `cloudbeds-auth database check` verifies all" if "newest" in "".join(names) else ""
    return problems[:MOST] or ok(f"{names[0]}, {names[1]} and {names[2]} are unaltered{rest}")


async def kept_tokens(subject: Subject) -> Sequence[Finding]:
    """The longest list of refresh tokens: each comes from a refresh whose access token was never seen to work."""
    report = await subject.vault.store_report()
    length = int(report["longest_token_list"])
    if length <= LONG_LIST:
        return ok(f"no hotel has more than {length} refresh token(s)")
    return warning(
        f"{report['longest_token_list_of']} has {length} refresh tokens: its new access tokens are never proven",
        f"cloudbeds-auth connections events {report['longest_token_list_of']}",
    )


# --- webhooks


async def subscribed(subject: Subject) -> Sequence[Finding]:
    """Every hotel has the subscriptions in the settings; if very many lack some, the newest."""
    events, scopes = subject.settings.subscriptions or (), subject.settings.scopes
    if not subject.settings.wanted:
        return ok("no Cloudbeds webhooks are configured (CLOUDBEDS_AUTH_SUBSCRIPTIONS)")
    found: list[Finding] = []
    for event, scope in unasked_scopes(events, scopes).items():
        found += warning(f"{event} needs the scope {scope}, which is not in CLOUDBEDS_SCOPES", "add it there")
    reach = _Reach()
    async for one in _healthy(subject, reach):
        found += _lacking(one)
        if len(found) >= MOST:
            break
    newest = "the newest " if reach.more else ""
    return found[:MOST] or ok(f"{newest}{reach.seen} hotel(s) have every subscription to Cloudbeds' webhooks")


def _lacking(one: Connection) -> Sequence[Finding]:
    """The subscriptions that the hotel lacks; a new connection may have none yet."""
    lacking = [f"{each.event} at {each.property_id}: {each.state}" for each in one.subscriptions if not each.is_there]
    if lacking:
        return warning(f"{one.id}: not subscribed to {', '.join(lacking[:MOST_NAMED])}", one.next_step or _SOON)
    return () if one.subscriptions else warning(f"{one.id}: its subscriptions were not compared yet", _SOON)


async def delivered(subject: Subject) -> Sequence[Finding]:
    """No message was given up, and none waits for long. Without a webhook URL nothing is sent, which is not a problem.

    Given-up messages are listed for a month and cannot be acknowledged: after a day without another one, they are only
    a warning.
    """
    vault = subject.vault
    if subject.settings.webhook_url is None:
        return ok("CLOUDBEDS_AUTH_WEBHOOK_URL is not set, so nothing is sent")
    outbox = await vault.outbox()
    found: list[Finding] = []
    if outbox.given_up:
        level = Level.PROBLEM if outbox.given_up_ago < DAY else Level.WARNING  # it may have been fixed since
        what = f"{outbox.given_up} message(s) were given up, the newest {outbox.given_up_ago / 3600:.0f} h ago"
        mend = "fix the receiver, then let it read every connection: GET /api/v1/connections"
        found.append(Finding(level, f"{what}: {outbox.problem}", mend))
    if outbox.oldest > SLOW:
        found += warning(
            f"{outbox.waiting} message(s) wait, the oldest for {outbox.oldest / 60:.0f} minutes",
            "check that the service is running and the receiver reachable; look for `webhook_failed` in the log",
        )
    return found or ok(f"{outbox.waiting} message(s) wait" if outbox.waiting else "every message was delivered")
