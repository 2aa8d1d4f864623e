"""The vendor's rate, shared by all processes of a client id: kept in the store, spent before each request."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.fakes import APP, issued, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.stage import Process, Stage, another

from cloudbeds_auth.errors import RateLimited, StoreUnavailable
from cloudbeds_auth.rules.api_errors import Proof, Verdict
from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.rate_limit import WINDOW, Limit, TurnLine, rate_within
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn

RATE = rate_within(10)
FAR = 600.0  # seconds until the next turn in these tests


def under(stage: Stage, limit: Limit | None) -> Process:
    """The stage's first process with this limit."""
    return another(stage.one, limit=limit)


async def spent(process: Process) -> None:
    """Nobody gets a turn for a long while."""
    await process.store.write(pause_turns(APP.client_id, FAR))


@pytest.mark.row("A61", control=True)
@pytest.mark.parametrize("limit", [5, 10])
async def test_processes_share_it(stage: Stage, limit: int) -> None:
    """However many ask at once from two processes, no window of a second holds more than the limit (I11); where each
    kept a rate of its own, it would, and Cloudbeds would suspend the client id.
    """

    async def most(*processes: Process) -> int:
        moments: list[float] = []

        async def ask(process: Process) -> None:
            await process.world.limiter(APP).spend(1e9)
            moments.append(stage.clock.steady())

        await asyncio.gather(*(ask(process) for process in processes for _ in range(30)))
        assert len(moments) == 60
        return max(sum(start <= at <= start + 1.0 for at in moments) for start in moments)

    vendor = BusyVendor()
    one, two = await limited(stage, vendor, limit), await limited(stage, vendor, limit)
    assert await most(one, two) <= limit
    await stage.clock.sleep(10.0)
    apart = replace(APP, client_id="a rate of its own")
    two.world.limiters[APP.id, APP.client_id] = two.world.limiter(apart)
    assert await most(one, two) > limit


