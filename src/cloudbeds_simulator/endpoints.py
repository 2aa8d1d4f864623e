"""The consent page, the token endpoint and the API, each a function of a call that answers at once.

Nothing here waits, so that whatever a request does to the model it does in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from cloudbeds_simulator import answers, methods, pages, variants
from cloudbeds_simulator.answers import Answer
from cloudbeds_simulator.calls import Call
from cloudbeds_simulator.journal import Entry
from cloudbeds_simulator.keys import PREFIX
from cloudbeds_simulator.model import Model
from cloudbeds_simulator.records import App, Keyed, Rejected, Tokens
from cloudbeds_simulator.system import Clock
from cloudbeds_simulator.variants import FirstUse

# Observed on every host and version: these two get the marketing site's page, where other unknown names get JSON.
HTML_NAMES = frozenset({"oauth/access_token", "getUserInfo"})
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
"""What a grant type carries beside the client's credentials."""

REDIRECTED = {"client_id", "redirect_uri", "response_type", "scope", "state"}


@dataclass(frozen=True, slots=True)
class Visit:
    """A call with the model it is put to, the log entry it fills in, and the clock, read when it is acted upon."""

    call: Call
    model: Model
    entry: Entry
    clock: Clock

    @property
    def now(self) -> float:
        """Unix seconds of the simulator's clock."""
        return self.clock.now()


def target_of(call: Call) -> str:
    """The log's word for what is asked: ``oauth``, ``token``, ``userinfo``, ``resource`` or ``other``."""
    match call.name:
        case "":
            return "other"
        case "oauth":
            return "oauth"
        case "access_token":
            return "token"
        case "userinfo":
            return "userinfo"
        case name:
            return "other" if name in HTML_NAMES else "resource"


def act(visit: Visit, shown_status: int | None = None) -> Answer:
    """Do what the call asks. ``shown_status`` is the status that a fault will show instead of the answer's own."""
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
    """A fault answers in the method's place. Under V4 even that is a use of the token it carried."""
    visit.entry.outcome, visit.entry.status = "not_acted", status
    if visit.entry.target in ("userinfo", "resource"):
        _use_if_any(visit, status)


# --- consent


def _consent(visit: Visit) -> Answer:
    call, model = visit.call, visit.model
    wanted = dict(call.query) if call.method == "GET" else {name: call.field(name) for name in call.form}
    app = model.registration(
        wanted.get("client_id", ""), wanted.get("redirect_uri", ""), wanted.get("response_type", "code")
    )
    visit.entry.client_id = wanted.get("client_id")
    if isinstance(app, Rejected):
        visit.entry.outcome, visit.entry.detail = "invalid", app.reason
        return _refused_page(app)
    if call.method == "GET" and not model.settings.auto_approve:
        visit.entry.outcome = "shown"
        asked = set(wanted.get("scope", "").split())
        scopes = [scope for scope in app.scopes if not asked or scope in asked]
        fields = {name: value for name, value in wanted.items() if name in REDIRECTED}
        return pages.consent(app, model.hotels.values(), scopes, fields, call.path)
    if call.method not in ("GET", "POST"):
        visit.entry.outcome = "invalid"
        return answers.html_page(405, "405 Method Not Allowed")
    return _decided(visit, app, wanted)


def _decided(visit: Visit, app: App, wanted: dict[str, str]) -> Answer:
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
        code = model.authorize(app.client_id, wanted["redirect_uri"], chosen, scopes, visit.now)
    except ValueError as error:
        visit.entry.outcome, visit.entry.detail = "invalid", str(error)
        return pages.problem("No hotel to connect", f"Nothing was approved: {error}. Go back and choose a hotel.")
    visit.entry.outcome = "approved"
    return _back(wanted["redirect_uri"], {"code": code}, state)


def _back(redirect_uri: str, params: dict[str, str], state: str) -> Answer:
    joint = "&" if urlsplit(redirect_uri).query else "?"
    params |= {"state": state} if state else {}
    headers = {"Location": f"{redirect_uri}{joint}{urlencode(params)}", "Cache-Control": "no-store"}
    return Answer(302, b"", answers.HTML, headers)


