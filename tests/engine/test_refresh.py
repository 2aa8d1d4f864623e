"""Rules 1 to 7: what is durable when, what is kept, what is sent in which order."""

from __future__ import annotations

import asyncio
import errno

import pytest
from tests.support.fakes import APP, HOUR, issued
from tests.support.keys import KEY
from tests.support.stage import Stage, another
from tests.support.virtual import settle

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    RefreshInDoubt,
    StoreUnavailable,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.rules.api_errors import DeadGrant, DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, NotSent, Refused
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import Leased, take_lease
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.seals import MOST_SEALS

UNSURE = Inconclusive("HTTP 503")


async def unproven(stage: Stage, generations: int) -> Grant:
    """A hotel whose last `generations` pairs were committed and never seen to work; the newest A has expired."""
    grant = await stage.connected()
    stage.vendor.thinks([f"A-{number}" for number in range(2, 13)], UNSURE)
    for number in range(2, generations + 2):
        await _refreshed_unproven(stage, grant, number)
    await stage.clock.sleep(HOUR)
    stage.endpoint.sent.clear()
    stage.vendor.asked.clear()
    return await stage.row(grant.id)


async def _refreshed_unproven(stage: Stage, grant: Grant, number: int) -> None:
    await stage.clock.sleep(HOUR)
    stage.endpoint.will(issued(number))
    await stage.one.refresh(grant.id, number - 1)
    await stage.one.idle()


# --- rule 1: durable before use


async def test_a_pair_is_used_by_nobody_before_its_commit(stage: Stage) -> None:
    """While the commit fails, the new access token is neither returned nor proven; then both happen."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2))
    stage.one.driver.refuse("commit_pair", times=4)
    caller = asyncio.create_task(stage.one.refresh(grant.id, 1))
    while stage.notes.times("commit_waits") < 4:
        await stage.clock.sleep(0.5)
        assert not caller.done()
        assert "A-2" not in stage.vendor.asked
    assert (await caller).grant.access.reveal() == "A-2"
    await stage.one.idle()
    assert stage.vendor.asked == ["A-2"]
    assert stage.endpoint.sent == ["R-1"]


async def test_a_death_between_answer_and_commit_leaves_the_parent(stage: Stage) -> None:
    """Killed with the pair in hand: R-1 is what rests, and another process sends it once the hold is over."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2), issued(3))
    stage.one.driver.refuse("commit_pair", times=1000)
    dying = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await settle()
    assert stage.endpoint.sent == ["R-1"]
    two = await stage.process()
    await stage.kill(stage.processes[0])
    with pytest.raises(Exception, match="stopping"):
        await dying
    await stage.clock.sleep(HOUR)
    stage.processes[0].driver.dark = False
    assert (await two.refresh(grant.id, 1)).grant.access.reveal() == "A-3"
    await two.idle()
    assert stage.endpoint.sent == ["R-1", "R-1"]
    assert await stage.tokens(grant.id) == ["R-3"]


# --- rule 2: keep every R until a proof


async def test_unproven_generations_pile_up(stage: Stage) -> None:
    """Three pairs in a row that nobody saw work: four refresh tokens rest, oldest first."""
    grant = await unproven(stage, 3)
    assert await stage.tokens(grant.id) == ["R-1", "R-2", "R-3", "R-4"]
    assert not grant.proven


async def test_more_than_ten_tokens_are_told(stage: Stage) -> None:
    """Ten pairs in a row that nobody saw work make eleven tokens: from then on each further one is counted."""
    grant = await unproven(stage, 9)
    assert (len(grant.tokens), stage.notes.times("long_token_list")) == (10, 0)
    await _refreshed_unproven(stage, grant, 11)
    assert stage.notes.times("long_token_list") == 1


async def test_a_proof_leaves_the_child_alone(stage: Stage) -> None:
    """The next pair is seen to work: everything older is forgotten."""
    grant = await unproven(stage, 3)
    stage.vendor.thinks("A-5", Proof())
    stage.endpoint.will(issued(5))
    await stage.one.refresh(grant.id, grant.generation)
    await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-5"]
    assert (await stage.row(grant.id)).proven


