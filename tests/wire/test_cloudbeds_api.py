"""The resource API as we ask it: the proof call, the list of hotels, the disconnect, the way to the approval page."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import pytest
from tests.wire.rawserver import RawServer, Respond, answer, drip, raw, reset, serving, silence

from cloudbeds_auth.ports import AppState, Listed, Throttled, Unlisted, Vendor
from cloudbeds_auth.rules.api_errors import (
    OUTAGE,
    UNREADABLE,
    Act,
    DeadGrant,
    DeadToken,
    Inconclusive,
    Proof,
    Refusal,
    Verdict,
)
from cloudbeds_auth.rules.model import App, User
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Hook, VendorSubscription, Wanted
from cloudbeds_auth.wire.cloudbeds_api import MOST_PAGES, HttpVendor

ACCESS = Secret("a1")
USER = {"user_id": 123, "first_name": "Ada", "last_name": "Hotelier", "email": "ada@example.com"}


@asynccontextmanager
async def vendor(*respond: Respond, deadline: float = 20.0) -> AsyncIterator[tuple[HttpVendor, RawServer]]:
    """A vendor over a real socket."""
    async with serving(*respond) as server:
        made = HttpVendor(server.url, "v1.3", f"{server.url}/oauth", Timing.of(deadline))
        yield made, server


async def judged(respond: Respond, deadline: float = 20.0) -> Verdict:
    """The verdict on one answer of userinfo."""
    async with vendor(respond, deadline=deadline) as (made, _):
        return await made.userinfo(ACCESS)


async def test_userinfo_request() -> None:
    """The proof call is a plain GET with the bearer and no cookie, over a connection of its own (F18)."""
    head = "Set-Cookie: session=1\r\n"
    async with vendor(answer(json.dumps(USER), head=head)) as (made, server):
        port: Vendor = made
        for _ in range(3):
            assert await port.userinfo(ACCESS) == Proof(User("123", "Ada Hotelier", "ada@example.com"))
        assert server.connections == 3
        for peer in server.peers:
            assert peer.line == "GET /api/v1.3/userinfo"
            assert peer.head["authorization"] == "Bearer a1"
            assert peer.head["accept-encoding"] == "identity"
            assert "cookie" not in peer.head


@pytest.mark.parametrize(
    ("keys", "credential", "header"),
    [
        ("bearer", "cbat_1", ("authorization", "Bearer cbat_1")),
        ("x-api-key", "cbat_1", ("x-api-key", "cbat_1")),
        ("x-api-key", "a1", ("authorization", "Bearer a1")),
    ],
)
async def test_a_key_travels_as_the_setting_says(keys: str, credential: str, header: tuple[str, str]) -> None:
    """In one header, and no other credential beside it; an access token as ever."""
    async with serving(answer(json.dumps(USER))) as server:
        made = HttpVendor(server.url, "v1.3", f"{server.url}/oauth", Timing.of(20.0), keys=keys)
        assert isinstance(await made.userinfo(Secret(credential)), Proof)
        (peer,) = server.peers
    shown = {name: value for name, value in peer.head.items() if name in {"authorization", "x-api-key"}}
    assert shown == dict([header])


DENIED = json.dumps({"error": "access_denied", "hint": "Access token is invalid"})


async def test_verdicts() -> None:
    """The vendor's own words arrive as what they mean."""
    assert isinstance(await judged(answer(DENIED, "401 Unauthorized")), DeadToken)
    inactive = {"success": False, "message": "User who approved this connection is not active anymore"}
    assert await judged(answer(json.dumps(inactive))) == DeadGrant("user_inactive")


