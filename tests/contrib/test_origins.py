"""The credential is for the vendor's origin: one set of tests over every client of ours and of other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress

import pytest
import requests
from tests.contrib.clients import by_call, by_fastapi
from tests.contrib.hotel import Hotel, connected
from tests.contrib.stranger import Stranger, stranger

from cloudbeds_auth import ForeignOrigin

KEY = "a key in its own header"
CREDENTIALS = {
    "a token": {},
    KEY: {"CLOUDBEDS_CREDENTIAL": "api-key", "CLOUDBEDS_CREDENTIAL_HEADER": "x-api-key"},
}


@pytest.fixture(scope="module", params=CREDENTIALS)
def hotel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotel]:
    """One for all of these tests: none of them may change anything."""
    with connected(tmp_path_factory.mktemp("origins"), **CREDENTIALS[request.param]) as made:
        made.vault.access_token(made.id)
        yield made


@pytest.fixture
def other() -> Iterator[Stranger]:
    """The other server."""
    with stranger() as listening:
        yield listening


ELSEWHERE = {
    "other port": "http://127.0.0.1:{other}",
    "other host": "http://localhost:{vendor}",
    "other host and port": "http://localhost:{other}",
    "other scheme": "https://127.0.0.1:{vendor}",
    "other scheme and port": "https://127.0.0.1:{other}",
    "the vendor as a user": "http://127.0.0.1:{vendor}@127.0.0.1:{other}",
    "the vendor as a user with a password": "http://127.0.0.1:{vendor}:x@127.0.0.1:{other}",
    "the vendor and a port as a user": "http://127.0.0.1%3A{vendor}@127.0.0.1:{other}",
    "another name of the same host": "http://127.1:{vendor}",
    "a dot at the end": "http://127.0.0.1.:{vendor}",
    "the vendor's name and more": "http://127.0.0.1.example:{vendor}",
}


def filled(address: str, hotel: Hotel, other: Stranger) -> str:
    """The address with both ports in it."""
    return address.format(other=other.port, vendor=hotel.vault.base_url.rpartition(":")[2])


@pytest.mark.row("A63")
@pytest.mark.parametrize("address", ELSEWHERE)
def test_another_origin(hotel: Hotel, other: Stranger, ask: Callable[[Hotel, str], None], address: str) -> None:
    """ForeignOrigin before anything is sent, to the other server or to the vendor; not even a connection is made."""
    before = len(hotel.calls())
    with pytest.raises(ForeignOrigin):
        ask(hotel, filled(f"{ELSEWHERE[address]}/api/v1.3/echo", hotel, other))
    assert other.heard == []
    assert len(hotel.calls()) == before


READ_IN_TWO_WAYS = {
    "a backslash": "http://127.0.0.1:{vendor}\\@127.0.0.1:{other}",
    "a backslash in place of slashes": "http:\\\\127.0.0.1:{other}",
    "a fragment": "http://127.0.0.1:{vendor}#@127.0.0.1:{other}",
    "a query": "http://127.0.0.1:{vendor}?@127.0.0.1:{other}",
    "a semicolon": "http://127.0.0.1:{vendor};@127.0.0.1:{other}",
    "a tab": "http://127.0.0.1:{vendor}\t@127.0.0.1:{other}",
    "a line end": "http://127.0.0.1:{vendor}\r\n@127.0.0.1:{other}",
    "a space": "http://127.0.0.1:{vendor} @127.0.0.1:{other}",
    "a space before": " http://127.0.0.1:{other}",
    "an encoded at": "http://127.0.0.1:{vendor}%40127.0.0.1:{other}",
    "two ats": "http://127.0.0.1:{vendor}@127.0.0.1:{vendor}@127.0.0.1:{other}",
    "three slashes": "http:///127.0.0.1:{other}",
    "no slashes": "http:127.0.0.1:{other}",
    "wide dots": "http://127\uff0e0\uff0e0\uff0e1:{other}",
    "upper case": "HTTP://127.0.0.1:{other}",
}


# Whether an address is ours is decided before there is a credential.
@pytest.mark.row("A63")
@pytest.mark.parametrize("hotel", ["a token", pytest.param(KEY, marks=pytest.mark.long)], indirect=True)
@pytest.mark.parametrize("address", READ_IN_TWO_WAYS)
def test_an_address_that_may_be_read_in_two_ways(
    hotel: Hotel, other: Stranger, ask: Callable[[Hotel, str], None], address: str
) -> None:
    """However a client reads it, what we judge is what it sends to: the other server hears nothing."""
    with suppress(Exception):  # refused by us or by the client, or sent to the vendor
        ask(hotel, filled(f"{READ_IN_TWO_WAYS[address]}/api/v1.3/echo", hotel, other))
    assert other.heard == []


def stays_here(ask: Callable[[Hotel, str], None]) -> AbstractContextManager[object]:
    """What a client makes of a redirect to another origin: ForeignOrigin, or an answer like any other."""
    return nullcontext() if ask in {by_call, by_fastapi} else pytest.raises(ForeignOrigin)


@pytest.mark.row("A33")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin(
    hotel: Hotel, other: Stranger, ask: Callable[[Hotel, str], None], status: int
) -> None:
    """ForeignOrigin, or the redirect as the answer: nothing is sent there, not even without the credential."""
    before = len(hotel.calls())
    hotel.fault("resource", "redirect", status=status, location=f"http://127.0.0.1:{other.port}/api/v1.3/echo")
    with stays_here(ask):
        ask(hotel, hotel.url("echo"))
    assert other.heard == []
    assert hotel.statuses()[before:] == [status]


LOCATIONS = {**ELSEWHERE, "no scheme": "//127.0.0.1:{other}"}


@pytest.mark.row("A33")
@pytest.mark.parametrize("address", LOCATIONS)
def test_a_redirect_to_any_other_origin(
    hotel: Hotel, other: Stranger, ask: Callable[[Hotel, str], None], address: str
) -> None:
    """The same wherever it leads."""
    before = len(hotel.calls())
    hotel.fault("resource", "redirect", status=307, location=filled(f"{LOCATIONS[address]}/x", hotel, other))
    with stays_here(ask):
        ask(hotel, hotel.url("echo"))
    assert other.heard == []
    assert hotel.statuses()[before:] == [307]


def test_what_would_have_been_heard(hotel: Hotel, other: Stranger) -> None:
    """The other server hears a credential that is sent to it: the silence above is no deafness."""
    requests.get(f"http://127.0.0.1:{other.port}/", headers={"Authorization": "Bearer x"}, timeout=10)
    assert b"Authorization: Bearer x" in other.heard[0]
