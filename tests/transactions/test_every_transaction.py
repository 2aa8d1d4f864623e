"""Every transaction there is: reads, refused writes, copies, its life."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import isfunction, isgeneratorfunction
from pkgutil import iter_modules

import pytest
from tests.support.bench import Bench, HandClock, link
from tests.support.fakes import HERE, pair

from cloudbeds_auth import transactions as package
from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import StoreReadOnly
from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.lifecycle import IllegalMove
from cloudbeds_auth.rules.model import App, CredentialKind, Fence, Grant, StoredToken
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Subscription
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration, end_migration
from cloudbeds_auth.transactions.apps import (
    RedirectUris,
    add_app,
    close_circuit,
    drop_previous_secret,
    open_circuit,
    open_circuits,
    read_app,
    read_apps,
    read_conflict,
    read_names,
    read_redirect_uris,
    read_registrations,
    remove_app,
    rotate_secret,
)
from cloudbeds_auth.transactions.audit import add_audit, add_failures, read_audit
from cloudbeds_auth.transactions.authentic import authenticate, authenticated, begin_anew, unlock
from cloudbeds_auth.transactions.authorizations import (
    add_authorization,
    add_link,
    read_authorization,
    read_challenge,
    read_link,
    read_link_outcome,
    settled_state,
    spend_state,
)
from cloudbeds_auth.transactions.caller_keys import (
    add_caller_key,
    end_caller_key,
    find_caller,
    note_uses,
    read_caller_key,
    read_caller_keys,
)
from cloudbeds_auth.transactions.candidates import (
    add_candidate,
    drop_candidate,
    note_unnamed,
    promote,
    read_candidate,
    read_unproven,
)
from cloudbeds_auth.transactions.connections import (
    Trouble,
    claim_listings,
    count_cohorts,
    count_of_apps,
    count_states,
    disconnect,
    list_connections,
    list_troubled,
    read_cohorts,
    read_connection,
    read_connections,
    read_ids,
    relist,
)
from cloudbeds_auth.transactions.expectations import Spare, set_aside, settle_approval
from cloudbeds_auth.transactions.exposure import read_exposure
from cloudbeds_auth.transactions.grants import (
    AttemptEnd,
    Busy,
    Settled,
    Written,
    commit_pair,
    read_grant,
    release_lease,
    renew_lease,
    settle,
    take_lease,
    write_intent,
)
from cloudbeds_auth.transactions.history import (
    add_calls,
    forget,
    note_use,
    read_history,
    read_pair_history,
    read_recent,
    roll_up,
    sweep,
    take_over,
)
from cloudbeds_auth.transactions.imports import NewImport, add_import, read_refused
from cloudbeds_auth.transactions.marketplace import begin_arrival, claim, discard_parked
from cloudbeds_auth.transactions.newest import must_be_newest, newest_ordinal
from cloudbeds_auth.transactions.origins import (
    move_app,
    move_grants,
    read_foreign,
    read_issuer,
)
from cloudbeds_auth.transactions.outbox import (
    claim_messages,
    message_delivered,
    message_failed,
    next_message,
    read_outbox,
)
from cloudbeds_auth.transactions.pasted_keys import PastedKey, add_pasted_key
from cloudbeds_auth.transactions.rate_limit import pause_turns, read_window_use, reserve_turn
from cloudbeds_auth.transactions.reconnect import bring_home, read_covered
from cloudbeds_auth.transactions.refusals import (
    Counted,
    confirm,
    count_refusal,
    note_denied,
    note_disabled,
    note_problem,
    reprieve,
)
from cloudbeds_auth.transactions.risks import note_risks
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.seals import (
    check_keys,
    is_seen,
    need_keys,
    note_seen,
    read_needed,
    read_seals,
    retire_keys,
)
from cloudbeds_auth.transactions.sessions import (
    add_sign_in_code,
    begin_session,
    end_session,
    end_sessions,
    find_session,
    is_sign_in_code,
    use_session,
)
from cloudbeds_auth.transactions.statements import Call
from cloudbeds_auth.transactions.subscriptions import (
    claim_subscriptions,
    note_subscriptions,
    subscriptions_compared,
    want_subscriptions,
)
from cloudbeds_auth.transactions.upkeep import (
    claim_due,
    claim_polls,
    claim_retries,
    due_beyond,
    next_due,
    read_overdue,
    read_queues,
    retry_all,
)
from cloudbeds_auth.transactions.verification import accept, verify_connections, verify_history, verify_keys

RATE = Rate(10)
KEY = pair("key", refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER)
SENT = StoredToken(1, Secret("R-1"))
APP = App("aurora", "client-2", (Secret("first"),), "https://a.example/callback/aurora")


READS: dict[str, Callable[[Grant], Call[object]]] = {
    "read_grant": lambda one: read_grant(one.id),
    "read_candidate": lambda one: read_candidate(one.connection_id),
    "read_unproven": lambda one: read_unproven(one.connection_id, one.id),
    "read_connection": lambda one: read_connection(one.connection_id),
    "list_connections": lambda one: list_connections(),
    "count_states": lambda one: count_states(),
    "count_cohorts": lambda one: count_cohorts([], 10),
    "count_of_apps": lambda one: count_of_apps(["default"], 10),
    "list_troubled": lambda one: list_troubled(Trouble.RISK, cursor=None, limit=10),
    "read_connections": lambda one: read_connections([one.connection_id]),
    "read_cohorts": lambda one: read_cohorts(),
    "read_names": lambda one: read_names(["client-1"]),
    "read_registrations": lambda one: read_registrations(["default"]),
    "read_history": lambda one: read_history(one.connection_id),
    "read_pair_history": lambda one: read_pair_history(one.connection_id),
    "read_link": lambda one: read_link("l1"),
    "read_link_outcome": lambda one: read_link_outcome("l1"),
    "open_circuits": lambda one: open_circuits("default"),
    "next_due": lambda one: next_due(),
    "due_beyond": lambda one: due_beyond(0.0),
    "read_overdue": lambda one: read_overdue(),
    "read_queues": lambda one: read_queues(),
    "read_window_use": lambda one: read_window_use(["client"]),
    "read_recent": lambda one: read_recent(10.0, 10),
    "read_app": lambda one: read_app("aurora"),
    "read_apps": lambda one: read_apps(),
    "read_conflict": lambda one: read_conflict(APP),
    "read_redirect_uris": lambda one: read_redirect_uris(RedirectUris()),
    "read_seals": lambda one: read_seals(),
    "is_seen": lambda one: is_seen(),
    "read_needed": lambda one: read_needed(),
    "read_issuer": lambda one: read_issuer("default"),
    "read_foreign": lambda one: read_foreign("https://a.example", {}),
    "next_message": lambda one: next_message(),
    "read_outbox": lambda one: read_outbox(),
    "read_authorization": lambda one: read_authorization("aut_1"),
    "read_challenge": lambda one: read_challenge("state-1"),
    "newest_ordinal": lambda one: newest_ordinal(one.connection_id),
    "must_be_newest": lambda one: must_be_newest(one.connection_id, 9),
    "read_covered": lambda one: read_covered(one.connection_id),
    "read_refused": lambda one: read_refused("hash"),
    "read_ids": lambda one: read_ids(["1000"]),
    "read_caller_key": lambda one: read_caller_key("key_1"),
    "read_caller_keys": lambda one: read_caller_keys(limit=10),
    "find_caller": lambda one: find_caller("key_1"),
    "is_sign_in_code": lambda one: is_sign_in_code("code-1"),
    "find_session": lambda one: find_session("S1"),
    "read_exposure": lambda one: read_exposure(),
    "read_audit": lambda one: read_audit(before=None, limit=10),
    "verify_history": lambda one: verify_history(one.connection_id),
    "verify_connections": lambda one: verify_connections(limit=10),
    "verify_keys": lambda one: verify_keys(limit=10),
    "settled_state": lambda one: settled_state("state-1", None, "code"),
}


def writes(bench: Bench, one: Grant, fence: Fence) -> list[Call[object]]:
    """Every transaction that writes, each about a connected hotel."""
    line = Calls(one.id, 1, 1.0, 2.0, 1, 0, {})
    return [
        take_lease(one.id, "them", 30.0),
        renew_lease(one.id, fence.epoch, 30.0),
        release_lease(one.id, fence.epoch),
        write_intent(fence, 1, lease=30.0, hold=20.0),
        settle(fence, AttemptEnd.LOST, hold=20.0),
        commit_pair(fence, SENT, pair(2), stale_after=9.0),
        confirm(one.id, fence.generation),
        count_refusal(fence, "revoked", may_mark=False, interval=60.0),
        note_problem(one.id, fence.generation, "missing_scope", {}),
        add_calls([line]),
        note_use(one.id, 1.0),
        begin_migration(fence, "client-1"),
        end_migration(fence),
        add_key(fence, "gra_9", "default", KEY),
        add_pasted_key(PastedKey("hash-key", "default", KEY, None), "con_8", "gra_8"),
        open_circuit("default", "f1", trial_after=60.0),
        close_circuit("default", "f1"),
        add_link(link("l2")),
        add_authorization(bench.state()),
        spend_state("state-1", None, "code"),
        add_candidate("aut_1", "con_9", "gra_9", pair(9), stale_after=9.0),
        begin_arrival(bench.state(parked=True), "code", most=9),
        claim(one.connection_id, "tenant-9", "gra_9"),
        discard_parked(one.id),
        add_import(NewImport("hash", "default", None, "2000", pair(8, lifetime=0)), "con_8", "gra_8"),
        promote(one.connection_id, one.id, one.generation, None, ()),
        settle_approval(one.id, one.generation, ("1000",), Spare("gra_9", "con_9")),
        set_aside(one.id, one.generation, ("2000",), Spare("gra_9", "con_9"), ("1000",)),
        bring_home(one.id, one.generation, ("1000",), "gra_9"),
        note_unnamed(one.id, 1, "property_unknown", {}, again_in=9.0),
        drop_candidate(one.id, "of no use"),
        disconnect(one.connection_id),
        forget(one.connection_id),
        sweep(1.0, 9),
        take_over(9),
        roll_up(span=60, coarser=3600, age=86400, limit=9),
        reserve_turn("client", RATE, 1.0),
        pause_turns("client", 1.0),
        claim_due(4, 60.0),
        add_app(APP),
        add_caller_key("key_9", "hash", NewKey("a job", frozenset(Scope)), parent=None),
        end_caller_key("key_9"),
        add_audit("signed_in", None, {}),
        add_failures({("sign_in_failed", "192.0.2.7"): 1}),
        note_uses({"key_9": (1.0, "192.0.2.7")}),
        add_sign_in_code("code-9", made_by="operator"),
        begin_session("S9", "hash", code_hash=None, address="192.0.2.7"),
        use_session("S9"),
        end_session("S9"),
        end_sessions(),
        rotate_secret("aurora", Secret("second")),
        drop_previous_secret("aurora"),
        remove_app("aurora"),
        move_grants("default", HERE.issuer or "", "https://elsewhere.example", after="", limit=9),
        move_app("default", HERE.issuer or "", "https://elsewhere.example"),
        claim_retries(4, 60.0),
        retry_all("default", 9),
        note_denied(one.id, fence.generation, 60.0),
        note_disabled(one.id, fence.generation),
        reprieve(fence, "revoked", 60.0),
        claim_polls(4, 60.0),
        claim_listings(4, 60.0),
        relist(one.id, ("1000", "1001")),
        want_subscriptions("f1"),
        claim_subscriptions("f1", 4, 60.0),
        note_subscriptions(one.id, "1000", [Subscription("1000", "guest/created", "e1", "h1", "7", made=True)]),
        subscriptions_compared(one.id),
        note_risks(one.id, {"not_renewable": "why"}),
        claim_messages(4, 60.0),
        accept(one.connection_id),
        authenticate("grants", ""),
        authenticated(),
        unlock(),
        begin_anew(),
        message_delivered("msg_1"),
        message_failed("msg_1", "HTTP 503", 5.0),
        check_keys(),
        note_seen(),
        need_keys(["ab12"]),
        retire_keys(),
    ]


async def seen(store: Database, one: Grant) -> list[object]:
    """Everything that can be seen."""
    found = [await store.read(read(one)) for read in READS.values()]
    return [*found, await current_grant(store, one.connection_id), await store.report()]


def transactions() -> set[str]:
    """The names of all that there are."""
    modules = [import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    return {
        name
        for module in modules
        for name, value in vars(module).items()
        if isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        and isgeneratorfunction(getattr(value, "__wrapped__", None)) and value.__name__ != "seals_checked"
    }  # fmt: skip


async def test_no_transaction_is_left_out(bench: Bench) -> None:
    """A transaction that is added must be named here, as one that reads or as one that writes."""
    one = await bench.hotel()
    written = {call.name for call in writes(bench, one, await bench.leased(one))}
    assert transactions() == {*READS, "read_current_grants", *written}


async def test_a_copy_reads_and_never_writes(bench: Bench) -> None:
    """Rule 16: every write raises StoreReadOnly and changes nothing; what is there can be looked at (F74)."""
    one = await bench.hotel()
    fence = await bench.intent(one)
    copy = await bench.copy()
    assert (copy.read_only, bench.store.read_only) == (True, False)
    before = await seen(copy, one)
    for call in writes(bench, one, fence):
        with pytest.raises(StoreReadOnly):
            await copy.write(call)
    assert await seen(copy, one) == before
    with pytest.raises(StoreReadOnly):
        await copy.check()
    assert await copy.read(read_grant(one.id)) is not None


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
        await bench.store.write(disconnect(one.connection_id))
    before = await seen(bench.store, one)
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0))
    assert await bench.store.write(settle(fence, AttemptEnd.REFUSED)) is Settled.MOVED
    assert not await bench.store.write(begin_migration(fence, "client-1"))
    assert not await bench.store.write(end_migration(fence))
    assert await bench.store.write(count_refusal(fence, "revoked", may_mark=False, interval=60.0)) is Counted.MOVED
    if wrong != "superseded":  # its late pair goes to its own row (rule 13)
        written = await bench.store.write(commit_pair(fence, SENT, pair(2), stale_after=9.0))
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
        await bench.store.write(settle(fence, AttemptEnd.LOST, hold=20.0))
    assert await seen(bench.store, one) == before


async def test_another_process_sees_what_was_written(bench: Bench) -> None:
    """As soon as a method has returned; and a lease of one is busy for the other."""
    one = await bench.hotel()
    other = await bench.another()
    fence = await bench.leased(one)
    assert isinstance(await other.write(take_lease(one.id, "them", 30.0)), Busy)
    assert await bench.store.write(commit_pair(fence, one.tokens[0], pair(2), stale_after=9.0)) is Written.DONE
    row = await other.read(read_grant(one.id))
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
        lines = await bench.store.read(read_history(hotel.connection_id))
        assert [line.sequence for line in lines] == [5, 4, 3, 2, 1]
        assert {line.grant_id for line in lines} == {hotel.id}
