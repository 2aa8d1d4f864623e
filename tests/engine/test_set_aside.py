"""Another hotel's approval than was expected is kept alive until it is claimed, forgotten or replaced."""

from __future__ import annotations

import pytest
from tests.support.fakes import issued, key
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import (
    PropertyMismatch,
    RefreshInDoubt,
    RefreshPending,
    Unclaimed,
    UnknownConnection,
)
from cloudbeds_auth.ports import Listed, Turn, Unlisted
from cloudbeds_auth.rules.api_errors import DeadToken, Inconclusive, Proof
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection, Grant, Role
from cloudbeds_auth.rules.schedule import CANDIDATE, DAY, KEEP_ALIVE, KEEP_KEY_ALIVE, RETRY_FIRST
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Issued, Refused
from cloudbeds_auth.transactions.connections import list_connections
from cloudbeds_auth.transactions.grants import take_lease
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction


async def parked(stage: Stage) -> list[Connection]:
    """What waits to be claimed."""
    return list((await stage.one.store.read(list_connections(states=[State.PARKED]))).connections)


async def wrong(stage: Stage, number: int | str, *property_ids: str, is_key: bool = False) -> Connection:
    """This hotel approves by a link that is for property 1000; what waits then."""
    before = {one.id for one in await parked(stage)}
    answer = key(str(number), *property_ids) if is_key else issued(number, property_ids=property_ids)
    with pytest.raises(PropertyMismatch):
        await stage.approve(answer, expected_properties=("1000",))
    [waits] = [one for one in await parked(stage) if one.id not in before]
    return waits


@transaction
def waiting(tx: Tx, connection_id: str) -> Transaction[list[str]]:
    """Grants of this connection that wait to be proven."""
    return [row["id"] for row in (yield from query("candidates", connection_id=connection_id))]


async def row_of(stage: Stage, waits: Connection) -> Grant:
    """Its grant."""
    row = await current_grant(stage.one.store, waits.id)
    assert row is not None
    return row


async def test_it_is_kept_alive_for_longer_than_any_token_lives(stage: Stage) -> None:
    """Fourteen months: refreshed and proven once in thirty days, lent to no caller, and claimed at last."""
    waits = await wrong(stage, 0, "2000")
    for month in range(1, 15):
        await stage.clock.sleep(0.9 * KEEP_ALIVE - DAY)
        await stage.one.upkeep.tick()
        assert len(stage.endpoint.sent) == month - 1
        await stage.clock.sleep(0.1 * KEEP_ALIVE + DAY)
        stage.endpoint.will(issued(month))
        await stage.one.upkeep.tick()
        assert (stage.endpoint.sent[-1], stage.vendor.asked[-1]) == (f"R-{month - 1}", f"A-{month}")
        assert [(one.id, one.problem) for one in await parked(stage)] == [(waits.id, "property_mismatch")]
    with pytest.raises(Unclaimed):
        await stage.one.access.access_token(waits.id)
    assert "kept alive" in ((await stage.one.views.connection(waits.id)).next_step or "")
    await stage.clock.sleep(DAY)
    stage.endpoint.will(issued("claimed"))
    assert await stage.one.authorizer.claim(waits.id, "tenant-8") == waits.id
    assert (await stage.one.access.access_token(waits.id)).reveal() == "A-claimed"


async def test_an_operator_refreshes_it(stage: Stage) -> None:
    """After a leak the tokens of before are dead here, too; it is lent to no caller all the same."""
    waits = await wrong(stage, 0, "2000")
    stage.endpoint.will(issued(1))
    await stage.one.access.refresh_now(waits.id)
    assert (stage.endpoint.sent, (await row_of(stage, waits)).access.reveal()) == (["R-0"], "A-1")
    await stage.one.idle()
    assert stage.vendor.asked[-1] == "A-1", "its first use ends the refresh token before"
    with pytest.raises(Unclaimed):
        await stage.one.access.access_token(waits.id)


async def test_an_api_key_is_kept_alive(stage: Stage) -> None:
    """It is used before the thirty days are over without which it dies, and nothing is refreshed."""
    stage.vendor.listed = ("2000",)
    waits = await wrong(stage, 1, is_key=True)
    before = len(stage.vendor.asked)
    await stage.clock.sleep(KEEP_KEY_ALIVE)
    await stage.one.upkeep.tick()
    assert stage.vendor.asked[before:] == [(await row_of(stage, waits)).access.reveal()]
    assert stage.endpoint.sent == []
    assert [one.id for one in await parked(stage)] == [waits.id]


