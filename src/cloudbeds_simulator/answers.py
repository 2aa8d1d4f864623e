"""The vendor's answers, word for word where its documentation or an integrator's report prints them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cloudbeds_simulator.records import IssuedKey, IssuedTokens, Rejection, VendorGrant
from cloudbeds_simulator.switches import SimulatorSettings
from cloudbeds_simulator.vendor_model import VendorModel

JSON = "application/json"
HTML = "text/html; charset=utf-8"
DENIED = "The resource owner or authorization server denied the request."
MALFORMED = (
    "The request is missing a required parameter, includes an invalid parameter value, "
    "includes a parameter more than once, or is otherwise malformed."
)
NO_CLIENT = "Entity not found: CloudBeds\\MyFrontDesk\\API\\Models\\Client"
BAD_CODE = "The authorization code is invalid or has expired."
UNSUPPORTED = "The authorization grant type is not supported by the authorization server."

TOKEN_ERRORS: dict[str, tuple[int, dict[str, str]]] = {
    "unknown_client": (401, {"error": "server_error", "error_description": NO_CLIENT}),
    "bad_secret": (401, {"error": "invalid_client", "message": "Client authentication failed"}),
    "bad_code": (401, {"error": "server_error", "error_description": BAD_CODE}),
    "grant_type": (400, {"error": "unsupported_grant_type", "message": UNSUPPORTED}),
}
"""Status and body of the answer to a refused token request, by the reason of the rejection."""


@dataclass(frozen=True, slots=True)
class SimulatedAnswer:
    """One answer: status, body as bytes, content type, further headers."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, content: object) -> SimulatedAnswer:
    """An answer whose body is this content as JSON."""
    return SimulatedAnswer(status, json.dumps(content).encode())


def failed(message: str) -> SimulatedAnswer:
    """A failure as the classic API reports it: status 200 and ``success`` false."""
    return json_answer(200, {"success": False, "message": message})


def html_page(status: int, title: str) -> SimulatedAnswer:
    """A page of a gateway or marketing site in place of an API answer."""
    text = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return SimulatedAnswer(status, text.encode(), HTML)


def missing(name: str) -> SimulatedAnswer:
    """The failure of a call that lacks a required parameter."""
    return failed(f"Parameter {name} is required")


def ok(data: object, **more: object) -> SimulatedAnswer:
    """A success as the classic API reports it."""
    return json_answer(200, {"success": True, "data": data, **more})


def tokens(given: IssuedTokens, model: VendorModel, now: float) -> SimulatedAnswer:
    """The token answer. ``expires_in`` is what is left of the pair's lifetime, which may be 0 for a repeated pair."""
    settings = model.settings
    left = max(0, round(given.pair.expires_at - now))
    content: dict[str, object] = {"access_token": given.pair.access_token, "token_type": "Bearer"}
    if settings.expires_in_form != "absent":
        content["expires_in"] = str(left) if settings.expires_in_form == "str" else left
    if settings.refresh_token == "present":
        content["refresh_token"] = given.pair.refresh_token
    if settings.resources != "missing":
        content["resources"] = _resources(given.grant, model)
    return json_answer(200, content)


def api_key(given: IssuedKey, model: VendorModel) -> SimulatedAnswer:
    """The answer with an API key, alone or with everything that an answer with an access token has."""
    content: dict[str, object] = {"access_token": given.key.value}
    if model.settings.key_answer == "dressed":
        content |= {"token_type": "Bearer", "expires_in": 3600, "refresh_token": "of-no-use"}
        content["resources"] = _resources(given.grant, model)
    return json_answer(200, content)


def _resources(grant: VendorGrant, model: VendorModel) -> object:
    ids = grant.approval.property_ids
    if model.settings.resources == "dict":
        return {"propertyID": ids[0]}
    groups = {hotel.group for one in ids if (hotel := model.hotels.get(one))}
    group = groups.pop() if len(groups) == 1 else None
    listed = [{"type": "property", "id": one} for one in ids]
    return listed + ([{"type": "association", "id": group}] if group else [])


