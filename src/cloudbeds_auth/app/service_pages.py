"""The pages about the service itself: registrations at Cloudbeds, the audit, pending work, the settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from pydantic import ByteSize
from pydantic.fields import FieldInfo

from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest
from cloudbeds_auth.app.forms import parameters
from cloudbeds_auth.app.pages.operator_pages import ROWS, OperatorPages, when
from cloudbeds_auth.engine.jobs import JobRecord
from cloudbeds_auth.engine.workload import MOST_APPS, ClientWindow
from cloudbeds_auth.rules.audit import AuditEntry, actor_words
from cloudbeds_auth.rules.event_words import KINDS
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.overview import AppLook
from cloudbeds_auth.rules.presentation import Badge
from cloudbeds_auth.rules.sessions import Session
from cloudbeds_auth.rules.time_words import duration
from cloudbeds_auth.settings import Setting, rows
from cloudbeds_auth.transactions.outbox import MOST as MOST_MESSAGES
from cloudbeds_auth.transactions.outbox import Outbox
from cloudbeds_auth.transactions.upkeep import MOST_COUNTED, Queue, Queued

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings
    from cloudbeds_auth.vault import TokenVault

UNSET = "not set"
LATE = 900.0  # seconds that the first in a queue may wait: as long as `doctor` lets a message wait
LEVELS = {"partner": "a partner of Cloudbeds", "property": "one property, for itself"}
CREDENTIALS = {CredentialKind.OAUTH: "OAuth tokens", CredentialKind.API_KEY: "an API key"}
QUEUES = {
    Queue.UPKEEP: (
        "Refreshes and keep-alive",
        "Tokens are refreshed before they expire. A few that wait for seconds are normal; so are many after an outage.",
    ),
    Queue.RETRIES: (
        "Retries of refused hotels",
        "A hotel that has to reconnect is still tried now and then, because some recover by themselves.",
    ),
    Queue.APP_STATES: (
        "Checking whether hotels left",
        "Cloudbeds is asked now and then whether a hotel has disabled the app there.",
    ),
    Queue.LISTINGS: ("Listing properties", "Each hotel's properties are listed again once a day."),
    Queue.COMPARISONS: (
        "Comparing webhook subscriptions",
        "The subscriptions at Cloudbeds are compared with the settings. All are due at once after the settings change.",
    ),
}
JOBS = {
    "write calls": "Recording calls for hotels",
    "write uses of keys": "Recording when keys are used",
    "write failures": "Recording failed sign-ins",
    "upkeep": "Refreshing and keeping alive",
    "key in use": "Recording which encryption key is in use",
    "retention": "Deleting old records",
    "app states": "Checking whether hotels left",
    "groups": "Listing properties",
    "subscriptions": "Comparing webhook subscriptions",
    "webhooks": "Delivering messages",
}


class ServicePages:
    """The handlers, each for a session."""

    def __init__(self, vault: TokenVault, pages: OperatorPages) -> None:
        self._engine = vault.engine
        self._settings = vault.settings
        self._pages = pages

    async def apps(self, request: PageRequest, session: Session) -> PageAnswer:
        """Registrations at Cloudbeds, the settings' own first."""
        cursor = parameters(request, "cursor").get("cursor")
        looks, following = await self._engine.views.app_looks(cursor, ROWS)
        return self._pages.show(session, "apps.html", rows=[_app(one) for one in looks], following=following)

    async def audit(self, request: PageRequest, session: Session) -> PageAnswer:
        """Who did what, newest first."""
        cursor = parameters(request, "cursor").get("cursor")
        page = await self._engine.audit.entries(cursor=cursor, limit=ROWS)
        following = page[-1].id if len(page) == ROWS else None
        rows = [_entry(one) for one in page]
        return self._pages.show(session, "audit.html", rows=rows, following=following, later=cursor is not None)

    async def work(self, request: PageRequest, session: Session) -> PageAnswer:
        """Pending work, the use of rate limits, and the state of the jobs."""
        found, now = await self._engine.workloads.read(), self._engine.world.clock.wall()
        sends = self._settings.webhook_url is not None
        return self._pages.show(
            session,
            "work.html",
            queues=[_queue(queue, queued) for queue, queued in found.queues.items()],
            windows=[_window(one) for one in found.windows],
            more=MOST_APPS if len(found.windows) > MOST_APPS else 0,
            outbox=_outbox(found.outbox) if sends else _mute(found.outbox),
            jobs=[_job(name, record, now) for name, record in found.jobs.items()],
        )

    async def values(self, request: PageRequest, session: Session) -> PageAnswer:
        """The settings, each as it was read."""
        settings, model = self._settings, type(self._settings)
        found = [_setting(settings, name, row, model.model_fields[name]) for name, row in rows(model).items()]
        return self._pages.show(session, "settings.html", rows=found, warnings=settings.warnings)


def up_to(number: int, most: int) -> str:
    """`1,234`; `10,000 or more` where counting stopped there."""
    return f"{number:,} or more" if number >= most else f"{number:,}"


