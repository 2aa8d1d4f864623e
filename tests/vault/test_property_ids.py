"""A property id wherever a connection id is taken: every method of both vaults, against the simulator."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth import Error, InvalidRequest, TokenVault, UnknownConnection, sync
from cloudbeds_auth.rules.model import AccessToken, Connection

HOTEL, OTHER, UNKNOWN = "100001", "100002", "999999"
GIVEN: dict[str, tuple[Any, ...]] = {"call": ("GET", "userinfo"), "newest": (None,), "note_pause": (1.0,)}
GIVEN["add_api_key"] = ("cbat_never-given-out",)
BY_NAME = {"add_api_key", "begin_authorization", "create_link"}  # they take the connection by keyword
ASKS_LATER = {"auth", "lender"}  # what they return asks, with each call
SILENT = {"cached", "newest"}  # nothing in memory is no error
NAMES = sorted(
    name
    for name, method in inspect.getmembers(TokenVault, inspect.isfunction)
    if not name.startswith("_") and "connection_id" in inspect.signature(method).parameters
)


@pytest.fixture
async def cloudbeds() -> AsyncIterator[Vendor]:
    """The simulator."""
    async with vendor() as running:
        yield running


@pytest.fixture
async def vault(cloudbeds: Vendor, tmp_path: Path) -> AsyncIterator[TokenVault]:
    """Two hotels are connected."""
    async with TokenVault.open(cloudbeds.settings(tmp_path)) as opened:
        await cloudbeds.connect(opened, OTHER)
        await cloudbeds.connect(opened, HOTEL)
        yield opened


def ask(vault: TokenVault | sync.TokenVault, name: str, named: str) -> Any:
    """Call the method for what is named so."""
    method = getattr(vault, name)
    given = GIVEN.get(name, ())
    return method(*given, connection_id=named) if name in BY_NAME else method(named, *given)


def told(answer: object) -> object:
    """What an answer, or an error, says of its hotel and can be compared."""
    match answer:
        case Connection():
            return answer.id, answer.state
        case AccessToken():
            return answer.reveal()
        case httpx2.Response():
            return answer.json()
        case Error():
            return type(answer), answer.connection_id, answer.detail
        case _:
            return type(answer)


async def outcome(vault: TokenVault | sync.TokenVault, name: str, named: str) -> Any:
    """What comes of it, with either vault."""
    try:
        if isinstance(vault, sync.TokenVault):
            return told(await asyncio.to_thread(ask, vault, name, named))
        answer = ask(vault, name, named)
        return told(await answer if inspect.isawaitable(answer) else answer)
    except Error as error:
        return told(error)


@pytest.mark.parametrize("name", NAMES)
async def test_a_property_id_is_as_good_as_the_connection_id(vault: TokenVault, name: str) -> None:
    """The same comes of it, for the same hotel: once more by the other id, which finds what the first one left."""
    connection_id = await vault.resolve(HOTEL)
    token = await vault.access_token(HOTEL)
    by_property = await outcome(vault, name, HOTEL)
    if name != "disconnect":  # then the property is nobody's
        assert by_property == await outcome(vault, name, connection_id)
    match by_property:
        case (str() as found, _):
            assert found == connection_id
        case (_, found, _):
            assert found == connection_id
        case str():
            assert by_property == token.reveal()
        case dict():
            assert by_property == (await vault.call(connection_id, "GET", "userinfo")).json()


@pytest.mark.parametrize("name", sorted({*NAMES} - ASKS_LATER - SILENT))
async def test_a_property_that_nobody_connected(vault: TokenVault, name: str) -> None:
    """Unknown, and the message names it."""
    assert await outcome(vault, name, UNKNOWN) == (UnknownConnection, None, f"nothing is connected under '{UNKNOWN}'")


@pytest.mark.parametrize("name", [*NAMES, "resolve"])
async def test_what_is_no_text(vault: TokenVault, name: str) -> None:
    """Refused, whatever is in memory: also what no dictionary can look for."""
    await vault.access_token(HOTEL)
    named: list[Any] = [100001, [HOTEL], b"con_1"]
    assert [(await outcome(vault, name, one))[0] for one in named] == [InvalidRequest] * 3


async def test_a_vault_closes_although_a_method_was_given_none(cloudbeds: Vendor, tmp_path: Path) -> None:
    """A mistake of the program's, whose move failed: nothing is waited for at the end."""
    async with asyncio.timeout(30), TokenVault.open(cloudbeds.settings(tmp_path)) as opened:
        with pytest.raises(AttributeError):
            await opened.migrate_to_api_key(None)  # type: ignore[arg-type]


async def test_a_client_by_a_property_id(vault: TokenVault) -> None:
    """`auth=` lends that hotel's token, and is healed; of a hotel that is not known it raises before it sends."""
    async with httpx2.AsyncClient(base_url=vault.base_url, auth=vault.auth(HOTEL)) as http:
        assert (await http.get("/api/v1.3/userinfo")).status_code == 200
    async with httpx2.AsyncClient(base_url=vault.base_url, auth=vault.auth(UNKNOWN)) as http:
        with pytest.raises(UnknownConnection, match=UNKNOWN):
            await http.get("/api/v1.3/userinfo")


async def test_a_fresh_token_awaits_nothing(vault: TokenVault) -> None:
    """By a property id that was found before, as by a connection id: the coroutine ends at its first step, and the
    database is not asked.
    """
    token = await vault.access_token(HOTEL)
    await vault.engine.world.db.close()
    asked = vault.access_token(HOTEL)
    with pytest.raises(StopIteration) as ended:
        asked.send(None)
    lent: AccessToken = ended.value.value
    assert lent.is_same(token)
    found = vault.cached(HOTEL)
    assert found is not None
    assert found.is_same(token)


async def test_a_fresh_token_in_another_thread(vault: TokenVault) -> None:
    """A blocking client reads it there: this thread, and its loop, do nothing meanwhile."""
    token, lender = await vault.access_token(HOTEL), vault.lender(HOTEL)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lender.fetch_blocking, None).result().is_same(token)


async def test_calls_of_many_threads_are_all_counted(vault: TokenVault) -> None:
    """Each in the thread that made it, while lines are taken away to be written."""
    token, note = await vault.access_token(HOTEL), vault.lender(HOTEL).note

    def call() -> None:
        for _ in range(2000):
            note(token, "GET", "/api/v1.3/getHotels", 200)

    with ThreadPoolExecutor(4) as threads:
        calling = [threads.submit(call) for _ in range(4)]
        while not all(one.done() for one in calling):
            await vault.engine.calls.flush(everything=True)
    await vault.engine.calls.flush(everything=True)
    counted = [int(str(event.data["count"])) for event in await vault.events(HOTEL, limit=200) if event.kind == "calls"]
    assert sum(counted) == 8000


async def test_the_blocking_vault(vault: TokenVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes one, too; a fresh token is read in the caller's own thread."""

    def work() -> tuple[str, str, int]:
        with sync.TokenVault.open(vault.settings) as blocking:
            token = blocking.access_token(HOTEL)
            with monkeypatch.context() as patched:  # no other thread is asked
                patched.setattr(sync.TokenVault, "_wait", None)
                known = blocking.cached(HOTEL)
                assert blocking.access_token(HOTEL).is_same(token)
            with httpx2.Client(base_url=blocking.base_url, auth=blocking.auth(HOTEL)) as http:
                status = http.get("/api/v1.3/userinfo").status_code
            assert known is not None
            return token.reveal(), known.reveal(), status

    token = (await vault.access_token(HOTEL)).reveal()
    assert await asyncio.to_thread(work) == (token, token, 200)
