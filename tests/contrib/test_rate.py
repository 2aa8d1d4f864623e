"""Every request of every client has its turn at the vendor first, and every 429 is heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx2
import pytest
import requests
from tests.contrib.hotel import Hotel, connected
from tests.contrib.test_origins import CLIENTS

from cloudbeds_auth import ForeignOrigin, OutcomeUnknown, RateLimited
from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.vault.call_budget import CallBudget

FOLLOWING = ["httpx2.Client", "httpx2.AsyncClient", "requests"]
MUCH = "100000"  # requests a second: what is counted here are turns, not seconds


@pytest.fixture(scope="module")
def hotel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotel]:
    """A vault that keeps a rate that nobody waits for."""
    with connected(tmp_path_factory.mktemp("rate"), CLOUDBEDS_AUTH_RATE_LIMIT=MUCH) as made:
        yield made


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that had a turn, one for each request of a caller."""
    taken: list[str] = []
    spend = CallBudget.spend

    async def counted(self: CallBudget, connection_id: str) -> None:
        await spend(self, connection_id)
        taken.append(connection_id)

    monkeypatch.setattr(CallBudget, "spend", counted)
    return taken


@pytest.fixture(params=CLIENTS)
def ask(request: pytest.FixtureRequest, hotel: Hotel) -> Iterator[Callable[[Hotel, str], None]]:
    """One of the clients; a fault that it did not meet is not left to the next."""
    yield CLIENTS[request.param]
    hotel.made.vendor.control("faults", "DELETE")


def test_a_call_has_one_turn(hotel: Hotel, ask: Callable[[Hotel, str], None], turns: list[str]) -> None:
    """Blocking or not, by whatever library."""
    before = len(hotel.calls())
    ask(hotel, hotel.url("echo"))
    assert len(turns) == len(hotel.calls()) - before == 1
    assert turns == [hotel.id]


def test_a_call_that_is_sent_again_has_another_turn(
    hotel: Hotel, ask: Callable[[Hotel, str], None], turns: list[str]
) -> None:
    """After a 401 the second sending counts, too."""
    ask(hotel, hotel.url("echo"))
    before = len(hotel.calls())
    turns.clear()
    hotel.expire()
    ask(hotel, hotel.url("echo"))
    assert hotel.statuses()[before] == 401
    assert len(turns) == len(hotel.calls()) - before == 2


def test_a_token_that_is_renewed_while_a_call_waits(
    hotel: Hotel, ask: Callable[[Hotel, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call goes with the new one: no 401 of the token that died meanwhile costs another turn."""
    ask(hotel, hotel.url("echo"))
    before, spend = len(hotel.calls()), CallBudget.spend

    async def slow(self: CallBudget, connection_id: str) -> None:
        await spend(self, connection_id)
        await self._access.refresh_now(connection_id)

    monkeypatch.setattr(CallBudget, "spend", slow)
    ask(hotel, hotel.url("echo"))
    assert hotel.statuses()[before:] == [200]


@pytest.mark.parametrize("client", FOLLOWING)
def test_a_redirect_that_is_followed_has_another_turn(hotel: Hotel, client: str, turns: list[str]) -> None:
    """Clients follow it behind our back, within the vendor's origin."""
    before = len(hotel.calls())
    hotel.fault("resource", "redirect", status=307, location=hotel.url("echo/there"))
    CLIENTS[client](hotel, hotel.url("echo/here"))
    assert hotel.statuses()[before:] == [307, 200]
    assert len(turns) == 2


@pytest.mark.row("F20")
@pytest.mark.parametrize("client", CLIENTS)
def test_after_a_429_nobody_sends(tmp_path_factory: pytest.TempPathFactory, client: str) -> None:
    """It is passed on as it came; the next calls, by any client, end before anything is sent."""
    with connected(tmp_path_factory.mktemp("paused"), CLOUDBEDS_AUTH_RATE_LIMIT="10") as hotel:
        ask = CLIENTS[client]
        hotel.fault("resource", "rate_limited", retry_after="1e9")
        with suppress(Exception):  # the packages raise their own error for it
            ask(hotel, hotel.url("echo"))
        assert hotel.statuses() == [429]
        for other in (ask, CLIENTS["requests"]):
            with pytest.raises(RateLimited) as caught:
                other(hotel, hotel.url("echo"))
            assert caught.value.connection_id == hotel.id
            assert 50 < (caught.value.retry_after or 0) <= 60
        assert hotel.statuses() == [429]


@pytest.mark.parametrize("client", FOLLOWING)
@pytest.mark.parametrize(("method", "error"), [("GET", RateLimited), ("POST", OutcomeUnknown)])
def test_a_redirect_without_a_turn(
    hotel: Hotel, monkeypatch: pytest.MonkeyPatch, client: str, method: str, error: type[Exception]
) -> None:
    """Not followed; a write was carried out, so nobody is told that it may be sent again."""
    before, turns = len(hotel.calls()), iter([None, RateLimited(retry_after=7.0)])

    async def scarce(self: CallBudget, connection_id: str) -> None:
        refused = next(turns)
        if refused is not None:
            raise refused

    monkeypatch.setattr(CallBudget, "spend", scarce)
    hotel.fault("resource", "redirect", status=307, location=hotel.url("echo/there"))
    try:
        with pytest.raises(error):
            ask_with(client, hotel, method)
    finally:
        hotel.made.vendor.control("faults", "DELETE")
    assert hotel.statuses()[before:] == [307]


def ask_with(client: str, hotel: Hotel, method: str) -> None:
    """A client that follows redirects, and this method."""

    async def asynchronous() -> None:
        async with httpx2.AsyncClient(auth=hotel.vault.auth(hotel.id), follow_redirects=True) as http:
            await http.request(method, hotel.url("echo/here"))

    if client == "requests":
        requests.request(method, hotel.url("echo/here"), auth=RequestsAuth(hotel.vault, hotel.id), timeout=20)
    elif client == "httpx2.Client":
        with httpx2.Client(auth=hotel.vault.auth(hotel.id), follow_redirects=True) as http:
            http.request(method, hotel.url("echo/here"))
    else:
        asyncio.run(asynchronous())


def test_a_redirect_elsewhere_has_no_turn(hotel: Hotel, turns: list[str]) -> None:
    """Nothing is sent there, so nothing is counted."""
    for client in FOLLOWING:
        hotel.fault("resource", "redirect", status=307, location="http://127.0.0.1:9/x")
        with pytest.raises(ForeignOrigin):
            CLIENTS[client](hotel, hotel.url("echo"))
    assert len(turns) == len(FOLLOWING)
