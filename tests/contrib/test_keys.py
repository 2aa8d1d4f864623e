"""An API key in every client: one header, the one that the setting names; and a hotel that is moved meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contrib.clients import CLIENTS, FOLLOWING
from tests.contrib.hotel import Hotel, connected

FOR_KEYS = {"CLOUDBEDS_CREDENTIAL": "api-key"}


@pytest.fixture(scope="module", params=["bearer", "x-api-key"])
def keyed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hotel, str]]:
    """A hotel with a key, and the header that its key travels in."""
    header: str = request.param
    with connected(tmp_path_factory.mktemp("keys"), **FOR_KEYS, CLOUDBEDS_CREDENTIAL_HEADER=header) as made:
        yield made, header


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_in_every_client(keyed: tuple[Hotel, str], client: str) -> None:
    """The vendor, which answers 401 to two credentials, takes it; and it came in the header that was asked for."""
    hotel, header = keyed
    before = len(hotel.calls())
    CLIENTS[client](hotel, hotel.url("echo"))
    (call,) = hotel.calls()[before:]
    assert (call["key_header"], call["access_token"][:5]) == (header == "x-api-key", "cbat_")
    assert call["outcome"] in {"accepted", "unknown_method"}


def test_our_own_calls(keyed: tuple[Hotel, str]) -> None:
    """`vault.call`, the proof and the question which hotel it is."""
    hotel, header = keyed
    assert hotel.vault.call(hotel.id, "GET", "userinfo").status_code == 200
    log = hotel.made.vendor.control("requests", "GET")["requests"]
    own = [one for one in log if one["target"] in {"userinfo", "resource"}]
    assert {one["key_header"] for one in own} == {header == "x-api-key"}
    assert {"getHotels", "userinfo"} <= {one["path"].rpartition("/")[2].partition("?")[0] for one in own}


@pytest.mark.parametrize("client", FOLLOWING)
def test_a_hotel_is_moved_while_its_token_is_rejected(hotel: Hotel, client: str) -> None:
    """The first sending carries the dead token, the second the key, and no sending both."""
    hotel.vault.access_token(hotel.id)
    moved = hotel.vault.migrate_to_api_key(hotel.id)
    assert (moved.id, moved.credential) == (hotel.id, "api_key")
    before = len(hotel.calls())
    CLIENTS[client](hotel, hotel.url("echo"))
    (call,) = hotel.calls()[before:]
    assert (call["outcome"], call["key_header"], hotel.refreshes) == ("accepted", True, 0)


@pytest.fixture
def hotel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotel]:
    """One connected by OAuth, whose key will travel in a header of its own."""
    with connected(tmp_path_factory.mktemp("moved"), CLOUDBEDS_CREDENTIAL_HEADER="x-api-key") as made:
        yield made
