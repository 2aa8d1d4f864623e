"""Claims by keys that are for some hotels alone, over the real vault and the simulator: theirs, and nobody else's."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.app.running import Running, a_service
from tests.app.tab import Tab
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth.rules.code_challenge import challenge_of
from cloudbeds_auth.vault import TokenVault

ONE, TWO = "100001", "100002"
VERIFIER = secrets.token_urlsafe(48)


@dataclass
class World:
    """A service, its vault, and the vendor that it calls."""

    service: Running[TokenVault]
    vendor: Vendor

    @property
    def vault(self) -> TokenVault:
        return self.service.vault

    def names(self, how: str) -> None:
        """Whether answers with tokens name the properties."""
        model = self.vendor.simulator.model
        model.settings = replace(model.settings, resources=how)

    async def key(self, **reach: Any) -> str:
        """A key that connects and shows hotels, for these."""
        return (await self.vault.keys.create("a program", scopes=["connect", "read"], **reach)).secret.reveal()

    async def ask(self, key: str, method: str, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and document."""
        headers, url = {"Authorization": f"Bearer {key}"}, f"{self.service.url}/api/v1{path}"
        async with self.service.http.request(method, url, headers=headers, json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def claim(self, key: str, connection_id: str, **body: str) -> tuple[int, dict[str, Any]]:
        return await self.ask(key, "POST", f"/connections/{connection_id}/claim", **body)

    async def came_in(self, key: str, hotel: str, **asked: Any) -> str:
        """The program sent a link with a code challenge, and this hotel approved by it: what comes back."""
        body = {"code_challenge": challenge_of(VERIFIER), "return_to": "/done", **asked}
        status, link = await self.ask(key, "POST", "/authorizations", **body)
        assert status == 201, link
        tab = Tab(self.service)
        _, location, _ = await tab.press(link["connect_url"].removeprefix("http://localhost:7000"))
        code, state = await self.vendor.approve(location, hotel)
        status, back, _ = await tab.open(f"/callback?code={code}&state={state}")
        assert (status, back.startswith("/done?connection_id=con_")) == (303, True), back
        return back.partition("connection_id=")[2].partition("&")[0]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All of it, on free ports."""
    tmp_path.chmod(0o700)
    async with (
        vendor() as simulated,
        TokenVault.open(simulated.settings(tmp_path, marketplace="park")) as vault,
        a_service(vault) as service,
    ):
        yield World(service, simulated)


async def arrived(world: World) -> str:
    """The connection of an approval that the hotel `ONE` began in the Marketplace."""
    begun = await world.vault.begin_authorization()
    code, _ = await world.vendor.approve(begun.url, ONE)
    return (await world.vault.arrive(code=code)).id


@pytest.mark.row("A27")
@pytest.mark.parametrize("named", ["list", "missing"])
async def test_another_tenants_hotel_is_not_claimed(world: World, named: str) -> None:
    """The same hotel arrives from the Marketplace, and a key is for what arrived alone. Whether Cloudbeds names the
    hotel with its tokens or later, the connection that it has stays its tenant's. A key for both takes the tokens home.
    """
    theirs = await world.vendor.connect(world.vault, ONE, reference="tenant-A")
    world.names(named)
    waits = await arrived(world)
    thief = await world.key(connections=[waits], references=["tenant-Z"])
    for body in ({"reference": "tenant-Z"}, {}):
        status, problem = await world.claim(thief, waits, **body)
        assert (status, problem["code"], problem.get("property_ids")) == (403, "forbidden", None)
    kept = await world.vault.connection(theirs.id)
    assert (kept.reference, kept.generation) == ("tenant-A", theirs.generation)
    assert (await world.vault.connection(waits)).state == "parked"
    owner = await world.key(connections=[waits, theirs.id])
    status, shown = await world.claim(owner, waits)
    if named == "list":
        assert (status, shown["id"], shown["reference"]) == (200, theirs.id, "tenant-A")
    else:
        assert (status, "which hotel" in shown["detail"]) == (403, True)
        assert (await world.vault.claim(waits)).id == theirs.id


@pytest.mark.parametrize("named", ["list", "missing"])
@pytest.mark.parametrize(
    ("reach", "asked"),
    [
        ({"references": ["tenant-7"]}, {"reference": "tenant-7"}),
        ({"properties": [ONE]}, {"expected_properties": [ONE]}),
        ({"properties": [ONE], "references": ["tenant-7"]}, {"reference": "tenant-7", "expected_properties": [ONE]}),
    ],
)
async def test_who_began_claims(world: World, reach: dict[str, list[str]], asked: dict[str, Any], named: str) -> None:
    """A key that is for the reference, or the properties, that its link was made for: with the secret, and not without;
    nobody else's key, with the secret or without. The approval keeps the reference, and the key sees its hotel.
    """
    world.names(named)
    key = await world.key(**reach)
    stranger = await world.key(references=["tenant-8"], properties=[TWO])
    waits = await world.came_in(key, ONE, **asked)
    for verifier in (VERIFIER, "w" * 43):
        status, problem = await world.claim(stranger, waits, code_verifier=verifier)
        assert (status, problem["detail"]) == (403, "this credential is not for this connection")
    for wrong in ({}, {"code_verifier": "w" * 43}):
        status, problem = await world.claim(key, waits, **wrong)
        assert (status, problem["code"]) == (400, "state_mismatch")
    status, problem = await world.claim(key, waits, code_verifier=VERIFIER, reference="tenant-9")
    assert (status, problem["code"]) == (400, "invalid_request")
    status, claimed = await world.claim(key, waits, code_verifier=VERIFIER)
    assert (status, claimed["state"], claimed["reference"]) == (200, "fresh", asked.get("reference")), claimed
    status, shown = await world.ask(key, "GET", f"/connections/{ONE}")
    assert (status, shown["id"], shown["property_ids"]) == (200, claimed["id"], [ONE])


async def test_what_is_not_there_is_not_told_from_what_is_anothers(world: World) -> None:
    """A claim says the same of both, also with a secret, and of what another tenant waits for."""
    theirs = await world.vendor.connect(world.vault, ONE, reference="tenant-A")
    waits = await world.came_in(await world.key(references=["tenant-A"]), TWO, reference="tenant-A")
    key = await world.key(references=["tenant-Z"])
    for body in ({}, {"reference": "tenant-Z"}, {"code_verifier": VERIFIER}):
        answers = [await world.claim(key, one, **body) for one in (theirs.id, waits, "con_nobody", ONE, "9")]
        assert {(status, problem["code"], problem["detail"]) for status, problem in answers} == {
            (403, "forbidden", "this credential is not for this connection")
        }
        assert all(problem.get("connection_id") is None for _, problem in answers)
