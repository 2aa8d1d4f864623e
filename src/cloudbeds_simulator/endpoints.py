"""The consent page, the token endpoint and the API, each a function of a call that answers at once.

Nothing here waits, so each request changes the model in one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from cloudbeds_simulator import answers, methods, modules
from cloudbeds_simulator.answers import REFUSALS, SimulatedAnswer
from cloudbeds_simulator.approval_pages import consent_page, problem_page
from cloudbeds_simulator.journal import JournalEntry, ReceivedCall
from cloudbeds_simulator.records import IssuedKey, IssuedTokens, Rejection, VendorApp
from cloudbeds_simulator.rotation import FirstUse, variant_of
from cloudbeds_simulator.switches import SimulatedClock
from cloudbeds_simulator.vendor_model import KEY_PREFIX, VendorModel

TARGETS = {"oauth": "oauth", "access_token": "token", "userinfo": "userinfo", "": "other"}
# Observed on every host and version: these two get the marketing site's page; other unknown names get JSON.
TARGETS |= {"oauth/access_token": "other", "getUserInfo": "other"}
REJECTIONS = {
    "refused": "refused",
    "bad_code": "refused",
    "unknown_client": "client_refused",
    "bad_secret": "client_refused",
}
"""The log's outcome of a rejected token request; ``invalid`` for any other reason."""

CODE_FOR_KEY = "urn:ietf:params:oauth:grant-type:api-key"
EXCHANGE = "refresh_token_exchange"
NEEDED = {
    "authorization_code": "code",
    CODE_FOR_KEY: "code",
    "refresh_token": "refresh_token",
    EXCHANGE: "refresh_token",
}
"""The parameter that a grant type needs besides the client's credentials."""

INVALID = {
    "unknown_client": "No app is registered under this client_id.",
    "redirect_uri": "The redirect_uri is not one of the app's registered addresses.",
    "response_type": "The response_type must be code.",
}
"""The user's text for an authorization request that must not be redirected back, by the reason of its rejection."""

REDIRECTED = {"client_id", "redirect_uri", "response_type", "scope", "state"}


@dataclass(frozen=True, slots=True)
class Visit:
    """A call, the model that it is for, the log entry that it fills in, and the clock, read when the call is acted
    upon.
    """

    call: ReceivedCall
    model: VendorModel
    entry: JournalEntry
    clock: SimulatedClock


def target_of(call: ReceivedCall) -> str:
    """The target of a call in the log: ``oauth``, ``token``, ``userinfo``, ``resource`` or ``other``."""
    return "resource" if modules.known(call.path) else TARGETS.get(call.name, "resource")


def act(visit: Visit, shown_status: int | None = None) -> SimulatedAnswer:
    """Do what the call asks. ``shown_status`` is the status that a fault shows in place of the answer's own."""
    match visit.entry.target:
        case "oauth":
            answer = _consent(visit)
        case "token":
            answer = _token(visit)
        case "userinfo" | "resource":
            answer = _protected(visit, shown_status)
        case _:
            visit.entry.outcome = "not_found"
            answer = answers.html_page(404, "404 Not Found")
    visit.entry.status = shown_status or answer.status
    return answer


def answered_unacted(visit: Visit, status: int) -> None:
    """Log a call that a fault answers in place of the method. Under V4 even this is a use of the token in it."""
    visit.entry.outcome, visit.entry.status = "not_acted", status
    if visit.entry.target in ("userinfo", "resource"):
        _use_if_any(visit, status)


# --- consent


def _consent(visit: Visit) -> SimulatedAnswer:
    call, model = visit.call, visit.model
    wanted = dict(call.query) if call.method == "GET" else {name: call.field(name) for name in call.form}
    app = model.registration(
        wanted.get("client_id", ""), wanted.get("redirect_uri", ""), wanted.get("response_type", "code")
    )
    visit.entry.client_id = wanted.get("client_id")
    if isinstance(app, Rejection):
        visit.entry.outcome, visit.entry.detail = "invalid", app.reason
        return problem_page("This connection request is not valid", INVALID[app.reason])
    if call.method == "GET" and not model.settings.auto_approve:
        visit.entry.outcome = "shown"
        scopes = app.granted(wanted.get("scope", "").split())
        fields = {name: value for name, value in wanted.items() if name in REDIRECTED}
        return consent_page(app, model.hotels.values(), scopes, fields, call.path)
    if call.method not in ("GET", "POST"):
        visit.entry.outcome = "invalid"
        return answers.html_page(405, "405 Method Not Allowed")
    return _decided(visit, app, wanted)


