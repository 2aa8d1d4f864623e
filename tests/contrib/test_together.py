"""Clients of every kind, blocking and asynchronous, over one store: a token ends, and one refresh mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from threading import Barrier, Condition, Event
from types import ModuleType

import cloudbeds_pms
import cloudbeds_pms_v1_3
import httpx
import httpx2
import pytest
import requests
from tests.contrib.hotel import LIBRARIES, Hotel, auth_for

from cloudbeds_auth import TokenVault
from cloudbeds_auth.contrib import sdk
from cloudbeds_auth.contrib.requests import RequestsAuth

SYSTEM = "/property/v1/system"  # asks for the header
EACH = 8  # callers of each kind


def kinds(hotel: Hotel, stack: ExitStack) -> list[Callable[[], int]]:
    """One blocking call by each kind of client; its status."""
    session, url = stack.enter_context(requests.Session()), hotel.url("getHotels")
    newer = stack.enter_context(httpx2.Client(auth=auth_for(httpx2, hotel.vault, hotel.id)))
    older = stack.enter_context(httpx.Client(auth=auth_for(httpx, hotel.vault, hotel.id)))
    one = stack.enter_context(sdk.api_client(hotel.vault, hotel.id, package=cloudbeds_pms_v1_3))
    two = stack.enter_context(sdk.api_client(hotel.vault, hotel.id, package=cloudbeds_pms))
    auth = RequestsAuth(hotel.vault, hotel.id)
    hotels, system = cloudbeds_pms_v1_3.HotelApi(one), cloudbeds_pms.PropertyApi(two)
    return [
        lambda: session.get(url, auth=auth).status_code,
        lambda: newer.get(url).status_code,
        lambda: older.get(url).status_code,
        lambda: hotels.get_hotels_get_with_http_info().status_code,
        lambda: system.system_controller_get_system_with_http_info("100001").status_code,
    ]


@pytest.mark.row("F41")
async def test_all_kinds_of_clients_cost_one_refresh(hotel: Hotel) -> None:
    """40 threads of five clients on a blocking vault, 16 tasks of two on an asynchronous one: one refresh for all."""
    with ExitStack() as stack:
        each = kinds(hotel, stack)
        blocking = each * EACH
        ready, pool = Barrier(len(blocking) + 1), stack.enter_context(ThreadPoolExecutor(len(blocking) + 1))
        async with TokenVault.open(hotel.settings) as other, AsyncExitStack() as open_ones:
            clients = [library.AsyncClient(auth=auth_for(library, other, hotel.id)) for library in LIBRARIES]
            tasks = [(await open_ones.enter_async_context(one)).get for one in clients] * EACH
            assert [await asyncio.to_thread(call) for call in each] == [200] * len(each)
            assert [(await get(hotel.url("getHotels"))).status_code for get in tasks[:2]] == [200, 200]
            await asyncio.to_thread(hotel.expire)

            def at_once(call: Callable[[], int]) -> int:
                ready.wait(30)
                return call()

            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(pool, at_once, call) for call in blocking]
            await loop.run_in_executor(pool, ready.wait, 30)
            answers = await asyncio.gather(*(get(hotel.url("getHotels")) for get in tasks))
            statuses = [*(await asyncio.gather(*calls)), *(one.status_code for one in answers)]
        assert statuses == [200] * (len(blocking) + len(tasks))
        assert hotel.refreshes == 1
        died = {one["access_token"] for one in hotel.calls() if one["status"] == 401}
        assert len(died) == 1, "everybody met the same dead token"


@pytest.mark.parametrize("library", [requests, *LIBRARIES], ids=lambda library: library.__name__)
def test_a_property_id_is_named_to_cloudbeds(hotel: Hotel, library: ModuleType) -> None:
    """Whatever the client: where the hotel is given by a property id, Cloudbeds is given it; what the caller names
    stays; by a connection id no property is named.
    """
    kind = requests.Session if library is requests else library.Client

    def ask(identifier: str, **named: str) -> int:
        with kind() as client:
            lend = RequestsAuth if library is requests else partial(auth_for, library)
            auth = lend(hotel.vault, identifier)
            return client.get(f"{hotel.vault.base_url}{SYSTEM}", headers=named, auth=auth).status_code

    assert [ask("100001"), ask(hotel.id, **{"X-Property-ID": "100001"})] == [200, 200]
    assert [ask(hotel.id), ask("100001", **{"X-PROPERTY-ID": "999999"})] == [400, 403]


ROTATIONS = 3
CALLERS = 32


@pytest.mark.long
@pytest.mark.row("F41")
@pytest.mark.parametrize("package", [cloudbeds_pms_v1_3, cloudbeds_pms], ids=lambda package: package.__name__)
def test_thirty_two_threads_of_the_vendors_package_see_no_401_across_three_rotations(
    hotel: Hotel, package: ModuleType
) -> None:
    """The package as it is published, never told of a token; the token ends three times under the hands of 32 threads.
    Each time one refresh mends it, and no thread ever sees anything but a 200.
    """
    statuses: list[int] = []
    progress, ended = Condition(), Event()

    def caller(ask: Callable[[], int]) -> None:
        while not ended.is_set():
            status = ask()  # a refusal that came through would be raised
            with progress:
                statuses.append(status)
                progress.notify_all()

    def until(number: int) -> None:
        with progress:
            assert progress.wait_for(lambda: len(statuses) >= number, 60)

    with ExitStack() as stack:
        *_, one, two = kinds(hotel, stack)
        ask = one if package is cloudbeds_pms_v1_3 else two
        pool = stack.enter_context(ThreadPoolExecutor(CALLERS))
        callers = [pool.submit(caller, ask) for _ in range(CALLERS)]
        try:
            for rotation in range(1, ROTATIONS + 1):
                until(len(statuses) + CALLERS)
                hotel.expire()
                until(len(statuses) + 2 * CALLERS)
                assert hotel.refreshes == rotation
        finally:
            ended.set()
        for one_of_them in callers:
            one_of_them.result(60)
    assert set(statuses) == {200}
    assert 401 in hotel.statuses(), "the vendor did refuse the dead tokens; nobody but the vault met that"
