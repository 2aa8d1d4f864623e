"""The control API under ``/_control/``: looks inside the simulator and steers it, for tests and the demo.

It shows live token values and asks for no credential, so it is for loopback only; ``http`` refuses every other peer.
Bodies are JSON. A request that makes no sense gets 400 and ``{"error": "..."}``, and changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from cloudbeds_simulator import faults as fault_rules
from cloudbeds_simulator.answers import FACES
from cloudbeds_simulator.delivery import Delivery
from cloudbeds_simulator.faults import Faults
from cloudbeds_simulator.journal import Entry, Journal
from cloudbeds_simulator.methods import APP_STATES
from cloudbeds_simulator.misbehave import until
from cloudbeds_simulator.model import Model
from cloudbeds_simulator.records import ALL_SCOPES, LEVELS, App, Grant, Hotel, User
from cloudbeds_simulator.system import Clock

LONGEST_WAIT = 300.0
WAIT_FIELDS = frozenset({"target", "outcome", "method", "path", "grant_type", "fault", "client_id"})
WAIT_TOKENS = frozenset({"refresh_token", "access_token"})


class GlassBox:
    """The routes of the control API over one simulator's parts."""

    def __init__(self, model: Model, clock: Clock, faults: Faults, journal: Journal, delivery: Delivery) -> None:
        self.model, self.clock, self.faults, self.journal, self.delivery = model, clock, faults, journal, delivery
        self._begun = (tuple(model.apps.values()), tuple(model.hotels.values()), model.settings)
        self._routes: dict[tuple[str, str], Callable[[web.Request, Any], Awaitable[object] | object]] = {
            ("GET", "state"): lambda _, __: self.state(),
            ("GET", "requests"): self._requests,
            ("GET", "counts"): lambda _, __: journal.counts(),
            ("GET", "wait"): self._wait,
            ("POST", "expire"): self._expire,
            ("POST", "settings"): self._settings,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): lambda _, __: {"cleared": faults.clear()},
            ("POST", "hotels"): self._hotels,
            ("POST", "apps"): self._apps,
            ("POST", "revoke"): self._revoke,
            ("POST", "app-state"): self._app_state,
            ("GET", "webhooks"): lambda _, __: {"sent": delivery.told},
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
            told = route(request, json.loads(body) if body else {})
            return web.json_response(await told if isinstance(told, Awaitable) else told)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    def state(self) -> dict[str, object]:
        """Apps, hotels, settings, waiting fault rules, and every grant with every pair it was ever given."""
        apps = [
            {**asdict(app), "redirect_uris": sorted(app.redirect_uris), "scopes": list(app.scopes)}
            for app in self.model.apps.values()
        ]
        return {
            "now": self.clock.now(),
            "settings": self.model.settings.as_dict(),
            "apps": apps,
            "hotels": [asdict(hotel) for hotel in self.model.hotels.values()],
            "chosen": list(self.model.chosen),
            "faults": [rule.as_dict() for rule in self.faults.rules],
            "grants": [self._grant(grant) for grant in self.model.grants],
        }

    def _grant(self, grant: Grant) -> dict[str, object]:
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
            "client_id": grant.approval.client_id,
            "property_ids": list(grant.approval.property_ids),
            "scopes": list(grant.approval.scopes),
            "user": asdict(grant.approval.user),
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
        return {"requests": [entry.as_dict() for entry in found], "last": len(self.journal.entries)}

    async def _wait(self, request: web.Request, _: Any) -> object:
        """The first matching log entry behind ``after``, waited for up to ``timeout`` seconds; null when none came."""
        query = request.query
        wanted: dict[str, object] = {name: query[name] for name in query.keys() & (WAIT_FIELDS | WAIT_TOKENS)}
        wanted |= {name: int(query[name]) for name in ("grant", "status") if name in query}
        if "answered" in query:
            wanted["answered"] = query["answered"] == "true"
        timeout = min(float(query.get("timeout", "20")), LONGEST_WAIT)
        found = await self._until(wanted, int(query.get("after", "0")), timeout)
        return {"entry": found.as_dict() if found else None}

    async def _until(self, wanted: dict[str, object], after: int, timeout: float) -> Entry | None:
        changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        self.journal.listeners.add(changed.set)
        try:
            while (found := self.journal.find(wanted, after)) is None:
                changed.clear()
                if not await until(changed, deadline - loop.time()):
                    break
            return found
        finally:
            self.journal.listeners.discard(changed.set)

    def _expire(self, _: web.Request, body: Any) -> object:
        numbers = []
        for grant in self._named(body):
            grant.rotation.expire(self.clock.now())
            numbers.append(grant.number)
        return {"expired": numbers}

    def _settings(self, _: web.Request, body: Any) -> object:
        return self.model.configure(dict(body)).as_dict()

    def _add_faults(self, _: web.Request, body: Any) -> object:
        rules = [fault_rules.parse(one) for one in (body if isinstance(body, list) else [body])]
        self.faults.add(rules)
        return {"faults": [rule.as_dict() for rule in self.faults.rules]}

    def _hotels(self, _: web.Request, body: Any) -> object:
        user = User(**{name: str(value) for name, value in body["user"].items()})
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
        uris = body.get("redirect_uris", known.redirect_uris if known else ())
        if isinstance(uris, str):
            raise ValueError("redirect_uris is a list")
        level = str(body.get("level") or (known.level if known else "partner"))
        if level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}")
        app = App(
            client_id,
            str(body.get("client_secret") or (known.client_secret if known else self.model.mint("secret"))),
            str(body.get("name") or (known.name if known else client_id)),
            frozenset(str(uri) for uri in uris),
            tuple(body.get("scopes") or (known.scopes if known else ALL_SCOPES)),
            level,
        )
        self.model.add_app(app)
        return {**asdict(app), "redirect_uris": sorted(app.redirect_uris), "scopes": list(app.scopes)}

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

    def _choose(self, _: web.Request, body: Any) -> object:
        chosen = body["property_ids"] if isinstance(body, dict) else body
        if not isinstance(chosen, list):
            raise ValueError("property_ids is a list")
        return {"chosen": list(self.model.choose(chosen))}

    def _advance(self, _: web.Request, body: Any) -> object:
        return {"now": self.clock.advance(float(body["seconds"]))}

    def _reset(self) -> object:
        """As it was at the start: its apps, hotels and settings, its own time, and nothing that happened since.

        What hangs goes on with values that nobody knows any more, and so does what was to happen later.
        """
        self.faults.clear()
        self.model.begin_again(*self._begun)
        self.journal.begin_again()
        self.clock.ahead = 0.0
        return self.state()

    def _named(self, body: Any) -> list[Grant]:
        if "grant" not in body:
            return list(self.model.grants)
        number = int(body["grant"])
        if not 0 < number <= len(self.model.grants):
            raise ValueError(f"no grant {number}")
        return [self.model.grants[number - 1]]