async def test_a_commit_keeps_up_to_the_token_that_was_sent(stage: Stage) -> None:
    """The child and the next are refused, an older one is taken: what came after it is dropped, it is kept itself."""
    grant = await unproven(stage, 3)
    stage.endpoint.will(Refused("child"), Refused("kept"), issued(5))
    await stage.one.refresh(grant.id, grant.generation)
    await stage.one.idle()
    assert stage.endpoint.sent == ["R-4", "R-3", "R-2"]
    assert await stage.tokens(grant.id) == ["R-1", "R-2", "R-5"]


@pytest.mark.row("F25")
async def test_a_pair_without_a_refresh_token_means_the_same_again(stage: Stage) -> None:
    """RFC 6749 section 6: an answer that names none leaves the one that was sent, which the next refresh sends again.
    The history says that none was named.
    """
    grant = await stage.connected()
    stage.endpoint.will(issued(2, refresh=None))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-1"]
    assert (await stage.row(grant.id)).generation == 2
    stage.endpoint.will(issued(3))
    await stage.one.refresh(grant.id, 2)
    assert stage.endpoint.sent == ["R-1", "R-1"]
    events = await stage.one.store.read(read_history(grant.connection_id))
    named = [event.data["refresh_token_named"] for event in reversed(events) if event.kind == "pair_committed"]
    assert named == [False, True]


async def test_the_same_refresh_token_again_is_no_fault(stage: Stage) -> None:
    """V6: parent equals child; it is stored once, and the generation goes on."""
    grant = await stage.connected()
    for number in (2, 3, 4):
        stage.endpoint.will(issued(number, refresh="R-1"))
        assert (await stage.one.refresh(grant.id, number - 1)).grant.generation == number
        await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-1"]


# --- rule 3: prove at once, and prove before spending


async def test_a_new_pair_is_proven_at_once(stage: Stage) -> None:
    """After a commit `/userinfo` is asked with the new access token, and a 2xx confirms it."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert stage.vendor.asked == ["A-2"]
    assert (await stage.row(grant.id)).proven


@pytest.mark.parametrize("verdict", [UNSURE, DeadToken(), DeadGrant("revoked")])
async def test_what_is_no_2xx_confirms_nothing(stage: Stage, verdict: Verdict) -> None:
    """A 404, a 429, a 401 after a commit: the parent stays kept."""
    grant = await stage.connected()
    stage.vendor.thinks("A-2", verdict)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-1", "R-2"]
    assert not (await stage.row(grant.id)).proven


async def kept(stage: Stage) -> Grant:
    """An unexpired, unproven pair with its parent kept."""
    grant = await stage.connected()
    stage.vendor.thinks("A-2", UNSURE)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    stage.endpoint.sent.clear()
    stage.vendor.asked.clear()
    return await stage.row(grant.id)


async def unresolved(stage: Stage) -> Grant:
    """An unexpired pair, and an attempt whose answer was lost; the hold is over."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("lost"))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    await stage.clock.sleep(61.0)
    stage.endpoint.sent.clear()
    return await stage.row(grant.id)


async def test_kept_and_working_confirms_then_sends_the_child(stage: Stage) -> None:
    """Older tokens are kept and A works: they are forgotten before anything is sent, and only the child is sent."""
    grant = await kept(stage)
    stage.vendor.thinks("A-2", Proof())
    stage.endpoint.will(Refused("child"))
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-2"
    assert stage.vendor.asked == ["A-2"]
    assert stage.endpoint.sent == ["R-2"]
    assert await stage.tokens(grant.id) == ["R-2"]


async def test_a_late_proof_in_the_middle_of_a_pass(stage: Stage) -> None:
    """Another process, which stood still, confirms the child while a refusal of it is under way: what the proof has
    dropped is not sent any more, because a server that detects reuse would revoke the grant. The child is asked again.
    """
    grant = await kept(stage)
    await stage.clock.sleep(grant.valid_for)

    async def confirmed_meanwhile() -> Refused:
        assert await stage.one.store.write(confirm(grant.id, 2))
        return Refused("child")

    stage.endpoint.will(confirmed_meanwhile, issued(3))
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-3"
    assert stage.endpoint.sent == ["R-2", "R-2"]