def _decided(visit: Visit, app: VendorApp, wanted: dict[str, str]) -> SimulatedAnswer:
    """Send the user back with a code, or with the denial."""
    model, automatic = visit.model, visit.call.method == "GET"
    state = wanted.get("state", "") or (model.mint("state") if model.settings.random_state else "")
    if not automatic and wanted.get("decision") != "approve":
        visit.entry.outcome = "denied"
        said = "The resource owner denied the request."
        return _back(wanted["redirect_uri"], {"error": "access_denied", "error_description": said}, state)
    chosen = model.take_choice() if automatic else visit.call.form.get("property", [])
    try:
        scopes = wanted.get("scope", "").split()
        code = model.authorize(app.client_id, wanted["redirect_uri"], chosen, scopes, visit.clock.now())
    except ValueError as error:
        visit.entry.outcome, visit.entry.detail = "invalid", str(error)
        return problem_page("No hotel to connect", f"Nothing was approved: {error}. Go back and choose a hotel.")
    visit.entry.outcome = "approved"
    return _back(wanted["redirect_uri"], {"code": code}, state)


def _back(redirect_uri: str, params: dict[str, str], state: str) -> SimulatedAnswer:
    joint = "&" if urlsplit(redirect_uri).query else "?"
    params |= {"state": state} if state else {}
    headers = {"Location": f"{redirect_uri}{joint}{urlencode(params)}", "Cache-Control": "no-store"}
    return SimulatedAnswer(302, b"", answers.HTML, headers)


# --- token endpoint


def _token(visit: Visit) -> SimulatedAnswer:
    call, model, entry = visit.call, visit.model, visit.entry
    if call.method != "POST":
        entry.outcome = "unknown_method"
        return REFUSALS["unknown_method"]
    outcome = _granted(call, model, visit.clock.now())
    if isinstance(outcome, Rejection):
        entry.outcome, entry.detail = REJECTIONS.get(outcome.reason, "invalid"), outcome.detail or outcome.reason
        entry.grant = outcome.grant.number if outcome.grant else None
        return answers.token_error(outcome, model.settings)
    entry.outcome, entry.grant, entry.repeated = "issued", outcome.grant.number, outcome.repeated
    if isinstance(outcome, IssuedKey):
        return answers.api_key(outcome, model)
    entry.ordinal = outcome.pair.ordinal
    return answers.tokens(outcome, model, visit.clock.now())


def _granted(call: ReceivedCall, model: VendorModel, now: float) -> IssuedTokens | IssuedKey | Rejection:
    """The outcome of a token request. Its client is checked first, so that a wrong one spends nothing."""
    grant_type, client_id = call.field("grant_type"), call.field("client_id")
    needed = NEEDED.get(grant_type, "")
    for name in ("grant_type", "client_id", "client_secret", needed):
        if name and not call.field(name):
            return Rejection("missing", name)
    app = model.client(client_id, call.field("client_secret"))
    if isinstance(app, Rejection):
        return app
    presented = call.field(needed)
    if needed == "code":
        return model.exchange(client_id, presented, call.field("redirect_uri"), now, key=grant_type == CODE_FOR_KEY)
    if grant_type == EXCHANGE:
        return model.exchange_for_key(presented, now)
    return model.refresh(client_id, presented, now) if needed else Rejection("grant_type", grant_type)


# --- protected methods


def _protected(visit: Visit, shown_status: int | None) -> SimulatedAnswer:
    call, model, entry = visit.call, visit.model, visit.entry
    method = methods.find(call) or modules.find(call)
    if method is None:
        entry.outcome = "unknown_method"
        _use_if_any(visit, 404)
        return REFUSALS["unknown_method"]
    if len(call.credentials) != 1:
        entry.outcome, entry.detail = "401", "two credentials" if call.credentials else "no bearer token"
        return REFUSALS["no_header"]
    (credential,), now = call.credentials, visit.clock.now()
    found = model.find(credential, now)
    if isinstance(found, Rejection):
        return _turned_down(visit, found, is_key=credential.startswith(KEY_PREFIX))
    entry.outcome, entry.grant = "accepted", found.number
    entry.ordinal = None if credential.startswith(KEY_PREFIX) else found.rotation.current.ordinal
    answer = method.answer(methods.AuthenticatedCall(call, found, model, now))
    model.resource(credential, now, 200 <= (shown_status or answer.status) < 300)
    return answer


def _turned_down(visit: Visit, found: Rejection, *, is_key: bool) -> SimulatedAnswer:
    entry, model, grant = visit.entry, visit.model, found.grant
    if is_key and (found.reason == "key" or (grant and grant.face == "denied")):
        answer = REFUSALS["problem"]
    elif found.reason == "dead" and grant:
        app = model.apps.get(grant.approval.client_id)
        answer = answers.dead(grant.face, app.name if app else "partner", model.settings)
    else:
        answer = REFUSALS[model.settings.denied_face]
    entry.outcome, entry.detail = "401" if answer.status == 401 else "dead", found.detail
    entry.grant = grant.number if grant else None
    return answer


def _use_if_any(visit: Visit, status: int) -> None:
    """No method was reached: count this as a use of the token under V4, and only there."""
    if len(visit.call.credentials) == 1 and variant_of(visit.model.settings.variant).first_use is FirstUse.ANY:
        visit.model.resource(visit.call.credentials[0], visit.clock.now(), 200 <= status < 300)
