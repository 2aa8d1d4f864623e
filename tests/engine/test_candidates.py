"""Rule 13: a candidate is proven before the pointer moves, and what an old grant's late answer does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from tests.support.fakes import ADA, issued, pair
from tests.support.stage import Stage

from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.errors import PropertyMismatch, ReauthorizationRequired, RefreshInDoubt
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant, Role
from cloudbeds_auth.rules.schedule import RETRY_FIRST
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Refused
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import disconnect

# --- candidates and the pointer


@pytest.mark.parametrize("verdict", [Inconclusive("HTTP 503"), DeadGrant("revoked")])
async def test_the_pointer_does_not_move_before_the_new_grant_worked(stage: Stage, verdict: Verdict) -> None:
    """A new approval of a connected hotel whose proof says nothing: the old pair stays in use, the new one waits."""
    old = await stage.connected()
    stage.vendor.thinks("A-new", verdict)
    await stage.approve(issued("new", property_ids=("1000",)), connection_id=old.connection_id)
    assert (await stage.row(old.id)).role is Role.ACTIVE
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    waiting = await stage.one.store.read(read_candidate(old.connection_id))
    assert waiting is not None
    stage.vendor.thinks("A-new", Proof())
    promoted = await stage.one.candidates.resume(old.connection_id)
    assert promoted is not None
    assert (promoted.id, promoted.role) == (waiting.id, Role.ACTIVE)
    assert (await stage.row(old.id)).role is Role.SUPERSEDED
    assert await stage.one.candidates.resume(old.connection_id) is None


async def unproven(stage: Stage) -> Grant:
    """Of a connected hotel, the newest of three grants: Cloudbeds does not say now whether two of them work."""
    old = await stage.connected()
    for one in ("older", "newer"):
        stage.vendor.thinks([f"A-{one}", f"A-{one}-2"], Inconclusive("HTTP 503"))
        newest = await stage.candidate(old.connection_id, pair(one, property_ids=("1000",)))
    return newest


async def test_an_operator_refreshes_what_waits_behind_the_current_grant(stage: Stage) -> None:
    """Every token of the hotel that was stored before is replaced."""
    waiting = await unproven(stage)
    stage.endpoint.will(issued(2), issued("newer-2"), issued("older-2"))
    await stage.one.access.refresh_now(waiting.connection_id)
    assert stage.endpoint.sent == ["R-1", "R-newer", "R-older"]
    now = await stage.row(waiting.id)
    assert (now.access.reveal(), now.role) == ("A-newer-2", Role.CANDIDATE)


async def test_an_operator_refreshes_once_what_was_never_proven(stage: Stage) -> None:
    """The hotel has no other grant: nothing waits behind it."""
    stage.vendor.thinks(["A-1", "A-2"], Inconclusive("HTTP 503"))
    first = (await stage.approve(issued(1, property_ids=("1000",)))).connection
    stage.endpoint.will(issued(2))
    await stage.one.access.refresh_now(first.id)
    assert stage.endpoint.sent == ["R-1"]


async def test_an_operator_is_told_what_kept_its_tokens(stage: Stage) -> None:
    """Its answer was lost: nothing is sent beside it while its token works, and the hotel is served."""
    waiting = await unproven(stage)
    stage.endpoint.will(issued(2), Ambiguous("lost"))
    with pytest.raises(RefreshInDoubt, match="lost"):
        await stage.one.access.refresh_now(waiting.connection_id)
    opinions: Iterator[Verdict] = iter([Inconclusive("HTTP 503"), Proof()])

    async def by_then() -> Verdict:
        return next(opinions)

    await stage.one.idle()
    stage.vendor.thinks("A-newer", by_then)
    stage.endpoint.will(issued(3))
    with pytest.raises(RefreshInDoubt, match="nothing was sent"):
        await stage.one.access.refresh_now(waiting.connection_id)
    assert (await stage.one.access.access_token(waiting.connection_id)).reveal() == "A-3"


async def test_anyone_may_resume(stage: Stage) -> None:
    """A first grant whose proof was cut short is gone on with by another process that wants its token."""
    stage.vendor.thinks("A-1", Inconclusive("HTTP 503"))
    connection = (await stage.approve(issued(1, property_ids=("1000",)))).connection
    assert connection.state is State.IN_DOUBT
    stage.vendor.thinks("A-1", Proof(ADA))
    two = await stage.process()
    assert (await two.access.access_token(connection.id)).reveal() == "A-1"
    found = await two.views.connection(connection.id)
    assert (found.state, found.authorizing_user) == (State.FRESH, ADA)


async def test_a_candidate_whose_token_died_is_refreshed_once(stage: Stage) -> None:
    """Its A is dead, its R works: one refresh by the same code, then the pointer moves."""
    stage.vendor.thinks("A-1", DeadToken())
    finished = await stage.approve(issued(1), issued(2))
    assert (finished.connection.state, finished.connection.generation) == (State.FRESH, 2)
    assert stage.endpoint.sent == ["R-1"]


async def test_a_candidate_refused_twice(stage: Stage) -> None:
    """The old grant stays the connection's; the new one is marked, and in no other's way. It is tried again by itself,
    and the vendor that takes it then has it promoted.
    """
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-new", DeadToken())
    stage.endpoint.will(Refused("dead"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(newer.id)).role is Role.CANDIDATE
    await stage.clock.sleep(60.0)
    stage.endpoint.will(Refused("dead"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert ((await stage.row(newer.id)).role, (await stage.row(newer.id)).reauth) == (Role.CANDIDATE, "revoked")
    assert (await stage.row(old.id)).role is Role.ACTIVE
    assert await stage.tokens(newer.id) == ["R-new"]
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    assert await stage.one.candidates.resume(old.connection_id) is None
    await stage.clock.sleep(RETRY_FIRST)
    stage.endpoint.will(issued("newer"))
    await stage.one.upkeep.tick()
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-newer"
    assert (await stage.row(newer.id)).role is Role.ACTIVE


async def test_a_candidate_that_was_revoked_before_it_was_proven(stage: Stage) -> None:
    """`/userinfo` names its grant as dead: that is counted as for any grant, and it stands in nobody's way for ever."""
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-new", DeadGrant("revoked"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(newer.id)).role is Role.CANDIDATE
    await stage.clock.sleep(60.0)
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(newer.id)).reauth == "revoked"
    assert stage.endpoint.sent == []
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"


