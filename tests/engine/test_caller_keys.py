"""Keys for callers: made, recognized, revoked; and what of them holds while the store is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.fakes import pair
from tests.support.stage import Stage, another

from cloudbeds_auth.engine import caller_keys
from cloudbeds_auth.engine.caller_keys import AWAY, FOR, HOTEL_FOR, CallerKeys, CreatedKey
from cloudbeds_auth.engine.outage import PATIENCE
from cloudbeds_auth.engine.rate_limiter import CALL
from cloudbeds_auth.errors import Forbidden, InvalidRequest, RateLimited, StoreUnavailable, Unauthenticated
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.audit import COMMAND, Acting
from cloudbeds_auth.rules.caller_keys import write
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.permissions import ADMIN, Bounds, Caller, OfConnection, Scope
from cloudbeds_auth.rules.rate_limit import Limit, rate_within

HERE = "192.0.2.7"
BOUND = Caller("key_1", frozenset({Scope.PROXY}), Bounds())


async def made(stage: Stage, **parts: Any) -> CreatedKey:
    """A key that reads and calls."""
    given: dict[str, Any] = {"scopes": ["read", "proxy"]} | parts
    return await stage.one.keys.create("a job", **given)


async def who(stage: Stage, created: CreatedKey) -> Caller | None:
    """Who has it."""
    return await stage.one.keys.authenticate(created.secret.reveal(), HERE)


@pytest.mark.row("A25")
async def test_a_key_is_recognized(stage: Stage) -> None:
    """By its text alone, of which nothing is stored."""
    created = await made(stage, properties=["1000"], read_only=True, methods=["getHotels"])
    reach = Bounds(properties=frozenset({"1000"}))
    caller = Caller(created.key.id, frozenset({Scope.READ, Scope.PROXY}), reach, True, frozenset({"gethotels"}))
    assert await who(stage, created) == caller
    assert created.secret.reveal() not in repr(await stage.one.keys.list())
    assert await stage.one.keys.authenticate(write(created.key.id, "another"), HERE) is None
    assert await stage.one.keys.authenticate(write("key_01J9Z3NDEKTSV4RRFFQ69G5FAV", "x"), HERE) is None
    assert await stage.one.keys.authenticate("an-admin-token", HERE) is None


@pytest.mark.row("A78")
@pytest.mark.parametrize("named", ["connections", "properties", "references", "methods"])
@pytest.mark.parametrize(
    "given", ["getHotels", [""], ["\ud800"], ["\0"], ["x" * 257], [str(one) for one in range(1001)]]
)
async def test_lists_of_no_names(stage: Stage, named: str, given: Any) -> None:
    """One text, an empty one, half a character, a control character, a long one, and too many: no key."""
    with pytest.raises(InvalidRequest):
        await made(stage, **{named: given})
    assert not await stage.one.keys.list()
    await made(stage, **{named: ["x" * 256, "\u20ac"]})


@pytest.mark.row("A78")
@pytest.mark.parametrize("asked", [{"parent": "\0"}, {"parent": "\ud800"}, {"cursor": "\0"}, {"cursor": "con_1"}])
async def test_a_list_that_no_page_leads_to(stage: Stage, asked: dict[str, Any]) -> None:
    """What no database takes, or no page gave."""
    with pytest.raises(InvalidRequest):
        await stage.one.keys.list(**asked)


async def test_a_revoked_key(stage: Stage) -> None:
    """Is refused here at once, and in every other process within a second."""
    created = await made(stage)
    other = await stage.process()
    assert await other.keys.authenticate(created.secret.reveal(), HERE) is not None
    await stage.one.keys.revoke(created.key.id)
    assert await who(stage, created) is None
    assert await other.keys.authenticate(created.secret.reveal(), HERE) is not None
    await stage.clock.sleep(FOR)
    assert await other.keys.authenticate(created.secret.reveal(), HERE) is None


async def test_while_the_store_is_away(stage: Stage) -> None:
    """A key that was good is so for a minute, one that was not seen is not known to be good."""
    created, unseen = await made(stage), await made(stage)
    assert await who(stage, created) is not None
    caller = await who(stage, created)
    assert caller is not None
    stage.one.driver.dark = True
    await stage.clock.sleep(AWAY - 1)
    assert await who(stage, created) is not None
    await stage.one.keys.require_good(caller)
    with pytest.raises(StoreUnavailable):
        await who(stage, unseen)
    await stage.clock.sleep(1)
    with pytest.raises(StoreUnavailable):
        await who(stage, created)


@pytest.mark.row("F110")
async def test_while_the_store_hangs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for a second, then for some seconds not at all; a key ends meanwhile as it would."""
    lasting, ending = await made(stage), await made(stage, expires_in=FOR + PATIENCE)
    for one in (lasting, ending):
        assert await who(stage, one) is not None
    read, began = stage.one.driver.read, stage.clock.steady()

    async def hangs(body: Any) -> Any:
        await stage.clock.sleep(30.0)
        return await read(body)

    monkeypatch.setattr(stage.one.driver, "read", hangs)
    await stage.clock.sleep(FOR)
    assert await who(stage, ending) is None
    assert await who(stage, lasting) is not None
    assert stage.clock.steady() - began == pytest.approx(FOR + PATIENCE)


