"""What rests cannot be quietly rearranged: nothing is lent or sent for what something else wrote; the others serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.fakes import issued, pair
from tests.support.stage import Process, Stage

from cloudbeds_auth.engine import context
from cloudbeds_auth.errors import ClientRefused, UnknownConnection
from cloudbeds_auth.rules.authentic import MacKey
from cloudbeds_auth.rules.inputs import Search
from cloudbeds_auth.rules.lifecycle import ALTERED
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.permissions import Bounds, Caller, OfConnection, Scope
from cloudbeds_auth.rules.presentation import LOOK
from cloudbeds_auth.transactions.verification import accept


def attack(stage: Stage, statement: str, *values: object) -> None:
    """As somebody who writes to the database and has no key."""
    stage.attacked = True
    stage.database.sql(statement, *values)


async def two(stage: Stage, **parts: Any) -> tuple[Grant, Grant]:
    """Two hotels that nobody has called for yet."""
    return (
        await stage.connected(pair(1, property_ids=("1000",)), **parts),
        await stage.connected(pair(2, property_ids=("2000",))),
    )


WAYS: dict[str, Callable[[Process, Grant], Awaitable[object]]] = {
    "a call": lambda one, grant: one.access.access_token(grant.connection_id),
    "a call, the last token being rejected": lambda one, grant: one.access.access_token(
        grant.connection_id, rejected=1
    ),
    "an operator's refresh": lambda one, grant: one.access.refresh_now(grant.connection_id),
    "a disconnect": lambda one, grant: one.disconnecter.disconnect(grant.connection_id, forget=False),
}


@pytest.mark.parametrize("asked", WAYS)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE connections SET active_grant = 'gra_{other}' WHERE id = 'con_{this}'",
        "UPDATE connections SET reference = 'tenant-2' WHERE id = 'con_{this}'",
        "UPDATE connections SET app = 'other' WHERE id = 'con_{this}'",
        "UPDATE grants SET property_ids = '[\"2000\"]' WHERE id = 'gra_{this}'",
    ],
)
@pytest.mark.row("A76")
async def test_nothing_is_sent_for_what_was_altered(stage: Stage, statement: str, asked: str) -> None:
    """It is refused by name, reported once a minute, and shown with what to do; the other hotel is served."""
    first, second = await two(stage)
    this, other = (grant.id.removeprefix("gra_") for grant in (first, second))
    attack(stage, statement.format(this=this, other=other))
    for _ in range(2):
        with pytest.raises(ClientRefused, match=f"what links {first.connection_id}") as refused:
            await WAYS[asked](stage.one, first)
        assert refused.value.next_step == LOOK
    assert (stage.endpoint.sent, stage.vendor.asked) == ([], [])
    assert stage.notes.times("link_altered") == 1
    shown = await stage.one.views.connection(first.connection_id)
    assert (shown.problem, shown.next_step) == (ALTERED, LOOK)
    assert (await stage.one.access.access_token(second.connection_id)).reveal() == "A-2"


@pytest.mark.row("A76")
async def test_without_the_defence_the_other_hotels_token_is_lent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the tests above would fail."""
    first, second = await two(stage)
    attack(stage, "UPDATE connections SET active_grant = ? WHERE id = ?", second.id, first.connection_id)
    monkeypatch.setattr("cloudbeds_auth.transactions.rows.is_linked", lambda *_: True)
    assert (await stage.one.access.access_token(first.connection_id)).reveal() == "A-2"


@pytest.mark.row("A76")
async def test_a_property_that_was_added(stage: Stage) -> None:
    """A look-up by it finds nothing; one by a property that was moved finds nothing either."""
    first, second = await two(stage)
    attack(stage, "INSERT INTO properties (grant_id, property_id) VALUES (?, '3000')", first.id)
    attack(stage, "UPDATE properties SET grant_id = ? WHERE grant_id = ?", first.id, second.id)
    for property_id in ("2000", "3000"):
        with pytest.raises(UnknownConnection):
            await stage.one.ids.resolve(property_id)


@pytest.mark.row("A76")
async def test_a_refresh_begins_nothing_for_what_was_altered(stage: Stage) -> None:
    """That of upkeep fails for that grant alone, and the others are refreshed."""
    first, second = await two(stage)
    attack(stage, "UPDATE grants SET client_id = 'client-9' WHERE id = ?", first.id)
    attack(stage, "UPDATE grants SET due_at = 0")
    await stage.clock.sleep(3600.0)
    stage.endpoint.will(issued(3))
    await stage.one.upkeep.tick()
    assert stage.endpoint.sent == ["R-2"]
    assert (await stage.row(first.id)).generation == 1
    assert (await stage.row(second.id)).generation > 1


