"""A user's tests of blocking code."""

from __future__ import annotations

from time import sleep

import httpx2
import pytest

from cloudbeds_auth import Connection, ConnectionDisconnected, RefreshInDoubt, Settings, StateMismatch, sync
from cloudbeds_auth.pytest_plugin import Simulator


def whoami(vault: sync.TokenVault, connection: Connection) -> str:
    """What a user's program might do."""
    with httpx2.Client(base_url=vault.base_url, auth=vault.auth(connection.id)) as http:
        name: str = http.get("/api/v1.3/userinfo").raise_for_status().json()["first_name"]
        return name


def test_a_call(cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection) -> None:
    """The connection of the fixture is connected, and its calls are served."""
    assert whoami(cloudbeds_sync_vault, cloudbeds_connection) == "Ada"
    assert cloudbeds_connection.property_ids == ("100001",)
    assert cloudbeds_connection.state == "fresh"


def test_a_token_that_ran_out(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """One refresh heals it."""
    cloudbeds_simulator.expire()
    assert whoami(cloudbeds_sync_vault, cloudbeds_connection) == "Ada"
    assert cloudbeds_simulator.refreshes() == 1


def hanging_proof(vault: sync.TokenVault, connection: Connection, simulator: Simulator) -> None:
    """A call is healed, and the proof of the new token is under way until the faults are cleared."""
    simulator.expire()
    simulator.fault("hang_before", "userinfo", skip=1)  # the first one asks about the rejected token
    assert vault.call(connection.id, "GET", "getHotels").status_code == 200
    assert simulator.wait_for(fault="hang_before") is not None


@pytest.mark.parametrize("end", ["expire", "advance"])
def test_a_token_that_ran_out_before_its_proof(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator, end: str
) -> None:
    """The test is quicker than the vault's proof in the background: the next call is healed all the same."""
    hanging_proof(cloudbeds_sync_vault, cloudbeds_connection, cloudbeds_simulator)
    if end == "expire":
        cloudbeds_simulator.expire()
    else:
        cloudbeds_simulator.advance(28801)
    cloudbeds_simulator.clear_faults()
    assert cloudbeds_simulator.wait_for(fault="hang_before", status=401, answered=True) is not None
    assert whoami(cloudbeds_sync_vault, cloudbeds_connection) == "Ada"
    assert cloudbeds_simulator.refreshes() == 2


def test_a_living_token_that_is_answered_401(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """That is Cloudbeds' own fault, and has its usual consequence: no further refresh for a while."""
    cloudbeds_simulator.expire()
    cloudbeds_simulator.fault("status", "userinfo", skip=1, status=401)
    assert cloudbeds_sync_vault.call(cloudbeds_connection.id, "GET", "getHotels").status_code == 200
    while not any(event.kind == "pair_denied" for event in cloudbeds_sync_vault.events(cloudbeds_connection.id)):
        sleep(0.01)  # answered is not yet stored, and until then the plugin takes the token for one that ran out
    cloudbeds_simulator.expire()
    with pytest.raises(RefreshInDoubt) as doubt:
        cloudbeds_sync_vault.call(cloudbeds_connection.id, "GET", "getHotels")
    assert (doubt.value.retry_after or 0) > 30
    assert cloudbeds_simulator.refreshes() == 1


def test_an_answer_that_was_lost(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """Held back, nothing is sent; then the second refresh serves."""
    cloudbeds_simulator.expire()
    cloudbeds_simulator.lose_answers()
    with pytest.raises(RefreshInDoubt) as doubt:
        whoami(cloudbeds_sync_vault, cloudbeds_connection)
    assert doubt.value.retry_after
    log = len(cloudbeds_simulator.requests())
    while True:
        try:
            assert whoami(cloudbeds_sync_vault, cloudbeds_connection) == "Ada"
            break
        except RefreshInDoubt:
            assert len(cloudbeds_simulator.requests()) == log, "held back: nothing was sent"
    assert cloudbeds_simulator.counts("refresh_token") == {"issued": 2}


@pytest.mark.cloudbeds(variant="V6/n", expires_in=600)
def test_a_variant(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """The mark sets the rotation rule and the lifetime of this test."""
    assert cloudbeds_connection.expires_at is not None
    assert cloudbeds_connection.connected_at is not None
    assert (cloudbeds_connection.expires_at - cloudbeds_connection.connected_at).total_seconds() == pytest.approx(
        600, abs=2
    )
    cloudbeds_sync_vault.refresh(cloudbeds_connection.id)
    [grant] = cloudbeds_simulator.state()["grants"]
    first, second = grant["pairs"]
    assert first["access_token"] != second["access_token"]
    assert first["refresh_token"] == second["refresh_token"]


def test_the_next_test_begins_afresh(cloudbeds_simulator: Simulator) -> None:
    """Neither settings nor grants, faults or hotels of another test are there."""
    state = cloudbeds_simulator.state()
    assert (state["settings"]["variant"], state["settings"]["expires_in"]) == ("V2/n", 28800)
    assert (state["grants"], state["faults"], cloudbeds_simulator.requests()) == ([], [], [])
    assert [hotel["property_id"] for hotel in state["hotels"]] == ["100001", "100002", "100003"]


def test_a_hotel_says_no(cloudbeds_settings: Settings, cloudbeds_simulator: Simulator) -> None:
    """The denial comes back as Cloudbeds sends it, and a state that nobody began is refused."""
    with sync.TokenVault.open(cloudbeds_settings) as vault:
        begun = vault.begin_authorization()
        denied = cloudbeds_simulator.deny(begun.url)
        assert (denied.code, denied.state) == ("", begun.state)
        assert "error=access_denied" in denied.url
        with pytest.raises(StateMismatch):
            vault.finish_authorization(code="made-up", state="made-up")


def test_another_hotel(cloudbeds_settings: Settings, cloudbeds_simulator: Simulator) -> None:
    """A hotel of the test connects, with the program's own reference, and is disconnected."""
    cloudbeds_simulator.add_hotel("7", "Seventh Heaven")
    with sync.TokenVault.open(cloudbeds_settings) as vault:
        begun = vault.begin_authorization(reference="tenant-7")
        approval = cloudbeds_simulator.approve(begun.url, "7")
        connection = vault.finish_authorization(code=approval.code, state=approval.state)
        assert (connection.reference, connection.property_ids) == ("tenant-7", ("7",))
        vault.disconnect(connection.id)
        with pytest.raises(ConnectionDisconnected):
            vault.access_token(connection.id)


def test_lifetimes_pass(
    cloudbeds_sync_vault: sync.TokenVault, cloudbeds_connection: Connection, cloudbeds_simulator: Simulator
) -> None:
    """Time is moved on, not waited for."""
    cloudbeds_simulator.advance(28801)
    assert whoami(cloudbeds_sync_vault, cloudbeds_connection) == "Ada"
    assert cloudbeds_simulator.refreshes() == 1


def test_what_makes_no_sense_is_said(cloudbeds_simulator: Simulator) -> None:
    """A fault or an address that means nothing raises; what never comes is None."""
    with pytest.raises(ValueError, match="unknown fault kind 'nonsense'"):
        cloudbeds_simulator.fault("nonsense")
    with pytest.raises(ValueError, match="redirect_uri"):
        cloudbeds_simulator.approve(f"{cloudbeds_simulator.url}/api/v1.3/oauth?client_id=tested-app&redirect_uri=x")
    assert cloudbeds_simulator.wait_for(target="token", timeout=0.05) is None
