"""The simulator's own pages: how to use it, and the glass box, a live view of everything that Cloudbeds knows, with
buttons and settings.

They work without the script, which only loads what changes and sends forms without leaving the page. Every form goes
through the control API.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import nlargest
from itertools import islice
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cloudbeds_simulator import grant_views, pages
from cloudbeds_simulator.control_api import CONTROL, ROUTES, ControlRoute
from cloudbeds_simulator.records import VendorApp, VendorGrant
from cloudbeds_simulator.request_views import request_view, rule_in_words
from cloudbeds_simulator.rotation import variant_of

if TYPE_CHECKING:
    from cloudbeds_simulator.http_shell import SimulatorServer

ROOT, HERE, LIVE = "/", "/glass-box", "/glass-box/live"
GRANTS, REQUESTS, LOOKED_AT, HOTELS = 8, 20, 500, 20
"""How many approvals and requests are shown, how many log entries are read for this, and how many hotels are listed."""
PAUSE = 0.2  # seconds between two messages at least
RUNS_OUT = 1.0  # seconds until the next look without a change: a token may have run out
SCRIPTED = {
    **pages.HEADERS,
    "Content-Security-Policy": f"{pages.POLICY}; script-src 'self'; connect-src 'self'; form-action 'self'",
}
RULES = {
    "V0": "repeating a refresh gives the same pair again",
    "V1": "repeating a refresh gives one more pair, beside the others",
    "V2": "repeating a refresh gives one more pair, in the place of the newest",
    "V3": "as V2, and presenting a dead refresh token ends the approval",
    "V4": "as V2, and any request counts as the first use of an access token",
    "V5": "as V2, and only a successful call counts as its first use",
    "V6": "the refresh token never changes",
    "V7": "a refresh token counts once",
}
FORMS = {"n": "leaves older ones alone", "y": "ends older ones"}
"""What presenting a newer refresh token does to the older ones, by the variant's form."""
STEPS = {"3600": "1 hour", "28800": "8 hours", "86400": "1 day", "2678400": "31 days"}  # by seconds


@dataclass(frozen=True, slots=True)
class Mishap:
    """A button for one fault: its label, and the fault's rule."""

    label: str
    rule: Mapping[str, object]


def _refresh(kind: str, **fields: object) -> dict[str, object]:
    return {"target": "token", "grant_type": "refresh_token", "kind": kind, **fields}


