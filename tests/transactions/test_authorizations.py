"""The transactions of authorizations: states and links, how many states may wait, and what is deleted (A74)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.bench import Bench, HandClock, link
from tests.support.fakes import pair

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.errors import RateLimited, StateMismatch
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import Acting
from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.transactions import authorizations
from cloudbeds_auth.transactions.authorizations import (
    Authorization,
    Spending,
    add_authorization,
    add_link,
    read_link,
    read_link_outcome,
)
from cloudbeds_auth.transactions.caller_keys import add_caller_key
from cloudbeds_auth.transactions.candidates import add_candidate
from cloudbeds_auth.transactions.expectations import Spare, settle_approval
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.history import sweep
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.statements import Rows, Statement, Transaction

DAY = 86400.0


# --- states


async def test_a_state_is_spent_once(bench: Bench) -> None:
    """What was begun with it comes back, once; another code finds it spent."""
    new = bench.state(reference="tenant-7", return_to="/done", connection_id=None)
    await bench.store.write(add_authorization(new))
    spent = await spend(bench.store, new.state_hash, None, "code")
    assert spent == Authorization(new.id, "default", "tenant-7", "/done", None, None)
    assert await spend(bench.store, new.state_hash, None, "other") is Spending.SPENT


async def test_the_same_code_again_before_and_after_its_outcome(bench: Bench) -> None:
    """While the exchange runs, or where nothing came of it: unfinished. Once it led to a connection: that one."""
    new = bench.state()
    await bench.store.write(add_authorization(new))
    await spend(bench.store, new.state_hash, None, "code")
    assert await spend(bench.store, new.state_hash, None, "code") is Spending.UNFINISHED
    home = await bench.store.write(add_candidate(new.id, "con_1", "gra_1", pair(1), stale_after=9.0))
    again = await spend(bench.store, new.state_hash, None, "code")
    assert isinstance(again, Authorization)
    assert again.earlier == home == "con_1"
    assert await spend(bench.store, new.state_hash, None, "other") is Spending.SPENT


@pytest.mark.row("A01", "A09")
@pytest.mark.parametrize(("issued", "back"), [("b1", "b2"), ("b1", None), (None, "b1")])
async def test_a_state_is_bound_to_its_browser(bench: Bench, issued: str | None, back: str | None) -> None:
    """Another browser's is unknown, before it is spent, after it, and when it is expired."""
    new = bench.state(browser_hash=issued)
    await bench.store.write(add_authorization(new))
    assert await spend(bench.store, new.state_hash, back, "code") is Spending.UNKNOWN
    assert isinstance(await spend(bench.store, new.state_hash, issued, "code"), Authorization)
    assert await spend(bench.store, new.state_hash, back, "code") is Spending.UNKNOWN


async def test_a_state_that_was_never_issued(bench: Bench) -> None:
    """Unknown."""
    assert await spend(bench.store, "forged", None, "code") is Spending.UNKNOWN


@pytest.mark.row("A05")
async def test_a_state_expires(bench: Bench, clock: HandClock) -> None:
    """After its lifetime, told as expired for a day, then unknown; a spent one is shown its outcome still."""
    new = bench.state()
    await bench.store.write(add_authorization(new))
    clock.pass_(599.0)
    other = bench.state()
    await bench.store.write(add_authorization(other))
    clock.pass_(1.0)
    assert await spend(bench.store, new.state_hash, None, "code") is Spending.EXPIRED
    assert isinstance(await spend(bench.store, other.state_hash, None, "code"), Authorization)
    clock.pass_(DAY + 1.0)
    await bench.store.write(add_authorization(bench.state()))
    assert await spend(bench.store, new.state_hash, None, "code") is Spending.UNKNOWN
    assert await spend(bench.store, other.state_hash, None, "other") is Spending.SPENT


async def test_only_hashes_rest(bench: Bench) -> None:
    """Two rows cannot have the same state."""
    new = bench.state(state_hash="twice")
    await bench.store.write(add_authorization(new))
    with pytest.raises(Exception, match=r"(?i)unique"):
        await bench.store.write(add_authorization(bench.state(state_hash="twice")))


# --- links


async def test_a_link(bench: Bench, clock: HandClock) -> None:
    """Known until it expires; what it was made for comes back, with the time it has left."""
    await bench.store.write(add_link(link("l1", reference="tenant-7", return_to="/x", connection_id="con_1")))
    clock.pass_(20.0)
    found = await bench.store.read(read_link("l1"))
    assert found is not None
    assert (found.reference, found.return_to, found.connection_id) == ("tenant-7", "/x", "con_1")
    assert found.lifetime == pytest.approx(40.0)
    assert await bench.store.read(read_link("l2")) is None
    clock.pass_(40.0)
    assert await bench.store.read(read_link("l1")) is None


async def test_a_link_is_used_up_by_a_connection(bench: Bench) -> None:
    """Not by opening it."""
    await bench.store.write(add_link(link("l1")))
    await bench.store.write(add_authorization(bench.state(link_hash="l1")))
    assert await bench.store.read(read_link("l1")) is not None
    await bench.approved(link_hash="l1")
    assert await bench.store.read(read_link("l1")) is None


