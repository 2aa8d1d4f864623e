"""Keys and their seals: each key that may have sealed something is known, and counted, over both databases."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.support.bench import Bench
from tests.support.fakes import pair
from tests.support.keys import KEY, OTHER_KEY

from cloudbeds_auth.database.sealed_values import seal_meta
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.ports import Place
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions import seals
from cloudbeds_auth.transactions.apps import add_app, rotate_secret
from cloudbeds_auth.transactions.grants import Written, commit_pair, write_intent
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.seals import (
    FORMER,
    MANY_SEALS,
    MOST_SEALS,
    SEEN_FOR,
    is_seen,
    need_keys,
    note_seen,
    read_seals,
    retire_keys,
)
from cloudbeds_auth.transactions.statements import Transaction, Tx, query, transaction

ID, OTHER_ID, THIRD_ID = (AesGcmSealer([key]).key_id for key in (KEY, OTHER_KEY, bytes(32)))
APP = App("aurora", "client-2", (Secret("first"),), "https://a.example/callback/aurora")


@transaction
def note(tx: Tx, name: str, value: str) -> Transaction[None]:
    """Set a value of `meta`."""
    yield from query("set_meta", name=name, value=value)


@transaction
def forget(tx: Tx, name: str) -> Transaction[None]:
    """Delete one."""
    yield from query("forget_meta", name=name)


@transaction
def rolled_back(tx: Tx) -> Transaction[None]:
    """Seals, and fails."""
    tx.sealer.seal(Secret("x"), Place("tokens", "gra_1", 1, 1))
    yield from query("set_meta", name="half", value="written")
    raise KeyError


@transaction
def key_rows(tx: Tx) -> Transaction[Mapping[str, str]]:
    """What is stored about keys."""
    return {row["name"]: row["value"] for row in (yield from query("key_rows"))}


async def needed(store: Database) -> set[str]:
    """The keys that have a canary."""
    rows = await store.read(key_rows())
    return {name.partition(":")[2] for name in rows if name.startswith("key_canary:")}


# --- the count


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 2, 4 and 8 values."""
    monkeypatch.setattr(seals, "FIRST_BLOCK", 2)
    monkeypatch.setattr(seals, "LARGEST_BLOCK", 8)


async def seal(store: Database, *names: str) -> dict[str, int]:
    """One value in each of so many transactions; the counts then."""
    for name in names:
        assert await store.write(rotate_secret("aurora", Secret(name)))
    return dict(await store.read(read_seals()))


@pytest.mark.usefixtures("small")
async def test_blocks_of_the_count_grow(bench: Bench) -> None:
    """A block is reserved by the transaction that needs it, twice the one before, up to the largest."""
    store = await bench.another()
    assert await store.read(read_seals()) == {ID: 2}, "what the first opening sealed"
    assert await store.write(add_app(APP)) is None
    counts = [(await seal(store, str(number)))[ID] for number in range(15)]
    assert counts == [4, 8, 8, 8, 8, 16, 16, 16, 16, 16, 16, 16, 16, 24, 24]
    other = await bench.another()
    assert await seal(other, "other") == {ID: 26}, "another process reserves a block of its own"


@pytest.mark.usefixtures("small")
async def test_the_count_outlives_a_process(bench: Bench) -> None:
    """A process that starts again takes a new block: what is left of the former is lost."""
    for expected in (4, 6, 8):
        store = await bench.another()
        if expected == 4:
            assert await store.write(add_app(APP)) is None
        else:
            await seal(store, "again")
        assert await store.read(read_seals()) == {ID: expected}


@pytest.mark.usefixtures("small")
async def test_a_transaction_that_is_rolled_back(bench: Bench) -> None:
    """What it sealed is counted by the next one that seals: nothing of it was stored before."""
    store = await bench.another()
    for _ in range(5):
        with pytest.raises(KeyError):
            await store.write(rolled_back())
    assert await store.read(read_seals()) == {ID: 2}
    assert await store.write(add_app(APP)) is None
    assert await store.read(read_seals()) == {ID: 8}


@pytest.mark.row("A50")
async def test_a_key_that_has_sealed_enough(bench: Bench) -> None:
    """From 2**32 values on no refresh is begun, and the error says what to do. A pair in hand is committed all the
    same, and with a new key first hotels are refreshed again.
    """
    assert (MOST_SEALS, MANY_SEALS) == (2**32, 2**31)
    in_hand, other = await bench.hotel(), await bench.connected()
    fence = await bench.intent(in_hand)
    await bench.store.write(note(f"seals:{ID}", str(MOST_SEALS - 1)))
    await bench.intent(await bench.connected())
    await bench.store.write(note(f"seals:{ID}", str(MOST_SEALS)))
    refused = await bench.leased(other)
    with pytest.raises(StoreUnavailable, match=r"has sealed 2\*\*32 values") as raised:
        await bench.store.write(write_intent(refused, 1, lease=30.0, hold=20.0))
    assert "put a new key first" in raised.value.diagnosis().next_step
    row = await bench.row(other.id)
    assert (row.intent, row.generation) == (None, other.generation), "nothing of it was written"
    assert await bench.store.write(commit_pair(fence, in_hand.tokens[0], pair(2), stale_after=9.0)) is Written.DONE
    new = await bench.another(OTHER_KEY, KEY)
    assert await new.write(write_intent(refused, 1, lease=30.0, hold=20.0))
    assert (await new.read(read_seals()))[ID] >= MOST_SEALS