async def test_rejected_and_working_sends_nothing(stage: Stage) -> None:
    """A caller's 401 with a token that works: proven, the same generation back, nothing spent."""
    grant = await stage.connected()
    served = await stage.one.refresh(grant.id, 1, rejected=1)
    assert (served.proven, served.grant.generation) == (True, 1)
    assert stage.endpoint.sent == []
    assert stage.vendor.asked == ["A-1"]


async def test_unresolved_and_working_sends_nothing(stage: Stage) -> None:
    """An answer was lost and A still works: the refresh never happened, nothing is sent."""
    grant = await unresolved(stage)
    served = await stage.one.refresh(grant.id, 1)
    assert (served.proven, served.grant.access.reveal()) == (True, "A-1")
    assert stage.endpoint.sent == []


async def test_an_attempt_is_unresolved_for_ten_minutes(stage: Stage) -> None:
    """After that the child is sent without asking first."""
    grant = await unresolved(stage)
    await stage.clock.sleep(600.0)
    stage.endpoint.will(issued(2))
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert stage.endpoint.sent == ["R-1"]
    await stage.one.idle()
    assert stage.vendor.asked == ["A-2"]


async def test_kept_and_dead_goes_on(stage: Stage) -> None:
    """A 401 of `/userinfo`: the token is dead, so the child is sent."""
    grant = await kept(stage)
    stage.vendor.script = [DeadToken()]
    stage.endpoint.will(issued(3))
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-3"
    assert stage.endpoint.sent == ["R-2"]


async def test_rejected_and_dead_goes_on(stage: Stage) -> None:
    """A caller's 401 that `/userinfo` repeats: one refresh."""
    grant = await stage.connected()
    stage.vendor.script = [DeadToken()]
    stage.endpoint.will(issued(2))
    served = await stage.one.refresh(grant.id, 1, rejected=1)
    assert (served.proven, served.grant.access.reveal()) == (False, "A-2")


async def test_unresolved_and_dead_goes_on(stage: Stage) -> None:
    """The lost answer was a refresh that happened: R-1 is sent again, and the dead A is served to nobody."""
    grant = await unresolved(stage)
    stage.vendor.script = [DeadToken()]
    stage.endpoint.will(Ambiguous("lost again"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == ["R-1"]


async def test_kept_and_unsure_serves(stage: Stage) -> None:
    """`/userinfo` says nothing: nothing is sent, A is served while it lasts."""
    grant = await kept(stage)
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-2"
    assert stage.endpoint.sent == []


async def test_rejected_and_unsure_sends_nothing(stage: Stage) -> None:
    """`/userinfo` says nothing about a token that a caller saw refused: 503, nothing spent."""
    grant = await stage.connected()
    stage.vendor.script = [UNSURE]
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 1, rejected=1)
    assert stage.endpoint.sent == []


async def test_unresolved_and_unsure_serves(stage: Stage) -> None:
    """`/userinfo` says nothing after a lost answer: nothing is sent, A is served."""
    grant = await unresolved(stage)
    stage.vendor.script = [UNSURE]
    served = await stage.one.refresh(grant.id, 1)
    assert (served.proven, served.grant.access.reveal()) == (False, "A-1")
    assert stage.endpoint.sent == []


async def test_an_endpoint_that_always_says_401_costs_no_rotation(stage: Stage) -> None:
    """Fifty calls to an endpoint without permission: no refresh at all."""
    grant = await stage.connected()
    for _ in range(50):
        token = await stage.one.access.access_token(grant.connection_id)
        again = await stage.one.access.access_token(grant.connection_id, rejected=token)
        assert again.generation == token.generation
    assert stage.endpoint.sent == []


async def test_a_moment_of_401s_at_userinfo(stage: Stage) -> None:
    """Cloudbeds rejects a token that works, for seconds, and cannot be asked for another: a minute later it is served
    again, also to whoever wants one that lasts longer.
    """
    grant = await stage.connected()
    await stage.clock.sleep(2000.0)
    stage.vendor.script = [DeadToken(documented=False)]
    stage.endpoint.will(*[NotSent("no route")] * 9)
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.refresh(grant.id, 1, rejected=1)
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.access.access_token(grant.connection_id, min_valid=1800.0)
    await stage.clock.sleep(stage.timing.refusal_interval)
    assert (await stage.one.access.access_token(grant.connection_id, min_valid=1800.0)).reveal() == "A-1"


async def test_a_401_at_userinfo_is_heard_once(stage: Stage) -> None:
    """The refresh that follows at once does not ask again; one that comes a minute later does."""
    grant = await stage.connected()
    stage.vendor.script = [DeadToken()]
    stage.endpoint.will(*[Ambiguous("HTTP 502")] * 2)
    for wait, asked in ((20.0, 1), (40.0, 1)):
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, 1, rejected=1, patient=False)
        assert len(stage.vendor.asked) == asked
        await stage.clock.sleep(wait)
    assert (await stage.one.refresh(grant.id, 1, rejected=1)).proven
    assert len(stage.vendor.asked) == 2


