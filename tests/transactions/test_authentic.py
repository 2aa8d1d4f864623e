"""What rests cannot be quietly rearranged: rows that something else wrote, over each database."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.support.bench import Bench
from tests.support.fakes import pair
from tests.support.genuine import altered
from tests.support.keys import OTHER_KEY

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.engine.context import current_grant, resolve
from cloudbeds_auth.errors import ClientRefused, ConfigurationError, StoreUnavailable
from cloudbeds_auth.ports import Place
from cloudbeds_auth.rules.authentic import MacKey
from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.lifecycle import ALTERED
from cloudbeds_auth.rules.model import Grant
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.authentic import MAC_KEY
from cloudbeds_auth.transactions.caller_keys import AlteredKey, GoodKey, add_caller_key, end_caller_key, find_caller
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.grants import Written, commit_pair, write_intent
from cloudbeds_auth.transactions.history import forget, read_history, sweep
from cloudbeds_auth.transactions.homes import homes_of
from cloudbeds_auth.transactions.marketplace import claim
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.seals import FORMER
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction
from cloudbeds_auth.transactions.verification import accept, verify_history

DAY = 86400.0
KEYS = frozenset({Scope.READ})


async def two(bench: Bench) -> tuple[Grant, Grant]:
    """Two hotels, of the properties 1000 and 2000."""
    return (
        await bench.connected(pair(1, property_ids=("1000",)), reference="tenant-1"),
        await bench.connected(pair(2, property_ids=("2000",)), reference="tenant-2"),
    )


@transaction
def _homes(tx: Tx, property_id: str) -> Transaction[set[str]]:
    return (yield from homes_of(tx, "default", property_id))


ATTACKS = {
    "the pointer moved to another hotel's grant": ["UPDATE connections SET active_grant = ? WHERE id = ?", "b", "A"],
    "the app of the connection": ["UPDATE connections SET app = 'other' WHERE id = ?", "A"],
    "the reference": ["UPDATE connections SET reference = 'tenant-2' WHERE id = ?", "A"],
    "a reference that is trusted now": ["UPDATE connections SET reference_trusted = 7 WHERE id = ?", "A"],
    "the app of the grant": ["UPDATE grants SET app = 'other' WHERE id = ?", "a"],
    "the properties": ["UPDATE grants SET property_ids = '[\"2000\"]' WHERE id = ?", "a"],
    "properties that are no list": ["UPDATE grants SET property_ids = '{' WHERE id = ?", "a"],
    "the kind": ["UPDATE grants SET kind = 'api_key' WHERE id = ?", "a"],
    "where it came from": ["UPDATE grants SET client_id = 'client-9' WHERE id = ?", "a"],
    "no MAC at all": ["UPDATE grants SET mac = NULL WHERE id = ?", "a"],
    "another grant's MAC": ["UPDATE grants SET mac = (SELECT mac FROM grants WHERE id = ?) WHERE id = ?", "b", "a"],
    "a role": ["UPDATE grants SET role = 'superseded' WHERE id = ?", "a"],
    "a pointer to nothing": ["UPDATE connections SET active_grant = 'gra_9' WHERE id = ?", "A"],
}  # fmt: skip


async def attacked(bench: Bench, attack: Sequence[str]) -> tuple[Grant, Grant]:
    """Two hotels, the first of them altered so."""
    first, second = await two(bench)
    names = {"A": first.connection_id, "a": first.id, "B": second.connection_id, "b": second.id}
    bench.attack(attack[0], *(names[name] for name in attack[1:]))
    return first, second


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.row("A76")
async def test_a_row_that_was_altered(bench: Bench, attack: Sequence[str]) -> None:
    """The grant says so to whoever wants to lend or send it, its problem is shown, and it is named. An operator who has
    looked takes it as it is.
    """
    first, _ = await attacked(bench, attack)
    current = await current_grant(bench.store, first.connection_id)
    assert current is None or not current.genuine
    assert (await bench.look(first.connection_id)).problem == ALTERED
    named = await altered(bench.store)
    assert any(one.startswith(f"{first.connection_id}: ") for one in named)
    assert await bench.store.write(accept(first.connection_id))
    assert (await bench.kinds(first.connection_id))[-1] == "accepted"
    left = await altered(bench.store)
    no_grant_is_used = "'superseded'" in attack[0]
    assert no_grant_is_used or not any(one.startswith(first.connection_id) for one in left)


@pytest.mark.row("A76")
async def test_another_hotels_grant_moved_here(bench: Bench) -> None:
    """As a candidate it says that it is none; the hotel goes on with what it has, and the other one is refused."""
    first, second = await two(bench)
    bench.attack(
        "UPDATE grants SET connection_id = ?, role = 'candidate', ordinal = 99 WHERE id = ?",
        first.connection_id, second.id,
    )  # fmt: skip
    waiting = await bench.store.read(read_candidate(first.connection_id))
    assert waiting is not None
    assert not waiting.genuine
    grants = [await current_grant(bench.store, one.connection_id) for one in (first, second)]
    assert [grant is not None and grant.genuine for grant in grants] == [True, False]


@pytest.mark.row("A76")
async def test_without_the_defence_a_moved_pointer_lends_the_other_hotels_token(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the tests above would fail."""
    monkeypatch.setattr(MacKey, "fits", lambda *_: True)
    monkeypatch.setattr("cloudbeds_auth.transactions.rows.is_linked", lambda *_: True)
    first, second = await attacked(bench, ATTACKS["the pointer moved to another hotel's grant"])
    current = await current_grant(bench.store, first.connection_id)
    assert current is not None
    assert (current.id, current.genuine) == (second.id, True)