NOTHING: dict[str, Respond] = {
    "page": answer("<html>", kind="text/html"),
    "redirect": answer("{}", "302 Found", head="Location: /login\r\n"),
    "404": answer("{}", "404 Not Found"),
    "500": answer("{}", "500 Internal Server Error"),
    "success false": answer('{"success": false}'),
    "cut": raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{", close=True),
    "gzip": answer(gzip.compress(json.dumps(USER).encode()), head="Content-Encoding: gzip\r\n"),
    "oversized": answer(json.dumps(USER | {"x": "y" * 1024 * 1024})),
    "reset": reset,
}


@pytest.mark.row("F20")
async def test_a_429_is_told_apart_from_an_outage() -> None:
    """Whoever asked learns for how long nobody of the client id sends; it proves nothing."""
    busy = answer("<html>", "429 Too Many Requests", head="Retry-After: 7\r\n", kind="text/html")
    assert await judged(busy) == Inconclusive("HTTP 429", 7.0)
    async with vendor(busy) as (made, _):
        with pytest.raises(Throttled) as listing:
            await made.properties(ACCESS)
        with pytest.raises(Throttled) as disabling:
            await made.disable_app(ACCESS, ("1000",))
    assert (listing.value.pause, disabling.value.pause) == (7.0, 7.0)


async def test_each_page_has_a_turn_of_its_own() -> None:
    """The rate limit counts requests, not questions."""
    turns: list[int] = []

    async def turn() -> None:
        turns.append(len(server.peers))

    pages = [[{"propertyID": f"{page}-{number}"} for number in range(size)] for page, size in enumerate((100, 7))]
    async with vendor(*(answer(hotels(page)) for page in pages)) as (made, server):
        assert len(listed(await made.properties(ACCESS, turn))) == 107
    assert turns == [0, 1]


@pytest.mark.parametrize("case", NOTHING)
async def test_proves_nothing(case: str) -> None:
    """Outages, pages, limits and cut answers are inconclusive, and nothing is raised."""
    assert isinstance(await judged(NOTHING[case]), Inconclusive)


@pytest.mark.parametrize("respond", [silence, drip(b"HTTP/1.1 200 OK\r\nX: ")], ids=["silence", "drip"])
async def test_deadline(respond: Respond) -> None:
    """A proof call ends within the deadline."""
    assert await judged(respond, 0.3) == Inconclusive("no complete answer (TimeoutError)")


async def test_unreachable() -> None:
    """No such host: inconclusive."""
    made = HttpVendor("http://nobody.invalid", "v1.3", "http://nobody.invalid", Timing())
    assert await made.userinfo(ACCESS) == Inconclusive("no complete answer (ConnectError)")
    assert await made.properties(ACCESS) == Unlisted(OUTAGE)
    assert not await made.disable_app(ACCESS, ("1",))


def hotels(data: object) -> str:
    """An answer of getHotels."""
    return json.dumps({"success": True, "data": data, "count": 1, "total": 1})


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ([{"propertyID": "1000", "propertyName": "Ada"}, {"propertyID": 1001}], ("1000", "1001")),
        ([[{"propertyId": "1000"}], [{"propertyID": "1001"}]], ("1000", "1001")),
        ([{"propertyID": "1000"}, {"propertyID": "1000"}], ("1000",)),
        ({"propertyID": "1000"}, ("1000",)),
        ([None, "x", {}, {"propertyID": True}, {"propertyID": ""}, {"propertyID": None}], ()),
        ([[[[[[{"propertyID": "deep"}]]]]]], ()),
        ([{"propertyID": "10\x0000\ud800"}, {"propertyID": "1" * 70}, {"propertyID": 1.5}], ("1000", "1" * 64)),
    ],
)
async def test_properties(data: object, found: tuple[str, ...]) -> None:
    """Ids are read however the list is nested and typed; nonsense is no property."""
    async with vendor(answer(hotels(data))) as (made, server):
        assert await made.properties(ACCESS) == Listed(found, whole=bool(found))  # one was to come
        assert server.peers[0].line == "GET /api/v1.3/getHotels?pageNumber=1&pageSize=100"
        assert server.peers[0].head["authorization"] == "Bearer a1"


async def test_properties_over_pages() -> None:
    """A group of more hotels than a page holds is read to its end."""
    pages = [[{"propertyID": f"{page}-{number}"} for number in range(size)] for page, size in enumerate((100, 100, 7))]
    async with vendor(*(answer(hotels(page)) for page in pages)) as (made, server):
        assert len(listed(await made.properties(ACCESS))) == 207
        assert [peer.line.split("=")[1].split("&")[0] for peer in server.peers] == ["1", "2", "3"]


