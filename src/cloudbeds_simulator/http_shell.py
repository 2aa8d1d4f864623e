"""The HTTP shell around the vendor, and the control API under ``/_control/``, by which tests and the demo see into it.

One handler reads a request, logs it, lets a fault have its way, and answers. The control API shows live token values
and asks for no credential, so it answers loopback only. Its bodies are JSON. A request to it that makes no sense gets
400 and ``{"error": "..."}``, and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from typing import Any

from aiohttp import web

from cloudbeds_simulator import endpoints, faults
from cloudbeds_simulator.answers import FACES
from cloudbeds_simulator.endpoints import Visit
from cloudbeds_simulator.faults import Faults, WayBack
from cloudbeds_simulator.journal import Journal, JournalEntry, ReceivedCall, read
from cloudbeds_simulator.methods import APP_STATES
from cloudbeds_simulator.records import ALL_SCOPES, LEVELS, Hotel, HotelUser, VendorApp, VendorGrant
from cloudbeds_simulator.switches import SimulatedClock
from cloudbeds_simulator.vendor_model import VendorModel
from cloudbeds_simulator.webhooks import WebhookPoster, is_loopback

MAX_BODY = 512 * 1024 * 1024
MAX_FIELD = 64 * 1024  # tokens of several KB are possible, and callers may send long headers
CONTROL = "/_control/"
LONGEST_WAIT = 300.0
WAITED_FOR: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("target", "outcome", "method", "path", "grant_type", "fault", "client_id"), str),
    **dict.fromkeys(("refresh_token", "access_token"), str),
    **dict.fromkeys(("grant", "status"), int),
    "answered": "true".__eq__,
}
"""What an entry of the log can be waited for by, and how the query's text is read."""


class SimulatorServer:
    """The vendor behind one listening socket: its model, clock, faults and log."""

    def __init__(self, model: VendorModel) -> None:
        self.model = model
        self.clock = SimulatedClock()
        self.faults = Faults()
        self.journal = Journal()
        self.delivery = WebhookPoster(self.clock.sleep)
        self.glass_box = GlassBox(self)

    def application(self) -> web.Application:
        """The aiohttp application: everything goes to one handler, which looks at the path byte for byte."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{anything:.*}", self.handle)
        app.on_cleanup.append(lambda _: self.delivery.close())
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and begin to post what it made due."""
        try:
            return await self._answer(request)
        finally:
            self.delivery.flush(self.model.subscriptions, self.model.settings.webhook_interval)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.raw_path.startswith(CONTROL):
            if not is_loopback(request.remote):
                return web.json_response({"error": "the control API answers loopback only"}, status=403)
            return await self.glass_box.handle(request)
        call = await read(request)
        visit = self._logged(call)
        rule = self.faults.take(visit.entry.target, call.path, call.name, visit.entry.grant_type)
        self.journal.changed()
        again = partial(self._logged, call)
        return await WayBack(request, visit, self.faults, self.clock.sleep, self.journal.changed, again).serve(rule)

    def _logged(self, call: ReceivedCall) -> Visit:
        number, target = len(self.journal.entries) + 1, endpoints.target_of(call)
        entry = JournalEntry(number, self.clock.now(), target, call.method, call.path)
        if target == "token":
            entry.grant_type = call.field("grant_type") or None
            entry.client_id = call.field("client_id") or None
            entry.refresh_token = call.field("refresh_token") or None
        entry.access_token = next(iter(call.credentials), None)
        entry.key_header = "X-Api-Key" in call.headers
        self.journal.entries.append(entry)
        return Visit(call, self.model, entry, self.clock)