@pytest.mark.row("A76")
async def test_a_row_of_a_property_that_its_grant_does_not_name(bench: Bench) -> None:
    """Inserted or moved, it leads nowhere: no call, and no approval. It is named; accepted, it is gone."""
    first, second = await two(bench)
    bench.attack("INSERT INTO properties (grant_id, property_id) VALUES (?, '3000')", first.id)
    bench.attack("UPDATE properties SET grant_id = ? WHERE grant_id = ?", first.id, second.id)
    for property_id in ("2000", "3000"):
        assert await resolve(bench.store, property_id) == []
        assert await bench.store.read(_homes(property_id)) == set()
    assert await resolve(bench.store, "1000") == [first.connection_id]
    assert await altered(bench.store) == [
        f"{second.connection_id}: the property 2000 does not lead to it any more (table `properties`)",
        f"{first.connection_id}: the property 2000 leads to it, and its grant does not name it (table `properties`)",
        f"{first.connection_id}: the property 3000 leads to it, and its grant does not name it (table `properties`)",
    ]
    for grant in (first, second):
        assert await bench.store.write(accept(grant.connection_id))
    assert await altered(bench.store) == []
    assert await resolve(bench.store, "2000") == [second.connection_id]


@pytest.mark.row("A76")
async def test_no_approval_is_led_into_another_hotels_connection(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The properties of the first were altered to those of the second: its next approval goes to its own."""
    first, second = await two(bench)
    bench.attack("UPDATE grants SET property_ids = '[\"2000\"]' WHERE id = ?", first.id)
    bench.attack("UPDATE properties SET property_id = '2000' WHERE grant_id = ?", first.id)
    assert await bench.store.read(_homes("2000")) == {second.connection_id}
    monkeypatch.setattr(MacKey, "fits", lambda *_: True)
    assert await bench.store.read(_homes("2000")) == {first.connection_id, second.connection_id}


@pytest.mark.row("A76")
async def test_a_new_approval_mends_what_was_moved(bench: Bench) -> None:
    """It is a grant of its own, to which the pointer goes. A reference that was altered is not taken with it."""
    first, _ = await attacked(bench, ATTACKS["the pointer moved to another hotel's grant"])
    await bench.connected(pair(3, property_ids=("1000",)), connection_id=first.connection_id)
    current = await current_grant(bench.store, first.connection_id)
    assert current is not None
    assert current.genuine
    bench.attack("UPDATE connections SET reference = 'tenant-2' WHERE id = ?", first.connection_id)
    await bench.connected(pair(4, property_ids=("1000",)), connection_id=first.connection_id)
    current = await current_grant(bench.store, first.connection_id)
    assert current is not None
    assert not current.genuine


async def test_a_pair_in_hand_is_committed_whatever_was_altered(bench: Bench) -> None:
    """And its event is written. Nothing new is sent for the grant, which stays altered."""
    grant = await bench.hotel()
    fence = await bench.intent(grant)
    bench.attack("UPDATE grants SET app = 'other' WHERE id = ?", grant.id)
    bench.attack("UPDATE connections SET app = 'other', chain = '[' WHERE id = ?", grant.connection_id)
    bench.attack("UPDATE events SET mac = 'x'")
    written = await bench.store.write(commit_pair(fence, grant.tokens[-1], pair(2), stale_after=3000.0))
    assert written is Written.DONE
    assert (await bench.kinds(grant.connection_id))[-1] == "pair_committed"
    bench.clock.pass_(60.0)
    fence = await bench.leased(grant)
    assert not (await bench.row(grant.id)).genuine
    assert not await bench.store.write(write_intent(fence, 1, lease=30.0, hold=0.0))


async def test_an_event_is_written_where_something_else_took_its_number(bench: Bench) -> None:
    """Under the next one; what was added is named."""
    grant = await bench.hotel()
    bench.attack(
        "INSERT INTO events SELECT connection_id, sequence + 1, at, kind, actor, grant_id, generation, data, mac "
        "FROM events WHERE sequence = (SELECT MAX(sequence) FROM events)"
    )
    await bench.committed(grant, 2)
    assert (await bench.kinds(grant.connection_id))[-1] == "pair_committed"
    assert (await bench.store.read(verify_history(grant.connection_id))).problems


async def test_what_waits_to_be_claimed_and_was_altered(bench: Bench) -> None:
    """It is claimed by nobody: its tokens would go where the altered properties lead."""
    first = await bench.connected(pair(1, property_ids=("1000",)))
    waits = await bench.approved(pair(2, property_ids=("2000",)), parked=True)
    bench.attack("UPDATE grants SET property_ids = '[\"1000\"]' WHERE id = ?", waits.id)
    with pytest.raises(ClientRefused, match="altered"):
        await bench.store.write(claim(waits.connection_id, None, "gra_new"))
    assert (await bench.row(first.id)).genuine


# --- keys for callers


async def key(bench: Bench, name: str = "key_1", **parts: object) -> None:
    """A key that reads."""
    given: dict[str, object] = {"parent": None} | parts
    new = NewKey("a job", KEYS, life=3600.0)
    assert await bench.store.write(add_caller_key(name, f"hash of {name}", new, **given))  # type: ignore[arg-type]


WIDENED = [
    "UPDATE caller_keys SET scopes = '[\"admin\"]'",
    "UPDATE caller_keys SET hash = 'another'",
    'UPDATE caller_keys SET reach = \'{"connections":[],"properties":[],"references":[]}\'',
    "UPDATE caller_keys SET expires_at = NULL",
    "UPDATE caller_keys SET parent = 'key_9'",
    "UPDATE caller_keys SET read_only = 1, methods = '[]'",
    "UPDATE caller_keys SET id = 'key_1', mac = NULL",
]


@pytest.mark.parametrize("statement", WIDENED)
@pytest.mark.row("A76")
async def test_a_key_that_was_altered(bench: Bench, statement: str) -> None:
    """Nobody has it, and it is named. When it was last used is no part of it."""
    await key(bench)
    bench.attack("UPDATE caller_keys SET used_at = 7, used_from = 'there'")
    assert isinstance(await bench.store.read(find_caller("key_1")), GoodKey)
    bench.attack(statement)
    assert await bench.store.read(find_caller("key_1")) == AlteredKey("key_1")
    assert [one.split(":")[0] for one in await altered(bench.store)] == ["the key key_1 for callers was altered"]


@pytest.mark.row("A76")
async def test_a_key_that_ended_is_revived_by_nobody(bench: Bench) -> None:
    """Its end is a part of it; ended again, the first moment stays. That of an altered one is no word for it."""
    await key(bench)
    ended = await bench.store.write(end_caller_key("key_1"))
    bench.clock.pass_(60.0)
    assert await bench.store.write(end_caller_key("key_1")) == ended
    assert await bench.store.read(find_caller("key_1")) is None
    bench.attack("UPDATE caller_keys SET ended_at = NULL")
    assert await bench.store.read(find_caller("key_1")) == AlteredKey("key_1")
    await bench.store.write(end_caller_key("key_1"))
    assert await bench.store.read(find_caller("key_1")) == AlteredKey("key_1")


@pytest.mark.row("A76")
async def test_a_key_whose_parent_was_altered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens nothing either: its bounds are its parent's, too."""
    await key(bench)
    await key(bench, "key_2", parent="key_1")
    bench.attack("UPDATE caller_keys SET scopes = '[\"admin\"]' WHERE id = 'key_1'")
    assert await bench.store.read(find_caller("key_2")) == AlteredKey("key_1")
    monkeypatch.setattr(MacKey, "fits", lambda *_: True)
    assert isinstance(await bench.store.read(find_caller("key_2")), GoodKey), "else this test could not fail"


# --- histories


@pytest.mark.row("A59")
async def test_a_history_is_verified_whatever_was_done(bench: Bench) -> None:
    """Refreshes, an end, what is forgotten of it, and what is swept leave it whole."""
    grant = await bench.committed(await bench.hotel(), 2, 3)
    home = grant.connection_id
    bench.attack("UPDATE events SET kind = 'call_refused', data = '{\"path\":\"/x\"}' WHERE sequence = 3")
    await bench.store.write(accept(home))
    bench.attacked = False
    bench.clock.pass_(DAY)
    await bench.store.write(_refused(home, grant.id))
    await bench.store.write(disconnect(home))
    assert await bench.store.write(forget(home))
    found = await bench.store.read(verify_history(home))
    assert found.problems == []
    assert [verified for _, verified in found.events][-4:] == [True] * 4
    assert [event.data for event, _ in found.events if event.kind == "call_refused"] == [{}, {}]
    for _ in range(2):
        await bench.store.write(sweep(DAY / 2, 3))
        assert (await bench.store.read(verify_history(home))).problems == []
    bench.clock.pass_(2 * DAY)
    while await bench.store.write(sweep(DAY, 3)):
        assert (await bench.store.read(verify_history(home))).problems == []
    assert await bench.store.read(read_history(home)) == []
    assert await bench.store.write(accept(home))
    (event,) = await bench.store.read(read_history(home))
    assert event.sequence > 1, "a number is given once"
    assert (await bench.store.read(verify_history(home))).problems == []


@transaction
def _refused(tx: Tx, connection_id: str, grant_id: str) -> Transaction[None]:
    from cloudbeds_auth.transactions.rows import add_event

    about = {"connection_id": connection_id, "id": grant_id, "generation": 1}
    yield from add_event(tx, about, "call_refused", path="/guests/Ada")


EDITS = {
    "altered": ("UPDATE events SET actor = 'nobody' WHERE sequence = 2", "event 2 was altered"),
    "deleted": ("DELETE FROM events WHERE sequence = 3", "event 3 is missing"),
    "the first ones": ("DELETE FROM events WHERE sequence < 3", "events 1 to 2 are missing"),
    "the newest ones": (
        "DELETE FROM events WHERE sequence > (SELECT MAX(sequence) - 2 FROM events)", "are missing"
    ),
    "all of them": ("DELETE FROM events", "are missing"),
}  # fmt: skip


@pytest.mark.parametrize(("statement", "problem"), EDITS.values(), ids=EDITS.keys())
@pytest.mark.row("A59")
async def test_a_history_that_was_edited(
    bench: Bench, statement: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, also after more was written, and after what is forgotten. Without the defence it is not."""
    grant = await bench.committed(await bench.hotel(), 2)
    home = grant.connection_id
    bench.attack(statement)
    for _ in range(2):
        (found,) = (await bench.store.read(verify_history(home))).problems
        assert problem in found
        await bench.store.write(disconnect(home))
    await bench.store.write(forget(home))
    assert (await bench.store.read(verify_history(home))).problems


@pytest.mark.row("A59")
async def test_a_tail_cut_with_its_end_set_back(bench: Bench) -> None:
    """The chain says what an attacker can: the newest event that is left, and its MAC. It has no MAC of its own."""
    grant = await bench.committed(await bench.hotel(), 2)
    home = grant.connection_id
    bench.attack("DELETE FROM events WHERE sequence > 3")
    (mac,) = bench.attack("SELECT mac FROM events WHERE sequence = 3")[0]
    bench.attack("UPDATE connections SET chain = ?", f'[0,"",3,"{mac}","{mac}"]')
    assert (await bench.store.read(verify_history(home))).problems == ["where its history begins and ends was altered"]


@pytest.mark.row("A59")
async def test_events_made_old_so_that_they_are_swept(bench: Bench) -> None:
    """They are swept, and the gap is named."""
    grant = await bench.committed(await bench.hotel(), 2)
    bench.attack("UPDATE events SET at = 5 WHERE sequence < 4")
    assert await bench.store.write(sweep(DAY, 100)) == 3
    (problem,) = (await bench.store.read(verify_history(grant.connection_id))).problems
    assert problem == "events 1 to 3 are missing"


async def test_a_clock_that_was_set_back_between_two_events(bench: Bench) -> None:
    """The later one, which looks older, waits until what is before it goes."""
    grant = await bench.hotel()
    home, count = grant.connection_id, len(await bench.kinds(grant.connection_id))
    bench.clock.wall -= 10 * DAY
    await bench.committed(grant, 2)
    bench.clock.wall += 5 * DAY
    assert await bench.store.write(sweep(DAY, 100)) == 0
    bench.clock.wall += 10 * DAY
    assert await bench.store.write(sweep(DAY, 2)) > count, "all that is before what is swept goes with it"
    assert (await bench.store.read(verify_history(home))).problems == []


async def test_a_longer_history_than_one_page(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages follow each other."""
    monkeypatch.setattr("cloudbeds_auth.transactions.verification.EVENTS_AT_ONCE", 3)
    grant = await bench.committed(await bench.hotel(), 2)
    found = await bench.store.read(verify_history(grant.connection_id))
    kinds = await bench.kinds(grant.connection_id)
    assert [event.kind for event, verified in found.events if verified] == kinds
    assert found.problems == []


async def test_what_is_not_there(bench: Bench) -> None:
    """An unknown connection is not accepted."""
    assert not await bench.store.write(accept("con_9"))


# --- from before, and the key


async def former(bench: Bench) -> Grant:
    """A hotel, a key, and a database as an earlier version left it."""
    grant = await bench.committed(await bench.hotel(), 2)
    await key(bench)
    bench.attack("UPDATE connections SET mac = NULL, chain = NULL")
    for table in ("grants", "events", "caller_keys"):
        bench.attack(f"UPDATE {table} SET mac = NULL")
    await bench.store.write(_as_before())
    return grant


@transaction
def _as_before(tx: Tx) -> Transaction[None]:
    for name in ("mac_key", "authenticated"):
        yield from query("forget_meta", name=name)
    canary = tx.sealer.seal(Secret("canary"), Place("meta", "canary", 0, 0))
    yield from query("set_meta", name=FORMER, value=canary.hex())


async def test_a_database_from_before(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened, every row has its MAC, a batch at a time, and its history begins to be chained behind what is there. A
    row that has none from then on is refused.
    """
    monkeypatch.setattr("cloudbeds_auth.transactions.authentic.AT_ONCE", 1)
    grant = await former(bench)
    store = await bench.another()
    bench.opened.reverse()  # the other one has the former key
    assert await altered(store) == []
    found = await store.read(verify_history(grant.connection_id))
    assert {verified for _, verified in found.events} == {None}
    await bench.committed(grant, 3)
    found = await store.read(verify_history(grant.connection_id))
    assert ([verified for _, verified in found.events[-2:]], found.problems) == ([True, True], [])
    bench.attack("UPDATE grants SET mac = NULL")
    await bench.another()  # … and no start gives it another
    current = await current_grant(bench.store, grant.connection_id)
    assert current is not None
    assert not current.genuine


@pytest.mark.row("A76")
async def test_the_key_is_gone(bench: Bench) -> None:
    """Then no start takes everything as it is, as of a database from before; nor where the key is another's."""
    await bench.hotel()
    (sealed,) = bench.attack("SELECT value FROM meta WHERE name = 'mac_key'")[0]
    try:
        for statement in (
            "DELETE FROM meta WHERE name = 'mac_key'",
            "INSERT INTO meta SELECT 'mac_key', value FROM meta WHERE name = 'authenticated'",
        ):
            bench.attack(statement)
            with pytest.raises(ConfigurationError, match="mac_key"):
                await bench.another()
            del bench.opened[1:]
    finally:
        bench.attack("DELETE FROM meta WHERE name = 'mac_key'")
        bench.attack("INSERT INTO meta VALUES ('mac_key', ?)", sealed)
    assert MAC_KEY.table == "meta"


@pytest.mark.parametrize(
    "statements",
    [
        [],
        ["DELETE FROM meta WHERE name = 'mac_key'"],
        ["UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'authenticated') WHERE name = 'mac_key'"],
    ],
    ids=["the key is there", "it is gone", "it is another's"],
)
async def test_everything_is_taken_as_it_is(bench: Bench, statements: Sequence[str]) -> None:
    """After somebody has looked: links, keys and histories; under the same key, where it is there."""
    grant = await bench.committed(await bench.hotel(), 2)
    await key(bench)
    before = bench.attack("SELECT value FROM meta WHERE name = 'mac_key'")
    for statement in (
        "UPDATE grants SET app = 'other'", "UPDATE connections SET reference = 'x'",
        "UPDATE caller_keys SET name = 'x'", "DELETE FROM events WHERE sequence = 2", *statements,
    ):  # fmt: skip
        bench.attack(statement)
    store = Database(bench.store._driver, bench.store._sealer, bench.is_dead)
    bench.opened.insert(0, store)  # the other one may have a former key
    await store.open_anew()
    assert await altered(store) == []
    assert (bench.attack("SELECT value FROM meta WHERE name = 'mac_key'") == before) is (not statements)
    current = await current_grant(store, grant.connection_id)
    assert current is not None
    assert current.genuine


async def test_nothing_is_taken_without_the_keys(bench: Bench) -> None:
    """The key of MACs is not thrown away because the encryption key that opens it was not given."""
    await bench.hotel()
    before = bench.attack("SELECT name, value FROM meta ORDER BY name")
    store = Database(bench.store._driver, AesGcmSealer([OTHER_KEY]), bench.is_dead)
    with pytest.raises(ConfigurationError, match="is missing"):
        await store.open_anew()
    assert bench.attack("SELECT name, value FROM meta ORDER BY name") == before


async def test_events_of_no_connection(bench: Bench) -> None:
    """Whoever wrote them, they are swept as all others."""
    bench.attack(
        "INSERT INTO events (connection_id, sequence, at, kind, actor, data) VALUES ('gone', 1, 5, 'x', 'y', '')"
    )
    assert await bench.store.write(sweep(DAY, 100)) == 1
    assert await bench.store.write(sweep(DAY, 100)) == 0


async def test_a_store_that_was_not_opened(bench: Bench) -> None:
    """It reads the key when it first needs it, where there is one."""
    grant = await bench.hotel()
    store = Database(bench.store._driver, bench.store._sealer, bench.is_dead)
    assert await current_grant(store, grant.connection_id) == await bench.row(grant.id)
    (sealed,) = bench.attack("SELECT value FROM meta WHERE name = 'mac_key'")[0]
    bench.attack("DELETE FROM meta WHERE name = 'mac_key'")
    store = Database(bench.store._driver, bench.store._sealer, bench.is_dead)
    with pytest.raises(StoreUnavailable):
        await altered(store)
    bench.attack("INSERT INTO meta VALUES ('mac_key', ?)", sealed)
