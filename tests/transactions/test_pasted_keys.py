"""The transaction of a key that a hotel made: in one step it is stored and in use, and what there was is latched."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.bench import Bench, HandClock, link
from tests.support.fakes import ADA, key, pair

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import AuthorizationExpired, Forbidden, PropertyMismatch, RefreshPending, Unclaimed
from cloudbeds_auth.rules.lifecycle import MOVED_TO_KEY, NEWER_KEY, State
from cloudbeds_auth.rules.model import Connection, Grant, Role
from cloudbeds_auth.rules.permissions import ADMIN, Bounds, Caller, Scope
from cloudbeds_auth.rules.properties import PropertyChanges
from cloudbeds_auth.transactions.authorizations import add_link, link_is_used, read_link, read_link_outcome
from cloudbeds_auth.transactions.connections import disconnect, list_connections
from cloudbeds_auth.transactions.grants import write_intent
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.pasted_keys import PastedKey, PlacedKey, add_pasted_key
from cloudbeds_auth.transactions.refusals import Counted, count_refusal
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction


async def paste(bench: Bench, name: str, *properties: str, **more: object) -> PlacedKey:
    """The key cbat_`name`, of which Cloudbeds names these properties."""
    new = PastedKey(f"hash-{name}", "default", key(name, *properties).pair, ADA, **more)  # type: ignore[arg-type]
    return await bench.store.write(add_pasted_key(new, f"con_{name}", f"gra_{name}"))


async def in_use(bench: Bench, connection_id: str) -> Grant:
    found = await current_grant(bench.store, connection_id)
    assert found is not None
    return found


async def all_there_is(bench: Bench) -> list[Connection]:
    return list((await bench.store.read(list_connections())).connections)


async def superseded_because(bench: Bench, connection_id: str) -> list[object]:
    lines = await bench.store.read(read_history(connection_id))
    return [line.data["reason"] for line in lines if line.kind == "superseded"]


async def test_a_new_hotel(bench: Bench) -> None:
    """It is connected at once: its key was seen to work before it was stored."""
    assert await paste(bench, "1", "1000", reference="tenant-7") == PlacedKey("con_1")
    row, shown = await in_use(bench, "con_1"), await bench.look("con_1")
    assert (row.access.reveal(), row.role, row.proven, row.pasted) == ("cbat_1", Role.ACTIVE, True, True)
    assert (shown.state, shown.credential, shown.reference) == (State.FRESH, "api_key", "tenant-7")
    assert (shown.property_ids, shown.authorizing_user, shown.pasted) == (("1000",), ADA, True)
    assert row.source.client_id is None


async def test_the_same_key_again_is_the_same_connection(bench: Bench) -> None:
    """Also where its answer was lost, and where it was marked as dead: it was seen to work."""
    await paste(bench, "1", "1000")
    row = await in_use(bench, "con_1")
    fence = await bench.leased(row)
    for _ in range(2):
        counted = await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert counted is Counted.MARKED
    again = PastedKey("hash-1", "default", key("1", "1000").pair, ADA, "tenant-8")
    assert await bench.store.write(add_pasted_key(again, "con_2", "gra_2")) == PlacedKey("con_1", new=False)
    (only,) = await all_there_is(bench)
    assert (only.state, only.reference, only.generation) == (State.FRESH, "tenant-8", 1)


async def test_a_hotel_that_had_tokens_moves(bench: Bench) -> None:
    """Its connection keeps its id; the tokens are latched, kept and superseded, as by a move that exchanges them."""
    grant = await bench.hotel()
    assert await paste(bench, "1", "1000") == PlacedKey(grant.connection_id, moved=True)
    former = await bench.row(grant.id)
    assert (former.role, former.latched, len(former.tokens)) == (Role.SUPERSEDED, True, 1)
    assert await superseded_because(bench, grant.connection_id) == [MOVED_TO_KEY]
    assert (await in_use(bench, grant.connection_id)).access.reveal() == "cbat_1"


async def test_no_intent_is_written_for_tokens_that_moved(bench: Bench) -> None:
    """A process that read the row before the key came sends nothing any more (rule-15)."""
    grant = await bench.hotel()
    await paste(bench, "1", "1000")
    fence = await bench.leased(await bench.row(grant.id))
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))


async def test_a_refresh_that_is_under_way_is_waited_for(bench: Bench, clock: HandClock) -> None:
    """Its pair would come after the key. Once its lease is over, nothing is waited for."""
    grant = await bench.hotel()
    await bench.leased(grant)
    with pytest.raises(RefreshPending):
        await paste(bench, "1", "1000")
    assert not (await bench.row(grant.id)).latched
    clock.pass_(31.0)
    assert (await paste(bench, "1", "1000")).moved


async def test_a_key_takes_the_place_of_a_key(bench: Bench) -> None:
    """Of the same hotel, in the same connection; the former one may come back later."""
    await paste(bench, "1", "1000")
    assert await paste(bench, "2", "1000") == PlacedKey("con_1")
    assert await superseded_because(bench, "con_1") == [NEWER_KEY]
    again = PastedKey("hash-1", "default", key("1", "1000").pair, ADA)
    assert await bench.store.write(add_pasted_key(again, "con_3", "gra_3")) == PlacedKey("con_1")
    assert (await in_use(bench, "con_1")).access.reveal() == "cbat_1"
    assert len(await all_there_is(bench)) == 1


async def test_a_hotel_that_was_disconnected_comes_back(bench: Bench) -> None:
    """With the same key: its connection is the one that it had."""
    await paste(bench, "1", "1000")
    await bench.store.write(disconnect("con_1"))
    assert not (await in_use(bench, "con_1")).access
    again = PastedKey("hash-1", "default", key("1", "1000").pair, ADA)
    assert await bench.store.write(add_pasted_key(again, "con_3", "gra_3")) == PlacedKey("con_1")
    assert (await bench.look("con_1")).state is State.FRESH


async def test_an_approval_that_waits_gives_way(bench: Bench) -> None:
    """A candidate of the hotel that was never proven is superseded by the key, which was."""
    grant = await bench.hotel()
    candidate = await bench.approved(pair(2, property_ids=("1000",)), connection_id=grant.connection_id)
    await paste(bench, "1", "1000")
    assert (await bench.row(candidate.id)).role is Role.SUPERSEDED
    assert (await bench.row(candidate.id)).latched


@pytest.mark.row("F87")
async def test_another_hotels_key_for_a_connection(bench: Bench) -> None:
    """Refused, and nothing is stored or latched."""
    grant = await bench.hotel()
    with pytest.raises(PropertyMismatch, match="2000"):
        await paste(bench, "1", "2000", connection_id=grant.connection_id)
    assert not (await bench.row(grant.id)).latched
    assert len(await all_there_is(bench)) == 1


@pytest.mark.row("F87")
async def test_another_hotels_key_under_a_reference(bench: Bench) -> None:
    """A reference is one hotel's, unless the caller names the property: then a tenant may have several."""
    await paste(bench, "1", "1000", reference="tenant-7")
    with pytest.raises(PropertyMismatch, match="tenant-7"):
        await paste(bench, "2", "2000", reference="tenant-7")
    await paste(bench, "3", "3000")
    with pytest.raises(PropertyMismatch):
        await paste(bench, "3", "3000", reference="tenant-7")
    assert await paste(bench, "2", "2000", reference="tenant-7", expected=True) == PlacedKey("con_2")
    assert await paste(bench, "4", "2000", reference="tenant-7") == PlacedKey("con_2"), "now it is its own, too"


