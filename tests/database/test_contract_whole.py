"""The contract of ports.store as a whole: every method of it, refused writes, copies, its life."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import pytest
from tests.database.bench import Bench, HandClock, link
from tests.support.fakes import HERE, pair

from cloudbeds_auth.errors import StoreReadOnly
from cloudbeds_auth.ports.grants import Attempt, Busy, Counted, Settled, Written
from cloudbeds_auth.ports.importing import NewImport
from cloudbeds_auth.ports.store import Store
from cloudbeds_auth.rules.calls import Calls
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.lifecycle import IllegalMove
from cloudbeds_auth.rules.model import App, CredentialKind, Fence, Grant, StoredToken
from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.rules.secret import Secret

RATE = Rate(10.0)
KEY = pair("key", refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER)
SENT = StoredToken(1, Secret("R-1"))
APP = App("aurora", "client-2", (Secret("first"),), "https://a.example/callback/aurora")

READS: dict[str, Callable[[Store, Grant], Awaitable[object]]] = {
    "grant": lambda store, one: store.grant(one.id),
    "current_grant": lambda store, one: store.current_grant(one.connection_id),
    "candidate": lambda store, one: store.candidate(one.connection_id),
    "connection": lambda store, one: store.connection(one.connection_id),
    "connections": lambda store, one: store.connections(),
    "count_states": lambda store, one: store.count_states(),
    "resolve": lambda store, one: store.resolve("1000"),
    "events": lambda store, one: store.events(one.connection_id),
    "link": lambda store, one: store.link("l1"),
    "link_outcome": lambda store, one: store.link_outcome("l1"),
    "open_circuits": lambda store, one: store.open_circuits("default"),
    "next_due": lambda store, one: store.next_due(),
    "app": lambda store, one: store.app("aurora"),
    "apps": lambda store, one: store.apps(),
    "redirect_uris": lambda store, one: store.redirect_uris(),
    "issuer": lambda store, one: store.issuer("default"),
    "issuers": lambda store, one: store.issuers(),
    "held": lambda store, one: store.held(),
    "next_message": lambda store, one: store.next_message(),
    "outbox": lambda store, one: store.outbox(),
    "outcome": lambda store, one: store.outcome("aut_1"),
    "covered": lambda store, one: store.covered(one.connection_id),
    "report": lambda store, one: store.report(),
}


def writes(bench: Bench, one: Grant, fence: Fence) -> dict[str, Callable[[Store], Awaitable[object]]]:
    """Every method that writes, each about a connected hotel."""
    calls = [Calls(one.id, 1, 1.0, 2.0, 1, 0, {})]
    return {
        "take_lease": lambda store: store.take_lease(one.id, "them", 30.0),
        "renew_lease": lambda store: store.renew_lease(one.id, fence.epoch, 30.0),
        "release_lease": lambda store: store.release_lease(one.id, fence.epoch),
        "write_intent": lambda store: store.write_intent(fence, 1, lease=30.0, hold=20.0),
        "settle": lambda store: store.settle(fence, Attempt.LOST, hold=20.0),
        "commit_pair": lambda store: store.commit_pair(fence, SENT, pair(2), stale_after=9.0),
        "confirm": lambda store: store.confirm(one.id, fence.generation),
        "count_refusal": lambda store: store.count_refusal(fence, "revoked", may_mark=False, interval=60.0),
        "note_problem": lambda store: store.note_problem(one.id, fence.generation, "missing_scope", {}),
        "record_calls": lambda store: store.record_calls(calls),
        "begin_migration": lambda store: store.begin_migration(fence, "client-1"),
        "end_migration": lambda store: store.end_migration(fence),
        "add_key": lambda store: store.add_key(one.id, "gra_9", "default", KEY),
        "open_circuit": lambda store: store.open_circuit("default", "f1", trial_after=60.0),
        "close_circuit": lambda store: store.close_circuit("default", "f1"),
        "add_link": lambda store: store.add_link(link("l2")),
        "add_authorization": lambda store: store.add_authorization(bench.state()),
        "spend_state": lambda store: store.spend_state("state-1", None, "code"),
        "add_candidate": lambda store: store.add_candidate("aut_1", "con_9", "gra_9", pair(9), stale_after=9.0),
        "begin_arrival": lambda store: store.begin_arrival(bench.state(parked=True), "code", most=9),
        "claim": lambda store: store.claim(one.connection_id, "tenant-9", "gra_9"),
        "discard_parked": lambda store: store.discard_parked(one.id),
        "add_import": lambda store: store.add_import(
            NewImport("hash", "default", None, "2000", pair(8, lifetime=0)), "con_8", "gra_8"
        ),
        "promote": lambda store: store.promote(one.connection_id, one.id, None, ()),
        "bring_home": lambda store: store.bring_home(one.id, one.generation, ("1000",), "gra_9"),
        "note_unnamed": lambda store: store.note_unnamed(one.id, 1, "property_unknown", {}, again_in=9.0),
        "drop_candidate": lambda store: store.drop_candidate(one.id, "of no use"),
        "disconnect": lambda store: store.disconnect(one.connection_id, actor="operator"),
        "forget": lambda store: store.forget(one.connection_id, actor="operator"),
        "sweep": lambda store: store.sweep(1.0, 9),
        "roll_up": lambda store: store.roll_up(9),
        "reserve_turn": lambda store: store.reserve_turn("client", RATE, 1.0),
        "pause_turns": lambda store: store.pause_turns("client", 1.0),
        "claim_due": lambda store: store.claim_due(4, 60.0),
        "add_app": lambda store: store.add_app(APP),
        "rotate_secret": lambda store: store.rotate_secret("aurora", Secret("second")),
        "drop_previous_secret": lambda store: store.drop_previous_secret("aurora"),
        "remove_app": lambda store: store.remove_app("aurora"),
        "move_grants": lambda store: store.move_grants(
            "default", HERE.issuer or "", "https://elsewhere.example", actor="operator", after="", limit=9
        ),
        "move_app": lambda store: store.move_app("default", HERE.issuer or "", "https://elsewhere.example"),
        "claim_retries": lambda store: store.claim_retries(4, 60.0),
        "retry_all": lambda store: store.retry_all("default", 9),
        "note_denied": lambda store: store.note_denied(one.id, fence.generation, 60.0),
        "note_disabled": lambda store: store.note_disabled(one.id, fence.generation),
        "reprieve": lambda store: store.reprieve(fence, "revoked", 60.0),
        "claim_polls": lambda store: store.claim_polls(4, 60.0),
        "claim_listings": lambda store: store.claim_listings(4, 60.0),
        "relist": lambda store: store.relist(one.id, ("1000", "1001")),
        "claim_messages": lambda store: store.claim_messages(4, 60.0),
        "message_delivered": lambda store: store.message_delivered("msg_1"),
        "message_failed": lambda store: store.message_failed("msg_1", "HTTP 503", 5.0),
        "check": lambda store: store.check(),
    }


async def seen(store: Store, one: Grant) -> list[object]:
    """Everything that can be seen."""
    return [await read(store, one) for read in READS.values()]


async def test_no_method_is_left_out(bench: Bench) -> None:
    """A method that the port gets must be named here, as one that reads or as one that writes."""
    one = await bench.hotel()
    public = {name for name, _ in inspect.getmembers(Store, inspect.iscoroutinefunction) if not name.startswith("_")}
    assert public == {*READS, *writes(bench, one, await bench.leased(one)), "close"}


async def test_a_copy_reads_and_never_writes(bench: Bench) -> None:
    """Rule 16: every write raises StoreReadOnly and changes nothing; what is there can be looked at (F74)."""
    one = await bench.hotel()
    fence = await bench.intent(one)
    copy = await bench.copy()
    assert (copy.read_only, bench.store.read_only) == (True, False)
    before = await seen(copy, one)
    for name, write in writes(bench, one, fence).items():
        with pytest.raises(StoreReadOnly):
            await write(copy)
        assert await seen(copy, one) == before, name
    assert await copy.grant(one.id) is not None


@pytest.mark.parametrize("wrong", ["generation", "epoch", "superseded", "disconnected", "nobody"])
@pytest.mark.usefixtures("clock")
async def test_a_fence_that_moved_refuses_and_changes_nothing(bench: Bench, wrong: str) -> None:
    """Intent, outcome, commit and count alike."""
    one = await bench.hotel()
    held = await bench.intent(one)
    fence = {
        "generation": Fence(one.id, held.generation + 1, held.epoch),
        "epoch": Fence(one.id, held.generation, held.epoch + 1),
        "nobody": Fence("gra_nobody", held.generation, held.epoch),
    }.get(wrong, held)
    if wrong == "superseded":
        await bench.connected(pair("new", property_ids=("1000",)))
    elif wrong == "disconnected":
        await bench.store.disconnect(one.connection_id, actor="operator")
    before = await seen(bench.store, one)
    assert not await bench.store.write_intent(fence, 1, lease=30.0, hold=20.0)
    assert await bench.store.settle(fence, Attempt.REFUSED) is Settled.MOVED
    assert not await bench.store.begin_migration(fence, "client-1")
    assert not await bench.store.end_migration(fence)
    assert await bench.store.count_refusal(fence, "revoked", may_mark=False, interval=60.0) is Counted.MOVED
    if wrong != "superseded":  # its late pair goes to its own row (rule 13)
        written = await bench.store.commit_pair(fence, SENT, pair(2), stale_after=9.0)
        assert (
            written
            is {
                "generation": Written.GENERATION_MOVED,
                "epoch": Written.EPOCH_MOVED,
                "disconnected": Written.GONE,
                "nobody": Written.GONE,
            }[wrong]
        )
    assert await seen(bench.store, one) == before


@pytest.mark.usefixtures("clock")
async def test_an_illegal_move_is_rolled_back(bench: Bench) -> None:
    """An outcome without an attempt is a bug of ours: it raises, and nothing of it is written."""
    one = await bench.hotel()
    fence = await bench.leased(one)
    before = await seen(bench.store, one)
    with pytest.raises(IllegalMove):
        await bench.store.settle(fence, Attempt.LOST, hold=20.0)
    assert await seen(bench.store, one) == before


async def test_another_process_sees_what_was_written(bench: Bench) -> None:
    """As soon as a method has returned; and a lease of one is busy for the other."""
    one = await bench.hotel()
    other = await bench.another()
    fence = await bench.leased(one)
    assert isinstance(await other.take_lease(one.id, "them", 30.0), Busy)
    assert await bench.store.commit_pair(fence, one.tokens[0], pair(2), stale_after=9.0) is Written.DONE
    row = await other.grant(one.id)
    assert row is not None
    assert (row.generation, row.access.reveal()) == (2, "A-2")


async def test_a_row_that_was_read_is_a_picture(bench: Bench) -> None:
    """What a caller holds does not change when the store does."""
    one = await bench.hotel()
    before = await bench.row(one.id)
    await bench.committed(one, 2)
    assert (before.generation, [token.value.reveal() for token in before.tokens]) == (1, ["R-1"])


async def test_checking_and_reporting(bench: Bench) -> None:
    """A store that works passes its check, and says where it rests without a secret."""
    await bench.hotel()
    await bench.store.check()
    report = await bench.store.report()
    assert "key_id" in report
    assert {"sqlite", "postgresql"} & set(report)
    assert "R-1" not in str(report)


async def test_many_histories_do_not_mix(bench: Bench, clock: HandClock) -> None:
    """Each connection numbers its own lines."""
    hotels = [await bench.connected() for _ in range(3)]
    clock.pass_(1.0)
    for hotel in hotels:
        await bench.committed(hotel, f"{hotel.id}-2")
    for hotel in hotels:
        lines = await bench.store.events(hotel.connection_id)
        assert [line.sequence for line in lines] == [5, 4, 3, 2, 1]
        assert {line.grant_id for line in lines} == {hotel.id}
