"""The transactions of callers' keys, over both databases."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.bench import Bench, HandClock

from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules import caller_keys
from cloudbeds_auth.rules.audit import Acting
from cloudbeds_auth.rules.caller_keys import CallerKey, NewKey
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.permissions import Bounds, Caller, Scope
from cloudbeds_auth.transactions import caller_keys as transactions
from cloudbeds_auth.transactions.caller_keys import (
    AFTER,
    BEYOND,
    GoodKey,
    add_caller_key,
    end_caller_key,
    find_caller,
    note_uses,
    read_caller_key,
    read_caller_keys,
)

READS = frozenset({Scope.READ, Scope.PROXY})


async def added(bench: Bench, key_id: str, parent: str | None = None, **more: Any) -> CallerKey:
    """A key that reads."""
    new = NewKey("a job", READS, **more)
    key = await bench.store.write(add_caller_key(key_id, f"hash of {key_id}", new, parent=parent))
    assert key is not None
    return key


async def test_what_was_made_is_read(bench: Bench, clock: HandClock) -> None:
    """Each part as it was given, by every process."""
    reach = Bounds(frozenset({"con_1"}), frozenset({"1000", "1001"}), frozenset({"tenant-7"}))
    made = await added(bench, "key_1", reach=reach, read_only=True, methods=frozenset({"gethotels"}), life=3600.0)
    other = await bench.another()
    assert await other.read(read_caller_key("key_1")) == made
    assert made == CallerKey(
        "key_1", "a job", READS, reach, True, frozenset({"gethotels"}), None, "program", moment(clock.wall),
        moment(clock.wall + 3600), None, None, None,
    )  # fmt: skip
    found = await other.read(find_caller("key_1"))
    assert isinstance(found, GoodKey)
    assert found.hash == "hash of key_1"
    assert found.caller == Caller("key_1", READS, reach, True, frozenset({"gethotels"}))
    assert found.left == pytest.approx(3600)
    assert await other.read(read_caller_key("key_2")) is None
    assert await other.read(find_caller("key_2")) is None


async def test_a_key_ends_in_time(bench: Bench, clock: HandClock) -> None:
    """And is shown after that, too."""
    await added(bench, "key_1", life=60.0)
    clock.pass_(60)
    assert await bench.store.read(find_caller("key_1")) is None
    assert await bench.store.read(read_caller_key("key_1")) is not None


async def test_a_revoked_key(bench: Bench, clock: HandClock) -> None:
    """Ends at once, at the moment of the first time, and its children with it."""
    await added(bench, "key_1")
    await added(bench, "key_2", "key_1", life=120.0)
    child = await bench.store.read(find_caller("key_2"))
    assert isinstance(child, GoodKey)
    assert child.caller.within == Caller("key_1", READS)
    assert child.left == pytest.approx(120)
    ended = await bench.store.write(end_caller_key("key_1"))
    clock.pass_(5)
    assert await bench.store.write(end_caller_key("key_1")) == ended
    assert ended is not None
    assert ended.ended_at == moment(clock.wall - 5)
    assert await bench.store.read(find_caller("key_1")) is None
    assert await bench.store.read(find_caller("key_2")) is None
    assert await bench.store.write(end_caller_key("key_3")) is None


async def test_a_child_ends_with_the_time_of_its_parent(bench: Bench, clock: HandClock) -> None:
    """However long its own is."""
    await added(bench, "key_1", life=60.0)
    await added(bench, "key_2", "key_1")
    child = await bench.store.read(find_caller("key_2"))
    assert isinstance(child, GoodKey)
    assert child.left == pytest.approx(60)
    clock.pass_(60)
    assert await bench.store.read(find_caller("key_2")) is None


async def test_a_child_needs_a_parent_that_is_good(bench: Bench) -> None:
    """One that was revoked, or never was, has no children."""
    await added(bench, "key_1")
    await bench.store.write(end_caller_key("key_1"))
    for parent in ("key_1", "key_0"):
        new = add_caller_key("key_2", "hash", NewKey("a", READS), parent=parent)
        assert await bench.store.write(new) is None


@pytest.mark.row("A78")
async def test_a_method_of_a_former_version(bench: Bench) -> None:
    """It may be half a character, which no answer can show: one that stands for it is shown, and the key works."""
    made = await added(bench, "key_1", methods=frozenset({"gethotels", "\ud800"}))
    assert made.methods == frozenset({"gethotels", "\ufffd"})
    found = await bench.store.read(find_caller("key_1"))
    assert isinstance(found, GoodKey)
    assert found.caller.methods == made.methods


async def test_who_makes_a_key_is_good(bench: Bench) -> None:
    """A key whose scope is `admin` is no parent; once it is revoked it makes none, either."""
    await added(bench, "key_1")
    ACTING.set(Acting("key_1"))
    assert (await added(bench, "key_2")).parent is None
    await bench.store.write(end_caller_key("key_1"))
    assert await bench.store.write(add_caller_key("key_3", "hash", NewKey("a", READS), parent=None)) is None
    assert await bench.store.read(read_caller_key("key_3")) is None


async def test_as_many_children_as_there_may_be(
    bench: Bench, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more; one that ended makes room an hour later."""
    monkeypatch.setattr(transactions, "MOST_CHILDREN", 2)
    await added(bench, "key_1")
    await added(bench, "key_2", "key_1")
    await added(bench, "key_3", "key_1")
    new = add_caller_key("key_4", "hash", NewKey("a", READS), parent="key_1")
    assert await bench.store.write(new) is None
    await bench.store.write(end_caller_key("key_2"))
    clock.pass_(AFTER)
    assert await bench.store.write(new) is None
    clock.pass_(1)
    assert await bench.store.write(new) is not None
    children = await bench.store.read(read_caller_keys(parent="key_1", limit=10))
    assert [one.id for one in children] == ["key_4", "key_3"]
    assert caller_keys.MOST_CHILDREN == 1000


async def test_pages(bench: Bench) -> None:
    """Newest first, each page where the last one ended."""
    for number in range(1, 6):
        await added(bench, f"key_{number}")
    first = await bench.store.read(read_caller_keys(limit=3))
    rest = await bench.store.read(read_caller_keys(before=first[-1].id, limit=3))
    assert [one.id for one in (*first, *rest)] == ["key_5", "key_4", "key_3", "key_2", "key_1"]
    assert BEYOND.isalnum(), "a mark is before every letter in the order of some languages"


async def test_the_last_use(bench: Bench, clock: HandClock) -> None:
    """Its minute and address; an older one that is told later changes nothing."""
    await added(bench, "key_1")
    at = clock.wall // 60 * 60 + 90
    await bench.store.write(note_uses({"key_1": (at, "192.0.2.7"), "key_9": (at, "192.0.2.9")}))
    await bench.store.write(note_uses({"key_1": (at - 60, "192.0.2.8")}))
    found = await bench.store.read(read_caller_key("key_1"))
    assert found is not None
    assert (found.used_at, found.used_from) == (moment(at - 30), "192.0.2.7")
