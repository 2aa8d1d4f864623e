"""The control API under ``/_control/``, with which tests, the demo and the glass box inspect and steer the simulator.

It shows live token values and asks for no credential, so it answers requests from this machine only
(``local_requests``). Its bodies are JSON. An invalid request gets 400 and ``{"error": "..."}``, and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Set
from copy import deepcopy
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

from cloudbeds_simulator import faults
from cloudbeds_simulator.answers import FACES
from cloudbeds_simulator.methods import APP_STATES
from cloudbeds_simulator.records import ALL_SCOPES, LEVELS, Hotel, HotelUser, VendorApp, VendorGrant

if TYPE_CHECKING:
    from cloudbeds_simulator.http_shell import SimulatorServer

CONTROL = "/_control/"
HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
LONGEST_WAIT = 300.0
WAITED_FOR: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("target", "outcome", "method", "path", "grant_type", "fault", "client_id"), str),
    **dict.fromkeys(("refresh_token", "access_token"), str),
    **dict.fromkeys(("grant", "status"), int),
    "answered": "true".__eq__,
}
"""The fields by which a log entry can be waited for, and how the query's text is read."""


class ControlRoute(NamedTuple):
    """The purpose of a route, as the simulator's first page shows it; ``example`` is a query or a body."""

    purpose: str
    example: str = ""


ROUTES: dict[tuple[str, str], ControlRoute] = {
    ("GET", "state"): ControlRoute("Everything there is: apps, hotels, settings, and every token of every approval."),
    ("GET", "requests"): ControlRoute("What was asked since request number N, and what became of it.", "after=0"),
    ("GET", "counts"): ControlRoute("How many token requests and calls had which outcome."),
    ("GET", "wait"): ControlRoute("Wait for a request of some kind.", "target=token&outcome=issued"),
    ("GET", "webhooks"): ControlRoute("Every webhook that was posted, and how it was answered."),
    ("POST", "expire"): ControlRoute("Access tokens run out now: all of them, or those of one approval."),
    ("POST", "faults"): ControlRoute(
        "Let something go wrong.", '{"target": "token", "kind": "reset_after", "grant_type": "refresh_token"}'
    ),
    ("DELETE", "faults"): ControlRoute("Call off what was to go wrong, and let requests that hang go on."),
    ("POST", "settings"): ControlRoute("Change the rule for tokens, their life, and more.", '{"variant": "V0/n"}'),
    ("POST", "advance"): ControlRoute("Move the simulator's clock forward.", '{"seconds": 3600}'),
    ("POST", "revoke"): ControlRoute("All approvals of a hotel end, or one does.", '{"property": "100001"}'),
    ("POST", "choose"): ControlRoute(
        "Which hotels the next approval without asking is for.", '{"property_ids": ["100001"]}'
    ),
    ("POST", "app-state"): ControlRoute(
        "A hotel switches the app off, or on again.", '{"property": "100001", "state": "disabled"}'
    ),
    ("POST", "event"): ControlRoute(
        "Something happens at a hotel, and webhooks are posted.",
        '{"property": "100001", "event": "reservation/created"}',
    ),
    ("POST", "keys"): ControlRoute("A hotel makes an API key by itself.", '{"property": "100001"}'),
    ("POST", "hotels"): ControlRoute(
        "Add a hotel, with the user who approves for it.",
        '{"property_id": "100099", "name": "New Inn", "user": {"user_id": "9099", "first_name": "Noor", '
        '"last_name": "Added", "email": "noor@new-inn.example"}}',
    ),
    ("POST", "apps"): ControlRoute("Add an app, or reset the secret of one.", '{"client_id": "another-app"}'),
    ("POST", "reset"): ControlRoute("Start over: nothing that happened has happened."),
}