# --- rules 4 and 5: the order, and what moves on


async def test_child_first_then_newest_to_oldest(stage: Stage) -> None:
    """Four tokens, all refused: each is sent once, the child first and the oldest last."""
    grant = await unproven(stage, 3)
    stage.endpoint.will(*[Refused("dead")] * 4)
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, grant.generation)
    assert stage.endpoint.sent == ["R-4", "R-3", "R-2", "R-1"]
    assert await stage.tokens(grant.id) == ["R-1", "R-2", "R-3", "R-4"]


async def test_equal_tokens_are_sent_once(stage: Stage) -> None:
    """The server gave R-1 again two generations later: one sending of it in a pass."""
    grant = await stage.connected()
    stage.vendor.thinks(["A-2", "A-3"], UNSURE)
    for number, refresh in ((2, "R-2"), (3, "R-1")):
        await stage.clock.sleep(HOUR)
        stage.endpoint.will(issued(number, refresh=refresh))
        await stage.one.refresh(grant.id, number - 1)
        await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-1", "R-2", "R-1"]
    await stage.clock.sleep(HOUR)
    stage.endpoint.sent.clear()
    stage.endpoint.will(Refused("dead"), Refused("dead"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 3)
    assert stage.endpoint.sent == ["R-1", "R-2"]


@pytest.mark.parametrize("answer", [Ambiguous("HTTP 502"), NotSent("no route")])
async def test_an_ambiguous_answer_ends_the_pass(stage: Stage, answer: Answer) -> None:
    """Only a definitive refusal moves on to an older token; the next pass starts with the child again."""
    grant = await unproven(stage, 2)
    stage.endpoint.will(answer)
    with pytest.raises((RefreshInDoubt, TokenEndpointUnavailable)):
        await stage.one.refresh(grant.id, grant.generation)
    assert stage.endpoint.sent == ["R-3"]
    await stage.clock.sleep(61.0)
    stage.endpoint.will(Refused("child"), issued(4))
    await stage.one.refresh(grant.id, grant.generation)
    assert stage.endpoint.sent == ["R-3", "R-3", "R-2"]


@pytest.mark.parametrize("attempt", range(1, 9))
async def test_the_hold_after_an_ambiguous_answer(stage: Stage, attempt: int) -> None:
    """At least the HTTP deadline, at most the cap, whatever the dice say; an asker of the vendor's own is obeyed."""
    grant = await unproven(stage, 1)
    stage.dice.roll = 0.999 if attempt % 2 else 0.0
    for _ in range(attempt):
        stage.endpoint.will(Ambiguous("HTTP 503"))
        with pytest.raises(RefreshInDoubt):
            await stage.one.refresh(grant.id, grant.generation)
        held = (await stage.row(grant.id)).held_back
        assert stage.timing.deadline <= held <= stage.timing.backoff_cap
        await stage.clock.sleep(held)
    stage.endpoint.will(Ambiguous("HTTP 503", retry_after=55.0))
    with pytest.raises(RefreshInDoubt) as raised:
        await stage.one.refresh(grant.id, grant.generation)
    assert (await stage.row(grant.id)).held_back >= 55.0
    assert raised.value.retry_after is not None


async def test_a_held_back_caller_waits_and_is_served(stage: Stage) -> None:
    """The hold ends within the caller's 25 seconds: the second attempt serves, nobody was told off."""
    grant = await unproven(stage, 1)
    stage.dice.roll = 0.0
    stage.endpoint.will(Ambiguous("lost"))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 2)
    stage.endpoint.will(issued(3))
    began = stage.clock.steady()
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-3"
    assert stage.clock.steady() - began == pytest.approx(20.0, abs=0.5)