async def test_properties_when_pages_are_ignored() -> None:
    """A server that answers every page with the first one is asked twice, not for ever."""
    page = [{"propertyID": str(number)} for number in range(100)]
    async with vendor(answer(hotels(page))) as (made, server):
        assert len(listed(await made.properties(ACCESS))) == 100
        assert len(server.peers) == 2


@pytest.mark.parametrize("case", NOTHING)
async def test_properties_unreadable(case: str) -> None:
    """Whatever goes wrong, nothing is said instead of half."""
    full = answer(hotels([{"propertyID": str(number)} for number in range(100)]))
    async with vendor(full, NOTHING[case]) as (made, _):
        answer_ = await made.properties(ACCESS)
    assert isinstance(answer_, Unlisted)
    assert (answer_.refusal.act, answer_.final) == (Act.NOTHING, False)


@pytest.mark.parametrize("data", [None, "1000", 7, True])
async def test_properties_that_are_no_list(data: object) -> None:
    """A 2xx that holds no list is no answer, not an empty one."""
    async with vendor(answer(hotels(data))) as (made, _):
        assert await made.properties(ACCESS) == Unlisted(UNREADABLE)


@pytest.mark.parametrize(
    ("total", "asked", "whole"), [("2", 2, True), (3, 3, False), (None, 1, True), ("many", 1, True)]
)
async def test_pages_that_are_smaller_than_asked_for(total: object, asked: int, whole: bool) -> None:
    """The total that the vendor tells is read to; a list that stays shorter is not taken for all of it."""
    pages = [[{"propertyID": "1000"}], [{"propertyID": "1001"}], [{"propertyID": "1001"}]]
    told = [answer(json.dumps({"success": True, "data": page, "total": total})) for page in pages]
    async with vendor(*told) as (made, server):
        found = await made.properties(ACCESS)
        assert isinstance(found, Listed)
        assert found == Listed(("1000", "1001")[:asked], whole=whole)
        assert len(server.peers) == asked


async def test_a_list_without_an_end() -> None:
    """After so many pages it is not taken for all."""
    pages = [answer(hotels([{"propertyID": f"{page}-{at}"} for at in range(100)])) for page in range(MOST_PAGES + 1)]
    async with vendor(*pages) as (made, server):
        found = await made.properties(ACCESS)
        assert isinstance(found, Listed)
        assert (len(found.property_ids), found.whole) == (100 * MOST_PAGES, False)
        assert len(server.peers) == MOST_PAGES


SCOPE = answer('{"success": false, "message": "Scope required for this call was not granted by property."}')
DETAILS = answer('{"success": true, "data": {"propertyID": 1000, "propertyName": "Ada"}}')


async def test_without_the_scope_for_the_list_the_details_are_asked() -> None:
    """Each request has its turn; the one hotel that is named need not be all."""
    turns: list[int] = []

    async def turn() -> None:
        turns.append(len(server.peers))

    async with vendor(SCOPE, DETAILS) as (made, server):
        assert await made.properties(ACCESS, turn) == Listed(("1000",), whole=False)
        assert [peer.line for peer in server.peers][1] == "GET /api/v1.3/getHotelDetails"
    assert turns == [0, 1]


@pytest.mark.parametrize("details", ["scope", "empty", "list", *NOTHING])
async def test_the_details_do_not_say_either(details: str) -> None:
    """Then the refusal of the list is what is told, and that it is final."""
    shapes = {"scope": SCOPE, "empty": answer('{"success": true, "data": {}}'), "list": answer(hotels([]))}
    async with vendor(SCOPE, (shapes | NOTHING)[details]) as (made, _):
        found = await made.properties(ACCESS)
    assert isinstance(found, Unlisted)
    assert (found.refusal.reason, found.final) == ("missing_scope", True)


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("propertyID", "1000", ("1000",)),
        ("propertyId", 1000, ("1000",)),
        ("property_id", " 1000 ", ("1000",)),
        ("property_id", None, ()),
        ("property_id", True, ()),
        ("property_id", ["1000"], ()),
        ("other", "1000", ()),
    ],
)
async def test_userinfo_may_name_a_property(name: str, value: object, found: tuple[str, ...]) -> None:
    """The documented body has none; one that it has is read."""
    assert await judged(answer(json.dumps({"user_id": "7", name: value}))) == Proof(User("7", "", ""), found)