@pytest.mark.row("A79")
async def test_made_up_ids(stage: Stage) -> None:
    """Are looked up one at a time; a key that was seen does not wait for them."""
    seen, others = await made(stage), [await made(stage) for _ in range(3)]
    assert await who(stage, seen) is not None
    asked: list[asyncio.Task[Caller | None]] = []
    begun = stage.one.driver.seen["caller_key"]

    async def meanwhile() -> None:
        asked.extend(asyncio.create_task(who(stage, one)) for one in others[1:])
        for _ in range(20):
            await asyncio.sleep(0)
        assert stage.one.driver.seen["caller_key"] == begun + 1
        assert await who(stage, seen) is not None

    stage.one.driver.after("caller_key", meanwhile)
    assert await who(stage, others[0]) is not None
    assert all(await asyncio.gather(*asked))
    assert stage.one.driver.seen["caller_key"] == begun + 3


async def test_keys_that_a_revoked_key_leaves_good(stage: Stage) -> None:
    """Those that one with the scope `admin` made: its children end with it, and what is over is none."""
    keys = stage.one.keys
    above = (await keys.create("all", scopes=["admin"])).key
    await keys.create("another's", scopes=["read"])
    ACTING.set(Acting(above.id))
    good = (await keys.create("good", scopes=["read"], expires_in=3600.0)).key
    ended = (await keys.create("ended", scopes=["read"])).key
    await keys.create("over", scopes=["read"], expires_in=1.0)
    lasting = (await keys.create("lasting", scopes=["read"])).key
    await keys.revoke(ended.id)
    ACTING.set(Acting(good.id))
    await keys.create("child", scopes=["read"], parent=Caller(good.id, good.scopes))
    ACTING.set(COMMAND)
    await asyncio.sleep(2.0)
    await keys.revoke(above.id)
    assert {key.id for key in await keys.left_by(above.id)} == {good.id, lasting.id}
    assert await keys.left_by(good.id) == []


async def test_a_key_that_was_revoked_meanwhile(stage: Stage) -> None:
    """Is not good any more when its call is sent; the administrator has none."""
    created = await made(stage)
    caller = await who(stage, created)
    assert caller is not None
    await stage.one.keys.require_good(caller)
    await stage.one.keys.revoke(created.key.id)
    with pytest.raises(Unauthenticated):
        await stage.one.keys.require_good(caller)
    await stage.one.keys.require_good(ADMIN)


async def test_what_is_over_is_forgotten(stage: Stage) -> None:
    """When a further key is remembered: no memory goes to what nobody goes by any more."""
    ending, lasting, last = await made(stage, expires_in=30.0), await made(stage), await made(stage)
    assert await who(stage, ending) is not None
    await stage.clock.sleep(20.0)
    assert await who(stage, lasting) is not None
    await stage.clock.sleep(20.0)
    assert await who(stage, last) is not None
    assert [*stage.one.keys._seen] == [lasting.key.id, last.key.id]
    await stage.clock.sleep(AWAY)
    assert await who(stage, last) is not None
    assert [*stage.one.keys._seen] == [last.key.id]


async def test_a_key_in_the_place_of_an_id(stage: Stage) -> None:
    """Is not repeated in the error."""
    created = await made(stage)
    with pytest.raises(InvalidRequest) as caught:
        await stage.one.keys.get(created.secret.reveal())
    assert created.secret.reveal()[:30] not in str(caught.value)


async def test_a_key_ends_in_memory_too(stage: Stage) -> None:
    """To the moment."""
    created = await made(stage, expires_in=1.5)
    assert await who(stage, created) is not None
    await stage.clock.sleep(0.9)
    assert await who(stage, created) is not None
    await stage.clock.sleep(0.6)
    assert await who(stage, created) is None


