"""The transactions of imports: a token of another program is stored once, and is found again."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, about
from tests.support.fakes import pair

from cloudbeds_auth.engine.context import resolve
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, Role
from cloudbeds_auth.transactions.candidates import drop_candidate, promote, read_candidate
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.grants import commit_pair, read_grant
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.imports import NewImport, Placed, add_import
from cloudbeds_auth.transactions.refusals import count_refusal
from cloudbeds_auth.transactions.upkeep import next_due


def of(property_id: str, token: str = "1", *, lifetime: float = 0.0, reference: str | None = None) -> NewImport:
    """The token R-`token`, said to be of this property."""
    return NewImport(f"hash-{token}", "default", reference, property_id, pair(token, lifetime=lifetime))


async def refused(bench: Bench, grant: Grant) -> None:
    """Its connection needs a new approval."""
    fence = await bench.leased(grant)
    for _ in range(2):
        await bench.store.write(count_refusal(fence, "revoked", may_mark=True, interval=0.0))
    assert (await bench.row(grant.id)).reauth == "revoked"


async def test_a_token_alone_is_a_candidate_without_an_access_token(bench: Bench) -> None:
    """What there is rests; what there is not looks expired, so nothing is lent and nobody asks with it."""
    placed = await bench.store.write(add_import(of("1000", reference="tenant-7"), "con_1", "gra_1"))
    assert placed == Placed("con_1", "gra_1")
    row = await bench.row("gra_1")
    assert (row.role, row.state, row.said_of, row.property_ids) == (Role.CANDIDATE, State.IN_DOUBT, "1000", ("1000",))
    assert [token.value.reveal() for token in row.tokens] == ["R-1"]
    assert not row.access
    assert row.valid_for <= 0
    shown = await bench.store.read(read_connection("con_1"))
    assert shown is not None
    assert (shown.reference, shown.connected_at, shown.scopes) == ("tenant-7", None, ("read:hotel",))
    (event,) = await bench.store.read(read_history("con_1"))
    assert (event.kind, event.actor, event.data["imported"]) == ("candidate_received", "program", True)


async def test_an_access_token_comes_along(bench: Bench) -> None:
    """With the seconds that it has left."""
    await bench.store.write(add_import(of("1000", lifetime=900.0), "con_1", "gra_1"))
    row = await bench.row("gra_1")
    assert row.access.reveal() == "A-1"
    assert row.valid_for == about(900.0) or 890.0 < row.valid_for <= 900.0


async def test_the_same_token_again(bench: Bench) -> None:
    """Where it is, and nothing else is made: also under another property, while the first may be right."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    assert await bench.store.write(add_import(of("1000"), "con_2", "gra_2")) == Placed("con_1", "gra_1")
    assert await bench.store.write(add_import(of("2000"), "con_3", "gra_3")) == Placed("con_1", "gra_1")
    assert await bench.store.read(read_connection("con_2")) is None
    assert await bench.store.read(read_grant("gra_3")) is None


