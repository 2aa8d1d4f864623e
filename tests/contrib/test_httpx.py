"""httpx2, and the httpx before it, over a vault: the same of both, blocking and asynchronous; and neither auth in the
other's client.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
import requests
from tests.contrib.hotel import LARGE, LIBRARIES, SMALL, Hotel, auth_for

from cloudbeds_auth import BodyNotReplayable, TokenVault
from cloudbeds_auth.contrib.httpx import HttpxAuth


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> ModuleType:
    """One of the two."""
    found: ModuleType = request.param
    return found


def of_known_length(body: bytes) -> dict[str, Any]:
    """A stream that says how long it is."""
    return {"content": iter([body[:100], body[100:]]), "headers": {"Content-Length": str(len(body))}}


def test_a_blocking_client_is_healed_across_a_rotation(hotel: Hotel, library: ModuleType) -> None:
    """One refresh; the refused answer is in the history; every sending is in the connection's."""
    with library.Client(base_url=hotel.vault.base_url, auth=auth_for(library, hotel.vault, hotel.id)) as http:
        assert http.get("/api/v1.3/userinfo").json()["first_name"] == "Ada"
        hotel.expire()
        healed = http.get("/api/v1.3/getHotels")
    assert (healed.status_code, [one.status_code for one in healed.history]) == (200, [401])
    assert hotel.refreshes == 1
    assert hotel.history()["GET /api/v1.3/getHotels"] == 2


@pytest.mark.parametrize("asynchronous_vault", [True, False])
async def test_an_asynchronous_client_is_healed_across_a_rotation(
    hotel: Hotel, library: ModuleType, asynchronous_vault: bool
) -> None:
    """Over either vault, in its event loop or in another."""
    async with TokenVault.open(hotel.settings) as other:
        auth = auth_for(library, other if asynchronous_vault else hotel.vault, hotel.id)
        async with library.AsyncClient(auth=auth) as http:
            assert (await http.get(hotel.url("getHotels"))).status_code == 200
            hotel.expire()
            assert (await http.get(hotel.url("getHotels"))).status_code == 200
    assert hotel.statuses("getHotels") == [200, 401, 200]
    assert hotel.refreshes == 1


async def test_a_blocking_client_in_the_vaults_own_event_loop(hotel: Hotel, library: ModuleType) -> None:
    """It would wait for itself for ever: an error says what to use."""
    async with TokenVault.open(hotel.settings) as vault:
        own = auth_for(library, vault, hotel.id)
        with library.Client(auth=own) as http, pytest.raises(RuntimeError, match="AsyncClient"):
            http.get(hotel.url("getHotels"))


def test_a_small_stream_is_sent_again_whole(hotel: Hotel, library: ModuleType) -> None:
    """Of known length and up to the replay limit: it is kept."""
    with library.Client(auth=auth_for(library, hotel.vault, hotel.id)) as http:
        http.get(hotel.url("echo"))
        hotel.expire()
        answer = http.post(hotel.url("echo"), **of_known_length(SMALL))
    assert answer.json()["body_sha256"] == hashlib.sha256(SMALL).hexdigest()
    assert hotel.statuses("echo") == [200, 401, 200]


def test_a_large_stream_is_not(hotel: Hotel, library: ModuleType) -> None:
    """It is under way once, counted as such; a 401 is BodyNotReplayable, and the next one goes with a new token."""
    seen: list[int] = []

    def body() -> Iterator[bytes]:
        seen.append(hotel.under_way)
        yield LARGE

    with library.Client(auth=auth_for(library, hotel.vault, hotel.id)) as http:
        http.get(hotel.url("echo"))
        hotel.expire()
        with pytest.raises(BodyNotReplayable):
            http.post(hotel.url("echo"), content=body())
        assert http.post(hotel.url("echo"), content=body()).json()["body_length"] == len(LARGE)
    assert (seen, hotel.under_way) == ([1, 1], 0)
    assert hotel.statuses("echo") == [200, 401, 200]


async def test_a_large_stream_of_an_asynchronous_client_is_not(hotel: Hotel, library: ModuleType) -> None:
    """The same."""

    async def body() -> AsyncIterator[bytes]:
        yield LARGE

    async with library.AsyncClient(auth=auth_for(library, hotel.vault, hotel.id)) as http:
        await http.get(hotel.url("echo"))
        hotel.expire()
        with pytest.raises(BodyNotReplayable):
            await http.post(hotel.url("echo"), content=body())
        assert (await http.post(hotel.url("echo"), content=body())).json()["body_length"] == len(LARGE)


IMPORT = r"cloudbeds_auth\.contrib\.httpx\.HttpxAuth"


async def test_an_auth_in_the_other_librarys_client(hotel: Hotel) -> None:
    """Nothing is sent, and the error says what each library takes."""
    newer, older = hotel.vault.auth(hotel.id), HttpxAuth(hotel.vault, hotel.id)
    before = len(hotel.calls())
    wrong: tuple[tuple[Any, Any], ...] = ((httpx, newer), (httpx2, older))
    for library, auth in wrong:
        with library.Client(auth=auth) as http, pytest.raises(TypeError, match=IMPORT):
            http.get(hotel.url("echo"))
        async with library.AsyncClient(auth=auth) as later:
            with pytest.raises(TypeError, match=r"vault\.auth"):
                await later.get(hotel.url("echo"))
    given: tuple[Any, ...] = (newer, older)
    for auth in given:
        with pytest.raises(TypeError, match=r"contrib\.requests\.RequestsAuth"):
            requests.get(hotel.url("echo"), auth=auth, timeout=20)
    assert len(hotel.calls()) == before


def test_without_the_extra_the_import_says_what_to_install() -> None:
    """It names the extra."""
    script = "import sys; sys.modules['httpx'] = None; import cloudbeds_auth.contrib.httpx"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'cloudbeds-auth[httpx]'" in done.stderr


if TYPE_CHECKING:

    def programs(vault: TokenVault) -> None:
        """What a type checker says of an auth in a client."""
        httpx.Client(auth=HttpxAuth(vault, "con_1"))
        httpx.AsyncClient(auth=HttpxAuth(vault, "con_1"))
        httpx2.Client(auth=vault.auth("con_1"))
        httpx.Client(auth=vault.auth("con_1"))  # type: ignore[arg-type]
        httpx2.Client(auth=HttpxAuth(vault, "con_1"))  # type: ignore[arg-type]
