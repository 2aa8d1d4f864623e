"""The protected API methods: a few of the vendor's, with made-up rows, and an echo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cloudbeds_simulator.answers import ELSEWHERE, PARTNERS_ONLY, SCOPE, UNNAMED, Answer, closed, failed, json_answer
from cloudbeds_simulator.calls import Call
from cloudbeds_simulator.keys import PREFIX
from cloudbeds_simulator.model import Model
from cloudbeds_simulator.records import Grant, Hotel

APP_STATES = ("enabled", "pending", "disabled", "installing")


@dataclass(frozen=True, slots=True)
class Asked:
    """An authenticated call: what was asked, by which grant, of which vendor, and when."""

    call: Call
    grant: Grant
    model: Model
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its verb (empty: any), scope (empty: none), whether it is about one property, and its answer."""

    verb: str
    scope: str
    one_property: bool
    run: Callable[[Asked], Answer]


def find(call: Call) -> Method | None:
    """The method this call names; None when there is none, or only for another verb."""
    name = "echo" if call.name.startswith("echo/") else call.name
    method = METHODS.get(name)
    return method if method and method.verb in ("", call.method) else None


def run(method: Method, asked: Asked) -> Answer:
    """The method's answer, or the documented complaint about its scope or property."""
    if method.scope and method.scope not in asked.grant.approval.scopes:
        return failed(SCOPE)
    named = _named(asked.call)
    covered = asked.grant.approval.property_ids
    if any(one not in covered for one in named):
        return failed(ELSEWHERE)
    if method.one_property and not named and len(covered) > 1:
        return failed(UNNAMED)
    meant = named or list(covered)
    gone = [one for one in meant if one in asked.model.hotels and asked.model.hotels[one].closed]
    if gone and (method.scope or method.one_property):
        return closed(gone)
    return method.run(asked)


def _named(call: Call) -> list[str]:
    text = call.param("propertyID") or call.headers.get("X-Property-ID", "")
    return [one.strip() for one in text.split(",") if one.strip()]


def _property(asked: Asked) -> str:
    return (_named(asked.call) or list(asked.grant.approval.property_ids))[0]


def _userinfo(asked: Asked) -> Answer:
    user = asked.grant.approval.user
    as_number = asked.model.settings.user_id == "int" and user.user_id.isdigit()
    shown: dict[str, object] = {"user_id": int(user.user_id) if as_number else user.user_id}
    shown |= {"first_name": user.first_name, "last_name": user.last_name, "email": user.email}
    details: dict[str, object] = {"acl": None, "roles": None}
    if dict(asked.call.query).get("role_details") == "true":
        roles = [{"id": "1", "name": "Manager", "description": "Runs the hotel"}]
        details = {"acl": ["reservation"], "roles": roles}
    return json_answer(200, shown | details)


def _metadata(asked: Asked) -> Answer:
    url = f"http://{asked.call.headers.get('Host', '127.0.0.1')}"
    return json_answer(200, {"success": "true", "data": {"api": {"url": url}}, "message": None})


def _row(hotel: Hotel) -> dict[str, object]:
    row: dict[str, object] = {"propertyID": hotel.property_id, "propertyName": hotel.name}
    row |= {"propertyImage": "", "propertyDescription": "", "propertyTimezone": "Europe/Berlin"}
    return row | ({"organizationID": hotel.group} if hotel.group else {})


def _hotels(asked: Asked) -> Answer:
    wanted = _named(asked.call) or asked.grant.approval.property_ids
    rows = [_row(asked.model.hotels[one]) for one in wanted if one in asked.model.hotels]
    return json_answer(200, {"success": True, "data": rows, "count": len(rows), "total": len(rows)})


def _hotel_details(asked: Asked) -> Answer:
    hotel = asked.model.hotels[_property(asked)]
    extra = {"propertyType": "hotel", "propertyEmail": hotel.user.email, "propertyCurrency": {"currencyCode": "EUR"}}
    return json_answer(200, {"success": True, "data": _row(hotel) | extra})


def _reservations(asked: Asked) -> Answer:
    one = _property(asked)
    names = (("Grace Moreau", "confirmed"), ("Tomás Ferreira", "checked_in"))
    rows = [
        {
            "propertyID": one,
            "reservationID": f"{one}{number:06d}",
            "guestName": name,
            "status": status,
            "startDate": "2030-05-01",
            "endDate": "2030-05-04",
            "balance": 120.5,
        }
        for number, (name, status) in enumerate(names, start=1)
    ]
    return json_answer(200, {"success": True, "data": rows, "count": len(rows), "total": len(rows)})


def _note(asked: Asked) -> Answer:
    if not asked.call.field("reservationID") or not asked.call.field("reservationNote"):
        return failed("Parameter reservationID and reservationNote are required")
    digest = hashlib.sha256(asked.call.field("reservationNote").encode()).hexdigest()
    return json_answer(200, {"success": True, "data": {"reservationNoteID": str(int(digest[:12], 16))}})