async def test_a_candidate_superseded_while_it_is_refreshed(stage: Stage) -> None:
    """Its A is dead; while its R is under way an even newer approval is promoted: that one is the connection's."""
    old = await stage.connected()
    await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))
    stage.vendor.thinks("A-x", DeadToken())

    async def overtaken() -> Answer:
        await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
        assert await (await stage.process()).candidates.resume(old.connection_id)
        return issued("late")

    stage.endpoint.will(overtaken)
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-y"


async def test_two_candidates(stage: Stage) -> None:
    """The newest is proven; the older one is superseded with the old grant."""
    old = await stage.connected()
    first = await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))
    second = await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
    promoted = await stage.one.candidates.resume(old.connection_id)
    assert promoted is not None
    assert promoted.id == second.id
    assert [(await stage.row(one.id)).role for one in (old, first)] == [Role.SUPERSEDED] * 2


async def test_the_newer_of_two_candidates_is_dead(stage: Stage) -> None:
    """Refused twice it is in no way of the older one: that is proven then, and the hotel is served."""
    old = await stage.connected()
    older = await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))
    newer = await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
    stage.vendor.thinks("A-y", DeadToken())
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    assert await stage.one.candidates.resume(old.connection_id) is None
    await stage.clock.sleep(60.0)
    assert await stage.one.candidates.resume(old.connection_id) is None
    promoted = await stage.one.candidates.resume(old.connection_id)
    assert promoted is not None
    assert (promoted.id, (await stage.row(newer.id)).reauth) == (older.id, "revoked")


async def test_a_newer_candidate_arrives_during_the_proof(stage: Stage) -> None:
    """The one being proven came too late only when a newer one was promoted first: its own promotion is refused."""
    old = await stage.connected()
    slow = await stage.candidate(old.connection_id, pair("x", property_ids=("1000",)))

    async def overtaken() -> Verdict:
        await stage.candidate(old.connection_id, pair("y", property_ids=("1000",)))
        two = await stage.process()
        assert await two.candidates.resume(old.connection_id)
        return Proof()

    stage.vendor.thinks("A-x", overtaken)
    assert await stage.one.candidates.resume(old.connection_id) is None
    assert (await stage.row(slow.id)).role is Role.SUPERSEDED
    current = await current_grant(stage.one.store, old.connection_id)
    assert current is not None
    assert current.access.reveal() == "A-y"