async def test_a_child(stage: Stage) -> None:
    """Is made by its parent, cannot hold more, and ends with it."""
    parent = await made(stage, properties=["1000"])
    caller = await who(stage, parent)
    ACTING.set(Acting(parent.key.id))
    with pytest.raises(Forbidden):
        await made(stage, scopes=["token"], parent=caller)
    child = await made(stage, scopes=["read"], parent=caller, expires_in=60.0)
    assert (child.key.parent, child.key.created_by) == (parent.key.id, parent.key.id)
    assert await who(stage, child) == Caller(child.key.id, frozenset({Scope.READ}), within=caller)
    assert [one.id for one in await stage.one.keys.list(parent=parent.key.id)] == [child.key.id]
    await stage.one.keys.revoke(parent.key.id)
    assert await who(stage, child) is None
    with pytest.raises(InvalidRequest, match="children"):
        await made(stage, scopes=["read"], parent=caller)


@pytest.mark.row("A61")
async def test_a_key_with_a_rate(stage: Stage) -> None:
    """It and its children send so many requests a second, over all processes; other keys are as they were."""
    parent = await made(stage, rate=2.0)
    caller = await who(stage, parent)
    assert caller is not None
    assert caller.rate == parent.key.rate == 2.0
    child = await who(stage, await made(stage, scopes=["proxy"], parent=caller))
    free = await who(stage, await made(stage))
    assert child is not None
    assert free is not None
    other, began = await stage.process(), stage.clock.steady()
    went: list[tuple[str, float]] = []

    async def call(keys: CallerKeys, of: Caller) -> None:
        await keys.turn(of, "con_1")
        went.append((of.name, stage.clock.steady() - began))

    await asyncio.gather(
        *(call(keys, of) for keys in (stage.one.keys, other.keys) for of in (caller, child) for _ in range(2)),
        *(call(stage.one.keys, free) for _ in range(20)),
    )
    assert [at for name, at in went if name == free.name] == [0.0] * 20
    assert [at for name, at in went if name != free.name] == pytest.approx([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    assert {name for name, at in went[-8:] if at < 2.0} >= {caller.name, child.name}, "they take turns"


@pytest.mark.row("A61")
async def test_a_key_above_its_rate(stage: Stage) -> None:
    """Is told when to come again, as soon as it is known that its turn is too far off; and what its rate is."""
    caller = await who(stage, await made(stage, rate=0.1))
    assert caller is not None
    await stage.one.keys.turn(caller, "con_1")
    with pytest.raises(RateLimited, match=r"0\.1 requests a second") as caught:
        await stage.one.keys.turn(caller, "con_1")
    assert caught.value.connection_id == "con_1"
    assert caught.value.retry_after == pytest.approx(10.0)


@pytest.mark.row("A61")
async def test_a_turn_for_which_nothing_would_be_sent(stage: Stage) -> None:
    """Is not spent: while the client id is paused the key is told for how long, and goes when that is over."""
    grant, one = await stage.connected(), another(stage.one, limit=Limit(rate_within(10)))
    caller = await who(stage, await made(stage, rate=0.05))
    assert caller is not None
    await one.access.note_pause(grant.connection_id, 8.0)
    with pytest.raises(RateLimited) as caught:
        await one.turn_of_key(caller, grant.connection_id, caller.name)
    assert caught.value.retry_after == pytest.approx(8.0)
    await stage.clock.sleep(9.0)
    assert await one.turn_of_key(caller, grant.connection_id, caller.name) == CALL
    with pytest.raises(RateLimited, match=r"0\.05 requests a second"):
        await one.turn_of_key(caller, grant.connection_id, caller.name)


async def test_a_turn_for_a_hotel_whose_app_is_gone(stage: Stage) -> None:
    """Its token is lent all the same, and the key's own rate is all that there is."""
    grant, one = await stage.connected(), another(stage.one, limit=Limit(rate_within(10)))
    caller = await who(stage, await made(stage, rate=2.0))
    assert caller is not None
    stage.sql("UPDATE connections SET app = 'gone'")
    stage.sql("UPDATE grants SET app = 'gone'")
    assert await one.access.apps.of(grant.connection_id) is None
    assert await one.turn_of_key(caller, grant.connection_id, caller.name) == CALL


@pytest.mark.row("A61")
async def test_both_waits_together(stage: Stage) -> None:
    """Are as long as one may be: what the key's turn took is not waited for again."""
    grant, one = await stage.connected(), another(stage.one, limit=Limit(rate_within(10)))
    caller, free = await who(stage, await made(stage, rate=0.25)), await who(stage, await made(stage))
    assert caller is not None
    assert free is not None
    assert await one.turn_of_key(free, grant.connection_id, free.name) == CALL
    assert await one.turn_of_key(caller, grant.connection_id, caller.name) == CALL
    left = await one.turn_of_key(caller, grant.connection_id, caller.name)
    assert left == pytest.approx(1.0)
    await one.access.note_pause(grant.connection_id, 3.0)
    with pytest.raises(RateLimited):
        await one.access.turn(grant.connection_id, caller.name, left)
    await one.access.turn(grant.connection_id, caller.name, CALL)


@pytest.mark.row("F110")
async def test_a_key_with_a_rate_while_the_store_is_away(stage: Stage) -> None:
    """Its calls go on at the slow pace of the client id alone."""
    caller = await who(stage, await made(stage, rate=2.0))
    assert caller is not None
    stage.one.driver.dark = True
    for _ in range(5):
        await stage.one.keys.turn(caller, "con_1")


@pytest.mark.parametrize(
    "parts",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"scopes": "read"},
        {"scopes": ["write"]},
        {"properties": "1000"},
        {"connections": [""]},
        {"references": ["a\n"]},
        {"properties": [str(number) for number in range(1001)]},
        {"expires_in": 0.0},
        {"expires_in": float("nan")},
        {"rate": 0.0},
        {"rate": 101.0},
        {"rate": float("nan")},
    ],
)
async def test_what_is_no_key(stage: Stage, parts: dict[str, Any]) -> None:
    """Is refused, and nothing is stored."""
    given: dict[str, Any] = {"name": "a job", "scopes": ["read"]} | parts
    with pytest.raises(InvalidRequest):
        await stage.one.keys.create(given.pop("name"), **given)
    assert not await stage.one.keys.list()