def _put_reservation(asked: Asked) -> Answer:
    one = asked.call.field("reservationID")
    if not one:
        return failed("Parameter reservationID is required")
    status = asked.call.field("status") or "confirmed"
    return json_answer(200, {"success": True, "data": {"reservationID": one, "status": status}})


def _patch_rate(asked: Asked) -> Answer:
    digest = hashlib.sha256(asked.call.body).hexdigest()
    return json_answer(200, {"success": True, "jobReferenceID": digest[:24]})


def _file(asked: Asked) -> Answer:
    if not asked.call.files:
        return failed("Parameter file is required")
    upload = next(iter(asked.call.files.values()))
    told = {"fileName": upload.filename, "size": len(upload.content)}
    return json_answer(200, {"success": True, "data": told | {"sha256": hashlib.sha256(upload.content).hexdigest()}})


def _delete_webhook(asked: Asked) -> Answer:
    given = dict(asked.call.query).get("subscriptionID")
    if not given:
        return failed("Parameter subscriptionID is required")
    known = asked.model.subscriptions.known
    if given in known and known[given].client_id == asked.grant.approval.client_id:
        del known[given]
    return json_answer(200, {"success": True})


def _post_webhook(asked: Asked) -> Answer:
    """Any action is accepted, also one that never comes; a form is read, JSON is not."""
    field = asked.call.field
    for name in ("endpointUrl", "object", "action"):
        if not field(name):
            return failed(f"Parameter {name} is required")
    header = (field("authHeaderName"), field("authHeaderValue")) if field("authHeaderName") else None
    made = asked.model.subscriptions.add(
        asked.grant.approval.client_id, _property(asked), field("object"), field("action"), field("endpointUrl"), header
    )
    return json_answer(200, {"success": True, "data": {"subscriptionID": made.number}})


def _get_webhooks(asked: Asked) -> Answer:
    wanted = tuple(_named(asked.call)) or asked.grant.approval.property_ids
    rows = [
        {
            "id": one.number,
            "key": {"type": "property", "id": one.property_id},
            "event": {"entity": one.entity, "action": one.action},
            "owner": {"type": "api-client", "id": one.client_id},
            "subscriptionType": "webhook",
            "subscriptionData": {"url": one.endpoint},
            "authHeader": {"name": one.header[0]} if one.header else None,
        }
        for one in asked.model.subscriptions.of(asked.grant.approval.client_id, wanted)
    ]
    return json_answer(200, {"success": True, "data": rows})


def _is_partner(asked: Asked) -> bool:
    app = asked.model.apps.get(asked.grant.approval.client_id)
    return app is None or app.level == "partner"


def _get_app_state(asked: Asked) -> Answer:
    if not _is_partner(asked):
        return failed(PARTNERS_ONLY)
    one = _property(asked)
    state = asked.model.app_states.get((asked.grant.approval.client_id, one), "enabled")
    return json_answer(200, {"success": True, "data": {"propertyID": one, "app_state": state}})


def _post_app_state(asked: Asked) -> Answer:
    if not _is_partner(asked):
        return failed(PARTNERS_ONLY)
    state = asked.call.field("app_state")
    if state not in APP_STATES:
        return failed("Parameter app_state is required")
    asked.model.set_app_state(asked.grant.approval.client_id, _property(asked), state, asked.now)
    return json_answer(200, {"success": True})


def _echo(asked: Asked) -> Answer:
    """What arrived, with every header but the credential, of which only the presence is told."""
    call = asked.call
    shown = {name: "(a key)" if value.startswith(PREFIX) else value for name, value in call.headers.items()}
    headers = [[name, value] for name, value in shown.items() if name.lower() != "authorization"]
    told: dict[str, object] = {"method": call.method, "path": call.raw_path, "query": call.query, "headers": headers}
    told |= {"authorization": "Authorization" in call.headers, "body_length": len(call.body)}
    return json_answer(200, told | {"body_sha256": hashlib.sha256(call.body).hexdigest()})


METHODS: dict[str, Method] = {
    "userinfo": Method("GET", "", False, _userinfo),
    "oauth/metadata": Method("GET", "", False, _metadata),
    "getHotels": Method("GET", "read:hotel", False, _hotels),
    "getHotelDetails": Method("GET", "read:hotel", True, _hotel_details),
    "getReservations": Method("GET", "read:reservation", True, _reservations),
    "postReservationNote": Method("POST", "write:reservation", False, _note),
    "putReservation": Method("PUT", "write:reservation", False, _put_reservation),
    "patchRate": Method("PATCH", "write:rate", False, _patch_rate),
    "postFile": Method("POST", "", False, _file),
    "postWebhook": Method("POST", "", False, _post_webhook),
    "getWebhooks": Method("GET", "", False, _get_webhooks),
    "deleteWebhook": Method("DELETE", "", False, _delete_webhook),
    "getAppState": Method("GET", "", False, _get_app_state),
    "postAppState": Method("POST", "", False, _post_app_state),
    "echo": Method("", "", False, _echo),
}
"""Every protected method by name."""
