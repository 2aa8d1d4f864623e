"""A user's asynchronous tests; how they are marked, the run says."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from cloudbeds_auth import Connection, ReauthorizationRequired, TokenVault, TryAgain
from cloudbeds_auth.pytest_plugin import Simulator


async def test_many_calls_are_healed_by_one_refresh(
    cloudbeds_vault: TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """Eight calls with a token that ran out: each is answered, and one refresh was sent."""
    cloudbeds_simulator.expire()
    auth = cloudbeds_vault.auth(cloudbeds_connection.id)
    async with httpx2.AsyncClient(base_url=cloudbeds_vault.base_url, auth=auth) as http:
        answers = await asyncio.gather(*(http.get("/api/v1.3/userinfo") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert cloudbeds_simulator.refreshes() == 1


async def test_a_token_that_ran_out_before_its_proof(
    cloudbeds_vault: TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """`expire()` blocks the loop in which the proof is under way: the next call is healed all the same."""
    cloudbeds_simulator.expire()
    cloudbeds_simulator.fault("hang_before", "userinfo", skip=1)  # the first one asks about the rejected token
    assert (await cloudbeds_vault.call(cloudbeds_connection.id, "GET", "getHotels")).status_code == 200
    assert await asyncio.to_thread(cloudbeds_simulator.wait_for, fault="hang_before") is not None
    cloudbeds_simulator.expire()
    cloudbeds_simulator.clear_faults()
    assert await asyncio.to_thread(cloudbeds_simulator.wait_for, fault="hang_before", status=401) is not None
    assert (await cloudbeds_vault.call(cloudbeds_connection.id, "GET", "userinfo")).status_code == 200


async def test_an_answer_that_was_lost(
    cloudbeds_vault: TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """The program waits as long as the error says, once, and is served by the second refresh."""
    cloudbeds_simulator.expire()
    cloudbeds_simulator.lose_answers()
    waited = 0
    while True:
        try:
            answer = await cloudbeds_vault.call(cloudbeds_connection.id, "GET", "userinfo")
            break
        except TryAgain as error:
            waited += 1
            await asyncio.sleep(error.retry_after or 0.1)
    assert (answer.status_code, waited) == (200, 1)
    assert cloudbeds_simulator.refreshes() == 2


async def test_a_hanging_answer_meets_a_deadline(
    cloudbeds_vault: TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """A fault can be waited for while it strikes, and lifted."""
    cloudbeds_simulator.expire()
    cloudbeds_simulator.fault("hang_before", grant_type="refresh_token")
    asked = asyncio.create_task(cloudbeds_vault.call(cloudbeds_connection.id, "GET", "userinfo"))
    hanging = await asyncio.to_thread(cloudbeds_simulator.wait_for, fault="hang_before")
    assert hanging is not None
    assert hanging["answered"] is False
    cloudbeds_simulator.clear_faults()
    assert (await asked).status_code == 200


@pytest.mark.cloudbeds(quick_refusals=True)
async def test_a_hotel_that_revoked(
    cloudbeds_vault: TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """Refused twice, as quickly as the mark allows, and the error has the link to approve anew."""

    async def patiently() -> None:
        while True:
            try:
                await cloudbeds_vault.call(cloudbeds_connection.id, "GET", "userinfo")
            except TryAgain:
                await asyncio.sleep(0.05)

    cloudbeds_simulator.revoke()
    with pytest.raises(ReauthorizationRequired) as refused:
        await patiently()
    assert refused.value.connect_url is not None
