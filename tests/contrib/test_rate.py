"""Every request of every client has its turn at the vendor first, and every 429 is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import cloudbeds_pms
import cloudbeds_pms_v1_3
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from tests.contrib.clients import CLIENTS, FOLLOWING
from tests.contrib.hotel import Hotel, connected

from cloudbeds_auth import ForeignOrigin, OutcomeUnknown, RateLimited
from cloudbeds_auth.contrib import sdk
from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.engine.access import Access

MUCH = "10000"  # requests a second: what is counted here are turns, not seconds


@pytest.fixture(scope="module")
def hotel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotel]:
    """A vault that keeps a rate that nobody waits for."""
    with connected(tmp_path_factory.mktemp("rate"), CLOUDBEDS_AUTH_RATE_LIMIT=MUCH) as made:
        yield made


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that had a turn, one for each request of a caller."""
    taken: list[str] = []
    spend = Access.turn

    async def counted(self: Access, connection_id: str, *more: Any) -> None:
        await spend(self, connection_id, *more)
        taken.append(connection_id)

    monkeypatch.setattr(Access, "turn", counted)
    return taken


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
    before, spend = len(hotel.calls()), Access.turn

    async def slow(self: Access, connection_id: str, *more: Any) -> None:
        await spend(self, connection_id, *more)
        await self.refresh_now(connection_id)

    monkeypatch.setattr(Access, "turn", slow)
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

    async def scarce(self: Access, connection_id: str, *more: Any) -> None:
        refused = next(turns)
        if refused is not None:
            raise refused

    monkeypatch.setattr(Access, "turn", scarce)
    hotel.fault("resource", "redirect", status=307, location=hotel.url("echo/there"))
    try:
        with pytest.raises(error):
            FOLLOWING[client](hotel, hotel.url("echo/here"), method)
    finally:
        hotel.made.vendor.control("faults", "DELETE")
    assert hotel.statuses()[before:] == [307]


def test_a_redirect_elsewhere_has_no_turn(hotel: Hotel, turns: list[str]) -> None:
    """Nothing is sent there, so nothing is counted."""
    for client in FOLLOWING:
        hotel.fault("resource", "redirect", status=307, location="http://127.0.0.1:9/x")
        with pytest.raises(ForeignOrigin):
            CLIENTS[client](hotel, hotel.url("echo"))
    assert len(turns) == len(FOLLOWING)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What 429s asked for, as it was heard."""
    heard: list[float] = []
    note_refusal = Access.note_pause

    async def kept(self: Access, connection_id: str, pause: float) -> None:
        heard.append(pause)
        await note_refusal(self, connection_id, pause)

    monkeypatch.setattr(Access, "note_pause", kept)
    return heard


Status = Callable[[str], int]  # calls a method of the vendor's by this HTTP method; the answer's status


@contextmanager
def a_package(hotel: Hotel, package: ModuleType, retries: Any) -> Iterator[Status]:
    """One of the vendor's, with retries."""
    given = package.Configuration(retries=retries)
    with sdk.api_client(hotel.vault, hotel.id, package=package, configuration=given) as client:
        yield lambda method: int(client.call_api(method, hotel.url("echo"), {}).status)


@contextmanager
def a_session(hotel: Hotel, retries: Any, *, told: bool) -> Iterator[Status]:
    """One of requests, whose retries the auth was given, or was not."""
    auth = RequestsAuth(hotel.vault, hotel.id)
    with requests.Session() as http:
        http.mount(hotel.vault.base_url, HTTPAdapter(max_retries=auth.retries(retries) if told else retries))
        yield lambda method: http.request(method, hotel.url("echo"), auth=auth, timeout=20).status_code


RETRYING: dict[str, Callable[[Hotel, Any], Any]] = {
    "cloudbeds-pms-v1-3": lambda hotel, retries: a_package(hotel, cloudbeds_pms_v1_3, retries),
    "cloudbeds-pms": lambda hotel, retries: a_package(hotel, cloudbeds_pms, retries),
    "requests": lambda hotel, retries: a_session(hotel, retries, told=True),
    "requests, not told": lambda hotel, retries: a_session(hotel, retries, told=False),
}
TOLD = [client for client in RETRYING if client != "requests, not told"]