@pytest.mark.parametrize("named", ["key_1", "\x00"])
async def test_an_unknown_key(stage: Stage, named: str) -> None:
    """Is neither shown nor revoked."""
    for ask in (stage.one.keys.get, stage.one.keys.revoke):
        with pytest.raises(InvalidRequest, match="no key"):
            await ask(named)


async def test_what_a_hotel_is(stage: Stage) -> None:
    """Its properties, as they were within a minute, or before the store went away."""
    row = await stage.connected(pair(1, property_ids=("1000", "1001")))
    hotel = OfConnection(row.connection_id, None, frozenset({"1000", "1001"}))
    assert await stage.one.keys.hotel(row.connection_id, BOUND) == hotel
    assert await stage.one.keys.hotel("con_0", BOUND) == OfConnection("con_0")
    assert await stage.one.keys.hotel(row.connection_id, ADMIN) == OfConnection(row.connection_id)
    other = await stage.connected(pair(2, property_ids=("2000",)))
    stage.one.driver.dark = True
    for _ in range(2):
        assert await stage.one.keys.hotel(row.connection_id, BOUND) == hotel
        await stage.clock.sleep(HOTEL_FOR)
    with pytest.raises(StoreUnavailable):
        await stage.one.keys.hotel(other.connection_id, BOUND)
    stage.one.driver.dark = False
    assert await stage.one.keys.hotel(other.connection_id, BOUND) == OfConnection(
        other.connection_id, None, frozenset({"2000"})
    )


async def test_what_is_remembered_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was looked for longest ago is forgotten first."""
    monkeypatch.setattr(caller_keys, "MOST", 1)
    first, second = await made(stage), await made(stage)
    assert await who(stage, first) is not None
    assert await who(stage, second) is not None
    stage.one.driver.dark = True
    assert await who(stage, second) is not None
    with pytest.raises(StoreUnavailable):
        await who(stage, first)


async def test_the_last_use_is_written(stage: Stage) -> None:
    """Every half a minute; what the store does not take now stays for the next time."""
    created = await made(stage)
    await who(stage, created)
    wall = stage.clock.wall()
    stage.one.driver.dark = True
    await stage.one.keys.tick()
    stage.one.driver.dark = False
    await stage.one.keys.tick()
    found = await stage.one.keys.get(created.key.id)
    assert (found.used_at, found.used_from) == (moment(wall // 60 * 60), HERE)
    await stage.one.keys.tick()
    assert await stage.one.keys.get(created.key.id) == found