async def test_held_back_and_unexpired_is_served(stage: Stage) -> None:
    """Within the hold nothing is sent, and nobody waits for a token that still works."""
    grant = await stage.connected()
    stage.endpoint.will(Ambiguous("lost"))
    began = stage.clock.steady()
    for _ in range(3):
        assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
    assert stage.clock.steady() == began
    assert stage.endpoint.sent == ["R-1"]


async def test_a_hold_longer_than_the_caller_waits(stage: Stage) -> None:
    """An expired token and a hold beyond 25 seconds: 503 at once, with the time to come back."""
    grant = await unproven(stage, 1)
    stage.endpoint.will(Ambiguous("HTTP 429", retry_after=60.0))
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, 2)
    began = stage.clock.steady()
    with pytest.raises(RefreshInDoubt) as raised:
        await stage.one.refresh(grant.id, 2)
    assert stage.clock.steady() == began
    assert raised.value.retry_after == pytest.approx(60.0)
    assert stage.endpoint.sent == ["R-2"]


async def test_an_unreachable_endpoint_leaves_no_doubt(stage: Stage) -> None:
    """Nothing was sent: held back, but nothing is unresolved."""
    grant = await unproven(stage, 1)
    stage.endpoint.will(NotSent("no name"))
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.refresh(grant.id, 2)
    row = await stage.row(grant.id)
    assert (row.intent, row.state) == (None, State.BACKING_OFF)
    assert row.held_back >= stage.timing.deadline
    with pytest.raises(TokenEndpointUnavailable):
        await stage.one.refresh(grant.id, 2, patient=False)


# --- rule 6: the generation is the safety


async def test_only_the_epoch_moved(stage: Stage) -> None:
    """Another process took the lease while the answer was under way: the pair is kept, the lease taken again."""
    grant = await stage.connected()
    two = await stage.process()

    async def overtaken() -> Answer:
        stage.dead.add(stage.one.world.owner)
        taken = await two.store.write(take_lease(grant.id, two.world.owner, 10.0))
        assert isinstance(taken, Leased)
        return issued(2)

    stage.endpoint.will(overtaken)
    served = await stage.one.refresh(grant.id, 1)
    assert served.grant.access.reveal() == "A-2"
    await stage.one.idle()
    row = await stage.row(grant.id)
    assert (row.generation, await stage.tokens(grant.id)) == (2, ["R-2"])
    assert stage.endpoint.sent == ["R-1"]
    (committed_under,) = stage.sql("SELECT committed_epoch FROM grants WHERE id = ?", grant.id)[0]
    assert committed_under == 3  # ours, theirs, ours again


async def test_the_generation_moved(stage: Stage) -> None:
    """Another process committed while the answer was under way: our pair is dropped, theirs is served."""
    grant = await stage.connected()
    two = await stage.process()

    async def overtaken() -> Answer:
        stage.dead.add(stage.one.world.owner)
        await two.commit(grant, "theirs")
        return issued("ours")

    stage.endpoint.will(overtaken)
    served = await stage.one.refresh(grant.id, 1)
    assert served.grant.access.reveal() == "A-theirs"
    await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-1", "R-theirs"]
    assert "A-ours" not in stage.vendor.asked


async def test_disconnected_with_a_pair_in_hand(stage: Stage) -> None:
    """The hotel left while the answer was under way: the pair is dropped, the caller is told."""
    grant = await stage.connected()

    async def left() -> Answer:
        await stage.one.store.write(disconnect(grant.connection_id))
        return issued(2)

    stage.endpoint.will(left)
    with pytest.raises(ConnectionDisconnected):
        await stage.one.refresh(grant.id, 1)
    assert await stage.tokens(grant.id) == []


async def test_refused_but_somebody_committed_meanwhile(stage: Stage) -> None:
    """A refusal whose fence moved is no refusal: the row is read again and the sibling's pair used."""
    grant = await stage.connected()
    two = await stage.process()

    async def overtaken() -> Answer:
        stage.dead.add(stage.one.world.owner)
        await two.commit(grant, "theirs")
        return Refused("dead")

    stage.endpoint.will(overtaken)
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-theirs"
    row = await stage.row(grant.id)
    assert (row.refusals, row.reauth, row.state) == (0, None, State.FRESH)


