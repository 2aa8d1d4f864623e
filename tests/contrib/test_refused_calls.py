"""Refused calls over every client of ours: the body is the caller's as it came, and the connection learns from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudbeds_pms_v1_3
import pydantic
import pytest
import requests
from tests.app.running import Running, a_service
from tests.contrib.hotel import LIBRARIES, auth_for
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth.contrib import sdk
from cloudbeds_auth.contrib.requests import RequestsAuth
from cloudbeds_auth.errors import ReauthorizationRequired, TryAgain
from cloudbeds_auth.rules.api_errors import Act, refusal_of
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator.answers import REFUSALS

PATH = "/api/v1.3/getHotels"
# With the status that is documented first, and those that Accounting and Data Insights were seen with as well.
ALSO = (("accounting", 403), ("insights_401", 200), ("insights_401", 403))
SENT = (*REFUSALS.items(), *((face, replace(REFUSALS[face], status=status)) for face, status in ALSO))


@dataclass
class World:
    """The simulator, a vault over it, the service over that, and one connected hotel."""

    sim: Vendor
    vault: TokenVault
    service: Running[TokenVault]
    id: str

    async def settled(self) -> None:
        """What runs behind the callers is done, also what another thread has just handed over."""
        await asyncio.sleep(0.01)
        await self.vault.engine.world.tasks.drain()
        await self.vault.engine.refresher.flights.drain()

    def proofs(self) -> int:
        """How often `/userinfo` was asked."""
        return sum(one.target == "userinfo" for one in self.sim.simulator.journal.entries)

    def later(self) -> None:
        """As if nothing had been refused for an hour."""
        self.vault.engine.refused_calls._not_before.clear()


Reply = tuple[int, bytes | None]  # status, and the body where the client shows it as it came
Ask = Callable[[World], Awaitable[Reply]]


async def by_call(world: World) -> Reply:
    """`vault.call`."""
    answer = await world.vault.call(world.id, "GET", PATH)
    return answer.status_code, answer.content


def by_asynchronous_client(library: ModuleType) -> Ask:
    """An asynchronous client, in the vault's own event loop."""

    async def ask(world: World) -> Reply:
        async with library.AsyncClient(auth=auth_for(library, world.vault, world.id)) as http:
            answer = await http.get(world.vault.base_url + PATH)
        assert answer.elapsed.total_seconds() >= 0
        return answer.status_code, answer.content

    return ask


def by_a_stream(library: ModuleType) -> Ask:
    """The same, the body taken piece by piece as it came from the wire."""

    async def ask(world: World) -> Reply:
        async with (
            library.AsyncClient(auth=auth_for(library, world.vault, world.id)) as http,
            http.stream("GET", world.vault.base_url + PATH) as answer,
        ):
            return answer.status_code, b"".join([part async for part in answer.aiter_raw()])

    return ask


def in_a_thread(ask: Callable[[World], Reply]) -> Ask:
    """A blocking client, in another thread than the vault's."""
    return lambda world: asyncio.to_thread(ask, world)


def by_client(library: ModuleType) -> Ask:
    def ask(world: World) -> Reply:
        with library.Client(auth=auth_for(library, world.vault, world.id)) as http:
            answer = http.get(world.vault.base_url + PATH)
        assert answer.elapsed.total_seconds() >= 0
        return answer.status_code, answer.content

    return in_a_thread(ask)


def by_requests(world: World) -> Reply:
    answer = requests.get(world.vault.base_url + PATH, auth=RequestsAuth(world.vault, world.id), timeout=20)
    return answer.status_code, answer.content


def by_sdk(world: World) -> Reply:
    with sdk.api_client(world.vault, world.id, package=cloudbeds_pms_v1_3) as client:
        try:
            answer = cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get_with_http_info()
        except cloudbeds_pms_v1_3.ApiException as error:
            return int(error.status), None if error.body is None else str(error.body).encode()
        except pydantic.ValidationError:
            return 200, None
        return answer.status_code, answer.raw_data