def _app(look: AppLook) -> dict[str, object]:
    app: App = look.app
    number = f"{look.connections:,} or more" if look.more else f"{look.connections:,}"
    return {
        "name": app.id, "seen": look.seen, "client_id": app.client_id, "level": LEVELS.get(app.level, app.level),
        "redirect_uri": app.redirect_uri, "scopes": app.scopes, "credential": CREDENTIALS[app.credential],
        "connections": number, "query": urlencode({"app": app.id}), "added": when(app.created_at),
        "rotated": when(app.rotated_at),
    }  # fmt: skip


def _entry(one: AuditEntry) -> dict[str, object]:
    return {
        "at": when(one.at), "actor": actor_words(one.actor), "action": _done(one),
        "subject": one.subject or "", "is_hotel": (one.subject or "").startswith("con_"), "address": one.address or "",
        "data": ", ".join(f"{name}: {_fact(value)}" for name, value in one.data.items() if value is not None),
    }  # fmt: skip


def _done(one: AuditEntry) -> str:
    """The action, in the words of a hotel's history if it has them."""
    return KINDS.get(one.action) or one.action.replace("_", " ").capitalize()


def _fact(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_fact, value))
    return value if isinstance(value, str) else json.dumps(value)


def _queue(queue: Queue, queued: Queued) -> dict[str, object]:
    name, meaning = QUEUES[queue]
    badge = Badge.ATTENTION if queued.late > LATE else Badge.RECOVERING if queued.late > LATE / 5 else Badge.HEALTHY
    return {
        "name": name, "meaning": meaning, "waiting": up_to(queued.waiting, MOST_COUNTED),
        "soon": up_to(queued.soon, MOST_COUNTED), "badge": badge, "late": duration(queued.late) if queued.late else "",
    }  # fmt: skip


def _window(one: ClientWindow) -> dict[str, object]:
    use, rate = one.use, one.limit.rate
    state, badge = "below the limit", Badge.HEALTHY
    if use.paused:
        state, badge = (
            f"Cloudbeds answered 429 (too many requests): nothing is sent for {duration(use.paused)}",
            Badge.RECOVERING,
        )
    elif use.spaced:
        state, badge = "Cloudbeds answered 429 within the last hour: requests are spaced evenly", Badge.RECOVERING
    elif use.taken >= rate.most:
        state = "all in use: further requests wait their turn"
    return {
        "name": one.app.id, "client_id": one.app.client_id, "waiting": one.waiting,
        "allowed": f"{rate.most} within {rate.window:g} s" + (", observed only" if one.limit.observed else ""),
        "taken": use.taken, "ahead": use.ahead, "state": state, "badge": badge,
    }  # fmt: skip


def _outbox(outbox: Outbox) -> dict[str, object]:
    waiting = up_to(outbox.waiting, MOST_MESSAGES)
    if outbox.given_up:
        given_up = up_to(outbox.given_up, MOST_MESSAGES)
        text = f"Given up: {given_up}, the last because of {outbox.problem}. Waiting: {waiting}."
        return {"badge": Badge.ATTENTION, "text": f"{text} Repair the receiver, then have it fetch every connection."}
    if not outbox.waiting:
        return {"badge": Badge.HEALTHY, "text": "Every message was delivered."}
    late = outbox.oldest > LATE
    text = f"Waiting to be delivered: {waiting}, the oldest for {duration(outbox.oldest)}."
    if late:
        text += " Is the receiver reachable, and does it answer 2xx?"
    return {"badge": Badge.ATTENTION if late else Badge.HEALTHY, "text": text}


def _mute(outbox: Outbox) -> dict[str, object]:
    """No webhook URL is set: nothing is sent, and nothing is wrong."""
    text = f"No webhook URL is set, so nothing is sent. Kept for a while: {up_to(outbox.waiting, MOST_MESSAGES)}."
    return {"badge": Badge.HEALTHY, "text": text}


def _job(name: str, record: JobRecord, now: float) -> dict[str, object]:
    succeeded = "not yet" if record.succeeded_at is None else f"{duration(now - record.succeeded_at)} ago"
    failed = "" if record.failed_at is None else f"{duration(now - record.failed_at)} ago: {record.error}"
    fails = record.failed_at is not None and record.failed_at > (record.succeeded_at or 0.0)
    return {
        "name": JOBS.get(name, name), "succeeded": succeeded, "failures": f"{record.failures:,}", "failed": failed,
        "badge": Badge.ATTENTION if fails else Badge.HEALTHY,
    }  # fmt: skip


def _setting(settings: Settings, attribute: str, row: Setting, field: FieldInfo) -> dict[str, object]:
    """One setting. A secret is shown only as set or not set, and so is a URL that may contain one."""
    value, given = getattr(settings, attribute), attribute in settings.model_fields_set
    kept = row.secret or not field.repr
    shown = ("set" if value else UNSET) if kept else _written(value)
    in_file = not {row.name, row.file_name}.isdisjoint(settings.from_env_file)
    origin = f"`{settings.env_file}`" if in_file else "the environment"
    return {
        "name": row.name, "means": row.means, "value": shown, "is_shown": not kept and shown != UNSET,
        "origin": origin if given else f"the default{': ' if row.default else ''}{row.default}",
    }  # fmt: skip


def _written(value: object) -> str:
    """A value as it is written in an environment variable."""
    match value:
        case None | () | "":
            return UNSET
        case ByteSize():
            return value.human_readable().replace(".0", "")
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return " ".join(str(one) for one in value)
    return str(value)
