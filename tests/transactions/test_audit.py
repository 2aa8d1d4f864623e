"""The transactions of the audit, over both databases: what a person or a program does is in it, and what nobody does
is not.
"""

from __future__ import annotations

from tests.support.bench import Bench, HandClock, link
from tests.support.fakes import APP, pair

from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import Acting, AuditEntry
from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import (
    add_app,
    drop_previous_secret,
    remove_app,
    rotate_secret,
)
from cloudbeds_auth.transactions.audit import add_audit, add_failures, read_audit
from cloudbeds_auth.transactions.authorizations import NewAuthorization, Spending, add_link
from cloudbeds_auth.transactions.caller_keys import add_caller_key, end_caller_key
from cloudbeds_auth.transactions.candidates import add_candidate
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import write_intent
from cloudbeds_auth.transactions.history import forget, sweep
from cloudbeds_auth.transactions.marketplace import begin_arrival, claim

ADA = Acting("session:ada", "192.0.2.7")


async def told(bench: Bench) -> list[tuple[str, str | None, dict[str, object]]]:
    """What the audit says, oldest first; all of it was done by the one, from there."""
    entries = await bench.store.read(read_audit(before=None, limit=100))
    assert {(one.actor, one.address) for one in entries} <= {ADA}
    return [(one.action, one.subject, dict(one.data)) for one in reversed(entries)]


async def test_an_entry_is_read_as_it_was_written(bench: Bench, clock: HandClock) -> None:
    """By every process."""
    ACTING.set(ADA)
    await bench.store.write(add_audit("signed_in", None, {"how": "link"}))
    (entry,) = await (await bench.another()).read(read_audit(before=None, limit=100))
    assert entry == AuditEntry(
        entry.id, moment(clock.wall), "signed_in", "session:ada", None, "192.0.2.7", {"how": "link"}
    )


async def test_a_page_after_another(bench: Bench, clock: HandClock) -> None:
    """Newest first; the last id of a page is the next one's cursor."""
    ACTING.set(ADA)
    for number in range(5):
        await bench.store.write(add_audit("signed_in", str(number), {}))
        clock.pass_(1)
    found: list[str | None] = []
    before: str | None = None
    while page := await bench.store.read(read_audit(before=before, limit=2)):
        found += [one.subject for one in page]
        before = page[-1].id
    assert found == ["4", "3", "2", "1", "0"]


async def test_the_life_of_a_key(bench: Bench, clock: HandClock) -> None:
    """Made, and revoked once; who made it is the key's too."""
    ACTING.set(ADA)
    new = NewKey("a job", frozenset({Scope.READ}))
    made = await bench.store.write(add_caller_key("key_1", "hash", new, parent=None))
    assert made is not None
    assert made.created_by == ADA.name
    for _ in range(2):
        clock.pass_(1)
        await bench.store.write(end_caller_key("key_1"))
    await bench.store.write(end_caller_key("key_2"))
    assert await told(bench) == [
        ("key_created", "key_1", {"name": "a job", "scopes": ["read"], "parent": None}), ("key_revoked", "key_1", {}),
    ]  # fmt: skip


async def test_the_life_of_an_app(bench: Bench, clock: HandClock) -> None:
    """Each change that was one; what there is not is not changed."""
    ACTING.set(ADA)
    for call in (
        add_app(APP), add_app(APP), rotate_secret(APP.id, Secret("second")), drop_previous_secret(APP.id),
        remove_app(APP.id), rotate_secret(APP.id, Secret("third")), drop_previous_secret(APP.id), remove_app(APP.id),
    ):  # fmt: skip
        await bench.store.write(call)
        clock.pass_(1)
    assert [(action, subject) for action, subject, _ in await told(bench)] == [
        (action, APP.id) for action in ("app_added", "app_secret_rotated", "app_secret_dropped", "app_removed")
    ]


async def test_what_is_done_to_a_connection(bench: Bench, clock: HandClock) -> None:
    """Its history says who, and so does the audit; an approval and a refresh that comes by itself are in the history
    alone.
    """
    ACTING.set(ADA)
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    assert await told(bench) == []
    clock.pass_(1)
    assert await bench.store.write(write_intent(fence, 1, lease=30.0, hold=20.0, asked=True))
    clock.pass_(1)
    await bench.store.write(disconnect(grant.connection_id, detail="the vendor was told"))
    clock.pass_(1)
    await bench.store.write(forget(grant.connection_id))
    home = grant.connection_id
    assert [(action, subject) for action, subject, _ in await told(bench)] == [
        ("intent_written", home), ("disconnected", home), ("forgotten", home),
    ]  # fmt: skip
    assert ("disconnected", home, {"detail": "the vendor was told"}) in await told(bench)


