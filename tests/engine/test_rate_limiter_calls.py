"""Callers' requests under the vendor's rate: fair between hotels, patient for five seconds, paused by a 429."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.support.fakes import APP, issued, pair
from tests.support.hotels import BusyVendor, limited
from tests.support.intercept import Write, intercept
from tests.support.stage import Process, Stage, another
from tests.support.virtual import settle

from cloudbeds_auth.engine.rate_limiter import CALL, GLANCE, MOST_COUNTING, Waiter
from cloudbeds_auth.errors import (
    RateLimited,
    RefreshInDoubt,
    StoreUnavailable,
    TokenEndpointUnavailable,
    TryAgain,
    UnknownConnection,
    VaultClosed,
)
from cloudbeds_auth.ports import REQUEST_ID, Throttled
from cloudbeds_auth.rules.api_errors import Inconclusive
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.rate_limit import WINDOW, Limit, TurnLine, rate_within
from cloudbeds_auth.rules.token_response import Ambiguous
from cloudbeds_auth.transactions.apps import add_app, remove_app
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn
from cloudbeds_auth.transactions.statements import Call

RATE = rate_within(10)


class Traffic:
    """Callers of hotels, and when each of their requests went: (hotel, seconds since the beginning)."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = stage.clock.steady()
        self.went: list[tuple[str, float]] = []
        self.refused: list[tuple[str, float]] = []
        self.waits: list[float | None] = []
        self.codes: Counter[str] = Counter()  # of those that were refused

    async def call(self, process: Process, hotel: str, caller: str = "") -> None:
        """One request for this hotel."""
        try:
            await process.world.limiter(APP).spend(CALL, TurnLine(caller, hotel))
        except TryAgain as error:
            self.refused.append((hotel, self._now()))
            self.codes[error.code] += 1
            self.waits.append(error.retry_after)
        else:
            self.went.append((hotel, self._now()))

    def _now(self) -> float:
        return self._stage.clock.steady() - self._began

    def when(self, hotel: str) -> list[float]:
        """The moments of this hotel's requests."""
        return [at for name, at in self.went if name == hotel]

    def most_in_a_second(self) -> int:
        """The most requests that any closed window of one second held."""
        moments = [at for _, at in self.went]
        return max(sum(start <= at <= start + 1.0 for at in moments) for start in moments)


def given(stage: Stage) -> list[float]:
    """The moments of the turns that the store gave."""
    ((found,),) = stage.sql("SELECT given FROM budgets")
    return list(json.loads(found))


async def under_ten(stage: Stage) -> Process:
    """Another process that keeps ten requests a second."""
    return await limited(stage, BusyVendor())