@pytest.mark.parametrize("credential", ["tokens", "key"])
async def test_a_key_of_one_hotel_of_a_group(bench: Bench, credential: str) -> None:
    """It would end what serves the others: refused, and nothing is latched. Where nothing serves them, it heals one."""
    if credential == "tokens":
        home = (await bench.connected(pair(1, property_ids=("1000", "1001")))).connection_id
    else:
        home = (await paste(bench, "1", "1000", "1001")).connection_id
    before = await in_use(bench, home)
    for asked in (None, home):
        with pytest.raises(PropertyMismatch, match="also serves 1001"):
            await paste(bench, "2", "1000", connection_id=asked, expected=True)
    assert await in_use(bench, home) == before
    more = PropertyChanges(("1001", "1002", "1000"), added=("1002",))
    placed = await paste(bench, "3", "1001", "1002", "1000")
    assert placed == PlacedKey(home, moved=credential == "tokens", changed=more)
    await bench.store.write(disconnect(home))
    assert (await paste(bench, "2", "1000")).connection_id == home
    assert await paste(bench, "4", "1001") == PlacedKey("con_4")


async def test_a_key_in_use_by_another_connection(bench: Bench) -> None:
    """A key heals the connection that it is asked to heal, or none."""
    grant = await bench.hotel()
    await paste(bench, "1", "2000")
    with pytest.raises(PropertyMismatch, match="con_1"):
        await paste(bench, "1", "2000", connection_id=grant.connection_id)


async def test_a_connection_that_waits_to_be_claimed(bench: Bench) -> None:
    """It is nobody's to give a key to."""
    parked = await bench.approved(pair(9), parked=True)
    with pytest.raises(Unclaimed):
        await paste(bench, "1", "1000", connection_id=parked.connection_id)


