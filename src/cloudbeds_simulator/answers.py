"""The bodies the vendor answers with, word for word where its documentation or an integrator's report prints them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cloudbeds_simulator.model import Model
from cloudbeds_simulator.records import Grant, Keyed, Rejected, Tokens
from cloudbeds_simulator.settings import Settings

JSON = "application/json"
HTML = "text/html; charset=utf-8"
DENIED = "The resource owner or authorization server denied the request."
NO_CLIENT = "Entity not found: CloudBeds\\MyFrontDesk\\API\\Models\\Client"
MALFORMED = (
    "The request is missing a required parameter, includes an invalid parameter value, "
    "includes a parameter more than once, or is otherwise malformed."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: status, body as bytes, content type, further headers."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, content: object) -> Answer:
    """An answer whose body is this content as JSON."""
    return Answer(status, json.dumps(content).encode())


def failed(message: str) -> Answer:
    """A failure as the classic API reports it: status 200 and ``success`` false."""
    return json_answer(200, {"success": False, "message": message})


def html_page(status: int, title: str) -> Answer:
    """A page of some gateway or marketing site instead of an API answer."""
    text = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Answer(status, text.encode(), HTML)


def unknown_method() -> Answer:
    """The answer to a method name that does not exist, or exists for another verb; note ``status``, not ``success``."""
    return json_answer(404, {"status": False, "error": "Unknown method."})


def tokens(given: Tokens, model: Model, now: float) -> Answer:
    """The token answer. ``expires_in`` is what is left of the pair's lifetime: of a repeated pair perhaps nothing."""
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


def api_key(given: Keyed, model: Model) -> Answer:
    """The answer with an API key: nothing else in it, or whatever stands beside an access token."""
    content: dict[str, object] = {"access_token": given.key.value}
    if model.settings.key_answer == "dressed":
        content |= {"token_type": "Bearer", "expires_in": 3600, "refresh_token": "of-no-use"}
        content["resources"] = _resources(given.grant, model)
    return json_answer(200, content)


def _resources(grant: Grant, model: Model) -> object:
    ids = grant.approval.property_ids
    if model.settings.resources == "dict":
        return {"propertyID": ids[0]}
    groups = {hotel.group for one in ids if (hotel := model.hotels.get(one))}
    group = groups.pop() if len(groups) == 1 else None
    listed = [{"type": "property", "id": one} for one in ids]
    return listed + ([{"type": "association", "id": group}] if group else [])


def token_error(rejected: Rejected, settings: Settings) -> Answer:
    """The token endpoint's refusal. Undocumented: a wrong secret, a missing parameter; League's words stand in."""
    match rejected.reason:
        case "unknown_client":
            return json_answer(401, {"error": "server_error", "error_description": NO_CLIENT})
        case "bad_secret":
            return json_answer(401, {"error": "invalid_client", "message": "Client authentication failed"})
        case "bad_code":
            said = "The authorization code is invalid or has expired."
            return json_answer(401, {"error": "server_error", "error_description": said})
        case "refused":
            name = "invalid_grant" if settings.refused_face == "invalid_grant" else "invalid_request"
            status = 401 if settings.refused_face == "401" else 400
            return json_answer(status, {"error": name, "message": "The refresh token is invalid."})
        case "grant_type":
            said = "The authorization grant type is not supported by the authorization server."
            return json_answer(400, {"error": "unsupported_grant_type", "message": said})
        case _:
            hint = f"Check the `{rejected.detail}` parameter"
            return json_answer(400, {"error": "invalid_request", "message": MALFORMED, "hint": hint})


def no_authorization() -> Answer:
    """The 401 of a request without a bearer token."""
    hint = 'Missing "Authorization" header'
    return json_answer(401, {"error": "access_denied", "error_description": DENIED, "hint": hint})


def denied(face: str) -> Answer:
    """The 401 of an access token that is not accepted, with one of its documented faces."""
    match face:
        case "hint":
            return json_answer(401, {"error": "access_denied", "hint": "Access token is invalid"})
        case "problem":
            problem = {"type": "unauthorized", "title": "Unauthorized", "status": 401, "detail": "401 UNAUTHORIZED"}
            return json_answer(401, problem)
        case _:
            return json_answer(401, {"error": "access_denied", "message": DENIED})


def dead(face: str, app_name: str, settings: Settings) -> Answer:
    """How a resource answers for a grant that has ended: a 401, or one of two documented ``success`` false bodies."""
    match face:
        case "not_available":
            return failed(
                f"Application is not available to be connected. Reach out to {app_name} support for any questions."
            )
        case "user_inactive":
            return failed("User who approved this connection is not active anymore")
        case _:
            return denied(settings.denied_face if face == "denied" else face)


FACES = ("denied", "message", "hint", "problem", "not_available", "user_inactive")
"""What ``dead`` knows; ``denied`` follows the setting ``denied_face``."""


SCOPE = "Scope required for this call was not granted by property."
UNNAMED = 'Please specify "propertyID" parameter for this call'
PARTNERS_ONLY = "This method is not available for property-level clients."  # documented as a rule; the words are ours
ELSEWHERE = "None of the included property id's match the access_token user's property id"


def closed(property_ids: list[str]) -> Answer:
    """The failure of a call about properties that are no longer the vendor's customers."""
    said = "Your request could not be fully completed. The property(ies) you are accessing have an invalid status."
    return failed(f"{said} See details:\ncanceled: {', '.join(property_ids)}")


REFUSALS: dict[str, Answer] = {
    **{face: dead(face, "Partner", Settings()) for face in FACES},
    "property_closed": closed(["100001"]),
    "missing_scope": failed(SCOPE),
    "property_unnamed": failed(UNNAMED),
    "wrong_property": failed(ELSEWHERE),
    "no_header": no_authorization(),
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
    "unknown_method": unknown_method(),
    "html": html_page(403, "403 from a gateway"),
    "nothing": Answer(503),
    "unknown": failed("Parameter startDate is required"),
}
"""Every refusal of a resource call that is documented or was seen, by name; and one that is a caller's own mistake."""