def listed(found: Listed | Unlisted) -> tuple[str, ...]:
    """The ids of an answer that lists all."""
    assert isinstance(found, Listed)
    assert found.whole
    return found.property_ids


async def test_disable_app() -> None:
    """The app's state is posted for each property."""
    async with vendor(answer('{"success": true}')) as (made, server):
        assert await made.disable_app(ACCESS, ("1000", "1001"))
        assert [peer.line for peer in server.peers] == ["POST /api/v1.3/postAppState"] * 2
        forms = [parse_qs(peer.body) for peer in server.peers]
        assert forms == [{"app_state": ["disabled"], "propertyID": [one]} for one in ("1000", "1001")]
        assert server.peers[0].head["content-type"] == "application/x-www-form-urlencoded"


async def test_disable_app_without_properties() -> None:
    """No property known: the grant's own."""
    async with vendor(answer('{"success": "true"}')) as (made, server):
        assert await made.disable_app(ACCESS, ())
        assert parse_qs(server.peers[0].body) == {"app_state": ["disabled"]}


@pytest.mark.parametrize("case", NOTHING)
async def test_disable_app_not_noted(case: str) -> None:
    """One property that was not taken note of is enough for "no"; the others are told all the same."""
    async with vendor(NOTHING[case], answer('{"success": true}')) as (made, server):
        assert not await made.disable_app(ACCESS, ("1000", "1001"))
        assert len(server.peers) == 2


async def test_disable_app_that_is_gone() -> None:
    """An app that the hotel disconnected before counts as taken note of."""
    gone = {"success": False, "message": "Application is not available to be connected. Reach out to X."}
    async with vendor(answer(json.dumps(gone))) as (made, _):
        assert await made.disable_app(ACCESS, ("1000",))


APP = App("default", "client-1", (Secret("canary"),), "https://app.example.com/callback?", ("read:hotel", "read:guest"))


def authorization_url(url: str, app: App = APP) -> str:
    """The approval address under an authorization endpoint."""
    return HttpVendor("https://api.cloudbeds.com", "v1.3", url, Timing()).authorization_url(app, "state-1")


def test_authorization_url() -> None:
    """RFC 6749 section 4.1.1, spaces as %20, no secret."""
    url = authorization_url("https://api.cloudbeds.com/api/v1.3/oauth")
    assert url.startswith("https://api.cloudbeds.com/api/v1.3/oauth?")
    assert parse_qsl(urlsplit(url).query) == [
        ("client_id", "client-1"),
        ("redirect_uri", "https://app.example.com/callback?"),
        ("response_type", "code"),
        ("state", "state-1"),
        ("scope", "read:hotel read:guest"),
    ]
    assert "scope=read%3Ahotel%20read%3Aguest" in url
    assert "canary" not in url


def test_authorization_url_without_scopes() -> None:
    """No scope was set: none is sent."""
    assert "scope" not in authorization_url("https://x/oauth", App("d", "c", (), "https://y/z"))


def test_authorization_url_with_a_query() -> None:
    """The vendor's generated address keeps its own parameters; ours are not doubled."""
    url = authorization_url("https://hotels.cloudbeds.com/oauth?theme=a+b&client_id=old&state=&empty=")
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert query[:2] == [("theme", "a b"), ("empty", "")]
    assert [value for name, value in query if name == "client_id"] == ["client-1"]
    assert [value for name, value in query if name == "state"] == ["state-1"]