@pytest.mark.parametrize(("limit", "at_once"), [(10, 9), (5, 4)])
async def test_an_idle_client_id_waits_for_nothing(stage: Stage, limit: int, at_once: int) -> None:
    """As many requests as a window holds go at once, from whichever process; the next one a window later."""
    one, two = await limited(stage, BusyVendor(), limit), await limited(stage, BusyVendor(), limit)
    for number in range(2 * at_once + 1):
        await (one, two)[number % 2].world.limiter(APP).spend(5.0)
        assert stage.clock.steady() - 1000.0 == pytest.approx(number // at_once * WINDOW), number


@pytest.mark.row("F12")
async def test_only_turns_are_not_synced(stage: Stage) -> None:
    """A pair is, a pause, and the first turn of a process: after a crash its row says that there were others."""
    grant = await stage.expired()
    process = under(stage, Limit(RATE))
    await process.world.limiter(APP).spend(0.0)
    assert process.driver.unsynced == {}
    stage.endpoint.will(issued(2))
    await process.access.access_token(grant.connection_id)
    await process.access.turn(grant.connection_id)
    await process.idle()
    await process.world.limiter(APP).pause(1.0)
    assert process.driver.unsynced == {"budget": 3, "set_budget": 3}
    assert await stage.tokens(grant.id) == ["R-2"]


async def test_different_limits_of_one_client_id(stage: Stage) -> None:
    """While a setting is changed machine by machine: no window holds more than the higher one (I11)."""
    moments: list[float] = []

    async def ask(process: Process) -> None:
        await process.world.limiter(APP).spend(1e9)
        moments.append(stage.clock.steady())

    low, high = await limited(stage, BusyVendor(), 5), await limited(stage, BusyVendor(), 10)
    await asyncio.gather(*(ask(process) for process, number in ((low, 30), (high, 60)) for _ in range(number)))
    assert max(sum(start <= at < start + WINDOW - 1e-6 for at in moments) for start in moments) == RATE.most


async def test_what_can_be_foreseen(stage: Stage) -> None:
    """A pause that this process knows of, or that the store told it of, is over when it said so, and until then nobody
    asks the store; of a rate that is not kept nothing is.
    """
    process, line = under(stage, Limit(RATE)), TurnLine("key_1", "con_1")
    limiter = process.world.limiter(APP)
    await stage.one.store.write(pause_turns(APP.client_id, 8.0))
    limiter.foresee(5.0, line)
    with pytest.raises(RateLimited):
        await limiter.spend(5.0, line)
    asked = process.driver.seen["budget"]
    for ask in (limiter.foresee, limiter.spend):
        with pytest.raises(RateLimited) as caught:
            await (ask(5.0, line) or asyncio.sleep(0))
        assert caught.value.retry_after == pytest.approx(8.0)
        assert caught.value.connection_id == "con_1"
    assert process.driver.seen["budget"] == asked
    await stage.clock.sleep(8.0)
    limiter.foresee(5.0, line)
    await limiter.spend(0.0, line)
    for limit in (Limit(RATE, observed=True), None):
        other = under(stage, limit).world.limiter(APP)
        await other.pause(60.0)
        other.foresee(0.0, line)


@pytest.mark.row("A61")
async def test_it_survives_a_restart(stage: Stage) -> None:
    """What the process before spent counts for the one that starts after it."""
    first = await limited(stage, BusyVendor())
    for _ in range(10):
        await first.store.write(reserve_turn(APP.client_id, RATE, 1e9))
    await first.store.close()
    stage.processes.remove(first)
    again = await limited(stage, BusyVendor())
    began = stage.clock.steady()
    await again.world.limiter(APP).spend(5.0)
    assert stage.clock.steady() - began == pytest.approx(WINDOW)


async def test_after_another_boot_one_window_is_waited_out(stage: Stage) -> None:
    """What was sent shortly before need not have been synced. Then all is as ever."""
    process = under(stage, Limit(RATE))
    await process.world.limiter(APP).spend(0.0)
    stage.clock.boot = "boot-2"
    began = stage.clock.steady()
    with pytest.raises(RateLimited) as caught:
        await process.world.limiter(APP).spend(0.0)
    assert caught.value.retry_after == pytest.approx(WINDOW)
    for _ in range(RATE.most):
        await process.world.limiter(APP).spend(WINDOW)
    assert stage.clock.steady() - began == pytest.approx(WINDOW)


async def test_boots_that_cannot_be_told_apart(stage: Stage) -> None:
    """Turns that were written later than now were left by another boot: they are no further ahead than they were."""
    process = under(stage, Limit(rate_within(1)))
    await process.world.limiter(APP).spend(0.0)
    stage.clock.behind = 900.0
    began = stage.clock.steady()
    await process.world.limiter(APP).spend(WINDOW)
    assert stage.clock.steady() - began == pytest.approx(WINDOW)


async def test_a_rejected_key_is_asked_about_in_its_turn(stage: Stage) -> None:
    """All that is sent for a key is the question whether it works: a request of its app, like any other."""
    grant = await stage.connected(pair(1, lifetime=366 * 86400.0, refresh=None, kind=CredentialKind.API_KEY))
    process = under(stage, Limit(RATE))
    await spent(process)
    with pytest.raises(RateLimited):
        await process.refresh(grant.id, 1, rejected=1)
    assert stage.vendor.asked == []


async def test_a_turn_too_far_away(stage: Stage) -> None:
    """It is nobody's, and the error says how long to wait."""
    process = under(stage, Limit(RATE))
    await spent(process)
    with pytest.raises(RateLimited) as caught:
        await process.world.limiter(APP).spend(25.0)
    assert caught.value.retry_after == pytest.approx(FAR, abs=1)
    assert stage.notes.times("rate_limited") == 1


async def test_without_a_limit_no_row_is_touched(stage: Stage) -> None:
    """Off is off."""
    stage.one.driver.dark = True
    await stage.one.world.limiter(APP).spend(0.0)
    stage.one.driver.dark = False
    assert stage.sql("SELECT * FROM budgets") == []


async def test_observed_only(stage: Stage) -> None:
    """Nothing waits; what would have waited is reported, and no queue is left behind for the day it is switched on."""
    process = under(stage, Limit(RATE, observed=True))
    began = stage.clock.steady()
    for _ in range(100):
        await process.world.limiter(APP).spend(0.0)
    assert stage.clock.steady() == began
    assert stage.notes.times("rate_exceeded") == 100 - RATE.most
    assert 0 < await process.store.write(reserve_turn(APP.client_id, RATE, 0.0)) <= WINDOW


async def test_a_refresh_without_a_turn_serves_what_is_unexpired(stage: Stage) -> None:
    """Nothing is sent, nothing is written: the stored token goes on."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))
    await spent(process)
    served = await process.refresh(grant.id, 1)
    assert served.grant.access.reveal() == "A-1"
    assert (stage.endpoint.sent, (await stage.row(grant.id)).intent) == ([], None)


async def test_a_refresh_of_an_expired_token_without_a_turn(stage: Stage) -> None:
    """503 `rate_limited`, at once, with the time to wait."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))
    await stage.clock.sleep(3700)
    await spent(process)
    with pytest.raises(RateLimited) as caught:
        await process.access.access_token(grant.connection_id)
    assert (caught.value.connection_id, caught.value.status) == (grant.connection_id, 503)
    assert stage.endpoint.sent == []


async def test_a_rejected_token_without_a_turn_for_the_probe(stage: Stage) -> None:
    """It is not known whether it works: neither proven nor served."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))
    await spent(process)
    with pytest.raises(RateLimited):
        await process.refresh(grant.id, 1, rejected=1)
    assert (stage.vendor.asked, stage.endpoint.sent) == ([], [])


async def test_the_wait_comes_before_the_intent(stage: Stage) -> None:
    """What the intent holds back is for the answer, not for the queue."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))
    await stage.clock.sleep(3700)
    for _ in range(100):
        await process.store.write(reserve_turn(APP.client_id, RATE, 1e9))
    asked = asyncio.create_task(process.refresh(grant.id, 1))
    await asyncio.sleep(5)
    assert (await stage.row(grant.id)).intent is None
    stage.endpoint.will(issued(2))
    assert (await asked).grant.generation == 2
    await process.idle()


async def test_a_proof_without_a_turn_is_left_to_the_next_use(stage: Stage) -> None:
    """The pair is committed and served; the older refresh token stays until something proves."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))

    async def answer() -> object:
        await spent(process)
        return issued(2)

    stage.endpoint.will(answer)  # type: ignore[arg-type]
    assert (await process.refresh(grant.id, 1)).grant.generation == 2
    await process.idle()
    assert (stage.vendor.asked, await stage.tokens(grant.id)) == ([], ["R-1", "R-2"])


async def test_a_store_that_is_away(stage: Stage) -> None:
    """Without the store there is no turn; an unexpired token is served all the same."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))
    process.driver.refuse("budget", times=2)
    assert (await process.refresh(grant.id, 1)).grant.generation == 1
    with pytest.raises(StoreUnavailable):
        await process.refresh(grant.id, 1, rejected=1)
    assert stage.endpoint.sent == []


async def test_a_store_that_is_away_for_long(stage: Stage) -> None:
    """A request of ours never goes alone: each is answered that the store is away, the later ones, too (F62)."""
    process = under(stage, Limit(RATE))
    process.driver.refuse("budget", times=2)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await process.world.limiter(process.world.apps["default"]).spend(5.0)
        await stage.clock.sleep(60.0)
    assert stage.notes.times("went_alone") == 0


async def test_a_code_waits_for_its_turn(stage: Stage) -> None:
    """An approval is worth more than a refresh: it waits as long as the browser does."""
    process = under(stage, Limit(RATE))
    begun = await process.authorizer.begin()
    for _ in range(300):
        await process.store.write(reserve_turn(APP.client_id, RATE, 1e9))
    stage.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await process.authorizer.finish(code="code", state=begun.state)
    assert finished.connection.property_ids == ("1000",)


async def test_a_candidate_without_a_turn_waits(stage: Stage) -> None:
    """It is neither proven nor dropped; anybody goes on with it later."""
    waiting = await stage.connected(pair(1, property_ids=("1000",)), proven=False)
    process = under(stage, Limit(RATE))
    await spent(process)
    assert await process.candidates.resume(waiting.connection_id) is None
    await stage.clock.sleep(FAR)
    assert await process.candidates.resume(waiting.connection_id) is not None
    assert stage.notes.times("connected") == 1


async def test_a_candidate_while_the_store_has_no_turns(stage: Stage) -> None:
    """It is asked about by nobody, and the caller is answered why."""
    waiting = await stage.connected(pair(1, property_ids=("1000",)), proven=False)
    process = under(stage, Limit(RATE))
    asked = len(stage.vendor.asked)
    process.driver.refuse("budget")
    with pytest.raises(StoreUnavailable):
        await process.candidates.resume(waiting.connection_id)
    assert len(stage.vendor.asked) == asked


async def test_a_candidate_whose_hotel_cannot_be_asked_about_yet_waits(stage: Stage) -> None:
    """Proven, but no turn is left to learn its property: it stays a candidate, for which hotel is not guessed."""
    waiting = await stage.connected(pair(1), proven=False)
    process = under(stage, Limit(RATE))
    stage.vendor.listed = ("1000",)

    async def proven_with_the_last_turn() -> Verdict:
        await spent(process)
        return Proof()

    stage.vendor.thinks("A-1", proven_with_the_last_turn)
    assert await process.candidates.resume(waiting.connection_id) is None
    assert (await stage.row(waiting.id)).role is Role.CANDIDATE
    stage.vendor.thinks("A-1", Proof())
    await stage.clock.sleep(FAR)
    promoted = await process.candidates.resume(waiting.connection_id)
    assert promoted is not None
    assert promoted.property_ids == ("1000",)


async def test_an_operator_does_not_take_the_last_pair_for_a_new_one(stage: Stage) -> None:
    """While the proof of the last refresh waits for its turn, another one asked for is made all the same."""
    grant = await stage.connected()
    process = under(stage, Limit(RATE))
    stage.endpoint.will(issued(2), issued(3), issued(4))
    for generation in (2, 3, 4):
        await process.access.refresh_now(grant.connection_id)
        assert (await stage.row(grant.id)).generation == generation
    await process.idle()
