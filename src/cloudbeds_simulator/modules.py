"""The newer APIs: modules with a version each, such as ``/rates/v1/rate-plans``, which ``cloudbeds-pms`` calls.

Paths, statuses and fields are those documented by version 2.14 of that package; the rows are invented, and filters and
sorting are not applied. No documentation says which scopes the modules require, so they require none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from cloudbeds_simulator.answers import REFUSALS, SimulatedAnswer, json_answer
from cloudbeds_simulator.journal import ReceivedCall
from cloudbeds_simulator.methods import AuthenticatedCall

MOST_ROWS = 500
USUAL_ROWS = 100
BEGAN = "2030-05-01T10:00:00Z"
RATE_PLANS = (
    ("Best available rate", "BAR", True),
    ("Bed and breakfast", "", True),
    ("Summer of 2029", "SUMMER", False),
)
ADDONS = (("Breakfast", "1250"), ("Late check-out", "2000"))
AMENITIES = (("wifi", "Wi-Fi", "internet", True), ("parking", "Parking", "parking", False))
ROOMS = (("101", "clean", "not_used"), ("102", "dirty", "stayover"))
SEGMENTS = (("Leisure", "LEI", True), ("Groups", "GRP", False))
EVENT_NEEDS = ("objectType", "system", "status", "result")
EVENT_MAY_HAVE = ("objectId", "description", "details", "actionText")

Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class ModuleCall:
    """An authenticated call of a module's method: its properties, and the parts of its path by name."""

    asked: AuthenticatedCall
    property_ids: list[str]
    parts: dict[str, str]


@dataclass(frozen=True)
class ModuleMethod:
    """One method: its verb, its path with the names of its parts in braces, and its answer."""

    verb: str
    path: str
    run: Callable[[ModuleCall], SimulatedAnswer]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern of its paths."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    def answer(self, asked: AuthenticatedCall) -> SimulatedAnswer:
        """The answer, or the documented refusal of a call that names another property, or none."""
        found = self.pattern.fullmatch(asked.call.path)
        parts = found.groupdict() if found else {}
        in_header = asked.call.headers.get("X-Property-ID", "")
        named = [one.strip() for one in parts.get("propertyId", in_header).split(",") if one.strip()]
        if not named:
            return invalid("x-property-id", "x-property-id is required")
        hotels = [asked.model.hotels.get(one) for one in named if one in asked.grant.approval.property_ids]
        if len(hotels) < len(named) or any(hotel is None or hotel.closed for hotel in hotels):
            return REFUSALS["forbidden"]
        return self.run(ModuleCall(asked, named, parts))


def find(call: ReceivedCall) -> ModuleMethod | None:
    """The method that this call names; None if there is none, or only for another verb."""
    fitting = (one for one in METHODS if one.verb == call.method and one.pattern.fullmatch(call.path))
    return next(fitting, None)


def known(path: str) -> bool:
    """Whether there is a method at this path, for any verb."""
    return any(one.pattern.fullmatch(path) for one in METHODS)


def invalid(name: str, message: str) -> SimulatedAnswer:
    """The answer to a call that lacks a field, or has it in a wrong form."""
    return json_answer(400, {"message": "Bad Request", "errors": [{"field": name, "message": message}]})


def _page(call: ModuleCall, rows: Rows) -> SimulatedAnswer:
    query = dict(call.asked.call.query)
    limit, offset = query.get("limit", str(USUAL_ROWS)), query.get("offset", "0")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_ROWS:
        return invalid("limit", f"limit must be from 1 to {MOST_ROWS}")
    if not offset.isdecimal():
        return invalid("offset", "offset must be 0 or more")
    begin = int(offset)
    page = {"limit": int(limit), "offset": begin, "data": rows[begin : begin + int(limit)]}
    counted = {"total": len(rows)} if query.get("includeTotal", "").lower() in {"true", "1"} else {}
    return json_answer(200, page | counted)


def _system(call: ModuleCall) -> SimulatedAnswer:
    return json_answer(200, {"features": [{"name": "rates", "version": "v2"}, {"name": "payments", "version": "v1"}]})