def through(path: str) -> Ask:
    """The service, which is asked with its own credential."""

    async def ask(world: World) -> Reply:
        headers = {"Authorization": f"Bearer {world.vault.admin_token.reveal()}"}
        async with world.service.http.get(world.service.url + path.format(world.id), headers=headers) as answer:
            if answer.headers.get("X-Cloudbeds-Auth-Code"):
                raise ReauthorizationRequired if answer.status == 409 else TryAgain
            return answer.status, await answer.read()

    return ask


CLIENTS: dict[str, Ask] = {
    "vault.call": by_call,
    **{f"{library.__name__}.AsyncClient": by_asynchronous_client(library) for library in LIBRARIES},
    **{f"{library.__name__}.AsyncClient, streamed": by_a_stream(library) for library in LIBRARIES},
    **{f"{library.__name__}.Client": by_client(library) for library in LIBRARIES},
    "requests": in_a_thread(by_requests),
    "cloudbeds-pms-v1-3": in_a_thread(by_sdk),
    "the proxy": through("/proxy/{}" + PATH),
}


@pytest.fixture(params=CLIENTS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """One of the clients."""
    return CLIENTS[request.param]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """All of it; rule 12's minute is shorter, and a lease's time too."""
    tmp_path.chmod(0o700)
    timing = replace(Timing.scaled(0.02), connect=5.0, deadline=20.0, wait=25.0, refusal_interval=0.5)
    monkeypatch.setattr(Timing, "of", lambda deadline: timing)
    async with (
        vendor() as sim,
        TokenVault.open(sim.settings(tmp_path)) as vault,
        a_service(vault) as service,
    ):
        connection = await sim.connect(vault)
        yield World(sim, vault, service, connection.id)


@pytest.mark.row("F38", "F39", "F40")
async def test_every_refusal_over_every_client(world: World, ask: Ask) -> None:
    """Status and body come through as the vendor sent them. A dead grant's body has `/userinfo` asked once, which says
    that all is well; a scope or a property is shown with the connection; everything else changes nothing. Never does a
    refusal cost a refresh, and the hotel stays healthy.
    """
    remembered = False
    for face, sent in SENT:
        world.later()
        proofs, before = world.proofs(), (await world.vault.connection(world.id)).problem
        world.sim.fault("refused", "getHotels", face=face, status=sent.status)
        status, body = await ask(world)
        assert status == sent.status, face
        assert body in (sent.body, None), face
        await world.settled()
        refusal = refusal_of(sent.status, sent.content_type, sent.body)
        assert refusal is not None
        shown = await world.vault.connection(world.id)
        assert shown.state is State.FRESH, face
        assert shown.problem == (refusal.reason if refusal.act is Act.REPORT else before), face
        # A 401 is asked about, too, before anything is renewed for it (rule 3): the endpoint itself refuses (F39).
        # The proxy remembers that for a while.
        asked = refusal.act in {Act.SUSPECT, Act.LOOK} or (sent.status == 401 and not remembered)
        remembered = remembered or (sent.status == 401 and ask is CLIENTS["the proxy"])
        assert world.proofs() - proofs == asked, face
    assert world.sim.token_requests() == []


@pytest.mark.row("F38")
@pytest.mark.parametrize(("face", "reason"), [("user_inactive", "user_inactive"), ("not_available", "revoked")])
async def test_a_hotel_that_is_gone_is_found_by_its_calls(world: World, ask: Ask, face: str, reason: str) -> None:
    """The vendor answers every call with a dead grant's body, the token still unexpired: each caller has the body, and
    two looks the interval apart lead to "reconnect needed" with its reason; from then on callers are told so.
    """
    assert (await ask(world))[0] == 200
    [grant] = world.sim.simulator.model.grants
    world.sim.simulator.model.end(grant, "revoked", face)
    bodies = 0

    async def until_told() -> None:
        nonlocal bodies
        while True:
            status, body = await ask(world)
            assert (status, body) in {(200, REFUSALS[face].body), (200, _named(face, world))}
            bodies += 1
            await asyncio.sleep(0.05)

    with pytest.raises(ReauthorizationRequired):
        async with asyncio.timeout(30):
            await until_told()
    shown = await world.vault.connection(world.id)
    assert (shown.state, shown.problem) == (State.REAUTHORIZATION_REQUIRED, reason)
    assert shown.connect_url
    assert bodies >= 2
    kinds = [event.kind for event in await world.vault.events(world.id)]
    assert (kinds.count("pass_refused"), kinds.count("reauthorization_required")) == (1, 1)
    assert world.sim.token_requests() == [], "no refresh token was spent on it"


def _named(face: str, world: World) -> bytes:
    """The body with this app's name in it."""
    [app] = world.sim.simulator.model.apps.values()
    return REFUSALS[face].body.replace(b"Partner", app.name.encode())


@pytest.mark.parametrize("stream", [True, False])
async def test_a_large_download_passes_untouched(world: World, stream: bool) -> None:
    """Twenty megabytes of JSON: not collected for a look, whoever reads it."""
    world.sim.fault("oversized", "getHotels", size=20_000_000, times=3)
    for library in LIBRARIES:
        async with (
            library.AsyncClient(auth=auth_for(library, world.vault, world.id)) as http,
            http.stream("GET", world.vault.base_url + PATH) as answer,
        ):
            kind = type(answer.stream).__name__
            size = sum([len(part) async for part in answer.aiter_raw()])
        assert (kind, size) == ("BoundAsyncStream", 20_000_000), "the client's own stream: nothing is in between"

    def by_requests() -> int:
        auth = RequestsAuth(world.vault, world.id)
        with requests.get(world.vault.base_url + PATH, auth=auth, stream=stream, timeout=20) as answer:
            if stream:
                assert not answer._content, "nobody has read it yet"
            return len(answer.content)

    assert await asyncio.to_thread(by_requests) == 20_000_000


async def test_a_refusal_that_is_streamed_by_requests_is_the_callers_alone(world: World) -> None:
    """`stream=True` reads nothing before the caller does, so nothing is learnt from it."""
    world.sim.fault("refused", "getHotels", face="missing_scope")

    def raw() -> bytes:
        auth = RequestsAuth(world.vault, world.id)
        with requests.get(world.vault.base_url + PATH, auth=auth, stream=True, timeout=20) as answer:
            body: bytes = answer.raw.read()
            return body

    assert await asyncio.to_thread(raw) == REFUSALS["missing_scope"].body
    await world.settled()
    assert (await world.vault.connection(world.id)).problem is None


async def test_userinfo_through_the_service(world: World) -> None:
    """`GET …/userinfo` is a call of the hotel's like any other."""
    ask = through("/api/v1/connections/{}/userinfo")
    world.sim.fault("refused", "userinfo", face="user_inactive")
    assert await ask(world) == (200, REFUSALS["user_inactive"].body)
    await world.settled()
    assert world.proofs() == 3, "the proof of the approval, the call, the look"


async def test_what_the_simulator_itself_refuses(world: World) -> None:
    """No fault is armed: a scope that was not granted, a hotel of somebody else, a hotel that closed."""
    model = world.sim.simulator.model
    [grant] = model.grants
    asked: list[tuple[Callable[[], Any], dict[str, str], str]] = [
        (lambda: None, {"propertyID": "100002"}, "wrong_property"),
        (lambda: model.add_hotel(replace(model.hotels["100001"], closed=True)), {}, "property_closed"),
        (lambda: setattr(grant, "approval", replace(grant.approval, scopes=())), {}, "missing_scope"),
    ]
    for change, params, reason in asked:
        change()
        answer = await world.vault.call(world.id, "GET", "getHotels", params=params)
        assert answer.json()["success"] is False
        await world.settled()
        shown = await world.vault.connection(world.id)
        assert (shown.state, shown.problem) == (State.FRESH, reason)
        assert shown.next_step


@pytest.mark.parametrize("ends", ["grant", "property"])
async def test_a_hotel_of_several_properties_leaves(world: World, ends: str) -> None:
    """Whether the first property ends the session of all or each its own: disconnected at once, nothing left behind."""
    group = await world.sim.connect(world.vault, "100002", "100003")
    model = world.sim.simulator.model
    model.configure({"disabling_ends": ends})
    left = await world.vault.disconnect(group.id)
    assert left.state is State.DISCONNECTED
    assert model.grants[-1].rotation.revoked
    assert {one: model.app_states.get(("simulated-app", one)) for one in ("100002", "100003")} == {
        "100002": "disabled",
        "100003": "enabled" if ends == "grant" else "disabled",
    }
