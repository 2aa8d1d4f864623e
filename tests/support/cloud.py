"""The simulator's pure model beneath httpx2: the real clients of ours talk to it, in virtual time and without sockets.

`weather` says, for the token endpoint, `/userinfo` and everything else apart, what befalls the next requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import count
from urllib.parse import parse_qs, urlsplit

import httpx2

from cloudbeds_simulator import endpoints
from cloudbeds_simulator.answers import SimulatedAnswer
from cloudbeds_simulator.endpoints import Visit
from cloudbeds_simulator.journal import JournalEntry, ReceivedCall
from cloudbeds_simulator.records import Hotel, HotelUser, VendorApp, VendorGrant
from cloudbeds_simulator.switches import SimulatedClock, SimulatorSettings
from cloudbeds_simulator.vendor_model import VendorModel

BASE = "https://cloudbeds.example"
CLIENT, CALLBACK = "client-1", "http://localhost:7000/callback"
SCOPES = ("read:hotel", "write:reservation")
TARGETS = ("token", "userinfo", "resource")
WEATHER = ("unsent", "never arrives", "answer lost", "HTTP 502", "HTTP 429", "a page of HTML")
GATEWAYS = {
    "HTTP 502": (502, "application/json", b"{}"),
    "HTTP 429": (429, "application/json", b'{"error":"rate"}'),
    "a page of HTML": (200, "text/html", b"<html>the captive portal of the hotel</html>"),
}


class Cloud(httpx2.AsyncBaseTransport):
    """Cloudbeds: one app, some hotels, one reading of the rotation rules."""

    def __init__(self, now: Callable[[], float], variant: str, hotels: tuple[str, ...], lifetime: float) -> None:
        self._numbers = count(1)
        self._entries = count(1)
        self._clock = SimulatedClock(read=now)
        self.model = VendorModel(self._mint, SimulatorSettings(variant=variant, expires_in=lifetime))
        for property_id in hotels:
            self.model.add_hotel(
                Hotel(property_id, f"Hotel {property_id}", HotelUser(property_id, "Ada", "H", "a@h.example"))
            )
        self.weather: dict[str, list[str]] = defaultdict(list)
        self.received: dict[str, VendorGrant] = {}  # by property: the newest grant whose first pair reached us
        self.refreshes: Counter[int] = Counter()  # token requests by grant
        self.exchanges: Counter[str] = Counter()  # by code
        self.met = 0  # how many requests met bad weather
        self.met_at = 0.0  # when the last of them did, by the loop's clock
        self.secret = "secret-1"
        self.register(self.secret)

    def register(self, secret: str) -> None:
        """The client secret is this one from now on."""
        self.secret = secret
        self.model.add_app(VendorApp(CLIENT, secret, "Ours", frozenset({CALLBACK}), SCOPES))

    def approve(self, url: str, property_id: str) -> tuple[str, str]:
        """What the hotel does at `url`: the code and the state that come back."""
        wanted = parse_qs(urlsplit(url).query)
        code = self.model.authorize(CLIENT, wanted["redirect_uri"][0], [property_id], SCOPES, self._clock.now())
        return code, wanted["state"][0]

    def expire(self, property_id: str) -> None:
        """The access tokens of this hotel run out now."""
        for grant in self.model.covering(property_id):
            grant.rotation.expire(self._clock.now())

    def revoke(self, property_id: str) -> None:
        """The hotel removes the app."""
        for grant in self.model.covering(property_id):
            self.model.end(grant, "revoked")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        call = _call(request, await request.aread())
        entry = JournalEntry(next(self._entries), self._clock.now(), endpoints.target_of(call), call.method, call.path)
        visit = Visit(call, self.model, entry, self._clock)
        waiting = self.weather[entry.target]
        weather = waiting.pop(0) if waiting else "fair"
        if weather != "fair":
            self.met, self.met_at = self.met + 1, asyncio.get_running_loop().time()
        if weather == "unsent":
            raise httpx2.ConnectError("no route", request=request)
        if entry.target == "token":
            self._count(call)
        if weather == "never arrives":
            raise httpx2.ReadTimeout("lost", request=request)
        if weather in GATEWAYS:
            status, media, body = GATEWAYS[weather]
            endpoints.answered_unacted(visit, status)
            return _response(SimulatedAnswer(status, body, media), request)
        answer = endpoints.act(visit)
        if weather == "answer lost":
            raise httpx2.ReadError("reset", request=request)
        self._note(call, entry)
        if entry.outcome == "client_refused":  # the code is whole
            self.exchanges[call.field("code")] -= 1
        return _response(answer, request)

    def _count(self, call: ReceivedCall) -> None:
        if call.field("code"):
            self.exchanges[call.field("code")] += 1
        grant = self.model._by_refresh.get(call.field("refresh_token"))
        if grant is not None:
            self.refreshes[grant.number] += 1

    def _note(self, call: ReceivedCall, entry: JournalEntry) -> None:
        if entry.outcome == "issued" and call.field("code") and entry.grant is not None:
            grant = self.model.grants[entry.grant - 1]
            self.received |= dict.fromkeys(grant.approval.property_ids, grant)

    def _mint(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"


def _call(request: httpx2.Request, body: bytes) -> ReceivedCall:
    """A request as the simulator reads it."""
    form = parse_qs(body.decode(), keep_blank_values=True) if b"=" in body else {}
    headers = {name.title(): value for name, value in request.headers.items()}
    return ReceivedCall(request.method, request.url.raw_path.decode(), headers, body, form)


def _response(answer: SimulatedAnswer, request: httpx2.Request) -> httpx2.Response:
    headers = {"content-type": answer.content_type, **answer.headers}
    return httpx2.Response(answer.status, headers=headers, stream=httpx2.ByteStream(answer.body), request=request)
