"""The transactions of authorizations: how many states may wait to come back, and what is deleted (A74)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.database.bench import Bench, HandClock, link

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.transactions import authorizations
from cloudbeds_auth.transactions.authorizations import Authorization, Spending, add_authorization, add_link
from cloudbeds_auth.transactions.retention import sweep
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Rows, Statement, Transaction

ANONYMOUS: dict[str, Any] = {"browser_hash": "b1", "trusted": False}


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches."""
    monkeypatch.setattr(authorizations, "MOST_PENDING", 3)
    monkeypatch.setattr(authorizations, "MOST_OF_ONE_LINK", 2)


async def begin(bench: Bench, count: int = 1, **more: Any) -> Spending | None:
    """Begin so many alike: what the last one was answered."""
    for _ in range(count):
        answer = await bench.store.write(add_authorization(bench.state(**more)))
    return answer


@pytest.mark.row("A74")
async def test_so_many_wait(bench: Bench) -> None:
    """One more is not stored; when one came back, or is over, there is room again."""
    first = bench.state(**ANONYMOUS)
    assert await bench.store.write(add_authorization(first)) is None
    assert await begin(bench, 2, **ANONYMOUS) is None
    refused = bench.state(**ANONYMOUS)
    assert await bench.store.write(add_authorization(refused)) is Spending.FULL
    assert await spend(bench.store, refused.state_hash, "b1", "code") is Spending.UNKNOWN
    assert isinstance(await spend(bench.store, first.state_hash, "b1", "code"), Authorization)
    assert await begin(bench, **ANONYMOUS) is None
    assert await begin(bench, **ANONYMOUS) is Spending.FULL


@pytest.mark.row("A74")
async def test_room_comes_with_time(bench: Bench, clock: HandClock) -> None:
    """States whose time is over wait no more."""
    assert await begin(bench, 3, **ANONYMOUS) is None
    clock.pass_(599.0)
    assert await begin(bench, **ANONYMOUS) is Spending.FULL
    clock.pass_(1.0)
    assert await begin(bench, 3, **ANONYMOUS) is None


@pytest.mark.row("A74")
async def test_a_flood_stops_nobody_else(bench: Bench) -> None:
    """Anonymous ones fill up their own kind: links and programs begin as before, each within their own bound."""
    await begin(bench, 4, **ANONYMOUS)
    await bench.store.write(add_link(link("l1")))
    await bench.store.write(add_link(link("l2")))
    linked = {"browser_hash": "b1"}
    assert await begin(bench, 2, link_hash="l1", **linked) is None
    assert await begin(bench, 1, link_hash="l1", **linked) is Spending.FULL
    assert await begin(bench, 2, link_hash="l2", **linked) is None
    assert await begin(bench, 3) is None
    assert await begin(bench) is Spending.FULL


def _counted() -> Transaction[Rows]:
    return (yield Statement("counted", "SELECT COUNT(*) AS n FROM authorizations", {}))


@pytest.mark.row("A74")
async def test_what_is_over_is_deleted(bench: Bench, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few at a time, by each start; a spent state is remembered for a day, so its code is shown what it led to."""
    monkeypatch.setattr(authorizations, "SWEPT", 2)

    async def rested() -> int:
        assert isinstance(bench.store, Database)
        (row,) = await bench.store._driver.read(lambda now: _counted())
        return int(row["n"])

    spent = bench.state(**ANONYMOUS)
    await bench.store.write(add_authorization(spent))
    await spend(bench.store, spent.state_hash, "b1", "code")
    await begin(bench, 3, **ANONYMOUS)
    assert await rested() == 4
    clock.pass_(600.0)
    await begin(bench, **ANONYMOUS)
    assert await rested() == 3  # the spent one, one that is over, the new one
    await begin(bench, **ANONYMOUS)
    assert await rested() == 3
    assert await spend(bench.store, spent.state_hash, "b1", "code") is Spending.UNFINISHED
    clock.pass_(86401.0)
    assert await bench.store.write(sweep(400 * 86400.0, 500)) == 3
    assert await rested() == 0
