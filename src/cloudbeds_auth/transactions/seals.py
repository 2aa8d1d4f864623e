"""Which keys may have sealed stored values, and how many values each has sealed (docs/adr/0026).

In `meta`:

    key_canary:ID  a stored value may be sealed with this key: a process that lacks it does not start
    seals:ID       how many values this key has sealed, at most
    key_seen:ID    when a service last reported that this key is its first, in unix seconds

Each transaction that seals ends with the first two, whatever it is about: no stored value is without a canary or left
uncounted. The count grows by blocks, so that few transactions write it; what a process does not use of its block is
lost with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.transactions.statements import Call, Instant, Transaction, Tx, query, query_one, transaction

T = TypeVar("T")

CANARY, SEALS, SEEN = "key_canary:", "seals:", "key_seen:"  # … and the key's id
FORMER = "key_canary"  # of an earlier version: a value sealed with the key that sealed first
MOST_SEALS = 1 << 32  # random nonces under one key (NIST SP 800-38D section 8.3); no refresh begins after that
MANY_SEALS = 1 << 31  # from here on an operator is warned
NEW_KEY = "put a new key first in CLOUDBEDS_AUTH_ENCRYPTION_KEYS, restart, then run `cloudbeds-auth database rekey`"
SEEN_EVERY, SEEN_FOR = 60.0, 180.0  # seconds between two reports of a service, and for which one counts
FIRST_BLOCK, LARGEST_BLOCK = 256, 1 << 16  # a command seals little, and the rest of its block is lost


class SealBlocks:
    """How many of the values that this process seals are in the database's count already."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._counted = sealer.sealed
        self._next = FIRST_BLOCK

    def counting(self, call: Call[T]) -> Call[tuple[T, int]]:
        """The same transaction, but it also counts what has been sealed by its end, and returns its block with the
        result.

        Pass the block to `note` once it is committed.
        """
        return _counted(call, self)

    def block(self) -> int:
        """By how much the count has to grow before more is committed; 0 while the last block lasts."""
        uncounted = self._sealer.sealed - self._counted
        return max(uncounted, self._next) if uncounted > 0 else 0

    def note(self, block: int) -> None:
        """Note that this block is committed."""
        if block:
            self._counted += block
            self._next = min(2 * self._next, LARGEST_BLOCK)


@transaction
def _counted(tx: Tx, call: Call[T], blocks: SealBlocks) -> Transaction[tuple[T, int]]:
    before, key_id = tx.sealer.sealed, tx.sealer.key_id
    result = yield from call(tx)
    if tx.sealer.sealed == before:
        return result, 0
    # Locked: `retire_keys` waits until this transaction ends, and then finds what it stored.
    if (yield from query_one("canary_locked", name=CANARY + key_id)) is None:
        yield from _need(tx, key_id)
    block = blocks.block()
    if block:
        yield from query("count_seals", name=SEALS + key_id, block=block)
    return result, block


@transaction
def check_keys(tx: Tx) -> Transaction[Sequence[str]]:
    """The ids of keys that are needed but not at hand. A key that has sealed nothing yet is not needed."""
    rows = yield from _rows()
    missing = _needed(rows, tx.sealer).difference(tx.sealer.key_ids)
    if missing:
        return sorted(missing)
    if FORMER in rows:  # any key that is configured may have sealed since
        yield from query("forget_meta", name=FORMER)
        yield from _need(tx, *tx.sealer.key_ids)
    return ()


@transaction
def need_keys(tx: Tx, key_ids: Sequence[str]) -> Transaction[None]:
    """Record that values sealed with these keys are stored."""
    yield from _need(tx, *key_ids)


@transaction
def retire_keys(tx: Tx) -> Transaction[Sequence[str]]:
    """Record that no key but the one that seals is needed. Returns the ids of the others that were; if one seals again,
    it is needed again.
    """
    rows = yield from query("retire_keys", name=CANARY + tx.sealer.key_id)
    yield from _need(tx, tx.sealer.key_id)
    return sorted(_needed({row["name"]: row["value"] for row in rows}, tx.sealer) - {tx.sealer.key_id})


@transaction
def read_needed(tx: Tx) -> Transaction[Collection[str]]:
    """The ids of the keys that stored values may be sealed with."""
    return _needed((yield from _rows()), tx.sealer)


@transaction
def note_seen(tx: Tx) -> Transaction[None]:
    """Record that a service runs with the key that seals here as its first."""
    yield from query("set_meta", name=SEEN + tx.sealer.key_id, value=f"{tx.wall:.0f}")


@transaction
def is_seen(tx: Tx) -> Transaction[bool]:
    """Whether a service reported lately that the key that seals here is its first, too."""
    row = yield from query_one("meta", name=SEEN + tx.sealer.key_id)
    return row is not None and tx.wall < float(row["value"]) + SEEN_FOR


@transaction
def read_seals(tx: Tx) -> Transaction[Mapping[str, int]]:
    """How many values each key has sealed at most, by key id; 0 for one that sealed only before they were counted."""
    rows = yield from _rows()
    ids = {name.partition(":")[2] for name in rows if name != FORMER}
    return {key_id: int(rows.get(SEALS + key_id, 0)) for key_id in sorted(ids)}


def _rows() -> Transaction[Mapping[str, str]]:
    return {row["name"]: row["value"] for row in (yield from query("key_rows"))}


def _needed(rows: Mapping[str, str], sealer: Sealer) -> set[str]:
    found = {name.removeprefix(CANARY) for name in rows if name.startswith(CANARY)}
    return found | {sealer.key_of(bytes.fromhex(value)) for name, value in rows.items() if name == FORMER}


def _need(now: Instant, *key_ids: str) -> Transaction[None]:
    for key_id in key_ids:
        yield from query("set_meta", name=CANARY + key_id, value=f"{now.wall:.0f}")


def spent(key_id: str) -> StoreUnavailable:
    """The error for a key that has sealed as much as it may: no refresh is begun any more."""
    return StoreUnavailable(
        f"the encryption key {key_id} has sealed 2**32 values: no refresh is begun, and what is stored still opens",
        next_step=NEW_KEY,
    )