async def test_somebody_goes_on_with_it(bench: Bench) -> None:
    """The background finds it when whoever stored it does not."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    due = await bench.store.read(next_due())
    assert due is not None
    assert 0 < due <= 60.0


async def test_a_hotel_that_is_connected_keeps_what_it_has(bench: Bench) -> None:
    """Nothing of another token is stored beside one that works."""
    one = await bench.hotel()
    assert await bench.store.write(add_import(of("1000", "old"), "con_9", "gra_9")) == Placed(one.connection_id, None)
    assert await bench.store.read(read_grant("gra_9")) is None


@pytest.mark.parametrize("why", ["refused", "disconnected", "not proven"])
async def test_a_hotel_that_is_to_be_mended_keeps_its_connection(bench: Bench, why: str) -> None:
    """The token is a newer candidate of the connection that there is, which takes the name that it comes with."""
    one = await (bench.approved if why == "not proven" else bench.connected)(pair(1, property_ids=("1000",)))
    if why == "refused":
        await refused(bench, one)
    elif why == "disconnected":
        await bench.store.write(disconnect(one.connection_id))
    placed = await bench.store.write(add_import(of("1000", "old", reference="tenant-7"), "con_9", "gra_9"))
    assert placed == Placed(one.connection_id, "gra_9")
    candidate = await bench.store.read(read_candidate(one.connection_id))
    assert candidate is not None
    assert (candidate.id, candidate.generation) == ("gra_9", one.generation + 1)
    shown = await bench.store.read(read_connection(one.connection_id))
    assert shown is not None
    assert shown.reference == "tenant-7"


async def test_a_mended_connection_keeps_its_name(bench: Bench) -> None:
    """An import that names no reference takes none away."""
    one = await bench.approved(pair(1, property_ids=("1000",)), reference="tenant-7")
    await bench.store.write(add_import(of("1000", "old"), "con_9", "gra_9"))
    shown = await bench.store.read(read_connection(one.connection_id))
    assert shown is not None
    assert shown.reference == "tenant-7"


async def test_several_that_need_mending(bench: Bench) -> None:
    """None of them is guessed: the token gets a connection of its own."""
    for number in (1, 2):
        one = await bench.approved(pair(number, property_ids=(str(number),)))
        assert await bench.store.write(promote(one.connection_id, one.id, one.generation, None, ("1000",)))
        await bench.store.write(disconnect(one.connection_id))
    assert await bench.store.write(add_import(of("1000", "old"), "con_9", "gra_9")) == Placed("con_9", "gra_9")


@pytest.mark.parametrize("named", [("1000",), ("1000", "1001")])
async def test_the_answer_to_its_refresh_names_its_property(bench: Bench, named: tuple[str, ...]) -> None:
    """Then it is settled; what else the answer names is covered too."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    fence = await bench.intent(await bench.row("gra_1"))
    sent = (await bench.row("gra_1")).tokens[-1]
    await bench.store.write(commit_pair(fence, sent, pair(2, property_ids=named), stale_after=9.0))
    row = await bench.row("gra_1")
    assert (row.said_of, row.property_ids) == (None, named)
    assert await resolve(bench.store, named[-1]) == ["con_1"]


async def test_the_answer_names_another_property(bench: Bench) -> None:
    """It stays a mere saying, and is looked into before the token is lent."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    fence = await bench.intent(await bench.row("gra_1"))
    sent = (await bench.row("gra_1")).tokens[-1]
    await bench.store.write(commit_pair(fence, sent, pair(2, property_ids=("2000",)), stale_after=9.0))
    row = await bench.row("gra_1")
    assert (row.said_of, row.property_ids) == ("1000", ("1000",))


async def test_what_was_promoted_is_settled(bench: Bench) -> None:
    """The vendor named the property by then."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    assert await bench.promoted("gra_1", ("1000", "1001"))
    row = await bench.row("gra_1")
    assert (row.said_of, row.property_ids, row.role) == (None, ("1000", "1001"), Role.ACTIVE)


@pytest.mark.parametrize("renewed", [False, True])
async def test_a_token_of_another_hotel_begins_anew_under_its_own(bench: Bench, renewed: bool) -> None:
    """Dropped because Cloudbeds names another property, it is taken back with everything that it led to, once."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    if renewed:
        fence = await bench.intent(await bench.row("gra_1"))
        await bench.store.write(commit_pair(fence, (await bench.row("gra_1")).tokens[-1], pair(2), stale_after=9.0))
    await bench.store.write(drop_candidate("gra_1", "Cloudbeds names property 2000"))
    assert await bench.store.write(add_import(of("1000"), "con_2", "gra_2")) == Placed("con_1", "gra_1")
    placed = await bench.store.write(add_import(of("2000"), "con_2", "gra_2"))
    assert placed == Placed("con_2", "gra_2")
    row, former = await bench.row("gra_2"), await bench.row("gra_1")
    assert [token.value.reveal() for token in row.tokens] == (["R-1", "R-2"] if renewed else ["R-1"])
    assert (row.access.reveal() == "A-2", row.valid_for > 0) == (renewed, renewed)
    assert (former.tokens, former.role) == ((), Role.DISCONNECTED)
    assert await bench.store.write(add_import(of("2000"), "con_3", "gra_3")) == Placed("con_2", "gra_2")


async def test_a_refused_token_is_not_taken_back(bench: Bench) -> None:
    """Another property makes it no better."""
    await bench.store.write(add_import(of("1000"), "con_1", "gra_1"))
    await refused(bench, await bench.row("gra_1"))
    await bench.store.write(drop_candidate("gra_1", "refused twice"))
    assert await bench.store.write(add_import(of("2000"), "con_2", "gra_2")) == Placed("con_1", "gra_1")
