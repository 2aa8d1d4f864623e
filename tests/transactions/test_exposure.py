"""What a leak would expose, counted over both databases."""

from __future__ import annotations

from tests.support.bench import Bench, HandClock
from tests.support.fakes import ADA, APP, key, pair

from cloudbeds_auth.rules.caller_keys import NewKey
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.transactions.apps import add_app
from cloudbeds_auth.transactions.caller_keys import add_caller_key, end_caller_key
from cloudbeds_auth.transactions.candidates import promote
from cloudbeds_auth.transactions.connections import disconnect
from cloudbeds_auth.transactions.exposure import Exposure, read_exposure
from cloudbeds_auth.transactions.pasted_keys import PastedKey, add_pasted_key


async def test_an_empty_database(bench: Bench) -> None:
    """Exposes nothing."""
    assert await bench.store.read(read_exposure()) == Exposure({}, 0, 0, 0, 0, 0)


async def test_each_kind_is_counted(bench: Bench, clock: HandClock) -> None:
    """Living credentials alone: of what was disconnected only the name of who approved it is left. A key that
    another one made ends with it.
    """
    left = await bench.approved(pair(1, property_ids=("1000",)))
    await bench.store.write(promote(left.connection_id, left.id, left.generation, ADA, ()))
    await bench.store.write(disconnect(left.connection_id))
    await bench.connected(pair(2, property_ids=("1001",)))
    await bench.approved(pair(3, property_ids=("1002",)))
    await bench.connected(key(4, "1003").pair)
    pasted = PastedKey("hash", "default", key(5, "1004").pair, None)
    await bench.store.write(add_pasted_key(pasted, "con_9", "gra_9"))
    await bench.store.write(add_app(APP))
    new = NewKey("a job", frozenset({Scope.READ}))
    for key_id, parent in (("key_1", None), ("key_2", "key_1"), ("key_3", None)):
        await bench.store.write(add_caller_key(key_id, "hash", new, parent=parent))
    await bench.store.write(end_caller_key("key_3"))
    ending = NewKey("a job", frozenset({Scope.READ}), life=60.0)
    await bench.store.write(add_caller_key("key_4", "hash", ending, parent=None))
    assert await bench.store.read(read_exposure()) == Exposure({"default": 2}, 1, 1, 1, callers=2, apps=1)
    clock.pass_(60)
    assert (await bench.store.read(read_exposure())).callers == 1