async def test_given_transport_stays_open() -> None:
    """A transport that was given is used for everything and closed by whoever gave it."""
    seen: list[str] = []

    class Answering(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            seen.append(str(request.url))
            body = httpx2.ByteStream(json.dumps(USER).encode())
            return httpx2.Response(200, headers={"Content-Type": "application/json"}, stream=body)

        async def aclose(self) -> None:
            raise AssertionError

    made = HttpVendor("https://api.cloudbeds.com", "v1.3", "https://x", Timing(), Answering())
    assert isinstance(await made.userinfo(ACCESS), Proof)
    assert seen == ["https://api.cloudbeds.com/api/v1.3/userinfo"]


async def test_unexpected_error_is_inconclusive() -> None:
    """Even a bug beneath says nothing about the token."""

    class Broken(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise RuntimeError("canary")

    made = HttpVendor("https://api.cloudbeds.com", "v1.3", "https://x", Timing(), Broken())
    assert await made.userinfo(ACCESS) == Inconclusive("no complete answer (RuntimeError)")


STATE = {"success": True, "data": {"propertyID": "1000", "app_state": "Disabled"}}


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (STATE, "200 OK", AppState("disabled")),
        ({"success": True, "app_state": "enabled"}, "200 OK", AppState("enabled")),
        ({"success": True, "data": {}}, "200 OK", AppState(refused=True)),
        (
            {"success": False, "message": "Application is not available to be connected."},
            "200 OK",
            AppState(refused=True),
        ),
        ({"error": "access_denied"}, "401 Unauthorized", AppState(refused=True)),
        ({"message": "Forbidden"}, "403 Forbidden", AppState(refused=True)),
        ({"error": "later"}, "503 Service Unavailable", AppState()),
        ("<html>", "200 OK", AppState()),
    ],
)
async def test_app_state(body: object, status: str, expected: AppState) -> None:
    """What it says, that it refuses, or neither: an outage says nothing about the hotel."""
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if isinstance(body, str) else "application/json"
    async with vendor(answer(text, status, kind=kind)) as (made, server):
        assert await made.app_state(ACCESS, "1000") == expected
        assert await made.app_state(ACCESS, None) == expected
        assert [peer.line for peer in server.peers] == [
            "GET /api/v1.3/getAppState?propertyID=1000",
            "GET /api/v1.3/getAppState",
        ]


async def test_app_state_too_often() -> None:
    """A 429 is everybody's pause."""
    async with vendor(answer("{}", "429 Too Many Requests", "Retry-After: 7\r\n")) as (made, _):
        with pytest.raises(Throttled) as throttled:
            await made.app_state(ACCESS, "1000")
    assert throttled.value.pause == 7.0


async def test_app_state_without_an_answer() -> None:
    """Says nothing."""
    async with vendor(reset) as (made, _):
        assert await made.app_state(ACCESS, "1000") == AppState()


WANTED = Wanted("reservation/created", Hook("https://us.example/hotel-events", "x-h", Secret("v")))


async def test_subscribing() -> None:
    """A form, not JSON, which Cloudbeds ignores here; the header's value is told to nobody else."""
    async with vendor(answer(json.dumps({"success": True, "data": {"subscriptionID": 17}}))) as (made, server):
        assert await made.subscribe(ACCESS, WANTED, "1000") == "17"
        assert await made.subscribe(ACCESS, WANTED, None) == "17"
        first, second = (dict(parse_qsl(peer.body)) for peer in server.peers)
        assert server.peers[0].line == "POST /api/v1.3/postWebhook"
    assert first == {
        "object": "reservation", "action": "created", "endpointUrl": "https://us.example/hotel-events",
        "authHeaderName": "x-h", "authHeaderValue": "v", "propertyID": "1000",
    }  # fmt: skip
    assert second == {name: value for name, value in first.items() if name != "propertyID"}


NO_SCOPE = {"success": False, "message": "Scope required for this call was not granted by property."}


@pytest.mark.parametrize(
    ("body", "status", "act"),
    [
        (NO_SCOPE, "200 OK", Act.REPORT), ({"error": "access_denied"}, "401 Unauthorized", Act.HEAL),
        ({"success": True, "data": {}}, "200 OK", UNREADABLE), ({"success": True}, "200 OK", UNREADABLE),
        ({"success": False, "message": "later"}, "503 Service Unavailable", OUTAGE), ("<html>", "502 Bad", OUTAGE),
    ],
)  # fmt: skip
async def test_a_subscription_that_is_not_taken(body: object, status: str, act: Act | Refusal) -> None:
    """How it was refused; after an outage or an answer without an id it may be there or not."""
    text = body if isinstance(body, str) else json.dumps(body)
    async with vendor(answer(text, status)) as (made, _):
        found = await made.subscribe(ACCESS, WANTED, "1000")
    assert isinstance(found, Refusal)
    assert act in (found, found.act)


