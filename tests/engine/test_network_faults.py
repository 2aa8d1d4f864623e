"""What a network and a troubled vendor do to a refresh, over real HTTP: nothing is lost, nobody reconnects for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engine.test_over_the_wire import (
    ALL,
    DEADLINE,
    HOTELS,
    UNHURRIED,
    USERINFO,
    both,
    holds,
    scaled,
    served,
    stored,
)
from tests.support.simulator import Vendor

from cloudbeds_auth.errors import ReauthorizationRequired, RefreshInDoubt
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.vault import TokenVault

__all__ = ["scaled"]

FORGIVING = [one for one in ALL if not one.startswith(("V3", "V7"))]  # docs/rotation.md#what-no-client-can-do


@pytest.mark.row("F19")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("variant", ["V0/n", "V2/n", "V6/n"])
async def test_a_server_error_is_ambiguous_whether_it_acted_or_not(
    tmp_path: Path, variant: str, status: int, when: str
) -> None:
    """5xx from the token endpoint, rotated or not: in doubt, never a refusal; the next pass heals."""
    async with both(tmp_path, variant) as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("status", grant_type="refresh_token", status=status, when=when)
        with pytest.raises(RefreshInDoubt) as refused:
            await vault.call(connection.id, "GET", USERINFO)
        assert refused.value.retry_after is not None
        assert refused.value.retry_after >= DEADLINE
        assert holds(sim, await stored(vault, connection.id))
        assert (await served(vault, connection.id)).status_code == 200
        kinds = [event.kind for event in await vault.events(connection.id)]
        assert "answer_lost" in kinds
        assert "reauthorization_required" not in kinds


async def landed(sim: Vendor, requests: int) -> None:
    """Until the vendor has acted on so many refreshes, the network's own copies included."""
    async with asyncio.timeout(30):
        while sum(one.outcome != "pending" for one in sim.token_requests()) < requests:
            await asyncio.sleep(0.01)


@pytest.mark.row("F16")
@pytest.mark.parametrize("variant", FORGIVING)
async def test_a_duplicate_that_lands_before_the_first_use(tmp_path: Path, variant: str) -> None:
    """The network delivers the refresh a second time while its pair is unproven: whichever token lives is found."""
    async with both(tmp_path, variant) as (sim, vault):
        connection = await sim.connect(vault)
        old = await vault.access_token(connection.id)
        sim.expire()
        sim.fault("duplicate", grant_type="refresh_token", seconds=0.05)
        sim.fault("status", "userinfo", skip=1)  # the proof of the new pair is lost; the first asks about the dead one
        assert (await vault.access_token(connection.id, rejected=old)).generation == 2
        await landed(sim, 2)
        assert holds(sim, await stored(vault, connection.id))
        assert (await served(vault, connection.id, HOTELS)).status_code == 200
        assert holds(sim, await stored(vault, connection.id))
        assert (await vault.connection(connection.id)).state is State.FRESH


@pytest.mark.row("F17")
@pytest.mark.parametrize("variant", ["V0/n", "V1/n", "V2/n", "V2/y", "V4/n", "V5/n", "V6/n"])
async def test_a_duplicate_that_lands_after_the_first_use_has_no_effect(tmp_path: Path, variant: str) -> None:
    """The refresh is delivered again when its pair was proven long ago: refused, or the same pair's refresh token."""
    async with both(tmp_path, variant) as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("duplicate", grant_type="refresh_token", seconds=0.3)
        assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200
        await landed(sim, 2)
        assert holds(sim, await stored(vault, connection.id))
        assert (await served(vault, connection.id)).status_code == 200


@pytest.mark.row("F17")
async def test_under_v3_a_late_duplicate_costs_the_approval_and_says_so(tmp_path: Path) -> None:
    """The stated residual: a server that revokes on reuse revokes; the hotel is told to reconnect, and can."""
    async with both(tmp_path, "V3/n", UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("duplicate", grant_type="refresh_token", seconds=0.3)
        assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200
        await landed(sim, 2)
        with pytest.raises(ReauthorizationRequired):
            await served(vault, connection.id, patience=1000, pause=0.02)
        assert (await sim.connect(vault)).id == connection.id


@pytest.mark.row("F54")
async def test_a_process_that_kept_a_token_for_hours_reads_the_store_and_refreshes_nothing(tmp_path: Path) -> None:
    """Another process refreshed meanwhile: this one's 401 is healed by the stored pair; the vendor sees one refresh."""
    async with both(tmp_path, "V2/n", UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        old = await vault.access_token(connection.id)
        async with TokenVault.open(sim.settings(tmp_path, token_timeout=UNHURRIED)) as other:
            assert (await other.refresh(connection.id)).generation == 2
        assert vault.cached(connection.id) == old
        assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200
        assert len(sim.token_requests()) == 1


async def test_two_processes_at_one_dead_token(tmp_path: Path) -> None:
    """One refreshes, the other waits for the lease and uses the first one's pair: one request at the vendor."""
    async with both(tmp_path, "V2/n", UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("delay", grant_type="refresh_token", seconds=0.2)
        async with TokenVault.open(sim.settings(tmp_path, token_timeout=UNHURRIED)) as other:
            replies = await asyncio.gather(
                vault.call(connection.id, "GET", USERINFO), other.call(connection.id, "GET", USERINFO)
            )
        assert [reply.status_code for reply in replies] == [200, 200]
        assert len(sim.token_requests()) == 1
