"""Cloudbeds' resource API over HTTP, for the library's own requests (cloudbeds-facts.md sections 1, 5, 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from cloudbeds_auth.ports import AppState, Listed, Throttled, Turn, Unlisted
from cloudbeds_auth.rules.api_errors import (
    OUTAGE,
    REVOKED,
    UNREADABLE,
    Inconclusive,
    Refusal,
    Verdict,
    dead_grant,
    judge_userinfo,
    property_in,
    refusal_of,
)
from cloudbeds_auth.rules.credential import KeyHeader, header_of
from cloudbeds_auth.rules.inputs import (
    LONGEST_PROPERTY,
    JsonObject,
    Unreadable,
    is_text,
    one_line,
    read_object,
    says_false,
)
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.rate_limit import pause_of
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import VendorSubscription, Wanted
from cloudbeds_auth.rules.webhooks import state_in
from cloudbeds_auth.wire import http_client

if TYPE_CHECKING:
    import httpx2

PAGE_SIZE = 100  # the vendor's largest
MOST_PAGES = 50
LONGEST_ID = 128  # characters of a subscription's id
DEEPEST = 4  # `data` is a list, or a list of lists


async def at_once() -> None:
    """A turn without a rate limit: it does not wait."""


class HttpVendor:
    """ports.Vendor at `base_url`.

    `transport` replaces the network in tests and simulations and is never closed here. `keys`: how API keys are sent.
    """

    lists_properties = True

    def __init__(
        self,
        base_url: str,
        api_version: str,
        authorize_url: str,
        timing: Timing,
        transport: httpx2.AsyncBaseTransport | None = None,
        keys: str = KeyHeader.BEARER,
    ) -> None:
        self._keys = keys
        self._api = f"{base_url.rstrip('/')}/api/{api_version}"
        self._authorize_url = authorize_url
        self._timing = timing
        self._transport = transport

    def authorization_url(self, app: App, state: str) -> str:
        """Where the hotel approves (RFC 6749 section 4.1.1). Parameters already in the URL are kept."""
        ours = {"client_id": app.client_id, "redirect_uri": app.redirect_uri, "response_type": "code", "state": state}
        if app.scopes:
            ours["scope"] = " ".join(app.scopes)
        parts = urlsplit(self._authorize_url)
        kept = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in ours]
        return parts._replace(query=urlencode([*kept, *ours.items()], quote_via=quote)).geturl()

    async def userinfo(self, access: Secret) -> Verdict:
        """`GET …/userinfo`; every network failure is Inconclusive, with the kind of failure as reason."""
        try:
            reply = await self._send("GET", "userinfo", access, limit=http_client.TOKEN_BODY_LIMIT)
        except http_client.Unusable as why:
            return Inconclusive(str(why))
        except Exception as error:  # noqa: BLE001  # no failure of a proof call says anything about the token
            return Inconclusive(f"no complete answer ({type(error).__name__})")
        pause = pause_of(reply.status, reply.headers)
        if pause is not None:
            return Inconclusive(f"HTTP {reply.status}", pause)
        return judge_userinfo(reply.status, reply.content_type, reply.body)

    async def properties(self, access: Secret, turn: Turn = at_once) -> Listed | Unlisted:
        """The ids that `getHotels` lists on all its pages, else the one that `getHotelDetails` names.

        If a page cannot be read, the ids of earlier pages are not returned.
        """
        listed = await self._all_hotels(access, turn)
        if isinstance(listed, Unlisted) and listed.final:
            await turn()
            answer = await self._answered("GET", "getHotelDetails", access)
            data = None if isinstance(answer, Refusal) else answer.get("data")
            if isinstance(data, dict) and (named := property_in(data)):
                return Listed(named, whole=False)
        return listed

    async def _all_hotels(self, access: Secret, turn: Turn) -> Listed | Unlisted:
        found: dict[str, None] = {}
        for page in range(1, MOST_PAGES + 1):
            await turn()
            query = {"pageNumber": str(page), "pageSize": str(PAGE_SIZE)}
            answer = await self._answered("GET", "getHotels", access, params=query)
            if isinstance(answer, Refusal):
                return Unlisted(answer)
            data, total = answer.get("data"), one_line(answer.get("total"), 20)
            if not isinstance(data, list | dict):
                return Unlisted(UNREADABLE)
            before = len(found)
            found |= dict.fromkeys(_property_ids(data, DEEPEST))
            known = not total.isdecimal() or len(found) >= int(total)
            new = len(found) - before
            if new < PAGE_SIZE and (known or not new):  # the last page, or one that was read already
                return Listed(tuple(found), whole=known)
        return Listed(tuple(found), whole=False)

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        """`postAppState` with `app_state=disabled` for each property; if none is known, once for the grant's own."""
        forms: list[dict[str, str]] = [{"app_state": "disabled", "propertyID": one} for one in property_ids]
        answers = [
            await self._object("POST", "postAppState", access, form=form)
            for form in forms or [{"app_state": "disabled"}]
        ]
        return all(answer is not None and _noted(answer) for answer in answers)

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        """`getAppState`: complete JSON without a state is a refusal; the documentation shows no answer."""
        params = {"propertyID": property_id} if property_id else None
        try:
            reply = await self._send("GET", "getAppState", access, limit=http_client.TOKEN_BODY_LIMIT, params=params)
            pause = pause_of(reply.status, reply.headers)
            if pause is not None:
                raise Throttled(pause)
            answer = read_object(reply.content_type, reply.body)
        except Unreadable:
            return AppState()
        except http_client.no_answer():
            return AppState()
        if not 200 <= reply.status < 300 or _failed(answer):
            return AppState(refused=reply.status < 500)
        data = answer.get("data")
        state = state_in(data) if isinstance(data, dict) else state_in(answer)
        return AppState(state, refused=not state)

    async def roles(self, access: Secret) -> Sequence[str] | Refusal:
        """`GET …/userinfo?role_details=true`; `roles` may be null."""
        answer = await self._answered("GET", "userinfo", access, params={"role_details": "true"})
        if isinstance(answer, Refusal):
            return answer
        roles = answer.get("roles")
        names = [_text(one.get("name")) for one in roles if isinstance(one, dict)] if isinstance(roles, list) else []
        return [name for name in names if name]

    async def subscriptions(self, access: Secret, property_id: str | None) -> Sequence[VendorSubscription] | Refusal:
        """`getWebhooks`. Entries without id, event or address, and those of other properties, are left out."""
        params = {"propertyID": property_id} if property_id else {}
        answer = await self._answered("GET", "getWebhooks", access, params=params)
        if isinstance(answer, Refusal):
            return answer
        data = answer.get("data")
        return (
            [one for row in data if (one := _subscription(row, property_id))] if isinstance(data, list) else UNREADABLE
        )

    async def subscribe(self, access: Secret, wanted: Wanted, property_id: str | None) -> str | Refusal:
        """`postWebhook` as a form: Cloudbeds ignores JSON here."""
        entity, _, action = wanted.event.partition("/")
        form = {
            "object": entity, "action": action, "endpointUrl": wanted.hook.url,
            "authHeaderName": wanted.hook.header, "authHeaderValue": wanted.hook.value.reveal(),
        }  # fmt: skip
        named = {"propertyID": property_id} if property_id else {}
        answer = await self._answered("POST", "postWebhook", access, form=form | named)
        if isinstance(answer, Refusal):
            return answer
        data = answer.get("data")
        return (_text(data.get("subscriptionID")) if isinstance(data, dict) else "") or UNREADABLE

    async def unsubscribe(self, access: Secret, subscription_id: str, property_id: str | None) -> Refusal | None:
        """`deleteWebhook`, with everything in the query: Cloudbeds reads no body here."""
        params = {"subscriptionID": subscription_id} | ({"propertyIDs": property_id} if property_id else {})
        answer = await self._answered("DELETE", "deleteWebhook", access, params=params)
        return answer if isinstance(answer, Refusal) else None

    async def _answered(
        self, method: str, name: str, access: Secret, **parts: Mapping[str, str]
    ) -> JsonObject | Refusal:
        """The JSON object of a 2xx answer without a refusal, else the refusal. Raises Throttled."""
        reply = await self._reply(method, name, access, **parts)
        if reply is None or reply.status >= 500:
            return OUTAGE
        refusal = refusal_of(reply.status, reply.content_type, reply.body)
        if refusal is not None:
            return refusal
        answer = _read(reply)
        return UNREADABLE if answer is None or _failed(answer) else answer

    async def _object(self, method: str, name: str, access: Secret, **parts: Mapping[str, str]) -> JsonObject | None:
        """The JSON object of a 2xx answer, else None. Raises Throttled."""
        reply = await self._reply(method, name, access, **parts)
        return None if reply is None else _read(reply)

    async def _reply(
        self, method: str, name: str, access: Secret, **parts: Mapping[str, str]
    ) -> http_client.Reply | None:
        """The complete answer; None: there was none. Raises Throttled."""
        try:
            reply = await self._send(method, name, access, limit=http_client.RESOURCE_BODY_LIMIT, **parts)
        except http_client.no_answer():
            return None
        pause = pause_of(reply.status, reply.headers)
        if pause is not None:
            raise Throttled(pause)
        return reply

    async def _send(
        self,
        method: str,
        name: str,
        access: Secret,
        *,
        limit: int,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> http_client.Reply:
        headers = dict([header_of(access, self._keys)])
        return await http_client.ask(
            self._timing, self._transport, method, f"{self._api}/{name}",
            headers=headers, params=params, data=form, limit=limit,
        )  # fmt: skip


def _read(reply: http_client.Reply) -> JsonObject | None:
    """The JSON object of a 2xx answer."""
    try:
        return read_object(reply.content_type, reply.body) if 200 <= reply.status < 300 else None
    except Unreadable:
        return None


def _subscription(row: Any, property_id: str | None) -> VendorSubscription | None:
    """An entry of `getWebhooks`. Its address is documented as `endpoint`, but was seen as `url`; ids may be numbers."""
    if not isinstance(row, dict):
        return None
    event, target, key = (found if isinstance(found := row.get(name), dict) else {} for name in _PARTS)
    identity, url = _text(row.get("id")), target.get("url") or target.get("endpoint")
    entity, action = event.get("entity"), event.get("action")
    elsewhere = key.get("type") == "property" and property_id and _text(key.get("id")) not in {"", property_id}
    if (
        not identity
        or elsewhere
        or not all(isinstance(one, str) and one and is_text(one) for one in (url, entity, action))
    ):
        return None
    return VendorSubscription(identity, f"{entity}/{action}", str(url))


_PARTS = ("event", "subscriptionData", "key")


def _text(found: Any) -> str:
    """An id as text: ids come as strings and as integers."""
    return one_line(found, LONGEST_ID)


def _failed(answer: JsonObject) -> bool:
    return says_false(answer.get("success")) or "error" in answer


def _noted(answer: JsonObject) -> bool:
    """Whether the vendor disabled the app, or says that it was disconnected already."""
    return not _failed(answer) or dead_grant(answer) == REVOKED


def _property_ids(data: Any, depth: int) -> Iterator[str]:
    """The ids in `data`, from nested lists, too; ids come as strings and as integers."""
    if isinstance(data, list) and depth > 0:
        for entry in data:
            yield from _property_ids(entry, depth - 1)
    elif isinstance(data, dict):
        identity = one_line(data.get("propertyID", data.get("propertyId")), LONGEST_PROPERTY)
        if identity:
            yield identity