async def test_what_was_not_done_is_not_written(bench: Bench) -> None:
    """The entry is of the transaction that does it: one that ends without effect, or is undone, leaves none."""
    ACTING.set(ADA)
    assert not await bench.store.write(disconnect("con_nobody"))
    assert not await bench.store.write(forget("con_nobody"))
    assert await told(bench) == []


async def test_a_reference_is_of_whoever_made_the_link(bench: Bench, clock: HandClock) -> None:
    """The hotel brings it, from its own address, which nobody notes."""
    ACTING.set(ADA)
    await bench.connected(pair(1, property_ids=("1000",)), reference="tenant-1")
    clock.pass_(1)
    ACTING.set(Acting("key_7", "198.51.100.4"))
    await bench.store.write(add_link(link("l1", reference="tenant-2")))
    clock.pass_(1)
    ACTING.set(Acting("hotel", "203.0.113.9"))
    await bench.approved(pair(2, property_ids=("1000",)), reference="tenant-2", link_hash="l1")
    entry, made = await bench.store.read(read_audit(before=None, limit=100))
    assert (entry.action, entry.actor, entry.address) == ("reference_changed", "key_7", None)
    assert (made.action, made.actor, made.address) == ("link_created", "key_7", "198.51.100.4")


async def test_a_link_is_of_whoever_asked_for_it(bench: Bench, clock: HandClock) -> None:
    """What it is for, and the reference that it gives; never what opens it, nor one that nobody asked for."""
    ACTING.set(ADA)
    await bench.store.write(add_link(link("secret", reference="tenant-2")))
    clock.pass_(1)
    await bench.store.write(add_link(link("again", connection_id="con_1")))
    await bench.store.write(add_link(link("shown", connection_id="con_2"), asked=False))
    assert await told(bench) == [
        ("link_created", "default", {"reference": "tenant-2"}), ("link_created", "con_1", {"reference": None}),
    ]  # fmt: skip


async def test_a_claim_names_the_reference(bench: Bench) -> None:
    """Which hotel it is, somebody said: history and audit say as what."""
    state = NewAuthorization("aut_1", "default", "hash", None, None, None, None, None, 600.0, parked=True, trusted=True)
    assert not isinstance(await bench.store.write(begin_arrival(state, "code", most=1)), Spending)
    first = pair(1, property_ids=("1000",))
    home = await bench.store.write(add_candidate("aut_1", "con_1", "gra_1", first, stale_after=9.0))
    ACTING.set(ADA)
    assert await bench.store.write(claim(home, "tenant-7", "gra_2")) == home
    assert await told(bench) == [("claimed", home, {"reference": "tenant-7"})]


async def test_failures_are_one_entry_for_an_address(bench: Bench) -> None:
    """With how often."""
    await bench.store.write(add_failures({("sign_in_failed", "192.0.2.1"): 3, ("sign_in_failed", "192.0.2.2"): 1}))
    entries = await bench.store.read(read_audit(before=None, limit=100))
    assert sorted((one.actor, one.address, one.data["times"]) for one in entries) == [
        ("anyone", "192.0.2.1", 3), ("anyone", "192.0.2.2", 1),
    ]  # fmt: skip


async def test_an_entry_is_swept_when_it_is_old(bench: Bench, clock: HandClock) -> None:
    """The oldest first, a few at a time."""
    ACTING.set(ADA)
    for number in range(3):
        await bench.store.write(add_audit("signed_in", str(number), {}))
        clock.pass_(100)
    assert await bench.store.write(sweep(150.0, 1)) == 1
    assert await bench.store.write(sweep(150.0, 1)) == 1
    assert await bench.store.write(sweep(150.0, 1)) == 0
    assert [subject for _, subject, _ in await told(bench)] == ["2"]


async def test_nothing_is_from_before_1970(bench: Bench, clock: HandClock) -> None:
    """Kept for so long that it reaches back beyond, all of it stays."""
    ACTING.set(ADA)
    await bench.store.write(add_audit("signed_in", "x", {}))
    assert await bench.store.write(sweep(clock.wall + 1.0, 9)) == 0
    assert [subject for _, subject, _ in await told(bench)] == ["x"]