async def test_it_is_claimed_a_second_after_a_refresh_was_lost(stage: Stage) -> None:
    """The same refresh token is not sent again before the first request must have arrived: behind the first use of the
    new pair it would revoke the grant (V3).
    """
    waits = await wrong(stage, 1, "2000", "2001")
    await stage.clock.sleep(3600.0)
    home = (await stage.approve(issued("home", property_ids=("2000",)))).connection.id
    stage.endpoint.will(Ambiguous("reset by peer"))
    row = await row_of(stage, waits)
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(row.id, row.generation, upkeep=True, patient=False)
    began, when = stage.clock.steady(), list[float]()

    async def again() -> Issued:
        when.append(stage.clock.steady())
        return issued(2)

    await stage.clock.sleep(1.0)
    stage.vendor.thinks("A-1", DeadToken())
    stage.endpoint.will(again)
    assert await stage.one.authorizer.claim(waits.id, None) == home
    assert (await stage.one.access.access_token(home)).reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1", "R-1"]
    assert when == pytest.approx([began + stage.timing.deadline], abs=1.0)


@pytest.mark.parametrize("how", ["approval", "pasted key"])
async def test_the_hotel_is_connected_after_all(stage: Stage, how: str) -> None:
    """The newer credential is the one to keep: the connection that waited says where, and is deleted after a day."""
    waits = await wrong(stage, 1, "2000")
    other = await wrong(stage, 2, "3000")
    if how == "approval":
        home = (await stage.approve(issued("new", property_ids=("2000",)))).connection.id
    else:
        stage.vendor.listed = ("2000",)
        home = await stage.one.pasted_keys.add(
            Secret("cbat_1"), app=None, reference=None, connection_id=None, expected_properties=("2000",)
        )
    seen = await stage.one.views.connection(waits.id)
    assert (seen.state, seen.problem) == (State.SUPERSEDED, f"replaced by {home}")
    assert (await row_of(stage, waits)).tokens == ()
    assert [one.id for one in await parked(stage)] == [other.id], "another hotel's stays"
    await stage.clock.sleep(DAY)
    await stage.one.upkeep.tick()
    with pytest.raises(UnknownConnection):
        await stage.one.views.connection(waits.id)
    assert (await stage.one.views.connection(home)).property_ids == ("2000",)


async def test_a_key_that_is_replaced_while_it_is_asked_about(stage: Stage) -> None:
    """The late proof changes nothing: the connection that waited is deleted after its day all the same."""
    stage.vendor.listed = ("2000",)
    waits = await wrong(stage, 1, is_key=True)

    async def meanwhile() -> Proof:
        stage.vendor.opinions.clear()
        await stage.approve(issued("new", property_ids=("2000",)))
        return Proof()

    stage.vendor.thinks((await row_of(stage, waits)).access.reveal(), meanwhile)
    await stage.clock.sleep(KEEP_KEY_ALIVE)
    await stage.one.upkeep.tick()
    assert (await stage.one.views.connection(waits.id)).state is State.SUPERSEDED
    await stage.clock.sleep(DAY)
    await stage.one.upkeep.tick()
    with pytest.raises(UnknownConnection):
        await stage.one.views.connection(waits.id)


async def test_a_hotel_that_approves_by_wrong_links_again_and_again(stage: Stage) -> None:
    """The newest approval waits, and one alone."""
    first = await wrong(stage, 1, "2000")
    second = await wrong(stage, 2, "2000")
    assert [one.id for one in await parked(stage)] == [second.id]
    assert (await stage.one.views.connection(first.id)).problem == f"replaced by {second.id}"
    assert await stage.tokens((await row_of(stage, second)).id) == ["R-2"]


async def test_an_approval_that_is_settled_after_a_newer_one(stage: Stage) -> None:
    """Its process stood still with the list of properties in hand: the newer approval waits, the older one ends."""
    lists = stage.vendor.properties
    newer: list[Connection] = []

    async def properties(access: Secret, turn: Turn) -> Listed | Unlisted:
        found = await lists(access, turn)
        stage.vendor.properties = lists  # type: ignore[method-assign]
        await stage.clock.sleep(10.0)
        newer.append(await wrong(stage, "new", "2000"))
        return found

    stage.vendor.listed = ("2000",)
    stage.vendor.properties = properties  # type: ignore[method-assign]
    with pytest.raises(PropertyMismatch):
        await stage.approve(issued("old"), expected_properties=("1000",))
    assert [one.id for one in await parked(stage)] == [newer[0].id]
    assert await stage.tokens((await row_of(stage, newer[0])).id) == ["R-new"]


async def test_a_group_of_which_one_property_is_connected(stage: Stage) -> None:
    """Nothing else may be left of the others: it stays, until an approval covers them all."""
    waits = await wrong(stage, 1, "2000", "2001")
    await stage.approve(issued(2, property_ids=("2000",)))
    assert [one.id for one in await parked(stage)] == [waits.id]
    await stage.approve(issued(3, property_ids=("2001", "2000")))
    assert await parked(stage) == []