# --- the keys that are needed


@pytest.mark.row("F70")
async def test_a_key_that_was_taken_out_too_early(bench: Bench) -> None:
    """Each key that may have sealed something is needed, the newest and the oldest; nothing is written by a start that
    is stopped.
    """
    await bench.connected()
    assert await (await bench.another(OTHER_KEY, KEY)).write(add_app(APP)) is None
    await bench.another(KEY, OTHER_KEY, bytes(32))
    before = await bench.store.read(key_rows())
    for keys, missing in (([KEY], OTHER_ID), ([OTHER_KEY], ID), ([bytes(32)], f"{ID}.*{OTHER_ID}|{OTHER_ID}.*{ID}")):
        with pytest.raises(ConfigurationError, match=f"the key ({missing})") as raised:
            await bench.another(*keys)
        assert "CLOUDBEDS_AUTH_ENCRYPTION_KEYS" in raised.value.diagnosis().next_step
    assert await bench.store.read(key_rows()) == before
    assert await needed(bench.store) == {ID, OTHER_ID}, "a key that only opens has sealed nothing"


@pytest.mark.row("F69")
async def test_a_key_that_has_sealed_nothing(bench: Bench) -> None:
    """It is not needed for having been first where a database was opened: those that lack it are ready, and start."""
    before = await bench.store.read(key_rows())
    new = await bench.another(OTHER_KEY, KEY)
    assert await bench.store.read(key_rows()) == before
    await new.check()
    await bench.store.check()
    await bench.another(KEY)


async def test_a_service_that_says_which_key_it_has(bench: Bench) -> None:
    """It is seen for three minutes, by those that have the same key first."""
    new = await bench.another(OTHER_KEY, KEY)
    await bench.store.write(note_seen())
    assert [await store.read(is_seen()) for store in (bench.store, new)] == [True, False]
    await new.write(note_seen())
    bench.clock.pass_(SEEN_FOR - 1.0)
    assert await new.read(is_seen())
    bench.clock.pass_(1.0)
    assert not await new.read(is_seen())


async def test_a_key_that_is_retired(bench: Bench) -> None:
    """It is not needed any more; the count of what it sealed stays."""
    await bench.connected()
    both = await bench.another(OTHER_KEY, KEY)
    await both.write(seal_meta())
    before = await bench.store.read(read_seals())
    assert before[ID] > 0
    assert await both.write(retire_keys()) == [ID]
    assert await both.write(retire_keys()) == []
    assert await needed(both) == {OTHER_ID} == set(await both.needed_keys())
    assert await both.read(read_seals()) == before
    await bench.another(OTHER_KEY)


async def test_a_retired_key_that_seals_again(bench: Bench) -> None:
    """A process that was not restarted: its next value has its canary with it, so the key is needed again."""
    assert await bench.store.write(add_app(APP)) is None
    both = await bench.another(OTHER_KEY, KEY)
    await both.write(retire_keys())
    assert await bench.store.write(rotate_secret("aurora", Secret("second")))
    assert await needed(both) == {ID, OTHER_ID}
    with pytest.raises(ConfigurationError, match=ID):
        await bench.another(OTHER_KEY)
    await both.write(retire_keys())
    await both.write(need_keys([ID]))
    assert await needed(both) == {ID, OTHER_ID}


async def test_a_database_of_an_earlier_version(bench: Bench) -> None:
    """Its one canary is sealed with the key that sealed first; any key that is configured may have sealed since, and is
    needed from the first start on. A start with the wrong key takes nothing over.
    """
    canary = AesGcmSealer([KEY]).seal(Secret("canary"), Place("meta", "canary", 0, 0)).hex()
    await bench.store.write(note(FORMER, canary))
    await bench.store.write(forget(f"key_canary:{ID}"))
    with pytest.raises(ConfigurationError, match=ID):
        await bench.another(OTHER_KEY)
    assert await needed(bench.store) == set()
    new = await bench.another(OTHER_KEY, bytes(32), KEY)
    assert await needed(new) == {ID, OTHER_ID, THIRD_ID}
    with pytest.raises(ConfigurationError, match=THIRD_ID):
        await bench.another(OTHER_KEY, KEY)


@pytest.mark.parametrize("keys", [[KEY], [OTHER_KEY, KEY]])
async def test_an_earlier_version_whose_keys_are_retired(bench: Bench, keys: list[bytes]) -> None:
    """Its canary goes as the others do, before any start has taken it over."""
    new = await bench.another(*keys)
    canary = AesGcmSealer([KEY]).seal(Secret("canary"), Place("meta", "canary", 0, 0)).hex()
    await bench.store.write(note(FORMER, canary))
    await bench.store.write(forget(f"key_canary:{ID}"))
    await new.write(seal_meta())
    assert await new.write(retire_keys()) == ([] if keys == [KEY] else [ID])
    assert await needed(new) == {AesGcmSealer(keys).key_id}
    await bench.another(keys[0])