@pytest.fixture
def unharmed(hotel: Hotel) -> Iterator[Hotel]:
    """A fault that a test left is not the next one's, nor is a token that died by another vault's refresh."""
    hotel.vault.call(hotel.id, "GET", "userinfo")
    yield hotel
    hotel.made.vendor.control("faults", "DELETE")


@pytest.mark.parametrize("client", RETRYING)
def test_retries_below_the_client_have_turns(unharmed: Hotel, client: str, turns: list[str]) -> None:
    """The vendor sees five more requests, and so does the budget."""
    before = len(unharmed.calls())
    unharmed.fault("resource", "html", status=502, times=5)
    with RETRYING[client](unharmed, urllib3.Retry(5, status_forcelist=[502])) as status:
        assert status("GET") == 200
    assert unharmed.statuses()[before:] == [502] * 5 + [200]
    assert len(turns) == 6


@pytest.mark.parametrize("client", TOLD)
def test_retries_that_all_fail_have_turns(unharmed: Hotel, client: str, turns: list[str]) -> None:
    """Lost answers count as others do."""
    before = len(unharmed.calls())
    unharmed.fault("resource", "reset_after", times=3)
    given_up = pytest.raises((requests.ConnectionError, urllib3.exceptions.MaxRetryError))
    with RETRYING[client](unharmed, urllib3.Retry(2)) as status, given_up:
        status("GET")
    assert len(unharmed.calls()) - before == len(turns) == 3


@pytest.mark.row("F20")
@pytest.mark.parametrize("client", RETRYING)
def test_a_429_that_is_waited_out_below_the_client_is_heard(
    unharmed: Hotel, client: str, turns: list[str], pauses: list[float]
) -> None:
    """urllib3 honours `Retry-After` by itself; everybody else learns of the pause, too."""
    unharmed.fault("resource", "rate_limited", retry_after="2")
    with RETRYING[client](unharmed, urllib3.Retry(5)) as status:
        assert status("GET") == 200
    assert pauses == [2.0 if client in TOLD else 1.0]
    assert len(turns) == 2


@pytest.mark.parametrize("client", RETRYING)
@pytest.mark.parametrize(
    ("method", "error"), [("GET", RateLimited), ("DELETE", OutcomeUnknown)], ids=["a read", "a write"]
)
def test_a_retry_without_a_turn(
    unharmed: Hotel, monkeypatch: pytest.MonkeyPatch, client: str, method: str, error: type[Exception]
) -> None:
    """Not sent; an answer that came all the same is the caller's."""
    before, left = len(unharmed.calls()), iter([None, RateLimited(retry_after=7.0)])

    async def scarce(self: Access, connection_id: str, *more: Any) -> None:
        refused = next(left)
        if refused is not None:
            raise refused

    monkeypatch.setattr(Access, "turn", scarce)
    unharmed.fault("resource", "html", status=502)
    with RETRYING[client](unharmed, urllib3.Retry(5, status_forcelist=[502])) as status:
        if client in TOLD:
            with pytest.raises(error):
                status(method)
        else:
            assert status(method) == 200
    assert unharmed.statuses()[before:] == ([502] if client in TOLD else [502, 200])


def test_retries_of_the_users_own_kind(hotel: Hotel) -> None:
    """Its settings and methods are kept; the given object is left as it was."""

    class Theirs(urllib3.Retry):
        """One that waits in a way of its own."""

        def get_backoff_time(self) -> float:
            return 0.25

    given = Theirs(4, status_forcelist=[502], allowed_methods=None)
    made = RequestsAuth(hotel.vault, hotel.id).retries(given).increment("GET", "/")
    assert isinstance(made, Theirs)
    assert (made.total, made.status_forcelist, made.allowed_methods, made.get_backoff_time()) == (3, [502], None, 0.25)
    assert (type(given), given.total, given.history) == (Theirs, 4, ())