@pytest.mark.row("A76")
async def test_altered_between_the_look_and_the_intent(stage: Stage) -> None:
    """The fence finds it, and nothing is sent."""
    grant = await stage.expired()

    async def altered() -> None:
        attack(stage, "UPDATE grants SET client_id = 'client-9'")

    async def looked_once() -> None:
        stage.one.driver.after("tokens", altered)

    stage.one.driver.after("tokens", looked_once)
    with pytest.raises(ClientRefused):
        await stage.one.refresh(grant.id, 1)
    assert stage.endpoint.sent == []
    assert stage.one.driver.seen["write_intent"] == 0


async def test_a_refresh_that_is_under_way(stage: Stage) -> None:
    """Its pair is committed, and lent to those who waited; the next call is refused."""
    grant = await stage.expired()

    async def meanwhile() -> Any:
        attack(stage, "UPDATE grants SET app = 'other'")
        return issued(2)

    stage.endpoint.will(meanwhile)
    await stage.one.access.access_token(grant.connection_id)
    assert (await stage.tokens(grant.id))[-1] == "R-2"
    other = await stage.process()
    with pytest.raises(ClientRefused):
        await other.access.access_token(grant.connection_id)


@pytest.mark.row("A76")
async def test_what_a_caller_is_judged_by(stage: Stage) -> None:
    """A connection that was altered is for nobody by its properties or reference; in lists it says what it is."""
    first, _ = await two(stage)
    attack(stage, "UPDATE grants SET property_ids = '[\"2000\"]' WHERE id = ?", first.id)
    caller = Caller("key_1", frozenset({Scope.PROXY}), Bounds(properties=frozenset({"2000"})))
    assert await stage.one.keys.hotel(first.connection_id, caller) == OfConnection(first.connection_id)
    page = await stage.one.views.connections(Search())
    assert {one.id: one.problem for one in page}[first.connection_id] == ALTERED


async def test_an_operator_has_looked(stage: Stage) -> None:
    """It serves as it is from then on; and what is altered again is reported again, a minute later."""
    grant = await stage.connected()
    attack(stage, "UPDATE connections SET reference = 'tenant-2'")
    with pytest.raises(ClientRefused):
        await stage.one.access.access_token(grant.connection_id)
    assert await stage.one.store.write(accept(grant.connection_id))
    assert (await stage.one.access.access_token(grant.connection_id)).reveal() == "A-1"
    assert (await stage.one.views.connection(grant.connection_id)).reference == "tenant-2"
    attack(stage, "UPDATE connections SET reference = 'tenant-3'")
    await stage.clock.sleep(context.REPORT_AGAIN)
    with pytest.raises(ClientRefused):
        await stage.one.access.access_token(grant.connection_id)
    assert stage.notes.times("link_altered") == 2


@pytest.mark.row("A76")
async def test_a_key_whose_scopes_were_widened(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has it, and it is logged. Without the defence its holder is an administrator."""
    made = await stage.one.keys.create("a job", scopes=["read"])
    attack(stage, "UPDATE caller_keys SET scopes = '[\"admin\"]'")
    assert await stage.one.keys.authenticate(made.secret.reveal(), "192.0.2.7") is None
    assert stage.notes.times("key_altered") == 1
    monkeypatch.setattr(MacKey, "fits", lambda *_: True)
    caller = await stage.one.keys.authenticate(made.secret.reveal(), "192.0.2.7")
    assert caller is not None
    assert caller.scopes == {Scope.ADMIN}


@pytest.mark.row("A59", "A76")
async def test_what_doctor_asks(stage: Stage) -> None:
    """Pages of connections, with histories or without, and of keys; an unknown connection has no history."""
    first, second = await two(stage)
    made = await stage.one.keys.create("a job", scopes=["read"])
    views = stage.one.views
    attack(stage, "UPDATE grants SET kind = 'api_key' WHERE id = ?", first.id)
    attack(stage, "DELETE FROM events WHERE connection_id = ? AND sequence = 1", second.connection_id)
    attack(stage, "UPDATE caller_keys SET name = 'another'")
    newest = await views.altered(None, 1, histories=True)
    assert [one.split(":")[0] for one in newest.problems] == [second.connection_id]
    oldest = await views.altered(newest.last, 2, histories=False)
    assert ({one.split(":")[0] for one in oldest.problems}, oldest.last) == ({first.connection_id}, None)
    assert (await views.altered(None, 1, histories=False)).problems == []
    keys = await views.altered_keys(None, 1)
    assert keys.last == made.key.id
    assert (await views.altered_keys(keys.last, 1)).problems == []
    assert (await views.verified_history(second.connection_id)).problems == ["event 1 is missing"]
    with pytest.raises(UnknownConnection):
        await views.verified_history("con_9")