@pytest.mark.row("F86")
async def test_a_late_proof_of_a_candidate_says_nothing_of_a_pair_that_came_since(stage: Stage) -> None:
    """Another process proved it first, and refreshed it: that pair is not proven yet, and what it came from is kept."""
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    two = await stage.process()

    async def overtaken() -> Verdict:
        assert await two.candidates.resume(old.connection_id)
        stage.vendor.thinks("A-newer", Inconclusive("HTTP 503"))
        stage.endpoint.will(issued("newer"))
        await two.refresh(newer.id, newer.generation, operator=True)
        return Proof()

    stage.vendor.script = [overtaken]
    assert await stage.one.candidates.resume(old.connection_id)
    assert await stage.tokens(newer.id) == ["R-new", "R-newer"]


@pytest.mark.row("F86")
async def test_a_late_proof_of_a_candidate_moves_no_pointer_to_a_pair_that_came_since(stage: Stage) -> None:
    """The process stood still with the proof in hand. The newer pair has to work itself: till then the old grant
    serves.
    """
    old = await stage.connected()
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    two = await stage.process()

    async def overtaken() -> Verdict:
        stage.vendor.thinks(["A-new", "A-newer"], DeadToken())
        stage.endpoint.will(issued("newer"))
        assert await two.candidates.resume(old.connection_id) is None
        return Proof()

    stage.vendor.script = [overtaken]
    assert await stage.one.candidates.resume(old.connection_id) is None
    waiting = await stage.row(newer.id)
    assert (waiting.role, waiting.access.reveal()) == (Role.CANDIDATE, "A-newer")
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    stage.vendor.thinks("A-newer", Proof())
    assert await stage.one.candidates.resume(old.connection_id)
    assert await stage.tokens(newer.id) == ["R-newer"]


async def test_a_marked_hotel_that_approved_again_is_in_doubt_until_that_is_proven(stage: Stage) -> None:
    """Nobody is told that it has to approve: it has just done so. Once that approval is refused, too, they are."""
    old = await stage.marked(await stage.connected())
    newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
    stage.vendor.thinks("A-new", Inconclusive("HTTP 503"))
    with pytest.raises(RefreshInDoubt, match="the hotel approved again"):
        await stage.one.access.access_token(old.connection_id)
    stage.vendor.thinks("A-new", DeadToken())
    await stage.marked(newer)
    with pytest.raises(ReauthorizationRequired):
        await stage.one.access.access_token(old.connection_id)


@pytest.mark.row("F87")
@pytest.mark.parametrize("named", [True, False])
async def test_another_property_was_approved(stage: Stage, named: bool) -> None:
    """Another hotel's approval never silently takes this one's place, whether the answer names it or it is learnt."""
    old = await stage.connected(pair(1, property_ids=("1000",)))
    stage.vendor.listed = () if named else ("2000",)
    answer = issued("new", property_ids=("2000",) if named else ())
    with pytest.raises(PropertyMismatch, match="2000"):
        await stage.approve(answer, connection_id=old.connection_id)
    assert (await stage.row(old.id)).role is Role.ACTIVE
    assert await stage.one.store.read(read_candidate(old.connection_id)) is None
    assert (await stage.one.access.access_token(old.connection_id)).reveal() == "A-1"
    assert await resolve(stage.one.store, "2000") == []


@pytest.mark.row("F87")
@pytest.mark.parametrize("approved", [("1000", "1001"), ("1001", "1000"), ()])
async def test_the_same_hotel_with_more_properties_or_none_named(stage: Stage, approved: tuple[str, ...]) -> None:
    """A group grows, or only the list says what the answer does not: the pointer moves."""
    stage.vendor.listed = ("1000", "1001")
    old = await stage.connected(pair(1, property_ids=("1000",)))
    finished = await stage.approve(issued("new", property_ids=approved), connection_id=old.connection_id)
    assert finished.connection.id == old.connection_id
    assert (await stage.row(old.id)).role is Role.SUPERSEDED