MISHAPS = {
    "lose-answer": Mishap(
        "Lose the next answer to a refresh",
        _refresh("reset_after"),
    ),
    "lose-refresh": Mishap(
        "Lose the next refresh on its way here",
        _refresh("reset_before"),
    ),
    "error": Mishap(
        "Answer the next refresh with an error 500",
        _refresh("status", status=500),
    ),
    "web-page": Mishap(
        "Answer the next refresh with a web page",
        _refresh("html", when="after"),
    ),
    "twice": Mishap(
        "Let the next refresh arrive twice",
        _refresh("duplicate"),
    ),
    "delay": Mishap(
        "Answer the next request 3 seconds late",
        {"target": "any", "kind": "delay", "seconds": 3},
    ),
    "too-many": Mishap(
        "Turn the next request away as one too many",
        {"target": "any", "kind": "rate_limited", "retry_after": "2"},
    ),
}
DONE = {
    **{name: f"Pressed: {one.label}." for name, one in MISHAPS.items()},
    "called-off": "Nothing will go wrong any more, and requests that hung go on.",
    "settings": "The settings are changed.",
    "expired": "Every access token has run out. The next call of a program will be refused, and bring a refresh.",
    "advanced": "The simulator's clock is ahead now.",
}
"""What the page says after a form was acted upon, by the ``did`` of the address to which the browser is redirected."""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a form requests from the control API: a route with its body; ``did`` is a key of ``DONE``."""

    method: str
    route: str
    did: str
    body: Mapping[str, object] = field(default_factory=dict)


def deed_of(name: str, form: Mapping[str, Any]) -> Deed:
    """What the form of this name requests. Raises ValueError or KeyError for a form that is on none of these pages."""
    match name:
        case "mishap":
            return Deed("POST", "faults", form["mishap"], MISHAPS[form["mishap"]].rule)
        case "call-off":
            return Deed("DELETE", "faults", "called-off")
        case "settings":
            changes = {
                "variant": f"{form['rule']}/{form['form']}",
                "expires_in": float(form["expires_in"]),
                "auto_approve": "auto_approve" in form,
            }
            return Deed("POST", "settings", "settings", changes)
        case "expire":
            return Deed("POST", "expire", "expired")
        case "advance":
            return Deed("POST", "advance", "advanced", {"seconds": float(form["seconds"])})
        case _:
            raise KeyError(name)


class GlassBox:
    """The pages over one simulator."""

    def __init__(self, server: SimulatorServer) -> None:
        self._server, self._model, self._clock, self._journal = server, server.model, server.clock, server.journal

    @staticmethod
    def has(path: str) -> bool:
        """Whether this is the path of one of these pages."""
        return path in {ROOT, HERE} or path.startswith(f"{HERE}/")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a page, or from a form of these pages."""
        match request.method, request.path:
            case (("GET" | "HEAD"), "/"):
                return _shown(self._root(str(request.url.origin())), pages.HEADERS)
            case (("GET" | "HEAD"), "/glass-box"):
                return _shown(self._box(DONE.get(request.query.get("did", ""), "")), SCRIPTED)
            case "GET", "/glass-box/live":
                return await self._live(request)
            case "POST", path if path.startswith(f"{HERE}/"):
                return await self._act(path.removeprefix(f"{HERE}/"), await request.post())
        return web.Response(status=404, text="There is no such page.")

    async def _act(self, name: str, form: Mapping[str, Any]) -> web.StreamResponse:
        try:
            deed = deed_of(name, form)
            await self._server.control.do(deed.method, deed.route, deed.body)
        except ValueError as error:
            return _shown(self._box(f"Nothing was changed: {error}.", failed=True), SCRIPTED, status=400)
        except (KeyError, TypeError):
            said = "Nothing was changed: no form of this page sends that."
            return _shown(self._box(said, failed=True), SCRIPTED, status=400)
        return web.Response(status=303, headers={"Location": f"{HERE}?did={deed.did}", "Cache-Control": "no-store"})

    def _root(self, url: str) -> str:
        model = self._model
        return pages.page(
            "root.html",
            here=ROOT,
            url=url,
            apps=[(app, _exports(url, app)) for app in model.apps.values()],
            hotels=list(islice(model.hotels.values(), HOTELS)),
            more=max(0, len(model.hotels) - HOTELS),
            routes=[
                (method, name, route.purpose, _curl(url, method, name, route))
                for (method, name), route in ROUTES.items()
            ],
            auto_approve=model.settings.auto_approve,
            life=model.settings.expires_in,
            rule=self._rule(),
        )

    def _box(self, said: str, *, failed: bool = False) -> str:
        variant = variant_of(self._model.settings.variant)
        return pages.page(
            "glass_box.html",
            here=HERE,
            said=said,
            failed=failed,
            mishaps=MISHAPS,
            rules=RULES,
            forms=FORMS,
            steps=STEPS,
            chosen=variant.name,
            form=variant.label[-1],
            settings=self._model.settings,
            **self._seen(),
        )

    def _rule(self) -> str:
        variant = variant_of(self._model.settings.variant)
        return f"{variant.label}: {RULES[variant.name]}"

    def _seen(self) -> dict[str, object]:
        """What changes by itself: approvals with their tokens, the latest requests, and the faults that wait."""
        now, latest = self._clock.now(), self._journal.entries[-LOOKED_AT:]
        grants = nlargest(GRANTS, self._model.grants, key=lambda one: (one.last_used_at, one.number))
        requests = [request_view(one, self._grant(one.grant), now) for one in reversed(latest[-REQUESTS:])]
        return {
            "grants": [
                grant_views.view(one, self._hotels(one), self._app(one), latest, now)
                for one in sorted(grants, key=lambda one: -one.number)
            ],
            "unseen": len(self._model.grants) - len(grants),
            "requests": requests,
            "latest": requests[0].sentence if requests else "No request has come yet.",
            "waiting": [rule_in_words(one) for one in self._server.faults.rules],
            "rule": self._rule(),
            "life": self._model.settings.expires_in,
            "ahead": self._clock.ahead,
        }

    def _grant(self, number: int | None) -> VendorGrant | None:
        return None if number is None or number > len(self._model.grants) else self._model.grants[number - 1]

    def _hotels(self, grant: VendorGrant) -> str:
        names = [self._model.hotels[one].name for one in grant.approval.property_ids if one in self._model.hotels]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"{', '.join(names[:3])}{more}"

    def _app(self, grant: VendorGrant) -> str:
        app = self._model.apps.get(grant.approval.client_id)
        return app.name if app else grant.approval.client_id

    async def _live(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the view whenever it differs, until the browser or the simulator ends the connection."""
        response = web.StreamResponse(headers={**pages.HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        sent = ""
        while True:
            change, seen = self._journal.change, self._seen()
            if (told := json.dumps({"latest": seen["latest"], "html": pages.page("live.html", **seen)})) != sent:
                await response.write(f"data: {told}\n\n".encode())
                sent = told
            with suppress(TimeoutError):
                await asyncio.wait_for(change.wait(), RUNS_OUT)
            await asyncio.sleep(PAUSE)


def _exports(url: str, app: VendorApp) -> str:
    """The settings that make cloudbeds-auth use this app of the simulator, for a shell."""
    settings = {
        "CLOUDBEDS_BASE_URL": url,
        "CLOUDBEDS_CLIENT_ID": app.client_id,
        "CLOUDBEDS_CLIENT_SECRET": app.client_secret,
    }
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in settings.items())


def _curl(url: str, method: str, name: str, route: ControlRoute) -> str:
    """The shell command that calls a route of the control API."""
    address = f"{url}{CONTROL}{name}"
    if method == "GET":
        return f"curl {shlex.quote(f'{address}?{route.example}' if route.example else address)}"
    body = f" -d {shlex.quote(route.example)}" if route.example else ""
    return f"curl -X {method} {shlex.quote(address)}{body}"


def _shown(text: str, headers: Mapping[str, str], status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)
