"""The audit of an open vault: who acts, what strangers may cause, and what nobody asked for."""

from __future__ import annotations

import pytest
from tests.support.fakes import issued
from tests.support.stage import Stage

from cloudbeds_auth.engine.audit import MOST_ADDRESSES
from cloudbeds_auth.errors import InvalidRequest, StoreUnavailable
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import COMMAND, Acting, AuditAction
from cloudbeds_auth.transactions.statements import Instant, Transaction

HERE = Acting("admin", "192.0.2.7")
FAILED = AuditAction.SIGN_IN_FAILED


def not_ours(now: Instant) -> Transaction[bool]:
    """What the clone guard says of a copy."""
    yield from ()
    return False


async def said(stage: Stage) -> list[tuple[str, str, str | None, str | None]]:
    """Oldest first: what, who, about what, from where."""
    entries = await stage.one.audit.entries()
    return [(one.action, one.actor, one.subject, one.address) for one in reversed(entries)]


async def test_an_act_without_a_transaction_of_its_own(stage: Stage) -> None:
    """Is written down as whoever acts, or under the name that it is given."""
    ACTING.set(HERE)
    await stage.one.audit.record(AuditAction.DATABASE_REKEYED, keys=2)
    await stage.clock.sleep(1.0)
    await stage.one.audit.record(AuditAction.SIGNED_IN, actor="session:1")
    assert await said(stage) == [
        ("database_rekeyed", "admin", None, "192.0.2.7"), ("signed_in", "session:1", None, "192.0.2.7"),
    ]  # fmt: skip
    (newest, oldest) = await stage.one.audit.entries()
    assert (dict(newest.data), dict(oldest.data)) == ({}, {"keys": 2})
    assert list(await stage.one.audit.entries(cursor=newest.id)) == [oldest]


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"limit": 201}, {"cursor": "con_1"}, {"cursor": "aud_'"}])
async def test_a_page_that_there_is_not(stage: Stage, wrong: dict[str, object]) -> None:
    """A limit beyond 200, and a cursor that was never given out, are the caller's fault."""
    with pytest.raises(InvalidRequest):
        await stage.one.audit.entries(**wrong)  # type: ignore[arg-type]


async def test_a_refresh_by_hand(stage: Stage) -> None:
    """Is an act of whoever asked; one that comes by itself is none, whoever's call brought it about."""
    grant = await stage.connected()
    await stage.clock.sleep(3600.0)
    ACTING.set(HERE)
    stage.endpoint.will(issued(2))
    await stage.one.access.access_token(grant.connection_id)
    assert await said(stage) == []
    stage.endpoint.will(issued(3))
    await stage.one.access.refresh_now(grant.connection_id)
    await stage.one.idle()
    assert await said(stage) == [("intent_written", "admin", grant.connection_id, "192.0.2.7")]


async def test_a_link_that_was_asked_for(stage: Stage) -> None:
    """Not the one that comes with an error, by which the hotel approves again."""
    grant = await stage.connected()
    ACTING.set(HERE)
    shown = await stage.one.views.with_link(await stage.one.views.connection(grant.connection_id))
    assert shown.connect_url is not None
    assert await said(stage) == []
    await stage.one.authorizer.create_link(
        app=None, reference=None, return_to=None, connection_id=grant.connection_id, expires_in=600.0
    )
    assert await said(stage) == [("link_created", "admin", grant.connection_id, "192.0.2.7")]


async def test_keys_are_made_and_revoked(stage: Stage) -> None:
    """By whoever acts, as the observer is told, too."""
    ACTING.set(COMMAND)
    made = await stage.one.keys.create("a job", scopes=["read"])
    await stage.clock.sleep(1.0)
    await stage.one.keys.revoke(made.key.id)
    assert await said(stage) == [
        ("key_created", "command", made.key.id, None), ("key_revoked", "command", made.key.id, None),
    ]  # fmt: skip
    assert [note["actor"] for what in ("key_created", "key_revoked") for note in stage.notes.facts(what)] == [
        "command", "command",
    ]  # fmt: skip


@pytest.mark.row("A79")
async def test_strangers_cost_one_write_a_minute(stage: Stage) -> None:
    """However many addresses they have: a hundred are named, the rest is counted together."""
    for number in range(MOST_ADDRESSES + 50):
        ACTING.set(Acting("hotel", f"198.51.{number // 250}.{number % 250}"))
        for _ in range(3):
            stage.one.audit.fail(FAILED)
    stage.one.driver.seen.clear()
    await stage.one.audit.tick()
    entries = await stage.one.audit.entries(limit=200)
    assert len(entries) == MOST_ADDRESSES + 1
    assert stage.one.driver.seen["add_audit"] == MOST_ADDRESSES + 1
    assert {one.actor for one in entries} == {"anyone"}
    assert {one.address: one.data["times"] for one in entries}["others"] == 150
    await stage.one.audit.tick()
    assert len(await stage.one.audit.entries(limit=200)) == MOST_ADDRESSES + 1


async def test_while_the_store_is_away(stage: Stage) -> None:
    """What was counted is written when it is back, with what came meanwhile."""
    ACTING.set(Acting("hotel"))
    stage.one.audit.fail(FAILED)
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await stage.one.audit.tick()
    stage.one.driver.dark = False
    stage.one.audit.fail(FAILED)
    await stage.one.audit.tick()
    assert [(one.address, one.data["times"]) for one in await stage.one.audit.entries()] == [("others", 2)]


async def test_a_copy_writes_nothing(stage: Stage) -> None:
    """What was counted over another installation's database is forgotten."""
    copy = await stage.process()
    await copy.store.open(not_ours)
    copy.audit.fail(FAILED)
    await copy.audit.tick()
    assert await copy.audit.entries() == []


async def test_what_was_counted_is_written_at_the_end(stage: Stage) -> None:
    """A process that stops leaves it to no other."""
    stage.one.audit.fail(FAILED)
    await stage.one.drain()
    assert len(await stage.one.audit.entries()) == 1
