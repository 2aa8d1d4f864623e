"""F97: a process that stood still between the intent and the first byte sends nothing, and takes the lease anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from tests.support.fakes import HOUR, issued, key, pair
from tests.support.stage import Process, Stage
from tests.support.virtual import VirtualLoop, settle

from cloudbeds_auth.engine.context import World, current_grant
from cloudbeds_auth.errors import Error, RefreshPending
from cloudbeds_auth.rules.api_errors import Inconclusive
from cloudbeds_auth.rules.model import CredentialKind, Grant
from cloudbeds_auth.rules.token_response import Ambiguous, Issued, Refused
from cloudbeds_auth.transactions.grants import Leased, release_lease, take_lease
from cloudbeds_auth.transactions.history import read_history

pytestmark = pytest.mark.row("F97")


def stands_still(stage: Stage, seconds: float, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
    """After the next intent nothing of the first process runs for so long; others go on."""

    async def stand_still() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.now += seconds
        if meanwhile is not None:
            stage.dead.add(stage.one.world.owner)  # its lease is over, and nothing of it runs that would renew it
            await meanwhile()
            stage.dead.remove(stage.one.world.owner)

    stage.one.driver.after("write_intent", stand_still)


async def refreshed(stage: Stage, grant: Grant) -> str:
    """The new access token. Whoever asked stood still, too, and may have waited long enough: then the next caller has
    it, of the very same refresh.
    """
    try:
        served = await stage.one.refresh(grant.id, 1)
    except RefreshPending:
        served = await stage.one.refresh(grant.id, 1)
    return served.grant.access.reveal()


async def leased_since(stage: Stage, grant: Grant) -> int:
    """How often the lease was taken."""
    ((epoch,),) = stage.sql("SELECT lease_epoch FROM grants WHERE id = ?", grant.id)
    return int(epoch)


@pytest.mark.parametrize("seconds", [20.0, 31.0, HOUR])
async def test_longer_than_its_lease(stage: Stage, seconds: float) -> None:
    """Stopped, or the machine suspended: the token is sent once, under a lease that was taken after it ran on."""
    grant = await stage.expired()
    stands_still(stage, seconds)
    stage.endpoint.will(issued(2))
    assert await refreshed(stage, grant) == "A-2"
    assert stage.endpoint.sent == ["R-1"]
    assert await leased_since(stage, grant) == 2
    await stage.one.idle()
    events = [*reversed(await stage.one.store.read(read_history(grant.connection_id)))][3:]
    assert [event.kind for event in events] == [
        "intent_written", "nothing_sent", "intent_written", "pair_committed", "proved",
    ]  # fmt: skip
    assert events[1].data["detail"] == "this process stood still before it was sent"


async def test_for_a_moment(stage: Stage) -> None:
    """Shorter than a request to the token endpoint may take: nothing is lost by sending, and it is sent."""
    grant = await stage.expired()
    stands_still(stage, 19.0)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    assert await leased_since(stage, grant) == 1


async def test_another_process_refreshed_meanwhile(stage: Stage) -> None:
    """The token is dead by then: it is never sent, and what the other brought is used."""
    grant = await stage.connected()
    two = await stage.process()
    await stage.clock.sleep(HOUR)
    stands_still(stage, 31.0, lambda: two.commit(grant, "theirs"))
    assert await refreshed(stage, grant) == "A-theirs"
    assert stage.endpoint.sent == []


@pytest.mark.row("F97", control=True)
async def test_a_clock_that_was_not_looked_at(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the token that another process has spent meanwhile would be sent: under V3 that ends the grant."""
    monkeypatch.setattr(World, "in_time", lambda self: lambda: True)
    grant = await stage.connected()
    two = await stage.process()
    await stage.clock.sleep(HOUR)
    stands_still(stage, 31.0, lambda: two.commit(grant, "theirs"))
    stage.endpoint.will(Refused("superseded by theirs"))
    with suppress(RefreshPending):  # whoever asked stood still, too
        await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert stage.endpoint.sent == ["R-1"]


async def test_no_backoff_is_left_behind(stage: Stage) -> None:
    """It was nobody's failure: a later caller has nothing to wait for, and nothing is unresolved."""
    grant = await stage.expired()
    stands_still(stage, 31.0)
    stage.one.driver.after("settle", lambda: taken_away(stage.one))
    with pytest.raises(Error):
        await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    stage.one.driver.dark = False
    row = await stage.row(grant.id)
    assert (row.held_back, row.intent) == (0.0, None)