async def test_cloudbeds_refuses_it_for_a_while(stage: Stage) -> None:
    """It is shown, tried again as any marked hotel's is, and kept alive again once it works; never dropped."""
    waits = await wrong(stage, 1, "2000")
    await stage.clock.sleep(KEEP_ALIVE)
    stage.endpoint.will(Refused("no"))
    await stage.one.upkeep.tick()
    await stage.clock.sleep(stage.timing.refusal_interval)
    stage.endpoint.will(Refused("no"))
    await stage.one.upkeep.tick()
    seen = await stage.one.views.connection(waits.id)
    assert (seen.state, seen.problem) == (State.PARKED, "revoked")
    assert "from the Marketplace within a day" in (seen.next_step or "")
    await stage.clock.sleep(RETRY_FIRST)
    stage.endpoint.will(issued(2))
    await stage.one.upkeep.tick()
    assert [(one.id, one.problem) for one in await parked(stage)] == [(waits.id, "property_mismatch")]
    await stage.clock.sleep(KEEP_ALIVE)
    stage.endpoint.will(issued(3))
    await stage.one.upkeep.tick()
    assert await stage.tokens((await row_of(stage, waits)).id) == ["R-3"]


async def test_one_that_cloudbeds_refuses_is_claimed(stage: Stage) -> None:
    """It is shown as a hotel that has to approve again, and is tried again as one."""
    waits = await wrong(stage, 1, "2000")
    await stage.clock.sleep(KEEP_ALIVE)
    for pause in (stage.timing.refusal_interval, 0.0):
        stage.endpoint.will(Refused("no"))
        await stage.one.upkeep.tick()
        await stage.clock.sleep(pause)
    await stage.one.authorizer.claim(waits.id, "tenant-8")
    seen = await stage.one.views.connection(waits.id)
    assert (seen.state, seen.problem) == (State.REAUTHORIZATION_REQUIRED, "revoked")
    await stage.clock.sleep(RETRY_FIRST)
    stage.endpoint.will(issued(2))
    await stage.one.upkeep.tick()
    assert (await stage.one.access.access_token(waits.id)).reveal() == "A-2"


@pytest.mark.parametrize("alone", [True, False], ids=["where it is", "for a hotel that is connected"])
async def test_a_claim_before_its_pair_was_proven(stage: Stage, alone: bool) -> None:
    """The parent may be the only token that lives (rule-2): it goes where the child goes, and is sent after it."""
    waits = await wrong(stage, 1, "2000", "2001")
    await stage.clock.sleep(KEEP_ALIVE)
    stage.endpoint.will(issued(2))
    stage.vendor.thinks("A-2", Inconclusive("away"))
    await stage.one.upkeep.tick()
    if not alone:
        await stage.approve(issued("home", property_ids=("2000",)))
    home = await stage.one.authorizer.claim(waits.id, None)
    [candidate] = await stage.one.store.read(waiting(home))
    assert await stage.tokens(candidate) == ["R-1", "R-2"]
    stage.vendor.thinks("A-2", DeadToken())
    stage.endpoint.will(Refused("dead"), issued(3))
    await stage.clock.sleep(CANDIDATE)
    await stage.one.upkeep.tick()
    assert stage.endpoint.sent[-2:] == ["R-2", "R-1"]
    assert (await stage.one.access.access_token(home)).reveal() == "A-3"


async def test_a_claim_while_it_is_refreshed(stage: Stage) -> None:
    """The pair that comes in finds its grant where it was; the claim is made a moment later."""
    waits = await wrong(stage, 1, "2000")
    await stage.one.store.write(take_lease((await row_of(stage, waits)).id, "another", 30.0))
    with pytest.raises(RefreshPending):
        await stage.one.authorizer.claim(waits.id, None)
    await stage.clock.sleep(31.0)
    assert await stage.one.authorizer.claim(waits.id, None) == waits.id


async def test_an_operator_forgets_it(stage: Stage) -> None:
    """Its tokens are deleted and Cloudbeds is told nothing; the hotel may be connected at any time."""
    waits = await wrong(stage, 1, "2000")
    grant = await row_of(stage, waits)
    await stage.one.retention.forget(waits.id)
    assert (await stage.row(grant.id)).tokens == ()
    assert (await stage.row(grant.id)).role is Role.DISCONNECTED
    assert (await stage.one.views.connection(waits.id)).state is State.DISCONNECTED
    assert stage.vendor.disabled == []
    await stage.clock.sleep(KEEP_ALIVE)
    await stage.one.upkeep.tick()
    assert (await stage.approve(issued(2, property_ids=("2000",)))).connection.state is State.FRESH