def _plans(call: ModuleCall) -> Rows:
    return [
        {"id": f"{one}{number}", "propertyId": one, "isActive": active, "status": "active" if active else "disabled",
         "isDeleted": False, "isDerived": False, "addons": [], "promoCode": promo or None, "sources": [],
         "name": {"en": name}, "namePrivate": {"en": name}, "intervals": [], "createdAt": BEGAN, "updatedAt": BEGAN,
         "mealPlans": ["breakfast"] if "breakfast" in name else []}
        for one in call.property_ids
        for number, (name, promo, active) in enumerate(RATE_PLANS, start=1)
    ]  # fmt: skip


def _rate_plan(call: ModuleCall) -> SimulatedAnswer:
    found = next((plan for plan in _plans(call) if plan["id"] == call.parts["id"]), None)
    return json_answer(404, {"message": "Not Found"}) if found is None else json_answer(200, found)


def _addons(call: ModuleCall) -> SimulatedAnswer:
    rows = [
        {"id": f"{one}{number}", "name": name, "description": name, "productId": f"{one}{number}0",
         "price": {"amount": cents, "currencyCode": "EUR"}}
        for one in call.property_ids
        for number, (name, cents) in enumerate(ADDONS, start=1)
    ]  # fmt: skip
    return _page(call, rows)


def _amenities(call: ModuleCall) -> SimulatedAnswer:
    rows = [{"code": code, "name": name, "categoryCode": of, "isTop": top} for code, name, of, top in AMENITIES]
    return json_answer(200, {"amenities": rows, "customAmenities": ["Rooftop bees"]})


def _inspections(call: ModuleCall) -> SimulatedAnswer:
    rows = [
        {"updatedDate": BEGAN, "roomTypeId": "1", "roomId": room, "roomCondition": condition, "roomBlocked": False,
         "roomOccupied": status == "stayover", "frontdeskStatus": status, "housekeeperId": "0", "doNotDisturb": False,
         "refusedService": False, "vacantPickup": False, "roomNote": None}
        for room, condition, status in ROOMS
    ]  # fmt: skip
    return _page(call, rows)


def _segments(call: ModuleCall) -> SimulatedAnswer:
    rows = [
        {"id": f"{one}{number}", "groupId": one, "name": name, "code": code, "isEnabled": enabled, "isDefault": False}
        for one in call.property_ids
        for number, (name, code, enabled) in enumerate(SEGMENTS, start=1)
        if enabled or call.parts["enabled"].lower() != "true"
    ]
    return _page(call, rows)


def _applications(call: ModuleCall) -> SimulatedAnswer:
    """The apps with a living grant for these properties."""
    model = call.asked.model
    connected = {grant.approval.client_id for one in call.property_ids for grant in model.covering(one)}
    rows = [
        {"id": app.client_id, "name": app.name, "oauthScopes": list(app.scopes), "applicationTypes": []}
        for app in model.apps.values()
        if app.client_id in connected
    ]
    return json_answer(200, {"data": rows})


def _post_event(call: ModuleCall) -> SimulatedAnswer:
    body = call.asked.call.body
    try:
        given = json.loads(body)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        return invalid("body", "body must be an object")
    needed = (*EVENT_NEEDS, "description") if given.get("result") == "failure" else EVENT_NEEDS
    lacking = next((name for name in needed if not given.get(name)), None)
    if lacking is not None:
        return invalid(lacking, f"{lacking} is required")
    made = {name: given.get(name) for name in (*EVENT_NEEDS, *EVENT_MAY_HAVE)}
    number, at = int(hashlib.sha256(body).hexdigest()[:12], 16), datetime.fromtimestamp(call.asked.now, UTC)
    event = {"id": str(number), "propertyId": call.property_ids[0], **made, "createdAt": at.isoformat()}
    return json_answer(201, event)


METHODS = (
    ModuleMethod("GET", "/property/v1/system", _system),
    ModuleMethod("GET", "/rates/v1/rate-plans", lambda call: _page(call, _plans(call))),
    ModuleMethod("GET", "/rates/v1/rate-plans/{id}", _rate_plan),
    ModuleMethod("GET", "/addons/v1/addons", _addons),
    ModuleMethod("GET", "/amenities/v1/properties/{propertyId}/amenities", _amenities),
    ModuleMethod("GET", "/housekeeping/v1/inspections/{propertyId}", _inspections),
    ModuleMethod("GET", "/market-segmentation/v1/segments/{enabled}", _segments),
    ModuleMethod("GET", "/integration/v1/connected-applications", _applications),
    ModuleMethod("POST", "/integration/v1/events", _post_event),
)