async def test_a_hotel_that_comes_back_keeps_its_connection(stage: Stage) -> None:
    """A bare approval of a property that one connection of this app covers is that connection's, also after it left."""
    first = (await stage.approve(issued(1, property_ids=("1000",)))).connection
    again = (await stage.approve(issued(2, property_ids=("1000",)))).connection
    assert again.id == first.id
    await stage.one.store.write(disconnect(first.id))
    back = (await stage.approve(issued(3, property_ids=("1000",)))).connection
    assert (back.id, back.state) == (first.id, State.FRESH)
    assert (await stage.one.access.access_token(first.id)).reveal() == "A-3"
    assert back.generation == 3, "generations grow over the whole connection"


async def test_a_hotel_that_left_and_approved_again_is_in_doubt_until_that_is_proven(stage: Stage) -> None:
    """Cloudbeds cannot be asked at the moment: nobody is told that the hotel is disconnected, it has just approved."""
    first = (await stage.approve(issued(1, property_ids=("1000",)))).connection
    await stage.one.store.write(disconnect(first.id))
    stage.vendor.thinks("A-2", Inconclusive("HTTP 503"))
    back = (await stage.approve(issued(2, property_ids=("1000",)))).connection
    assert (back.id, back.state, back.generation) == (first.id, State.IN_DOUBT, 2)
    stage.vendor.thinks("A-2", Proof(ADA))
    assert (await stage.one.access.access_token(first.id)).reveal() == "A-2"
    assert (await stage.one.views.connection(first.id)).state is State.FRESH


# --- an old grant's late answer


async def reconnected_during_a_refresh(stage: Stage) -> tuple[Grant, Grant]:
    """The old grant's refresh was under way while the hotel approved again; both pairs are stored."""
    old = await stage.expired()

    async def meanwhile() -> Answer:
        newer = await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
        two = await stage.process()
        promoted = await two.candidates.resume(old.connection_id)
        assert promoted is not None
        assert promoted.id == newer.id
        return issued("late")

    stage.endpoint.will(meanwhile)
    await asyncio.gather(stage.one.access.access_token(old.connection_id), return_exceptions=True)
    await stage.one.idle()
    current = await current_grant(stage.one.store, old.connection_id)
    assert current is not None
    return await stage.row(old.id), current


@pytest.mark.row("F86")
async def test_an_old_grants_late_pair_goes_to_its_own_row(stage: Stage) -> None:
    """The pair is kept where it belongs; the connection points at the new grant."""
    old, current = await reconnected_during_a_refresh(stage)
    assert (old.role, old.access.reveal(), old.state) == (Role.SUPERSEDED, "A-late", State.SUPERSEDED)
    assert (await stage.tokens(old.id))[-1] == "R-late"
    assert (current.role, current.access.reveal()) == (Role.ACTIVE, "A-new")


@pytest.mark.row("F86")
async def test_an_old_grants_late_pair_is_lent_to_nobody(stage: Stage) -> None:
    """Whoever waited, and whoever comes later, gets the new grant's token."""
    old = await stage.expired()

    async def meanwhile() -> Answer:
        await stage.candidate(old.connection_id, pair("new", property_ids=("1000",)))
        assert await (await stage.process()).candidates.resume(old.connection_id)
        return issued("late")

    stage.endpoint.will(meanwhile)
    waited = await stage.one.access.access_token(old.connection_id)
    later = await stage.one.access.access_token(old.connection_id)
    assert (waited.reveal(), later.reveal()) == ("A-new", "A-new")


async def test_a_superseded_grant_is_never_refreshed(stage: Stage) -> None:
    """Asked about an old grant, the refresher sends nothing and says that it is superseded."""
    old, _ = await reconnected_during_a_refresh(stage)
    stage.endpoint.sent.clear()
    with pytest.raises(Exception) as raised:  # noqa: PT011 - an internal signal, not an error of the contract
        await stage.one.refresh(old.id, old.generation, rejected=old.generation)
    assert type(raised.value).__name__ == "GrantSuperseded"
    assert stage.endpoint.sent == []


async def test_a_rejected_token_of_a_former_grant(stage: Stage) -> None:
    """The caller's 401 came with the old grant's token: the new grant's is the answer, nothing is sent."""
    old = await stage.connected()
    token = await stage.one.access.access_token(old.connection_id)
    await stage.approve(issued("new", property_ids=("1000",)), connection_id=old.connection_id)
    stage.one.access.forget(old.connection_id)
    assert (await stage.one.access.access_token(old.connection_id, rejected=token)).reveal() == "A-new"
    assert stage.endpoint.sent == []