async def all_of(calls: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.wait_for(asyncio.gather(*calls), 600)


def at_once(traffic: Traffic, process: Process, hotel: str, number: int) -> list[asyncio.Task[None]]:
    """So many callers of one hotel in one moment."""
    return [asyncio.create_task(traffic.call(process, hotel)) for _ in range(number)]


async def test_a_thousand_calls_of_one_hotel_delay_another_by_one_place(stage: Stage) -> None:
    """The single call of another hotel, come last, goes as the next but one; of the thousand most are told to wait."""
    process, traffic = await under_ten(stage), Traffic(stage)
    flood = at_once(traffic, process, "con_flood", 1000)
    await stage.clock.sleep(1.0)
    before = len(traffic.went)
    await asyncio.create_task(traffic.call(process, "con_single"))
    assert "con_single" in [hotel for hotel, _ in traffic.went[before : before + 2]]
    assert traffic.when("con_single") == [pytest.approx(WINDOW)]
    await all_of(flood)
    assert traffic.most_in_a_second() <= 10
    assert len(traffic.when("con_flood")) + len(traffic.refused) == 1000
    assert all(at <= CALL + 1e-6 for _, at in (*traffic.went, *traffic.refused)), "nobody waits longer"
    assert all(wait is not None and wait > 0 for wait in traffic.waits)


@pytest.mark.row("A61")
async def test_a_key_that_floods_for_many_hotels_delays_another_key_by_one_place(stage: Stage) -> None:
    """A thousand calls of one key, for a hundred hotels: the single call of another key goes as the next but one."""
    process, traffic = await under_ten(stage), Traffic(stage)
    flood = [asyncio.create_task(traffic.call(process, f"con_{number % 100}", "key_1")) for number in range(1000)]
    await stage.clock.sleep(1.0)
    before = len(traffic.went)
    await asyncio.create_task(traffic.call(process, "con_single", "key_2"))
    assert "con_single" in [hotel for hotel, _ in traffic.went[before : before + 2]]
    await all_of(flood)
    assert traffic.most_in_a_second() <= 10


async def test_hotels_share_the_rate_evenly(stage: Stage) -> None:
    """However many callers each has, in one process: of the places to come every hotel has as many."""
    process, traffic = await under_ten(stage), Traffic(stage)
    calls = [task for number, hotel in ((300, "con_1"), (20, "con_2"), (12, "con_3"))
             for task in at_once(traffic, process, hotel, number)]  # fmt: skip
    await all_of(calls)
    shares = Counter(hotel for hotel, at in traffic.went if at < 4.0)
    assert max(shares.values()) - min(shares.values()) <= 2, shares
    assert traffic.most_in_a_second() <= 10


async def test_a_flood_in_one_process_leaves_others_their_share(stage: Stage) -> None:
    """Each process holds one place ahead: a call in another one goes in the next window, and waits for no queue."""
    one, two, traffic = await under_ten(stage), await under_ten(stage), Traffic(stage)
    flood = at_once(traffic, one, "con_flood", 1000)
    await stage.clock.sleep(1.0)
    await asyncio.create_task(traffic.call(two, "con_single"))
    assert traffic.when("con_single") == [pytest.approx(WINDOW)]
    await all_of(flood)
    assert traffic.most_in_a_second() <= 10


async def test_callers_that_hang_up_take_no_places_with_them(stage: Stage) -> None:
    """A hundred callers come and go at once; one that comes after them waits for one place, not for theirs."""
    process, traffic = await under_ten(stage), Traffic(stage)
    await all_of(at_once(traffic, process, "con_1", RATE.most))
    for _ in range(100):
        caller = asyncio.create_task(traffic.call(process, "con_1"))
        await settle(30)
        caller.cancel()
        await settle(30)
    began = stage.clock.steady()
    await traffic.call(process, "con_2")
    assert stage.clock.steady() - began == pytest.approx(WINDOW)
    assert len(given(stage)) == RATE.most + 1


async def test_a_place_that_comes_as_its_caller_hangs_up_is_the_next_ones(stage: Stage) -> None:
    """It was given, and not used: the one behind it goes at once."""
    process, traffic = await limited(stage, BusyVendor(), 1), Traffic(stage)
    await all_of(at_once(traffic, process, "con_1", 1))
    first, second = at_once(traffic, process, "con_1", 2)
    await settle()
    limiter = process.world.limiter(APP)
    give = limiter._give

    def given() -> Waiter | None:
        waiter = give()
        first.cancel()
        return waiter

    limiter._give = given  # type: ignore[method-assign]
    await asyncio.wait([first])
    await second
    assert first.cancelled()
    assert traffic.when("con_1")[1:] == [pytest.approx(WINDOW)]


async def test_a_place_that_the_store_did_not_give(stage: Stage) -> None:
    """It came too late for the one that asked; one that joined meanwhile and waits longer has its own (I11)."""
    process = await under_ten(stage)
    await process.store.write(pause_turns(APP.client_id, 6.0))
    patient: list[asyncio.Task[None]] = []

    async def join() -> None:
        patient.append(asyncio.create_task(process.world.limiter(APP).spend(25.0)))
        await settle()

    process.driver.after("budget", join)
    with pytest.raises(RateLimited):
        await process.world.limiter(APP).spend(5.0)
    await all_of(patient)
    assert given(stage) == [pytest.approx(1006.0)], "one request went, in a place that was given"
    assert stage.clock.steady() == pytest.approx(1006.0)


@pytest.mark.row("F106")
async def test_calls_that_wait_for_a_turn_while_the_vault_is_closed(stage: Stage) -> None:
    """The store is closed after it, and not asked any more; a typed error ends their wait."""
    process, traffic = await under_ten(stage), Traffic(stage)
    waiting = at_once(traffic, process, "con_1", 20)
    await settle()
    await process.world.limiter(APP).stop()
    await asyncio.wait(waiting)
    ended = [task.exception() for task in waiting]
    assert [type(error) for error in ended if error is not None] == [VaultClosed] * (20 - len(traffic.went))


@pytest.mark.row("F106")
async def test_a_call_of_the_moment_in_which_the_vault_is_closed(stage: Stage) -> None:
    """What serves it has not begun: it is told all the same."""
    process, traffic = await under_ten(stage), Traffic(stage)
    (caller,) = at_once(traffic, process, "con_1", 1)
    while not process.world.limiters:
        await asyncio.sleep(0)
    await process.world.limiter(APP).stop()
    await asyncio.wait([caller], timeout=60)
    assert caller.done()
    assert isinstance(caller.exception(), VaultClosed)
    assert traffic.went == []


async def test_a_process_that_only_heard_a_429_stops(stage: Stage) -> None:
    """Nobody ever waited in it."""
    process = await under_ten(stage)
    await process.world.limiter(APP).pause(2.0)
    await process.world.limiter(APP).stop()
    assert process.world.limiter(APP)._serving is None


async def test_an_error_of_ours_reaches_whoever_waits(stage: Stage) -> None:
    """Nobody hangs because the store does what it never should; and the next caller is served."""
    process, traffic = await under_ten(stage), Traffic(stage)
    failed = False

    async def broken() -> None:
        nonlocal failed
        failed = True
        raise ZeroDivisionError

    process.driver.after("budget", broken)
    with pytest.raises(ZeroDivisionError):
        await traffic.call(process, "con_1")
    await traffic.call(process, "con_1")
    assert failed


async def test_a_refresh_is_not_behind_the_callers(stage: Stage) -> None:
    """Under a flood of many hotels, tokens and proofs have every second place."""
    process, traffic = await under_ten(stage), Traffic(stage)
    flood = [task for hotel in range(30) for task in at_once(traffic, process, f"con_{hotel}", 10)]
    await stage.clock.sleep(0.5)
    before = len(traffic.went)
    for _ in range(2):
        await process.world.limiter(APP).spend(5.0)
    assert stage.clock.steady() - 1000.0 == pytest.approx(WINDOW)
    assert len(traffic.went) - before <= 2
    await all_of(flood)


# --- the store is away


async def test_without_the_store_each_process_goes_on_slowly(stage: Stage) -> None:
    """The token in memory is good (F62), and nobody can be asked whose turn it is: after a second, when everything
    that was given is over, a tenth of the rate, so that ten processes are within it.
    """
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.dark = True
    await all_of(at_once(traffic, process, "con_1", 20))
    assert traffic.when("con_1") == pytest.approx([1.0, 1.0 + 10 / 7.2, 1.0 + 20 / 7.2])
    assert len(traffic.refused) == 17
    assert stage.notes.times("went_alone") == 3
    process.driver.dark = False


async def test_turns_are_given_in_no_callers_name(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is reported while all wait is of no request, whoever came first; that a call was refused is of its own."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.dark = True
    named: list[tuple[str, str | None]] = []
    monkeypatch.setattr(stage.notes, "happened", lambda what, /, **_: named.append((str(what), REQUEST_ID.get())))
    REQUEST_ID.set("r-1")
    await all_of(at_once(traffic, process, "con_1", 2))
    process.driver.dark = False
    await stage.clock.sleep(10.0)
    await all_of(at_once(traffic, process, "con_1", 200))
    assert set(named) == {("went_alone", None), ("rate_limited", "r-1")}


@pytest.mark.parametrize("limit", [2, 5, 10])
async def test_one_process_without_the_store_beside_one_that_has_it(stage: Stage, limit: int) -> None:
    """Nobody knows of the other: the limit has room for one that goes alone beside all that share it (I11)."""
    one, two = await limited(stage, BusyVendor(), limit), await limited(stage, BusyVendor(), limit)
    traffic = Traffic(stage)
    two.driver.dark = True
    await all_of([*at_once(traffic, one, "con_1", 60), *at_once(traffic, two, "con_2", 20)])
    two.driver.dark = False
    assert len(traffic.when("con_1")) >= 4 * rate_within(limit).most
    assert traffic.when("con_2")
    assert traffic.most_in_a_second() <= limit


async def test_a_limit_of_one_has_no_room_for_going_alone(stage: Stage) -> None:
    """One request a second is all: a call goes with a place of the store's, or not."""
    process = await limited(stage, BusyVendor(), 1)
    process.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await process.world.limiter(APP).spend(CALL, TurnLine("", "con_1"))
    assert stage.clock.steady() == 1000.0
    process.driver.dark = False


async def test_a_store_that_comes_back_is_asked_again(stage: Stage) -> None:
    """What waited to go alone goes with a place of the store's, which counts for all processes."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.refuse("budget")
    await all_of(at_once(traffic, process, "con_1", 1))
    assert traffic.when("con_1") == pytest.approx([1.0])
    assert given(stage) == [pytest.approx(1001.0)]


async def test_calls_beyond_the_pace_of_one_alone_are_refused_as_they_come(stage: Stage) -> None:
    """What is known to come too late does not wait for it; and after the outage calls come at the whole rate again."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.dark = True
    early = at_once(traffic, process, "con_1", 5)
    await stage.clock.sleep(1.1)
    await traffic.call(process, "con_1")
    ((whose, when),) = traffic.refused
    assert whose == "con_1"
    assert when == pytest.approx(1.1)
    await all_of(early)
    process.driver.dark = False
    began, before = stage.clock.steady(), len(traffic.went)
    await all_of(at_once(traffic, process, "con_1", RATE.most + 1))
    assert len(traffic.went) == before + RATE.most + 1
    assert stage.clock.steady() - began == pytest.approx(WINDOW)


async def test_one_failure_of_the_store_refuses_nobody(stage: Stage) -> None:
    """A file that was locked for a moment is no outage: a crowd that comes right after it goes at the whole rate."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.refuse("budget")
    first = at_once(traffic, process, "con_1", 1)
    await stage.clock.sleep(0.1)
    await all_of(at_once(traffic, process, "con_1", 20))
    await all_of(first)
    assert traffic.refused == []
    assert len(traffic.went) == 21


async def test_a_token_does_not_wait_with_the_calls_that_go_alone(stage: Stage) -> None:
    """The store is asked again each second, and says so; once it is back the token has its place of the store's."""
    process, traffic = await limited(stage, BusyVendor(), 5), Traffic(stage)  # alone, one goes in 3.1 seconds
    process.driver.dark = True
    calls = at_once(traffic, process, "con_1", 2)
    await stage.clock.sleep(1.5)
    with pytest.raises(StoreUnavailable):
        await process.world.limiter(APP).spend(5.0)
    assert stage.clock.steady() == pytest.approx(1002.0)
    process.driver.dark = False
    await process.world.limiter(APP).spend(5.0)
    assert stage.clock.steady() == pytest.approx(1003.0)
    await all_of(calls)
    assert traffic.when("con_1") == pytest.approx([1.0, 3.0])


def hangs(stage: Stage, process: Process, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """As a file that another program has locked: it says so, to each that asks, after so long."""

    async def locked(write: Write, call: Call[Any]) -> None:
        await stage.clock.sleep(seconds)
        raise StoreUnavailable("the file is locked")

    intercept(monkeypatch, process.store, "reserve_turn", locked)


@pytest.mark.row("F110")
async def test_a_store_that_hangs_is_not_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to say no: after a second calls go alone, one after the other, at their pace."""
    process, traffic = await under_ten(stage), Traffic(stage)
    hangs(stage, process, monkeypatch, 5.0)
    await all_of(at_once(traffic, process, "con_1", 8))
    assert traffic.when("con_1") == pytest.approx([1.0, 1.0 + 10 / 7.2, 1.0 + 20 / 7.2])
    assert traffic.codes == {"rate_limited": 5}
    calls = []
    for _ in range(30):
        calls += at_once(traffic, process, "con_1", 1)
        await stage.clock.sleep(1.0)
    await all_of(calls)
    went = traffic.when("con_1")
    assert len(went) >= 20
    assert all(later - earlier >= 10 / 7.2 - 1e-6 for earlier, later in itertools.pairwise(went)), went


@pytest.mark.row("F110")
async def test_a_place_that_is_answered_late_is_void(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be over: two calls wait; one goes alone after a second, and the other in a place of its own (I11)."""
    process, traffic = await under_ten(stage), Traffic(stage)
    waits = [3.0]

    async def late(write: Write, call: Call[Any]) -> Any:
        found = await write(call)
        if waits:
            await stage.clock.sleep(waits.pop())
        return found

    intercept(monkeypatch, process.store, "reserve_turn", late)
    await all_of(at_once(traffic, process, "con_1", 2))
    assert traffic.when("con_1") == pytest.approx([1.0, 1.0 + 10 / 7.2])
    await stage.clock.sleep(10.0)
    await all_of(at_once(traffic, process, "con_1", 1))
    assert len(given(stage)) == 1, "the late one is no longer in the window, and was used by nobody"


@pytest.mark.row("F110")
async def test_a_late_answer_of_a_place_that_was_not_taken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked for one that waits less long than those that are there when it comes: they have another (I11)."""
    process = await limited(stage, BusyVendor(), 100)  # alone, one goes in 0.14 s
    limiter = process.world.limiter(APP)
    await process.store.write(pause_turns(APP.client_id, 10.0))

    async def slow(write: Write, call: Call[Any]) -> Any:
        found = await write(call)
        await stage.clock.sleep(0.5)
        return found

    intercept(monkeypatch, process.store, "reserve_turn", slow)
    process.driver.refuse("budget")
    hurried = asyncio.create_task(limiter.spend(CALL, TurnLine("", "con_1")))
    await stage.clock.sleep(1.05)
    before = process.driver.seen["set_budget"]
    patient = [asyncio.create_task(limiter.spend(25.0, TurnLine("", "con_2"))) for _ in range(20)]
    await all_of([hurried, *patient])
    assert stage.notes.times("went_alone") + process.driver.seen["set_budget"] - before == 21


@pytest.mark.row("F110")
@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.parametrize("latency", [0.05, 0.12, 0.45])
async def test_after_a_hiccup_of_a_store_that_is_slow(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, latency: float, busy: bool
) -> None:
    """It is taken to be away until it answers, and no longer, whoever waited for that: requests of ours, which never go
    alone, have their turns again (I10), and callers theirs.
    """
    process, traffic = await under_ten(stage), Traffic(stage)
    waits, ours = [3.0], list[bool]()

    async def slow(write: Write, call: Call[Any]) -> Any:
        await stage.clock.sleep(waits.pop() if waits else latency)
        return await write(call)

    intercept(monkeypatch, process.store, "reserve_turn", slow)
    calls = []
    for _ in range(20):
        if busy:
            calls += [task for number in range(3) for task in at_once(traffic, process, f"con_{number}", 1)]
        try:
            await process.world.limiter(APP).spend(5.0)
        except TryAgain:
            ours.append(False)
        else:
            ours.append(True)
        await stage.clock.sleep(1.0)
    await all_of(calls)
    assert ours[0] is False
    assert all(ours[10:]), ours
    assert not busy or not [at for _, at in traffic.refused if at > 20.0]


@pytest.mark.row("F110")
async def test_a_rate_that_is_only_observed_waits_for_no_store(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and requests of ours go while it hangs; as many are counted behind as is worth while."""
    process = another(stage.one, limit=Limit(RATE, observed=True))
    hangs(stage, process, monkeypatch, 1000.0)
    began = stage.clock.steady()
    for _ in range(MOST_COUNTING + 10):
        await process.world.limiter(APP).spend(CALL, TurnLine("", "con_1"))
    await process.world.limiter(APP).spend(CALL)
    assert stage.clock.steady() - began == pytest.approx(MOST_COUNTING * GLANCE)
    await process.world.limiter(APP).stop()


async def test_a_store_that_hung_when_the_vault_is_closed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was asked last is given up with it."""
    process, traffic = await under_ten(stage), Traffic(stage)
    hangs(stage, process, monkeypatch, 1000.0)
    await all_of(at_once(traffic, process, "con_1", 1))
    await process.world.limiter(APP).stop()
    assert stage.clock.steady() == pytest.approx(1001.0)


@pytest.mark.row("F110")
async def test_a_full_disk_is_what_a_call_is_told(stage: Stage) -> None:
    """Calls go alone, and those beyond that pace learn what is in the way, not that the rate were used up."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.writes_fail = True
    await all_of(at_once(traffic, process, "con_1", 20))
    assert len(traffic.when("con_1")) == 3
    assert traffic.codes == {"store_unavailable": 17}
    assert all(wait is not None and wait > 0 for wait in traffic.waits)
    process.driver.writes_fail = False


async def test_a_copy_that_may_not_write_goes_on_slowly(stage: Stage) -> None:
    """The other installation spends the budget: a copy of its database that is only read takes a tenth beside it."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.store._read_only = True
    await all_of(at_once(traffic, process, "con_1", 3))
    assert traffic.when("con_1") == pytest.approx([1.0, 1.0 + 10 / 7.2, 1.0 + 20 / 7.2])
    process.store._read_only = False


async def test_watching_stops_nobody_when_the_store_is_away(stage: Stage) -> None:
    """`observe` counts, and a call that cannot be counted goes all the same."""
    process, traffic = another(stage.one, limit=Limit(RATE, observed=True)), Traffic(stage)
    process.driver.dark = True
    await all_of(at_once(traffic, process, "con_1", 20))
    assert len(traffic.when("con_1")) == 20
    process.driver.dark = False


# --- a call of a connection


async def test_a_call_waits_in_the_line_of_its_hotel(stage: Stage) -> None:
    """By the client id of the app that its token was lent for; refused, it names its connection."""
    grant = await stage.connected()
    process = await under_ten(stage)
    await process.access.access_token(grant.connection_id)
    await asyncio.gather(*(process.access.turn(grant.connection_id) for _ in range(RATE.most + 1)))
    assert stage.clock.steady() - 1000.0 == pytest.approx(WINDOW)
    await process.store.write(pause_turns(APP.client_id, 30.0))
    with pytest.raises(RateLimited) as caught:
        await process.access.turn(grant.connection_id)
    assert caught.value.connection_id == grant.connection_id
    assert caught.value.retry_after == pytest.approx(30.0)


async def test_a_call_waits_in_the_line_of_its_caller(stage: Stage) -> None:
    """Another caller's calls, however many, and of the same hotel, do not go ahead of it."""
    grant = await stage.connected()
    process = await under_ten(stage)
    went: list[str] = []

    async def call(caller: str) -> None:
        await process.access.turn(grant.connection_id, caller)
        went.append(caller)

    await asyncio.gather(*(call(caller) for caller in ["key_1"] * 3 * RATE.most + ["key_2"]))
    assert went.index("key_2") <= 2


async def test_a_further_app_is_looked_for_once(stage: Stage) -> None:
    """Its calls count for its own client id, cost no look of their own, and go on while the store is away (F62)."""
    await stage.one.store.write(
        add_app(replace(APP, id="aurora", client_id="client-2", redirect_uri="http://localhost/a"))
    )
    grant = await stage.connected(app="aurora")
    process = await under_ten(stage)
    await process.access.access_token(grant.connection_id)
    for _ in range(3):
        await process.access.turn(grant.connection_id)
    assert process.driver.seen["app"] == 1
    assert set(process.world.limiters) == {("aurora", "client-2")}
    process.driver.dark = True
    await process.access.turn(grant.connection_id)
    await process.access.note_pause(grant.connection_id, 1.0)
    process.driver.dark = False


async def test_a_further_app_that_was_added_again_with_another_client_id(stage: Stage) -> None:
    """Once a hotel approved it, calls count for the new client id, at the rate of its level."""
    aurora = replace(APP, id="aurora", client_id="client-2", redirect_uri="http://localhost/a")
    await stage.one.store.write(add_app(aurora))
    source = Source(stage.one.world.issuer, "client-2")
    grant = await stage.connected(pair(1, property_ids=("1000",)), app="aurora", source=source)
    process = await under_ten(stage)
    await process.access.access_token(grant.connection_id)
    await process.access.turn(grant.connection_id)
    await stage.one.store.write(disconnect(grant.connection_id))
    assert await stage.one.store.write(remove_app("aurora")) == 0
    await stage.one.store.write(add_app(replace(aurora, client_id="client-3")))
    again = Source(stage.one.world.issuer, "client-3")
    grant = await stage.connected(pair(2, property_ids=("1001",)), app="aurora", source=again)
    await process.access.access_token(grant.connection_id)
    await process.access.turn(grant.connection_id)
    assert set(process.world.limiters) == {("aurora", "client-2"), ("aurora", "client-3")}


async def test_a_call_of_an_app_that_is_missing(stage: Stage) -> None:
    """Its token is lent while it lasts, so the call goes; no client id is known that it could count for."""
    grant = await stage.connected(app="aurora")
    process = await under_ten(stage)
    await process.access.access_token(grant.connection_id)
    await process.access.turn(grant.connection_id)
    await process.access.note_pause(grant.connection_id, 30.0)
    assert process.world.limiters == {}


async def test_a_call_of_a_connection_that_no_token_was_lent_of(stage: Stage) -> None:
    """Its app is read; where there is no such connection, that is said."""
    grant = await stage.connected()
    process = await under_ten(stage)
    await process.access.turn(grant.connection_id)
    assert set(process.world.limiters) == {("default", APP.client_id)}
    with pytest.raises(UnknownConnection, match="con_unknown"):
        await process.access.turn("con_unknown")


async def test_without_a_limit_a_call_asks_nobody(stage: Stage) -> None:
    """Off is off."""
    stage.one.driver.dark = True
    await stage.one.access.turn("con_whatever")
    assert stage.one.world.limiters == {}
    stage.one.driver.dark = False


# --- 429


@pytest.mark.row("F20")
async def test_a_429_of_a_call_pauses_every_process(stage: Stage) -> None:
    """Before the caller has its answer; then nobody of the client id has a turn until the pause is over."""
    grant = await stage.connected()
    one, two, traffic = await under_ten(stage), await under_ten(stage), Traffic(stage)
    await one.access.access_token(grant.connection_id)
    await one.access.note_pause(grant.connection_id, 3.0)
    await all_of([*at_once(traffic, one, "con_1", 2), *at_once(traffic, two, "con_2", 2)])
    assert min(at for _, at in traffic.went) == pytest.approx(3.0)
    assert stage.notes.told[-1] == ("vendor_rate_limited", {"app": "default", "pause": 3.0})
    await one.access.note_pause(grant.connection_id, 60.0)
    await all_of([*at_once(traffic, one, "con_1", 1), *at_once(traffic, two, "con_2", 1)])
    assert traffic.waits == [pytest.approx(60.0, abs=1.0), pytest.approx(60.0, abs=1.0)]


async def test_a_place_that_was_waited_for_is_void_after_a_429(stage: Stage) -> None:
    """The process that was answered 429 sends nothing more, also where its next place had been given already."""
    process, traffic = await under_ten(stage), Traffic(stage)
    calls = at_once(traffic, process, "con_1", RATE.most + 3)
    await stage.clock.sleep(1.0)
    before = len(traffic.went)
    await process.world.limiter(APP).pause(2.0)
    paused = stage.clock.steady() - 1000.0
    await all_of(calls)
    assert all(at >= paused + 2.0 - 1e-6 for _, at in traffic.went[before:])
    assert len(traffic.went) == RATE.most + 3


async def test_a_pause_that_the_store_does_not_take_holds_in_this_process(stage: Stage) -> None:
    """The store may be away; whoever was told waits all the same, and whoever cannot wait so long is told at once."""
    process, traffic = await under_ten(stage), Traffic(stage)
    process.driver.refuse("set_budget")
    await process.world.limiter(APP).pause(2.0)
    await all_of(at_once(traffic, process, "con_1", 3))
    assert traffic.when("con_1")[0] == pytest.approx(2.0)
    process.driver.refuse("set_budget")
    await process.world.limiter(APP).pause(8.0)
    patient = asyncio.create_task(process.world.limiter(APP).spend(25.0))
    await settle()
    await traffic.call(process, "con_1")
    assert traffic.waits == [pytest.approx(8.0, abs=0.5)]
    await patient


async def test_watching_only_a_429_pauses_nobody(stage: Stage) -> None:
    """`observe` and `0` change nothing but what is told."""
    for limit in (Limit(RATE, observed=True), None):
        process = another(stage.one, limit=limit)
        await process.world.limiter(APP).pause(30.0)
        await process.world.limiter(APP).spend(CALL, TurnLine("", "con_1"))
    assert stage.notes.times("vendor_rate_limited") == 2
    assert stage.clock.steady() == 1000.0


async def paused_for(stage: Stage, process: Process) -> float:
    """Seconds until another process has a turn."""
    return await process.store.write(reserve_turn(APP.client_id, RATE, -1.0))


@pytest.mark.row("F20")
async def test_a_429_of_the_token_endpoint_pauses_the_client_id(stage: Stage) -> None:
    """At a refresh as at an exchange; the hotel at hand has its own backoff besides."""
    grant = await stage.connected()
    process = another(stage.one, limit=Limit(RATE))
    await stage.clock.sleep(3700)
    stage.endpoint.will(Ambiguous("HTTP 429", 7.0, 7.0))
    asked = asyncio.create_task(process.refresh(grant.id, 1, patient=False))
    await settle(200)
    assert await paused_for(stage, stage.one) == pytest.approx(7.0)
    await asyncio.wait([asked])
    await stage.clock.sleep(20)
    begun = await process.authorizer.begin()
    stage.endpoint.will(Ambiguous("HTTP 429", 9.0, 9.0))
    with pytest.raises(TokenEndpointUnavailable):
        await process.authorizer.finish(code="code", state=begun.state)
    assert await paused_for(stage, stage.one) == pytest.approx(9.0)
    assert asked.exception() is not None


@pytest.mark.row("F20")
async def test_a_429_of_userinfo_pauses_the_client_id(stage: Stage) -> None:
    """A proof after a refresh, one before it, and one of a new approval: each is heard."""
    grant = await stage.connected()
    process = another(stage.one, limit=Limit(RATE))
    busy = Inconclusive("HTTP 429", 6.0)
    stage.endpoint.will(issued(2))
    stage.vendor.script.append(busy)
    await process.access.refresh_now(grant.connection_id)
    await process.idle()
    assert await paused_for(stage, stage.one) == pytest.approx(6.0)
    await stage.clock.sleep(10)
    stage.vendor.script.append(busy)
    with pytest.raises(RefreshInDoubt):
        await process.refresh(grant.id, 2, rejected=2, patient=False)
    assert await paused_for(stage, stage.one) == pytest.approx(6.0)
    await stage.clock.sleep(10)
    waiting = await stage.connected(pair("another"), proven=False)
    stage.vendor.script.append(busy)
    assert await process.candidates.resume(waiting.connection_id) is None
    assert await paused_for(stage, stage.one) == pytest.approx(6.0)


@pytest.mark.row("F20")
async def test_a_429_of_the_list_of_hotels_leaves_a_candidate_waiting(stage: Stage) -> None:
    """Which hotel it is, is not guessed; nobody of the client id sends for as long as Cloudbeds asks."""
    waiting = await stage.connected(pair(1), proven=False)
    process = another(stage.one, limit=Limit(RATE))
    stage.vendor.listed, stage.vendor.throttled = ("1000",), Throttled(4.0)
    assert await process.candidates.resume(waiting.connection_id) is None
    assert (await stage.row(waiting.id)).role is Role.CANDIDATE
    assert await paused_for(stage, stage.one) == pytest.approx(4.0)
    stage.vendor.throttled = None
    promoted = await process.candidates.resume(waiting.connection_id)
    assert promoted is not None
    assert promoted.property_ids == ("1000",)


@pytest.mark.row("F20")
async def test_a_429_of_a_disconnect_forgets_nothing(stage: Stage) -> None:
    """`rate_limited`, with the time to wait; told again after it, the vendor takes note."""
    grant = await stage.connected()
    process = another(stage.one, limit=Limit(RATE))
    stage.vendor.throttled = Throttled(4.0)
    with pytest.raises(RateLimited) as caught:
        await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert caught.value.retry_after == 4.0
    assert await stage.tokens(grant.id) == ["R-1"]
    assert await paused_for(stage, stage.one) == pytest.approx(4.0)
    stage.vendor.throttled = None
    await process.disconnecter.disconnect(grant.connection_id, forget=False)
    assert (await stage.row(grant.id)).role is Role.DISCONNECTED


async def test_the_store_is_away_for_a_request_of_ours(stage: Stage) -> None:
    """Every one that waits is told, with an error of its own."""
    process = await under_ten(stage)
    process.driver.refuse("budget", times=1)
    told = await asyncio.gather(*(process.world.limiter(APP).spend(5.0) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in told)
    assert len({id(one) for one in told}) == 3