async def test_a_link_is_good_for_one_key(bench: Bench) -> None:
    """Two keys that came by one link at the same moment: the second is not stored. An operator's key needs none."""
    await bench.store.write(add_link(link("l1")))
    await paste(bench, "1", "1000", link_hash="l1")
    with pytest.raises(AuthorizationExpired):
        await paste(bench, "2", "2000", link_hash="l1")
    with pytest.raises(AuthorizationExpired):
        await paste(bench, "1", "1000", link_hash="made up")
    (only,) = await all_there_is(bench)
    (line,) = [one for one in await bench.store.read(read_history(only.id)) if one.kind == "candidate_received"]
    assert line.actor == "hotel"


async def test_an_approval_by_the_same_link_at_the_same_moment(bench: Bench) -> None:
    """Whichever comes second finds the link used, also where the key is for another app than the link names."""
    await bench.store.write(add_link(link("l1")))
    begun = asyncio.Event()

    @transaction
    def approval(tx: Tx) -> Transaction[bool]:
        yield from query("one_at_a_time", work="approvals of default")
        used = yield from link_is_used({"link_hash": "l1"})
        begun.set()
        for _ in range(50):
            yield from query("link_by_hash", hash="l1")
        yield from query("use_link", hash="l1", now=tx.wall)
        return bool(used)

    approving = asyncio.create_task(bench.store.write(approval()))
    await begun.wait()
    new = PastedKey("hash-1", "aurora", key("1", "1000").pair, ADA, link_hash="l1")
    with pytest.raises(AuthorizationExpired):
        await bench.store.write(add_pasted_key(new, "con_1", "gra_1"))
    assert await approving is False
    assert await all_there_is(bench) == []


async def test_what_the_link_led_to(bench: Bench) -> None:
    """Whoever waits for the link's outcome sees the key's connection, also where the key was here already."""
    for name in ("l1", "l2"):
        await bench.store.write(add_link(link(name)))
        assert await bench.store.read(read_link_outcome(name)) is None
        await paste(bench, "1", "1000", link_hash=name)
        assert await bench.store.read(read_link_outcome(name)) == "con_1"


async def test_a_link_outlives_a_refusal(bench: Bench) -> None:
    """Another hotel's key does not spend it."""
    grant = await bench.hotel()
    await bench.store.write(add_link(link("l1")))
    with pytest.raises(PropertyMismatch):
        await paste(bench, "1", "2000", connection_id=grant.connection_id, link_hash="l1")
    assert await bench.store.read(read_link("l1")) is not None
    await paste(bench, "2", "1000", connection_id=grant.connection_id, link_hash="l1")
    assert await bench.store.read(read_link("l1")) is None


BOUND = Caller("key_1", frozenset({Scope.CONNECT}), Bounds(references=frozenset({"tenant-7"})))


@pytest.mark.row("A27")
@pytest.mark.parametrize(
    "reach",
    [
        Bounds(references=frozenset({"tenant-9"})),
        Bounds(properties=frozenset({"1000"})),
        Bounds(connections=frozenset({"con_9"})),
    ],
)
async def test_a_key_changes_no_hotel_that_its_caller_is_not_for(bench: Bench, reach: Bounds) -> None:
    """Neither where Cloudbeds names that hotel's property for it, nor where it is that hotel's already: the caller is
    to be for the whole connection. Nothing is latched or superseded, and no reference changes.
    """
    grant = await bench.hotel()
    await paste(bench, "2", "2000", reference="tenant-2")
    caller = Caller("key_1", frozenset({Scope.CONNECT}), reach)
    for name, property_id in (("1", "1000"), ("2", "2000")):
        with pytest.raises(Forbidden):
            await paste(bench, name, property_id, caller=caller)
    assert (await in_use(bench, grant.connection_id)).id == grant.id
    assert not (await bench.row(grant.id)).latched
    assert (await bench.look("con_2")).reference == "tenant-2"


async def test_a_caller_for_a_reference_brings_the_key_of_its_hotel(bench: Bench) -> None:
    """A new one, the same once more, and another key of that hotel; it gives no other reference."""
    for name, made in (("1", PlacedKey("con_1")), ("1", PlacedKey("con_1", new=False)), ("2", PlacedKey("con_1"))):
        assert await paste(bench, name, "1000", reference="tenant-7", caller=BOUND) == made
    with pytest.raises(Forbidden):
        await paste(bench, "3", "1000", reference="tenant-8", expected=True, caller=BOUND)
    assert (await paste(bench, "3", "1000", caller=ADMIN)).connection_id == "con_1"