async def test_a_link_opened_in_two_browsers_connects_once(bench: Bench) -> None:
    """Both got a state; the one that comes back second finds the link used, before its exchange and after it."""
    await bench.store.write(add_link(link("l1")))
    late, later = bench.state(link_hash="l1"), bench.state(link_hash="l1")
    await bench.store.write(add_authorization(late))
    await bench.store.write(add_authorization(later))
    assert isinstance(await spend(bench.store, late.state_hash, None, "code"), Authorization)
    assert await bench.store.read(read_link_outcome("l1")) is None
    first = await bench.approved(link_hash="l1")
    assert await bench.store.read(read_link_outcome("l1")) == first.connection_id
    assert await spend(bench.store, later.state_hash, None, "code") is Spending.SPENT
    with pytest.raises(StateMismatch):
        await bench.store.write(add_candidate(late.id, "con_late", "gra_late", pair(9), stale_after=9.0))
    assert await bench.store.read(read_grant("gra_late")) is None


async def test_a_state_whose_link_was_swept(bench: Bench) -> None:
    """The link is long gone: the state decides alone."""
    new = bench.state(link_hash="gone")
    await bench.store.write(add_authorization(new))
    assert isinstance(await spend(bench.store, new.state_hash, None, "code"), Authorization)


ANONYMOUS: dict[str, Any] = {"browser_hash": "b1", "trusted": False}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test reaches."""
    monkeypatch.setattr(authorizations, "MOST_PENDING", 3)
    monkeypatch.setattr(authorizations, "MOST_OF_ONE_LINK", 2)


async def begin(bench: Bench, count: int = 1, **more: Any) -> Spending | None:
    """Begin so many alike: what the last one was answered."""
    for _ in range(count):
        answer = await bench.store.write(add_authorization(bench.state(**more)))
    return answer


@pytest.mark.row("A74", "A62")
@pytest.mark.usefixtures("few")
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
@pytest.mark.usefixtures("few")
async def test_a_link_parks_only_so_many(bench: Bench) -> None:
    """Approvals of other hotels do not use it, and are kept: of one link there are no more than may wait."""
    await bench.store.write(add_link(link("l1")))
    for _ in range(2):
        grant = await bench.approved(link_hash="l1", expected=("1",))
        spare = Spare(f"spare_{grant.id}", f"con_{grant.id}")
        named = grant.property_ids
        assert await bench.store.write(settle_approval(grant.id, grant.generation, named, spare)) is not None
    assert isinstance(await bench.store.read(read_link_outcome("l1")), Authorization)
    assert await begin(bench, link_hash="l1") is Spending.FULL
    assert await bench.store.read(read_link("l1")) is not None


@pytest.mark.row("A74")
@pytest.mark.usefixtures("few")
async def test_denied_approvals_of_a_link_count(bench: Bench, clock: HandClock) -> None:
    """Of one link they would be stored without a bound; a day later it has room again."""
    await bench.store.write(add_link(link("l1", lifetime=9 * 86400.0)))
    for _ in range(2):
        new = bench.state(link_hash="l1")
        assert await bench.store.write(add_authorization(new)) is None
        assert isinstance(await spend(bench.store, new.state_hash, None, "denied"), Authorization)
    assert await begin(bench, link_hash="l1") is Spending.FULL
    clock.pass_(DAY + 601.0)
    assert await begin(bench, link_hash="l1") is None


@pytest.mark.row("A74")
async def test_links_of_one_key_that_wait(bench: Bench, clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key and those that it made have so many together. One that is used or over makes room; links of others, and
    those that are shown to whoever reads a connection, count for nothing.
    """
    monkeypatch.setattr(authorizations, "MOST_OF_ONE_KEY", 2)
    new = NewKey("a program", frozenset({Scope.CONNECT}))
    for name, parent in (("key_1", None), ("key_2", "key_1"), ("key_3", None)):
        assert await bench.store.write(add_caller_key(name, f"hash-{name}", new, parent=parent)) is not None

    async def make(name: str, by: str, *, asked: bool = True) -> None:
        ACTING.set(Acting(by))
        await bench.store.write(add_link(link(name), asked=asked))

    async def refused(by: str) -> None:
        with pytest.raises(RateLimited, match="2 links of this key") as told:
            await make("refused", by)
        assert told.value.retry_after == 3600.0
        assert await bench.store.read(read_link("refused")) is None

    await make("l1", "key_1")
    await make("l2", "key_2")
    await refused("key_1")
    await refused("key_2")
    await make("l3", "key_3")
    await make("l4", "admin")
    await make("l5", "key_1", asked=False)
    await bench.approved(link_hash="l1")
    await make("l6", "key_2")
    await refused("key_1")
    clock.pass_(60.0)
    await make("l7", "key_1")


@pytest.mark.row("A74")
@pytest.mark.usefixtures("few")
async def test_room_comes_with_time(bench: Bench, clock: HandClock) -> None:
    """States whose time is over wait no more."""
    assert await begin(bench, 3, **ANONYMOUS) is None
    clock.pass_(599.0)
    assert await begin(bench, **ANONYMOUS) is Spending.FULL
    clock.pass_(1.0)
    assert await begin(bench, 3, **ANONYMOUS) is None


@pytest.mark.row("A74", "A62")
@pytest.mark.usefixtures("few")
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
@pytest.mark.usefixtures("few")
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
