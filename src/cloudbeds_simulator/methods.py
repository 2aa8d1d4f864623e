"""The classic API: a few of the vendor's methods, with invented rows, and an echo; `modules` has the newer ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cloudbeds_simulator.answers import REFUSALS, SimulatedAnswer, closed, failed, json_answer, missing, ok
from cloudbeds_simulator.journal import ReceivedCall
from cloudbeds_simulator.records import Hotel, VendorGrant
from cloudbeds_simulator.vendor_model import KEY_PREFIX, VendorModel
from cloudbeds_simulator.webhooks import SCOPES, WebhookSubscription

APP_STATES = ("enabled", "pending", "disabled", "installing")
RESERVATION = {"startDate": "2030-05-01", "endDate": "2030-05-04", "balance": 120.5}
GUESTS = (("Grace Moreau", "confirmed"), ("Tomás Ferreira", "checked_in"))


@dataclass(frozen=True, slots=True)
class AuthenticatedCall:
    """An authenticated call: the request, its grant, the vendor, and the time."""

    call: ReceivedCall
    grant: VendorGrant
    model: VendorModel
    now: float


@dataclass(frozen=True, slots=True)
class ApiMethod:
    """One method: its verb (empty: any), its scope (empty: none), whether it is about one property, and its answer.

    If ``partners_only``, it is refused to an app that a hotel registered for itself.
    """

    verb: str
    scope: str
    one_property: bool
    run: Callable[[AuthenticatedCall], SimulatedAnswer]
    partners_only: bool = False

    def answer(self, asked: AuthenticatedCall) -> SimulatedAnswer:
        """The answer, or the documented refusal because of scope or property."""
        if self.scope and self.scope not in asked.grant.approval.scopes:
            return REFUSALS["missing_scope"]
        named = _named(asked.call)
        covered = asked.grant.approval.property_ids
        if any(one not in covered for one in named):
            return REFUSALS["wrong_property"]
        if self.one_property and not named and len(covered) > 1:
            return REFUSALS["property_unnamed"]
        meant = named or list(covered)
        gone = [one for one in meant if one in asked.model.hotels and asked.model.hotels[one].closed]
        if gone and (self.scope or self.one_property):
            return closed(gone)
        app = asked.model.apps.get(asked.grant.approval.client_id)
        if self.partners_only and app is not None and app.level != "partner":
            # The rule is documented; the words are ours.
            return failed("This method is not available for property-level clients.")
        return self.run(asked)


def find(call: ReceivedCall) -> ApiMethod | None:
    """The method that this call names; None if there is none, or only for another verb."""
    name = "echo" if call.name.startswith("echo/") else call.name
    method = METHODS.get(name)
    return method if method and method.verb in ("", call.method) else None


def _named(call: ReceivedCall) -> list[str]:
    in_query = (value for key, value in call.query if key == "propertyID")
    text = next(in_query, call.field("propertyID")) or call.headers.get("X-Property-ID", "")
    return [one.strip() for one in text.split(",") if one.strip()]


def _property(asked: AuthenticatedCall) -> str:
    return (_named(asked.call) or list(asked.grant.approval.property_ids))[0]


def _userinfo(asked: AuthenticatedCall) -> SimulatedAnswer:
    user = asked.grant.approval.user
    as_number = asked.model.settings.user_id == "int" and user.user_id.isdigit()
    shown: dict[str, object] = {"user_id": int(user.user_id) if as_number else user.user_id}
    shown |= {"first_name": user.first_name, "last_name": user.last_name, "email": user.email}
    details: dict[str, object] = {"acl": None, "roles": None}
    if dict(asked.call.query).get("role_details") == "true":
        roles = [{"id": "1", "name": user.role, "description": "Of this hotel"}]
        details = {"acl": ["reservation"], "roles": roles}
    return json_answer(200, shown | details)


def _metadata(asked: AuthenticatedCall) -> SimulatedAnswer:
    url = f"http://{asked.call.headers.get('Host', '127.0.0.1')}"
    return json_answer(200, {"success": "true", "data": {"api": {"url": url}}, "message": None})


def _row(hotel: Hotel) -> dict[str, object]:
    row: dict[str, object] = {"propertyID": hotel.property_id, "propertyName": hotel.name}
    row |= {"propertyImage": "", "propertyDescription": "", "propertyTimezone": "Europe/Berlin"}
    return row | ({"organizationID": hotel.group} if hotel.group else {})


def _hotels(asked: AuthenticatedCall) -> SimulatedAnswer:
    wanted = _named(asked.call) or asked.grant.approval.property_ids
    rows = [_row(asked.model.hotels[one]) for one in wanted if one in asked.model.hotels]
    return ok(rows, count=len(rows), total=len(rows))


def _hotel_details(asked: AuthenticatedCall) -> SimulatedAnswer:
    hotel = asked.model.hotels[_property(asked)]
    extra = {"propertyType": "hotel", "propertyEmail": hotel.user.email, "propertyCurrency": {"currencyCode": "EUR"}}
    return ok(_row(hotel) | extra)


def _reservations(asked: AuthenticatedCall) -> SimulatedAnswer:
    one = _property(asked)
    rows = [
        {"propertyID": one, "reservationID": f"{one}{number:06d}", "guestName": name, "status": status, **RESERVATION}
        for number, (name, status) in enumerate(GUESTS, start=1)
    ]
    return ok(rows, count=len(rows), total=len(rows))


def _note(asked: AuthenticatedCall) -> SimulatedAnswer:
    if not asked.call.field("reservationID") or not asked.call.field("reservationNote"):
        return failed("Parameter reservationID and reservationNote are required")
    digest = hashlib.sha256(asked.call.field("reservationNote").encode()).hexdigest()
    return ok({"reservationNoteID": str(int(digest[:12], 16))})


def _put_reservation(asked: AuthenticatedCall) -> SimulatedAnswer:
    one = asked.call.field("reservationID")
    if not one:
        return missing("reservationID")
    status = asked.call.field("status") or "confirmed"
    return ok({"reservationID": one, "status": status})


def _patch_rate(asked: AuthenticatedCall) -> SimulatedAnswer:
    digest = hashlib.sha256(asked.call.body).hexdigest()
    return json_answer(200, {"success": True, "jobReferenceID": digest[:24]})


def _file(asked: AuthenticatedCall) -> SimulatedAnswer:
    if not asked.call.files:
        return missing("file")
    filename, content = next(iter(asked.call.files.values()))
    return ok({"fileName": filename, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


def _delete_webhook(asked: AuthenticatedCall) -> SimulatedAnswer:
    given = dict(asked.call.query).get("subscriptionID")
    if not given:
        return missing("subscriptionID")
    known = asked.model.subscriptions.known
    if given in known and known[given].client_id == asked.grant.approval.client_id:
        del known[given]
    return json_answer(200, {"success": True})


def _post_webhook(asked: AuthenticatedCall) -> SimulatedAnswer:
    """Any action is accepted, even one that never occurs; a form is read, JSON is not."""
    field = asked.call.field
    for name in ("endpointUrl", "object", "action"):
        if not field(name):
            return missing(name)
    scope = SCOPES.get(field("object"))
    if scope and scope not in asked.grant.approval.scopes:
        return REFUSALS["missing_scope"]
    header = (field("authHeaderName"), field("authHeaderValue")) if field("authHeaderName") else None
    client_id, what = asked.grant.approval.client_id, (field("object"), field("action"), field("endpointUrl"))
    made = WebhookSubscription(client_id, _property(asked), *what, header)
    number = asked.model.subscriptions.add(made, asked.model.settings.subscribed_again)
    return ok({"subscriptionID": number})


def _get_webhooks(asked: AuthenticatedCall) -> SimulatedAnswer:
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
    return ok(rows)


def _get_app_state(asked: AuthenticatedCall) -> SimulatedAnswer:
    one = _property(asked)
    state = asked.model.app_states.get((asked.grant.approval.client_id, one), "enabled")
    return ok({"propertyID": one, "app_state": state})


def _post_app_state(asked: AuthenticatedCall) -> SimulatedAnswer:
    state = asked.call.field("app_state")
    if state not in APP_STATES:
        return missing("app_state")
    asked.model.set_app_state(asked.grant.approval.client_id, _property(asked), state, asked.now)
    return json_answer(200, {"success": True})


def _echo(asked: AuthenticatedCall) -> SimulatedAnswer:
    """What arrived, with every header except the credential, of which only the presence is shown."""
    call = asked.call
    shown = {name: "(a key)" if value.startswith(KEY_PREFIX) else value for name, value in call.headers.items()}
    headers = [[name, value] for name, value in shown.items() if name.lower() != "authorization"]
    content: dict[str, object] = {"method": call.method, "path": call.raw_path, "query": call.query, "headers": headers}
    content |= {"authorization": "Authorization" in call.headers, "body_length": len(call.body)}
    return json_answer(200, content | {"body_sha256": hashlib.sha256(call.body).hexdigest()})


METHODS: dict[str, ApiMethod] = {
    "userinfo": ApiMethod("GET", "", False, _userinfo),
    "oauth/metadata": ApiMethod("GET", "", False, _metadata),
    "getHotels": ApiMethod("GET", "read:hotel", False, _hotels),
    "getHotelDetails": ApiMethod("GET", "read:hotel", True, _hotel_details),
    "getReservations": ApiMethod("GET", "read:reservation", True, _reservations),
    "postReservationNote": ApiMethod("POST", "write:reservation", False, _note),
    "putReservation": ApiMethod("PUT", "write:reservation", False, _put_reservation),
    "patchRate": ApiMethod("PATCH", "write:rate", False, _patch_rate),
    "postFile": ApiMethod("POST", "", False, _file),
    "postWebhook": ApiMethod("POST", "", False, _post_webhook),
    "getWebhooks": ApiMethod("GET", "", False, _get_webhooks),
    "deleteWebhook": ApiMethod("DELETE", "", False, _delete_webhook),
    "getAppState": ApiMethod("GET", "", False, _get_app_state, partners_only=True),
    "postAppState": ApiMethod("POST", "", False, _post_app_state, partners_only=True),
    "echo": ApiMethod("", "", False, _echo),
}
"""Every protected method by name."""