async def test_refused_but_somebody_committed_meanwhile_and_the_rate_is_spent(stage: Stage) -> None:
    """The sibling's pair is used at once: no turn is waited for to send an older token of ours."""
    grant = await unproven(stage, 1)
    one, two = another(stage.one, limit=Limit(rate_within(10))), await stage.process()

    async def overtaken() -> Answer:
        await one.world.limiter(APP).pause(60.0)
        stage.dead.add(one.world.owner)
        await two.commit(grant, "theirs")
        return Refused("dead")

    stage.endpoint.will(overtaken)
    assert (await one.refresh(grant.id, grant.generation)).grant.access.reveal() == "A-theirs"
    await one.drain()


@pytest.mark.parametrize("taken_meanwhile", [False, True])
async def test_a_commit_whose_answer_was_lost_is_done_once(stage: Stage, taken_meanwhile: bool) -> None:
    """Written, and the answer lost: the repeat finds it done, also when somebody took the lease meanwhile."""
    grant = await stage.connected()
    stage.endpoint.will(issued(2))
    stage.one.driver.forget("commit_pair")
    caller = asyncio.create_task(stage.one.refresh(grant.id, 1))
    while not stage.notes.times("commit_waits"):
        await stage.clock.sleep(0.01)
    if taken_meanwhile:
        two = await stage.process()
        stage.dead.add(stage.one.world.owner)
        assert isinstance(await two.store.write(take_lease(grant.id, two.world.owner, 1.0)), Leased)
    served = await caller
    assert (served.grant.access.reveal(), served.grant.generation) == ("A-2", 2)
    await stage.one.idle()
    assert await stage.tokens(grant.id) == ["R-2"]
    assert (await stage.kinds(grant.connection_id)).count("pair_committed") == 1


@pytest.mark.parametrize("statement", ["renew_lease", "release_lease"])
async def test_a_lease_that_cannot_be_kept(stage: Stage, statement: str) -> None:
    """Too many open files, for a moment: what was found out under it counts; it is renewed the next time, and given
    back where that can be done.
    """
    grant = await stage.connected()
    lasted: list[float] = []

    async def slow() -> Proof:
        await stage.clock.sleep(2 * stage.timing.renew + 1.0)
        lasted.append((await stage.row(grant.id)).lease_left)
        return Proof()

    stage.vendor.thinks("A-1", slow)
    stage.one.driver.refuse(statement, 1, OSError(errno.EMFILE, "Too many open files"))
    served = await stage.one.refresh(grant.id, 1, rejected=1)
    assert (served.proven, served.grant.generation) == (True, 1)
    assert lasted == [pytest.approx(stage.timing.lease - 1.0)]
    await stage.one.idle()
    left = (await stage.row(grant.id)).lease_left
    assert left == (0.0 if statement == "renew_lease" else pytest.approx(stage.timing.lease - 1.0))


async def test_the_lease_is_renewed_under_a_slow_answer(stage: Stage) -> None:
    """An exchange longer than a lease: nobody else gets it, and the commit is under the first epoch."""
    grant = await stage.connected()
    two = await stage.process()

    async def slow() -> Answer:
        for _ in range(9):
            await stage.clock.sleep(10.0)
            assert not isinstance(await two.store.write(take_lease(grant.id, "somebody", 30.0)), Leased)
        return issued(2)

    stage.endpoint.will(slow)
    await asyncio.gather(stage.one.refresh(grant.id, 1), return_exceptions=True)
    await stage.one.idle()
    assert stage.sql("SELECT committed_epoch, lease_owner FROM grants WHERE id = ?", grant.id) == [(1, None)]


# --- rule 7: intent first


async def test_the_intent_is_there_before_the_token_leaves(stage: Stage) -> None:
    """While the request is under way the row says which token, and holds lease and hold for the whole deadline."""
    grant = await stage.connected()
    seen: list[Grant] = []

    async def look() -> Answer:
        seen.append(await stage.row(grant.id))
        return issued(2)

    stage.endpoint.will(look)
    await stage.one.refresh(grant.id, 1)
    (row,) = seen
    assert (row.intent, row.state) == (1, State.REFRESHING)
    assert row.lease_left == pytest.approx(stage.timing.lease)
    assert row.held_back == pytest.approx(stage.timing.deadline)