def _refused_page(rejected: Rejected) -> Answer:
    said = {
        "unknown_client": "No app is registered under this client_id.",
        "redirect_uri": "The redirect_uri is not one of the app's registered addresses.",
        "response_type": "The response_type must be code.",
    }
    return pages.problem("This connection request is not valid", said[rejected.reason])


# --- token endpoint


def _token(visit: Visit) -> Answer:
    call, model, entry = visit.call, visit.model, visit.entry
    if call.method != "POST":
        entry.outcome = "unknown_method"
        return answers.unknown_method()
    grant_type = call.field("grant_type")
    needed = NEEDED.get(grant_type)
    names = ["grant_type", "client_id", "client_secret", *([needed] if needed else [])]
    missing = [name for name in names if not call.field(name)]
    if missing:
        outcome: Tokens | Keyed | Rejected = Rejected("missing", missing[0])
    elif needed == "code":
        sent, key = (call.field("code"), call.field("redirect_uri")), grant_type == CODE_FOR_KEY
        outcome = model.exchange(call.field("client_id"), call.field("client_secret"), *sent, visit.now, key=key)
    elif needed:
        asked = model.exchange_for_key if grant_type == EXCHANGE else model.refresh
        outcome = asked(call.field("client_id"), call.field("client_secret"), call.field("refresh_token"), visit.now)
    else:
        checked = model.client(call.field("client_id"), call.field("client_secret"))
        outcome = checked if isinstance(checked, Rejected) else Rejected("grant_type", grant_type)
    return _token_answer(visit, outcome)


def _token_answer(visit: Visit, outcome: Tokens | Keyed | Rejected) -> Answer:
    entry = visit.entry
    if isinstance(outcome, Rejected):
        entry.outcome, entry.detail = REJECTIONS.get(outcome.reason, "invalid"), outcome.detail or outcome.reason
        entry.grant = outcome.grant.number if outcome.grant else None
        return answers.token_error(outcome, visit.model.settings)
    entry.outcome, entry.grant, entry.repeated = "issued", outcome.grant.number, outcome.repeated
    if isinstance(outcome, Keyed):
        return answers.api_key(outcome, visit.model)
    entry.ordinal = outcome.pair.ordinal
    return answers.tokens(outcome, visit.model, visit.now)


# --- protected methods


def _protected(visit: Visit, shown_status: int | None) -> Answer:
    call, model, entry = visit.call, visit.model, visit.entry
    method = methods.find(call)
    if method is None:
        entry.outcome = "unknown_method"
        _use_if_any(visit, 404)
        return answers.unknown_method()
    if len(call.credentials) != 1:
        entry.outcome, entry.detail = "401", "two credentials" if call.credentials else "no bearer token"
        return answers.no_authorization()
    (credential,) = call.credentials
    found = model.find(credential, visit.now)
    entry.grant = found.grant.number if isinstance(found, Rejected) and found.grant else None
    if isinstance(found, Rejected):
        return _turned_down(visit, found)
    entry.outcome, entry.grant = "accepted", found.number
    entry.ordinal = None if credential.startswith(PREFIX) else found.rotation.current.ordinal
    answer = methods.run(method, methods.Asked(call, found, model, visit.now))
    model.resource(credential, visit.now, 200 <= (shown_status or answer.status) < 300)
    return answer


def _turned_down(visit: Visit, found: Rejected) -> Answer:
    entry, settings = visit.entry, visit.model.settings
    entry.detail = found.detail
    is_key = any(one.startswith(PREFIX) for one in visit.call.credentials)
    if is_key and (found.reason == "key" or (found.grant and found.grant.face == "denied")):
        entry.outcome = "401"
        return answers.denied("problem")
    if found.reason == "dead" and found.grant:
        app = visit.model.apps.get(found.grant.approval.client_id)
        answer = answers.dead(found.grant.face, app.name if app else "partner", settings)
        entry.outcome = "401" if answer.status == 401 else "dead"
        return answer
    entry.outcome = "401"
    return answers.denied(settings.denied_face)


def _use_if_any(visit: Visit, status: int) -> None:
    """No method was reached: only under V4 is that a use of the token."""
    if len(visit.call.credentials) == 1 and variants.parse(visit.model.settings.variant).first_use is FirstUse.ANY:
        visit.model.resource(visit.call.credentials[0], visit.now, 200 <= status < 300)
