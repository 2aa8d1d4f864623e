"""Many callers of many hotels that nobody asked about for a while, at one moment, with the database far away."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest
from tests.postgres.cold_herd import process
from tests.support.far import far
from tests.support.processes import Processes

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.errors import Error

CALLERS = 2_000
EACH_WAY = 0.002  # seconds


@pytest.mark.long
@pytest.mark.row("F105")
async def test_two_thousand_callers_of_cold_hotels(processes: Processes) -> None:
    """Each has its token, by a few transactions: nobody is turned away because the others wait for a connection."""
    homes = await processes.hotels(await processes.store(), CALLERS)
    with far(processes.url, EACH_WAY) as url:
        one = await process(processes, url)

        async def call(home: str) -> str:
            try:
                return (await one.access.access_token(home)).reveal()
            except Error as error:
                return error.code

        answers = Counter(await asyncio.gather(*map(call, homes)))
    assert answers == {"A-1": CALLERS}
    assert one.driver.seen["current"] <= CALLERS / 100


@pytest.mark.row("F105")
async def test_two_thousand_callers_who_name_properties(processes: Processes) -> None:
    """Whose connection each property is, found for all of them together; an id that no row can have is nobody's."""
    store = await processes.store()
    hotel = await processes.hotel(store)
    with far(processes.url, EACH_WAY) as url:
        one = await process(processes, url)
        asked = [*(str(number) for number in range(1001, 1001 + CALLERS - 2)), hotel.connection_id, "1001\0"]
        found = await asyncio.gather(*map(partial(resolve, one.store), asked))
    assert [ids for ids in found if ids] == [[hotel.connection_id]] * 2
    assert one.driver.seen["covering"] <= CALLERS / 100