def token_error(rejected: Rejection, settings: SimulatorSettings) -> SimulatedAnswer:
    """The token endpoint's refusal. Those of a wrong secret and a missing parameter are undocumented: the words are
    those of the PHP League's OAuth server.
    """
    if rejected.reason in TOKEN_ERRORS:
        return json_answer(*TOKEN_ERRORS[rejected.reason])
    if rejected.reason == "refused":
        name = "invalid_grant" if settings.refused_face == "invalid_grant" else "invalid_request"
        status = 401 if settings.refused_face == "401" else 400
        return json_answer(status, {"error": name, "message": "The refresh token is invalid."})
    hint = f"Check the `{rejected.detail}` parameter"
    return json_answer(400, {"error": "invalid_request", "message": MALFORMED, "hint": hint})


# --- refusals of a resource


def closed(property_ids: list[str]) -> SimulatedAnswer:
    """The failure of a call about properties that are no longer the vendor's customers."""
    said = "Your request could not be fully completed. The property(ies) you are accessing have an invalid status."
    return failed(f"{said} See details:\ncanceled: {', '.join(property_ids)}")


def not_available(app_name: str) -> SimulatedAnswer:
    """How a resource may answer for a grant that has ended."""
    return failed(f"Application is not available to be connected. Reach out to {app_name} support for any questions.")


FACES: dict[str, SimulatedAnswer] = {
    "denied": json_answer(401, {"error": "access_denied", "message": DENIED}),
    "message": json_answer(401, {"error": "access_denied", "message": DENIED}),
    "hint": json_answer(401, {"error": "access_denied", "hint": "Access token is invalid"}),
    "problem": json_answer(
        401, {"type": "unauthorized", "title": "Unauthorized", "status": 401, "detail": "401 UNAUTHORIZED"}
    ),
    "not_available": not_available("Partner"),
    "user_inactive": failed("User who approved this connection is not active anymore"),
}
"""The answers for a grant that has ended, by face; ``denied`` follows the setting ``denied_face``."""

REFUSALS: dict[str, SimulatedAnswer] = {
    **FACES,
    "property_closed": closed(["100001"]),
    "missing_scope": failed("Scope required for this call was not granted by property."),
    "property_unnamed": failed('Please specify "propertyID" parameter for this call'),
    "wrong_property": failed("None of the included property id's match the access_token user's property id"),
    "no_header": json_answer(
        401,
        {"error": "access_denied", "error_description": DENIED, "hint": 'Missing "Authorization" header'},
    ),
    "forbidden": json_answer(403, {"message": "Forbidden"}),
    "accounting": json_answer(
        200, {"id": None, "timestamp": "2030-05-01T10:00:00Z", "code": "ACCESS_DENIED", "description": "Access denied"}
    ),
    "insights_401": json_answer(
        401, {"error": {"code": 401, "status": "UNAUTHORIZED", "description": "Unauthorized", "message": {}}}
    ),
    "insights_403": json_answer(
        403, {"error": {"code": 403, "status": "FORBIDDEN", "description": "Forbidden", "message": {}}}
    ),
    # For a name that does not exist, or only for another verb; note ``status`` in place of ``success``.
    "unknown_method": json_answer(404, {"status": False, "error": "Unknown method."}),
    "html": html_page(403, "403 from a gateway"),
    "nothing": SimulatedAnswer(503),
    "unknown": missing("startDate"),
}
"""Every refusal of a resource call that is documented or was seen, by name; ``unknown`` is a caller's own mistake."""


def dead(face: str, app_name: str, settings: SimulatorSettings) -> SimulatedAnswer:
    """A resource's answer for a grant that has ended: a 401, or one of two documented bodies with ``success`` false."""
    if face == "not_available":
        return not_available(app_name)
    return FACES[settings.denied_face if face == "denied" else face]