class ControlApi:
    """The routes over the parts of one simulator."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server, self.model, self.clock, self.journal = server, server.model, server.clock, server.journal
        self._begun = deepcopy(vars(self.model))
        self._acts: dict[tuple[str, str], Callable[[Any], Awaitable[object] | object]] = {
            ("GET", "state"): lambda _: self.state(),
            ("GET", "requests"): self._requests,
            ("GET", "counts"): lambda _: self.journal.counts(),
            ("GET", "wait"): self._wait,
            ("GET", "webhooks"): lambda _: {"sent": server.delivery.attempts},
            ("POST", "expire"): self._expire,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): lambda _: {"cleared": server.faults.clear()},
            ("POST", "settings"): self._settings,
            ("POST", "advance"): self._advance,
            ("POST", "revoke"): self._revoke,
            ("POST", "choose"): self._choose,
            ("POST", "app-state"): self._app_state,
            ("POST", "event"): self._event,
            ("POST", "keys"): self._make_key,
            ("POST", "hotels"): self._hotels,
            ("POST", "apps"): self._apps,
            ("POST", "reset"): lambda _: self._reset(),
        }

    @property
    def routes(self) -> Set[tuple[str, str]]:
        """The verb and the name of each route."""
        return self._acts.keys()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one control request."""
        name = request.path.removeprefix(CONTROL)
        if (request.method, name) not in self._acts:
            return _answer({"error": "no such control route"}, 404)
        try:
            body = await request.read()
            given = request.query if request.method == "GET" else json.loads(body or b"{}")
            return _answer(await self.do(request.method, name, given))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _answer({"error": f"{type(error).__name__}: {error}"}, 400)

    async def do(self, method: str, name: str, given: object) -> object:
        """Do what a route does with its query or body, and return the content of its answer. Waiting requests are
        woken.

        Raises ValueError, KeyError, TypeError or AttributeError, and changes nothing, if the query or body is invalid.
        """
        result = self._acts[method, name](given)
        if method != "GET":
            self.journal.changed()
        return await result if isinstance(result, Awaitable) else result

    def state(self) -> dict[str, object]:
        """Apps, hotels, settings, waiting fault rules, and every grant with all its pairs."""
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

    def _requests(self, query: Mapping[str, str]) -> object:
        found = self.journal.after(int(query.get("after", "0")))
        return {"requests": [asdict(entry) for entry in found], "last": len(self.journal.entries)}

    async def _wait(self, query: Mapping[str, str]) -> object:
        """The first matching log entry after ``after``, waited for up to ``timeout`` seconds; null if there is none."""
        wanted = {name: read_text(query[name]) for name, read_text in WAITED_FOR.items() if name in query}
        timeout = min(float(query.get("timeout", "20")), LONGEST_WAIT)
        found = await self.journal.wait_for(wanted, int(query.get("after", "0")), timeout)
        return {"entry": asdict(found) if found else None}

    def _expire(self, body: Any) -> object:
        grants = self._named(body)
        for grant in grants:
            grant.rotation.expire(self.clock.now())
        return {"expired": [grant.number for grant in grants]}

    def _settings(self, body: Any) -> object:
        return asdict(self.model.configure(dict(body)))

    def _add_faults(self, body: Any) -> object:
        rules = self.server.faults.rules
        rules += [faults.parse(one) for one in (body if isinstance(body, list) else [body])]
        return {"faults": [asdict(rule) for rule in rules]}

    def _hotels(self, body: Any) -> object:
        user = HotelUser(**{name: str(value) for name, value in body["user"].items()})
        group = body.get("group")
        hotel = Hotel(
            str(body["property_id"]), str(body["name"]), user, str(group) if group else None, body.get("closed") is True
        )
        self.model.add_hotel(hotel)
        return asdict(hotel)

    def _apps(self, body: Any) -> object:
        """Add an app, or replace the given fields of an existing one: so a secret can be reset alone."""
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

    def _make_key(self, body: Any) -> object:
        """What a hotel user does under *API Credentials*; the key is shown once, as by Cloudbeds."""
        named, scopes = body.get("property_ids") or [body["property"]], body.get("scopes") or ()
        made = self.model.make_key(named, scopes, self.clock.now())
        return {"api_key": made.key.value, "grant": made.grant.number}

    def _revoke(self, body: Any) -> object:
        """End approvals and nothing more: the state of the app at the hotel stays, and no webhook is posted."""
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

    def _app_state(self, body: Any) -> object:
        """What a hotel user does, for every app with a grant there. ``keep`` leaves the sessions alive for now."""
        property_id, state = str(body["property"]), str(body["state"])
        if state not in APP_STATES:
            raise ValueError(f"state must be one of {', '.join(APP_STATES)}")
        apps = sorted({grant.approval.client_id for grant in self.model.covering(property_id)})
        for client_id in apps:
            self.model.set_app_state(client_id, property_id, state, self.clock.now(), body.get("keep") is True)
        return {"changed": apps}

    def _event(self, body: Any) -> object:
        """Let something happen at a property, which is posted to the webhooks subscribed to it."""
        property_id, payload = str(body["property"]), dict(body.get("payload") or {})
        return {"due": self.model.subscriptions.happened(property_id, str(body["event"]), payload, self.clock.now())}

    def _choose(self, body: Any) -> object:
        chosen = body["property_ids"] if isinstance(body, dict) else body
        if not isinstance(chosen, list):
            raise ValueError("property_ids is a list")
        return {"chosen": list(self.model.choose(chosen))}

    def _advance(self, body: Any) -> object:
        return {"now": self.clock.advance(float(body["seconds"]))}

    async def _reset(self) -> object:
        """Return to the state at the start: its apps, hotels, settings and time, and nothing that has happened since.

        A hanging request resumes with values that are unknown now; so does one that is to be acted upon later. A
        webhook that was to be posted again is not.
        """
        self.server.faults.clear()
        vars(self.model).update(deepcopy(self._begun))
        self.journal.entries.clear()
        self.clock.ahead = 0.0
        await self.server.delivery.close()  # last: who waits for a change of the log is woken meanwhile
        self.server.delivery.attempts.clear()
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


def _answer(content: object, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers=HEADERS)