async def taken_away(process: Process) -> None:
    """The database is."""
    process.driver.dark = True


@pytest.mark.parametrize("end", ["killed", "lost", "refused"])
async def test_with_a_pair_in_hand(stage: Stage, end: str) -> None:
    """Another process sent the same refresh token meanwhile, and was killed or had no answer. Until that request must
    have arrived, the pair is neither stored nor used: behind its first use, the request would revoke the grant (V3). An
    answered one is not waited for.
    """
    grant = await stage.expired()
    two, sent = await stage.process(), asyncio.Event()

    async def stands_still() -> Issued:
        stage.one.driver.refuse("renew_lease", 1000)
        await sent.wait()
        return issued(2)

    async def anothers() -> Ambiguous | Refused:
        sent.set()
        if end == "killed":
            await stage.kill(two)
            await stage.clock.sleep(HOUR)
        return Refused("it is dead") if end == "refused" else Ambiguous("reset by peer")

    stage.endpoint.will(stands_still, anothers)
    mine = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await stage.clock.sleep(31.0)
    began = stage.clock.steady()
    with suppress(Error, asyncio.CancelledError):
        await two.refresh(grant.id, 1)
    while (await stage.row(grant.id)).generation == 1:
        await stage.clock.sleep(0.5)
    wait = 0.0 if end == "refused" else stage.timing.deadline
    assert began + wait <= stage.clock.steady() < began + wait + 5.0
    with suppress(Error):
        await mine
    assert (stage.endpoint.sent, (await stage.row(grant.id)).access.reveal()) == (["R-1", "R-1"], "A-2")


async def test_with_a_pair_in_hand_and_no_lease(stage: Stage) -> None:
    """Nobody sent anything in the meantime: the pair is stored under the next lease, and no request is left open."""
    grant = await stage.expired()

    async def stands_still() -> Issued:
        stage.one.driver.refuse("renew_lease", 1000)
        await stage.clock.sleep(31.0)
        taken = await stage.one.store.write(take_lease(grant.id, "another", 30.0))
        assert isinstance(taken, Leased)
        await stage.one.store.write(release_lease(grant.id, taken.epoch))
        return issued(2)

    stage.vendor.thinks("A-2", Inconclusive("HTTP 503"))  # a proof would close it
    stage.endpoint.will(stands_still)
    assert await refreshed(stage, grant) == "A-2"
    await stage.one.idle()
    row = await stage.row(grant.id)
    assert (row.intent, row.held_back, row.unresolved_age) == (None, 0.0, None)
    assert (stage.endpoint.sent, await leased_since(stage, grant)) == (["R-1"], 3)


async def test_in_the_background(stage: Stage) -> None:
    """A refresh that nobody waits for takes the lease anew as well."""
    grant = await stage.expired()
    stands_still(stage, 31.0)
    stage.endpoint.will(issued(2))
    with suppress(RefreshPending):
        await stage.one.refresh(grant.id, 1, patient=False)
    await settle()
    assert stage.endpoint.sent == ["R-1"]


async def test_the_exchange_for_a_key(stage: Stage) -> None:
    """As with a refresh: nothing was exchanged, the lease is taken anew, and then the key is asked for once."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    stands_still(stage, 31.0)
    stage.endpoint.will(key("k", "1000"))
    try:
        await stage.one.migrator.migrate(grant.connection_id)
    except Error:  # whoever asked has waited long enough; the move is gone on with
        await stage.one.migrator.migrate(grant.connection_id)
    assert stage.endpoint.exchanged == ["R-1"]
    found = await current_grant(stage.one.store, grant.connection_id)
    assert found is not None
    assert found.kind is CredentialKind.API_KEY


async def test_the_exchange_for_a_key_that_another_process_made_meanwhile(stage: Stage) -> None:
    """The key is there: its refresh token is exchanged no second time."""
    grant = await stage.connected(pair(1, property_ids=("1000",)))
    two = await stage.process()
    stage.endpoint.will(key("theirs", "1000"))
    stands_still(stage, 31.0, lambda: two.migrator.migrate(grant.connection_id))
    await stage.one.migrator.migrate(grant.connection_id)
    assert stage.endpoint.exchanged == ["R-1"]