async def test_an_intent_that_cannot_be_written_sends_nothing(stage: Stage) -> None:
    """The disk is full before anything was sent: A is served while it lasts, else 503; nothing was spent."""
    grant = await stage.connected()
    stage.one.driver.refuse("write_intent", times=2)
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
    await stage.clock.sleep(HOUR)
    with pytest.raises(StoreUnavailable):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == []
    stage.endpoint.will(issued(2))
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"


async def test_a_lease_that_cannot_be_written_serves_what_lasts(stage: Stage) -> None:
    """A disk full before the lease (F56): nothing is sent, and the unexpired A stays usable."""
    grant = await stage.connected()
    stage.one.driver.writes_fail = True
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-1"
    assert stage.endpoint.sent == []


@pytest.mark.row("A50")
async def test_a_key_that_is_used_up(stage: Stage) -> None:
    """A pair whose request is out by then is stored. After that nothing is sent: what lasts is served, and then callers
    are told what an operator has to do.
    """
    grant = await stage.expired()

    async def meanwhile() -> Answer:
        name = f"seals:{AesGcmSealer([KEY]).key_id}"
        stage.sql("UPDATE meta SET value = ? WHERE name = ?", str(MOST_SEALS), name)
        return issued(2)

    stage.endpoint.will(meanwhile)
    assert (await stage.one.refresh(grant.id, 1)).grant.access.reveal() == "A-2"
    assert await stage.tokens(grant.id) == ["R-2"]
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-2"
    await stage.clock.sleep(HOUR)
    with pytest.raises(StoreUnavailable, match="has sealed") as raised:
        await stage.one.refresh(grant.id, 2)
    assert "put a new key first" in raised.value.diagnosis().next_step
    assert len(stage.endpoint.sent) == 1
    assert (await stage.row(grant.id)).intent is None


async def test_a_moved_fence_before_sending_looks_again(stage: Stage) -> None:
    """The lease was lost between reading and writing the intent: nothing is sent under the old epoch."""
    grant = await stage.connected()
    stage.vendor.thinks("A-2", UNSURE)
    stage.endpoint.will(issued(2))
    await stage.one.refresh(grant.id, 1)
    await stage.one.idle()
    two = await stage.process()

    async def overtaken() -> Verdict:
        stage.dead.add(stage.one.world.owner)
        taken = await two.store.write(take_lease(grant.id, two.world.owner, 5.0))
        assert isinstance(taken, Leased)
        stage.dead.clear()
        return DeadToken()

    stage.vendor.script = [overtaken, DeadToken()]
    stage.endpoint.will(issued(3))
    assert (await stage.one.refresh(grant.id, 2)).grant.access.reveal() == "A-3"
    assert stage.endpoint.sent == ["R-1", "R-2"]


async def test_never_two_requests_at_once(stage: Stage) -> None:
    """Three tokens in one pass, each answered before the next is sent."""
    grant = await unproven(stage, 2)
    slow = stage.later(3.0, Refused("dead"))
    stage.endpoint.will(slow, slow, slow)
    with pytest.raises(RefreshInDoubt):
        await stage.one.refresh(grant.id, grant.generation)
    assert (len(stage.endpoint.sent), stage.endpoint.most_running) == (3, 1)


async def test_an_outage_of_the_store_while_a_pair_is_in_hand(stage: Stage) -> None:
    """For an hour nothing can be written: the pair waits, unused; callers get 503; then everybody gets it."""
    grant = await stage.connected()

    async def dark() -> Answer:
        stage.one.driver.writes_fail = True
        return issued(2)

    stage.endpoint.will(dark)
    first = asyncio.create_task(stage.one.refresh(grant.id, 1))
    await stage.clock.sleep(3000.0)
    assert first.done()
    with pytest.raises(Exception, match="did not finish in time"):
        await first
    assert stage.vendor.asked == []
    assert stage.endpoint.sent == ["R-1"]
    stage.one.driver.writes_fail = False
    await stage.clock.sleep(70.0)
    await stage.one.idle()
    row = await stage.row(grant.id)
    assert (row.generation, row.access.reveal(), row.proven) == (2, "A-2", True)
    assert row.valid_for < 3600.0 - 2900.0, "the time in hand counts against the lifetime"