class GlassBox:
    """The routes of the control API over one simulator's parts."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server, self.model, self.clock, self.journal = server, server.model, server.clock, server.journal
        self._begun = deepcopy(vars(self.model))
        self._routes: dict[tuple[str, str], Callable[[web.Request, Any], Awaitable[object] | object]] = {
            ("GET", "state"): lambda _, __: self.state(),
            ("GET", "requests"): self._requests,
            ("GET", "counts"): lambda _, __: self.journal.counts(),
            ("GET", "wait"): self._wait,
            ("POST", "expire"): self._expire,
            ("POST", "settings"): self._settings,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): lambda _, __: {"cleared": server.faults.clear()},
            ("POST", "hotels"): self._hotels,
            ("POST", "apps"): self._apps,
            ("POST", "keys"): self._make_key,
            ("POST", "revoke"): self._revoke,
            ("POST", "app-state"): self._app_state,
            ("POST", "event"): self._event,
            ("GET", "webhooks"): lambda _, __: {"sent": server.delivery.attempts},
            ("POST", "choose"): self._choose,
            ("POST", "advance"): self._advance,
            ("POST", "reset"): lambda _, __: self._reset(),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one control request."""
        route = self._routes.get((request.method, request.path.removeprefix("/_control/")))
        if route is None:
            return web.json_response({"error": "no such control route"}, status=404)
        try:
            body = await request.read()
            result = route(request, json.loads(body) if body else {})
            return web.json_response(await result if isinstance(result, Awaitable) else result)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    def state(self) -> dict[str, object]:
        """Apps, hotels, settings, waiting fault rules, and every grant with every pair it was ever given."""
        return {
            "now": self.clock.now(),
            "settings": asdict(self.model.settings),
            "apps": [_shown(app) for app in self.model.apps.values()],
            "hotels": [asdict(hotel) for hotel in self.model.hotels.values()],
            "chosen": list(self.model.chosen),
            "faults": [asdict(rule) for rule in self.server.faults.rules],
            "subscriptions": self.model.subscriptions.shown(),
            "grants": [self._grant(grant) for grant in self.model.grants],
        }

    def _grant(self, grant: VendorGrant) -> dict[str, object]:
        rotation, now = grant.rotation, self.clock.now()
        pairs = [
            {
                **asdict(pair),
                "access_accepted": rotation.alive(pair.access_token, now),
                "refresh_accepted": pair.refresh_token in rotation.accepted,
            }
            for pair in rotation.pairs
        ]
        return {
            "grant": grant.number,
            **asdict(grant.approval),
            "created_at": grant.created_at,
            "last_used_at": grant.last_used_at,
            "revoked": rotation.revoked,
            "ended": grant.ended,
            "face": grant.face,
            "current": rotation.current.ordinal if rotation.pairs else None,
            "pairs": pairs,
            "keys": [asdict(key) for key in grant.keys],
        }

    def _requests(self, request: web.Request, _: Any) -> object:
        found = self.journal.after(int(request.query.get("after", "0")))
        return {"requests": [asdict(entry) for entry in found], "last": len(self.journal.entries)}

    async def _wait(self, request: web.Request, _: Any) -> object:
        """The first matching log entry behind ``after``, waited for up to ``timeout`` seconds; null when none came."""
        query = request.query
        wanted = {name: read_text(query[name]) for name, read_text in WAITED_FOR.items() if name in query}
        timeout = min(float(query.get("timeout", "20")), LONGEST_WAIT)
        found = await self.journal.wait_for(wanted, int(query.get("after", "0")), timeout)
        return {"entry": asdict(found) if found else None}

    def _expire(self, _: web.Request, body: Any) -> object:
        grants = self._named(body)
        for grant in grants:
            grant.rotation.expire(self.clock.now())
        return {"expired": [grant.number for grant in grants]}

    def _settings(self, _: web.Request, body: Any) -> object:
        return asdict(self.model.configure(dict(body)))

    def _add_faults(self, _: web.Request, body: Any) -> object:
        rules = self.server.faults.rules
        rules += [faults.parse(one) for one in (body if isinstance(body, list) else [body])]
        return {"faults": [asdict(rule) for rule in rules]}

    def _hotels(self, _: web.Request, body: Any) -> object:
        user = HotelUser(**{name: str(value) for name, value in body["user"].items()})
        group = body.get("group")
        hotel = Hotel(
            str(body["property_id"]), str(body["name"]), user, str(group) if group else None, body.get("closed") is True
        )
        self.model.add_hotel(hotel)
        return asdict(hotel)

    def _apps(self, _: web.Request, body: Any) -> object:
        """Add an app; of one that exists only the fields given are replaced, so that a secret can be reset alone."""
        client_id = str(body["client_id"])
        known = self.model.apps.get(client_id)
        if known is None:
            known = VendorApp(client_id, self.model.mint("secret"), client_id, frozenset(), ALL_SCOPES)
        uris, level = body.get("redirect_uris", known.redirect_uris), str(body.get("level") or known.level)
        if isinstance(uris, str):
            raise ValueError("redirect_uris is a list")
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}")
        app = VendorApp(
            client_id,
            str(body.get("client_secret") or known.client_secret),
            str(body.get("name") or known.name),
            frozenset(str(uri) for uri in uris),
            tuple(body.get("scopes") or known.scopes),
            level,
        )
        self.model.add_app(app)
        return _shown(app)

    def _make_key(self, _: web.Request, body: Any) -> object:
        """What a hotel user does under *API Credentials*; the key is shown as Cloudbeds shows it, once."""
        named, scopes = body.get("property_ids") or [body["property"]], body.get("scopes") or ()
        made = self.model.make_key(named, scopes, self.clock.now())
        return {"api_key": made.key.value, "grant": made.grant.number}

    def _revoke(self, _: web.Request, body: Any) -> object:
        face = str(body.get("face", "denied"))
        if face not in FACES:
            raise ValueError(f"face must be one of {', '.join(FACES)}")
        if "property" in body:
            ending = self.model.covering(str(body["property"]))
        elif "grant" in body:
            ending = self._named(body)
        else:
            raise ValueError("name a grant or a property")
        for grant in ending:
            self.model.end(grant, "disconnected" if "property" in body else "revoked", face)
        return {"revoked": [grant.number for grant in ending]}

    def _app_state(self, _: web.Request, body: Any) -> object:
        """What a hotel user does: of every app with a grant there. ``keep`` leaves the sessions alive for now."""
        property_id, state = str(body["property"]), str(body["state"])
        if state not in APP_STATES:
            raise ValueError(f"state must be one of {', '.join(APP_STATES)}")
        apps = sorted({grant.approval.client_id for grant in self.model.covering(property_id)})
        for client_id in apps:
            self.model.set_app_state(client_id, property_id, state, self.clock.now(), body.get("keep") is True)
        return {"changed": apps}

    def _event(self, _: web.Request, body: Any) -> object:
        """Something happens at a property, of which subscribed webhooks are posted."""
        property_id, payload = str(body["property"]), dict(body.get("payload") or {})
        return {"due": self.model.subscriptions.happened(property_id, str(body["event"]), payload, self.clock.now())}

    def _choose(self, _: web.Request, body: Any) -> object:
        chosen = body["property_ids"] if isinstance(body, dict) else body
        if not isinstance(chosen, list):
            raise ValueError("property_ids is a list")
        return {"chosen": list(self.model.choose(chosen))}

    def _advance(self, _: web.Request, body: Any) -> object:
        return {"now": self.clock.advance(float(body["seconds"]))}

    def _reset(self) -> object:
        """As it was at the start: its apps, hotels and settings, its own time, and nothing that happened since.

        A request that hangs resumes with values that are unknown now, and so does one that was to be acted upon later.
        """
        self.server.faults.clear()
        vars(self.model).update(deepcopy(self._begun))
        self.journal.entries.clear()
        self.journal.changed()
        self.clock.ahead = 0.0
        return self.state()

    def _named(self, body: Any) -> list[VendorGrant]:
        if "grant" not in body:
            return list(self.model.grants)
        number = int(body["grant"])
        if not 0 < number <= len(self.model.grants):
            raise ValueError(f"no grant {number}")
        return [self.model.grants[number - 1]]


def _shown(app: VendorApp) -> dict[str, object]:
    return {**asdict(app), "redirect_uris": sorted(app.redirect_uris), "scopes": list(app.scopes)}


async def listen(simulator: SimulatorServer, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, int]:
    """Serve on this address until the returned runner is cleaned up; the port it got, a free one for 0.

    Raises OSError when the port is taken.
    """
    runner = web.AppRunner(
        simulator.application(),
        handler_cancellation=True,  # a hanging request ends with its connection
        auto_decompress=False,  # a body is reported byte for byte
        max_line_size=MAX_FIELD,
        max_field_size=MAX_FIELD,
        access_log=None,
        shutdown_timeout=0.2,
        handle_signals=False,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])