def listed_webhook(number: object, url_in: str = "url", **changed: object) -> dict[str, object]:
    """An entry as Cloudbeds lists it."""
    usual: dict[str, object] = {
        "id": number, "key": {"type": "property", "id": 1000}, "event": {"entity": "guest", "action": "created"},
        "subscriptionData": {url_in: "https://us.example/hotel-events"}, "authHeader": None,
    }  # fmt: skip
    return usual | changed


async def test_subscriptions_are_listed() -> None:
    """The address as documented and as seen, ids of either type, and no entry of another property."""
    rows = [
        listed_webhook(7), listed_webhook("8", "endpoint", key={"type": "association", "id": "A"}),
        listed_webhook(9, key={"type": "property", "id": "1001"}), listed_webhook(None), "nonsense",
        listed_webhook(10, event={"entity": "guest"}), listed_webhook(11, subscriptionData=[]),
        listed_webhook(12, event={"entity": "guest", "action": "\ud800"}),
        listed_webhook(13, subscriptionData={"url": "\0"}),
    ]  # fmt: skip
    async with vendor(answer(json.dumps({"success": True, "data": rows}))) as (made, server):
        found = await made.subscriptions(ACCESS, "1000")
        everything = await made.subscriptions(ACCESS, None)
        lines = [peer.line for peer in server.peers]
    one = VendorSubscription("7", "guest/created", "https://us.example/hotel-events")
    assert found == [one, replace(one, id="8")]
    assert everything == [one, replace(one, id="8"), replace(one, id="9")]
    assert lines == ["GET /api/v1.3/getWebhooks?propertyID=1000", "GET /api/v1.3/getWebhooks"]


@pytest.mark.parametrize(("body", "expected"), [({"success": True}, UNREADABLE), ("", OUTAGE)])
async def test_subscriptions_that_cannot_be_listed(body: object, expected: Refusal) -> None:
    """Nothing is taken for an empty list."""
    respond = answer(json.dumps(body)) if body else reset
    async with vendor(respond) as (made, _):
        assert await made.subscriptions(ACCESS, "1000") == expected


async def test_unsubscribing() -> None:
    """Everything is in the query: Cloudbeds reads no body of a DELETE."""
    async with vendor(answer(json.dumps({"success": True}))) as (made, server):
        assert await made.unsubscribe(ACCESS, "7", "1000") is None
        assert await made.unsubscribe(ACCESS, "7", None) is None
        lines = [peer.line for peer in server.peers]
    assert lines == [
        "DELETE /api/v1.3/deleteWebhook?subscriptionID=7&propertyIDs=1000",
        "DELETE /api/v1.3/deleteWebhook?subscriptionID=7",
    ]
    async with vendor(answer(json.dumps(NO_SCOPE))) as (made, _):
        refused = await made.unsubscribe(ACCESS, "7", "1000")
    assert refused is not None
    assert refused.reason == "missing_scope"


ROLES = [{"id": "1", "name": "Owner", "description": "all"}, {"id": 2, "name": None}, "nonsense", {"name": "Manager"}]


@pytest.mark.parametrize(("roles", "expected"), [(ROLES, ["Owner", "Manager"]), (None, []), ("Owner", []), ([], [])])
async def test_roles(roles: object, expected: list[str]) -> None:
    """Their names, as far as there are any; they are nullable."""
    async with vendor(answer(json.dumps({**USER, "roles": roles}))) as (made, server):
        assert await made.roles(ACCESS) == expected
        assert server.peers[0].line == "GET /api/v1.3/userinfo?role_details=true"


async def test_roles_that_are_refused() -> None:
    """As any call is."""
    async with vendor(answer(json.dumps({"error": "access_denied"}), "401 Unauthorized")) as (made, _):
        refused = await made.roles(ACCESS)
    assert isinstance(refused, Refusal)
    assert refused.act is Act.HEAL
