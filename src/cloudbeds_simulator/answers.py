"""What the vendor answers with: its bodies, word for word where its documentation or an integrator's report prints
them, and the HTML of its consent page, where every value is escaped and nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape

from cloudbeds_simulator.records import Hotel, IssuedKey, IssuedTokens, Rejection, VendorApp, VendorGrant
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
"""Status and body of a refused token request, by the reason of its rejection."""


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
    """A page of some gateway or marketing site instead of an API answer."""
    text = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return SimulatedAnswer(status, text.encode(), HTML)


def missing(name: str) -> SimulatedAnswer:
    """The failure of a call without a parameter that it needs."""
    return failed(f"Parameter {name} is required")


def ok(data: object, **more: object) -> SimulatedAnswer:
    """A success as the classic API reports it."""
    return json_answer(200, {"success": True, "data": data, **more})


def tokens(given: IssuedTokens, model: VendorModel, now: float) -> SimulatedAnswer:
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


def api_key(given: IssuedKey, model: VendorModel) -> SimulatedAnswer:
    """The answer with an API key: nothing else in it, or all that an answer with an access token has."""
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
    """The token endpoint's refusal. Undocumented: a wrong secret, a missing parameter; League's words are used."""
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
"""The faces of a grant that has ended; ``denied`` follows the setting ``denied_face`` where there is one."""

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
    # A name that does not exist, or exists for another verb; note ``status``, not ``success``.
    "unknown_method": json_answer(404, {"status": False, "error": "Unknown method."}),
    "html": html_page(403, "403 from a gateway"),
    "nothing": SimulatedAnswer(503),
    "unknown": missing("startDate"),
}
"""Every refusal of a resource call that is documented or was seen, by name; and one that is a caller's own mistake."""


def dead(face: str, app_name: str, settings: SimulatorSettings) -> SimulatedAnswer:
    """How a resource answers for a grant that has ended: a 401, or one of two documented ``success`` false bodies."""
    if face == "not_available":
        return not_available(app_name)
    return FACES[settings.denied_face if face == "denied" else face]


# --- pages

STYLE = """
:root { color-scheme: light dark; --ink: #16233a; --soft: #5a6880; --line: #d9dfe8; --card: #fff;
  --back: #eef2f7; --go: #1a63d8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8edf5; --soft: #9fb0c8; --line: #33415a; --card: #1b2538; --back: #111827; --go: #2f6fe0 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { width: min(30rem, 100%); background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 2rem }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .5rem }
h2, legend { font-size: .85rem; font-weight: 600; color: var(--soft); margin: 1.5rem 0 .4rem; padding: 0 }
p { margin: .5rem 0 } .soft { color: var(--soft) } fieldset { border: 0; margin: 0; padding: 0 }
label { display: flex; gap: .6rem; align-items: baseline; padding: .5rem 0; border-top: 1px solid var(--line) }
ul { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .4rem }
code { font: .85rem ui-monospace, monospace; overflow-wrap: anywhere }
li code { display: block; border: 1px solid var(--line); border-radius: 6px; padding: .1rem .5rem }
.actions { display: flex; gap: .75rem; margin-top: 1.75rem }
button { flex: 1; font: inherit; font-weight: 600; padding: .7rem; border-radius: 8px; border: 1px solid var(--line);
  background: none; color: inherit; cursor: pointer }
button.go { background: var(--go); border-color: var(--go); color: #fff }
button:focus-visible, input:focus-visible { outline: 3px solid var(--go); outline-offset: 2px }
"""

# No form-action: browsers apply it to every redirect behind the form, and where the app sends its user is its affair.
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def consent_page(
    app: VendorApp, hotels: Iterable[Hotel], scopes: Iterable[str], fields: Mapping[str, str], action: str
) -> SimulatedAnswer:
    """The page that asks a hotel user; ``fields`` are the parameters that come back with the decision to ``action``."""
    hidden = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in fields.items())
    listed = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
    body = f"""<h1>{escape(app.name)} asks to connect to your hotel</h1>
<p class="soft">After you approve, you return to <code>{escape(fields.get("redirect_uri", ""))}</code></p>
<form method="post" action="{escape(action)}">{hidden}
{_choice(list(hotels))}
<h2>What it may do</h2>
<ul>{listed}</ul>
<div class="actions"><button name="decision" value="deny">Deny</button>
<button class="go" name="decision" value="approve">Approve</button></div>
</form>
<p class="soft">This is the simulator. No real hotel is involved.</p>"""
    return _page(200, f"Connect {app.name}", body)


def problem_page(title: str, text: str) -> SimulatedAnswer:
    """The page for an authorization request that must not be sent back to its sender."""
    return _page(400, title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def _choice(hotels: list[Hotel]) -> str:
    if len(hotels) == 1:
        one = hotels[0]
        user = escape(f"{one.user.first_name} {one.user.last_name}, {one.user.email}")
        kept = f'<input type="hidden" name="property" value="{escape(one.property_id)}">'
        shown = f'{escape(one.name)} <span class="soft">{escape(one.property_id)}</span><br>{user}'
        return f"<h2>Hotel</h2><p>{shown}</p>{kept}"
    rows = "".join(_checkbox(hotel, " checked" if at == 0 else "") for at, hotel in enumerate(hotels))
    return f"<fieldset><legend>Hotels to connect</legend>{rows}</fieldset>"


def _checkbox(hotel: Hotel, checked: str) -> str:
    one = escape(hotel.property_id)
    box = f'<input type="checkbox" name="property" value="{one}"{checked}>'
    shown = f"{one}, {escape(hotel.group)}" if hotel.group else one
    return f'<label>{box}<span>{escape(hotel.name)} <span class="soft">{shown}</span></span></label>'


def _page(status: int, title: str, body: str) -> SimulatedAnswer:
    text = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>{body}</main></body></html>
"""
    return SimulatedAnswer(status, text.encode(), HTML, dict(HEADERS))
