"""Transactions of several machines at the same moment: what one has read stays as it is until its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.fakes import pair
from tests.support.processes import Processes, leased, row

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.rules.model import Fence
from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.transactions.authorizations import Authorization, NewAuthorization, Spending, add_authorization
from cloudbeds_auth.transactions.candidates import add_candidate, promote
from cloudbeds_auth.transactions.grants import Busy, Leased, Written, commit_pair, take_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.rate_limit import reserve_turn
from cloudbeds_auth.transactions.refusals import note_problem
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import QUERIES, Statement, Transaction
from cloudbeds_auth.transactions.upkeep import claim_due

MACHINES, AT_ONCE = 3, 30
NESTED_LOOPS = ("enable_hashjoin", "enable_mergejoin", "enable_hashagg", "enable_sort", "enable_material")


async def stores(processes: Processes) -> list[Database]:
    """One store for each of so many askers, of three machines in turn."""
    machines = [await processes.store() for _ in range(MACHINES)]
    return [machines[at % MACHINES] for at in range(AT_ONCE)]


def state(number: int, home: str | None = None) -> NewAuthorization:
    """A state about to be issued."""
    return NewAuthorization(f"aut_x{number}", "default", f"state-x{number}", None, None, None, home, None, 600.0)


async def test_one_lease(processes: Processes) -> None:
    """Thirty ask, one has it."""
    askers = await stores(processes)
    grant = await processes.hotel(askers[0])
    taken = await asyncio.gather(*(one.write(take_lease(grant.id, f"p{at}", 30.0)) for at, one in enumerate(askers)))
    assert sum(isinstance(one, Leased) for one in taken) == 1
    assert sum(isinstance(one, Busy) for one in taken) == AT_ONCE - 1


async def test_one_state_is_spent_once(processes: Processes) -> None:
    """Thirty browsers come back with it and different codes: one is let in."""
    askers = await stores(processes)
    await askers[0].write(add_authorization(state(1)))
    spent = await asyncio.gather(*(spend(one, "state-x1", None, f"code-{at}") for at, one in enumerate(askers)))
    assert sum(isinstance(one, Authorization) for one in spent) == 1
    assert set(spent) - {one for one in spent if isinstance(one, Authorization)} == {Spending.SPENT}


async def test_one_hotel_approves_again_on_every_machine(processes: Processes) -> None:
    """Its approvals come in together: all go to the connection it has, each with a generation of its own; one wins."""
    askers = await stores(processes)
    hotel = await processes.hotel(askers[0])
    for at, one in enumerate(askers):
        await one.write(add_authorization(state(at)))
        await spend(one, f"state-x{at}", None, "code")
    again = pair(2, property_ids=hotel.property_ids)
    homes = await asyncio.gather(
        *(
            one.write(add_candidate(f"aut_x{at}", f"con_x{at}", f"gra_x{at}", again, stale_after=3240.0))
            for at, one in enumerate(askers)
        )
    )
    assert set(homes) == {hotel.connection_id}
    generations = [(await row(askers[0], f"gra_x{at}")).generation for at in range(AT_ONCE)]
    assert sorted(generations) == list(range(2, AT_ONCE + 2))
    await asyncio.gather(
        *(
            one.write(promote(hotel.connection_id, f"gra_x{at}", generations[at], None, ()))
            for at, one in enumerate(askers)
        )
    )
    current = await current_grant(askers[0], hotel.connection_id)
    assert current is not None
    assert current.generation == AT_ONCE + 1, "the newest"


async def test_one_of_many_commits(processes: Processes) -> None:
    """Everybody holds a pair for the same generation and epoch: one is committed, the others are told so."""
    askers = await stores(processes)
    grant = await processes.hotel(askers[0])
    fence = await leased(askers[0], grant)
    written = await asyncio.gather(
        *(one.write(commit_pair(fence, grant.tokens[-1], pair(2), stale_after=3240.0)) for one in askers)
    )
    assert set(written) == {Written.DONE}, "the same epoch: it is the same pair, committed once"
    assert (await row(askers[0], grant.id)).generation == 2
    stale = Fence(grant.id, 1, fence.epoch + 1)
    again = await asyncio.gather(
        *(one.write(commit_pair(stale, grant.tokens[-1], pair(3), stale_after=3240.0)) for one in askers)
    )
    assert set(again) == {Written.GENERATION_MOVED}


async def test_turns_at_the_vendor(processes: Processes) -> None:
    """The first ever are asked for together, and each gets one of its own."""
    askers = await stores(processes)
    one_a_minute = Rate(1, 60.0)
    waits = await asyncio.gather(*(one.write(reserve_turn("client", one_a_minute, 1e9)) for one in askers))
    assert [round(wait / 60.0) for wait in sorted(waits)] == list(range(AT_ONCE))


async def test_due_work(processes: Processes) -> None:
    """Whatever is due goes to one of those who ask, and nothing is left."""
    askers = await stores(processes)
    grants = [await processes.hotel(askers[0]) for _ in range(12)]
    driver = await processes.driver()
    await driver.write(lambda now: _all_due())
    claimed = await asyncio.gather(*(one.write(claim_due(2, 60.0)) for one in askers))
    found = [grant_id for some in claimed for grant_id in some]
    assert sorted(found) == sorted(grant.id for grant in grants)


def _all_due() -> Transaction[None]:
    yield Statement("all_due", "UPDATE grants SET due_at = 1", {})


@pytest.mark.parametrize("planner", [(), NESTED_LOOPS])
async def test_a_claim_is_no_larger_than_was_asked(processes: Processes, planner: tuple[str, ...]) -> None:
    """However the server goes about it: a subquery that is run again for each row would lock others each time."""
    store = await processes.store()
    for _ in range(9):
        await processes.hotel(store)
    driver = await processes.driver()
    await driver.write(lambda now: _all_due())
    assert len(await driver.write(lambda now: _claim(planner, 4))) == 4


def _claim(planner: tuple[str, ...], limit: int) -> Transaction[list[Any]]:
    for setting in planner:
        yield Statement(setting, f"SET LOCAL {setting} = off", {})
    asked = {"now": 2.0, "until": 62.0, "limit": limit, "of_one": 9, "full": "[]", "since": 0.0, "looked_at": 1000}
    claimed = yield Statement("claim_due", QUERIES["claim_due"], asked)
    return list(claimed)


async def test_one_history(processes: Processes) -> None:
    """Lines of one connection are numbered one after another, whoever writes them; hotels do not hold each other up."""
    askers = await stores(processes)
    one, two = await processes.hotel(askers[0]), await processes.hotel(askers[0])
    begun = [len(await askers[0].read(read_history(grant.connection_id, limit=200))) for grant in (one, two)]
    await asyncio.gather(
        *(
            store.write(note_problem(grant.id, 1, f"problem_{at}", {}))
            for at, store in enumerate(askers)
            for grant in ((one, two) if at % 2 else (two, one))
        )
    )
    for grant, before in zip((one, two), begun, strict=True):
        told = [event.sequence for event in await askers[0].read(read_history(grant.connection_id, limit=200))]
        assert told == list(range(before + AT_ONCE, 0, -1))
