"""The transactions of origins: what came from elsewhere, and what belongs to another origin from now on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.bench import Bench
from tests.support.fakes import HERE, pair

from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.origins import Source
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import add_app
from cloudbeds_auth.transactions.origins import move_grants, read_foreign

A, B = "https://a.example", "https://b.example"
AURORA = App("aurora", "client-2", (Secret("first"),), "https://a.example/callback/aurora")
BOREAL = App("boreal", "client-3", (Secret("boreal"),), "https://a.example/callback/boreal")


async def test_a_foreign_candidate_beside_a_healthy_grant_is_found(bench: Bench) -> None:
    """What came from elsewhere is counted although the connection serves, and shows nothing of it."""
    used = await bench.connected(replace(pair(1, property_ids=("1000",)), source=Source(A, "one")))
    foreign = replace(pair(2, property_ids=("1000",)), source=Source(B, "two"))
    await bench.approved(foreign, connection_id=used.connection_id)
    (found,) = await bench.store.read(read_foreign(A, {"default": "one"}))
    assert found.what == f"1 hotel: its tokens were issued by {B}, and CLOUDBEDS_BASE_URL is {A}"


@pytest.mark.row("F92")
async def test_one_finding_for_each_cause(bench: Bench) -> None:
    """Hotels are counted together, however many grants each has; a secret that is for another origin has a finding of
    its own only where no tokens are. A token whose origin was not stored has that of its app.
    """
    await bench.store.write(add_app(replace(AURORA, issuer=B)))
    await bench.store.write(add_app(replace(BOREAL, issuer=A)))
    for number, source, app in (
        (1, Source(A, "one"), "default"),
        (2, Source(None, "one"), "default"),
        (3, Source(B, "old"), "default"),
        (4, Source(B, AURORA.client_id), "aurora"),
    ):
        one = replace(pair(number, property_ids=(f"{number}000",)), source=source)
        grant = await bench.connected(one, app=app)
        again = replace(pair(number + 10, property_ids=(f"{number}000",)), source=source)
        await bench.approved(again, app=app, connection_id=grant.connection_id)
    found = [one.what for one in await bench.store.read(read_foreign(B, {"default": "one"}))]
    assert found == [
        f"2 hotels: their tokens were issued by {A}, and CLOUDBEDS_BASE_URL is {B}",
        "1 hotel: its tokens were issued to the client id old, and CLOUDBEDS_CLIENT_ID is one",
        f"the client secret of the app 'boreal' is for {A}, and CLOUDBEDS_BASE_URL is {B}",
    ]


async def test_grants_are_moved_twice_at_once(bench: Bench) -> None:
    """By two processes, where the vendor moved: each grant is moved by one of them, with one line of history."""
    here, there = HERE.issuer or "", "https://moved.example"
    hotels = [await bench.connected(replace(pair(number), source=HERE)) for number in range(5)]
    moves = await asyncio.gather(
        *(
            store.write(move_grants("default", here, there, after="", limit=5))
            for store in (bench.store, await bench.another())
        )
    )
    assert sum(moved for _, moved in moves) == len(hotels)
    for hotel in hotels:
        assert (await bench.row(hotel.id)).source.issuer == there
        assert (await bench.kinds(hotel.connection_id)).count("origin_moved") == 1
