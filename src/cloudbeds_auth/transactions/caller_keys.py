"""The transactions of callers' keys: creation, look-up, revocation, and last use.

Moments are those of the store's wall clock: people set and read them, and minutes are exact enough.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloudbeds_auth.rules.audit import AuditAction
from cloudbeds_auth.rules.caller_keys import ID_PREFIX, MOST_CHILDREN, CallerKey, NewKey
from cloudbeds_auth.rules.inputs import harmless
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.permissions import Bounds, Caller, Scope
from cloudbeds_auth.transactions.audit import audit
from cloudbeds_auth.transactions.authentic import changed_mac, is_genuine, mac_of
from cloudbeds_auth.transactions.rows import listed
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction

BEYOND = "z"  # sorts after every key's id in any collation
AFTER = 3600.0  # seconds for which a child that has ended stays in the lists


@dataclass(frozen=True, slots=True)
class GoodKey:
    """A key that is valid now: its hash, and its caller. `left`: seconds until it or its parent ends."""

    hash: str
    caller: Caller
    left: float | None


@dataclass(frozen=True, slots=True)
class AlteredKey:
    """The row of this key, or of its parent, was altered behind the service: the key is not accepted."""

    id: str


@transaction
def add_caller_key(
    tx: Tx, key_id: str, key_hash: str, new: NewKey, *, parent: str | None
) -> Transaction[CallerKey | None]:
    """Store a new key. None: its parent has too many children, or the key that makes it has ended."""
    expires_at = None if new.life is None else tx.wall + new.life
    maker = parent or tx.acting.name
    if maker.startswith(ID_PREFIX):
        yield from query("one_at_a_time", work=f"keys of {maker}")
        made_by = yield from query_one("caller_key", id=maker)
        if made_by is None or not _good(made_by, tx.wall):
            return None
    if parent is not None:
        yield from query("forget_ended_children", parent=parent, before=tx.wall - AFTER)
        counted = yield from query_one("caller_key_children", parent=parent)
        if counted is None or counted["children"] >= MOST_CHILDREN:
            return None
    scopes = sorted(new.scopes)
    row = {
        "id": key_id, "name": new.name, "hash": key_hash, "scopes": listed(scopes), "reach": _reach_text(new.reach),
        "read_only": int(new.read_only), "methods": None if new.methods is None else listed(sorted(new.methods)),
        "parent": parent, "created_by": tx.acting.name, "created_at": tx.wall, "expires_at": expires_at,
        "ended_at": None, "rate": new.rate,
    }  # fmt: skip
    yield from query("add_caller_key", mac=mac_of(tx, "caller_keys", row), **row)
    yield from audit(tx, AuditAction.KEY_CREATED, key_id, {"name": new.name, "scopes": scopes, "parent": parent})
    return (yield from read_caller_key(key_id)(tx))


@transaction
def read_caller_key(tx: Tx, key_id: str) -> Transaction[CallerKey | None]:
    """One key, even if it has ended."""
    row = yield from query_one("caller_key", id=key_id)
    return None if row is None else _key_of(row)


@transaction
def read_caller_keys(
    tx: Tx, *, parent: str | None = None, before: str | None = None, limit: int
) -> Transaction[Sequence[CallerKey]]:
    """Keys, newest first, ended ones included; `parent`: only its children. `before`: the last id seen."""
    name, bound = ("caller_keys", {}) if parent is None else ("caller_keys_of", {"parent": parent})
    rows = yield from query(name, before=before or BEYOND, limit=limit, **bound)
    return [_key_of(row) for row in rows]


@transaction
def find_caller(tx: Tx, key_id: str) -> Transaction[GoodKey | AlteredKey | None]:
    """The caller of this key, if the key is valid now; a child is valid only while its parent is."""
    row = yield from query_one("caller_key", id=key_id)
    if row is None:
        return None
    if not is_genuine(tx, "caller_keys", row):
        return AlteredKey(key_id)
    if not _good(row, tx.wall):
        return None
    if row["parent"] is None:
        return GoodKey(row["hash"], _caller_of(row, None), _left(row, tx.wall))
    parent = yield from query_one("caller_key", id=row["parent"])
    if parent is not None and not is_genuine(tx, "caller_keys", parent):
        return AlteredKey(row["parent"])
    if parent is None or not _good(parent, tx.wall):
        return None
    lefts = [left for left in (_left(row, tx.wall), _left(parent, tx.wall)) if left is not None]
    return GoodKey(row["hash"], _caller_of(row, _caller_of(parent, None)), min(lefts, default=None))


@transaction
def end_caller_key(tx: Tx, key_id: str) -> Transaction[CallerKey | None]:
    """Revoke a key with its children; a second call keeps the first moment. None: no such key. A key that it makes at
    the same time is either stored before, or not at all.
    """
    yield from query("one_at_a_time", work=f"keys of {key_id}")
    row = yield from query_one("caller_key", id=key_id)
    if row is not None and row["ended_at"] is None:
        mac = changed_mac(tx, "caller_keys", row, ended_at=tx.wall)
        yield from query("end_caller_key", id=key_id, now=tx.wall, mac=mac)
        yield from audit(tx, AuditAction.KEY_REVOKED, key_id, {})
    return (yield from read_caller_key(key_id)(tx))


@transaction
def note_uses(tx: Tx, uses: Mapping[str, tuple[float, str]]) -> Transaction[None]:
    """Store when each of these keys was last used, in unix seconds, and from which address."""
    for key_id, (at, address) in sorted(uses.items()):
        yield from query("use_caller_key", id=key_id, at=at // 60 * 60, address=address)


def _good(row: Row, now: float) -> bool:
    return row["ended_at"] is None and (row["expires_at"] is None or now < row["expires_at"])


def _left(row: Row, now: float) -> float | None:
    return None if row["expires_at"] is None else row["expires_at"] - now


def _caller_of(row: Row, parent: Caller | None) -> Caller:
    return Caller(
        row["id"], frozenset(Scope(one) for one in json.loads(row["scopes"])), _reach_of(row), bool(row["read_only"]),
        _methods_of(row), parent, row["rate"],
    )  # fmt: skip


def _key_of(row: Row) -> CallerKey:
    caller = _caller_of(row, None)
    return CallerKey(
        caller.name, row["name"], caller.scopes, caller.reach, caller.read_only, caller.methods, row["parent"],
        row["created_by"], moment(row["created_at"]), _moment(row["expires_at"]), _moment(row["ended_at"]),
        _moment(row["used_at"]), row["used_from"], caller.rate,
    )  # fmt: skip


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def _methods_of(row: Row) -> frozenset[str] | None:
    """An earlier version accepted any text here, and not every answer can show any text."""
    return None if row["methods"] is None else frozenset(map(harmless, json.loads(row["methods"])))


def _reach_of(row: Row) -> Bounds | None:
    if row["reach"] is None:
        return None
    stored = json.loads(row["reach"])
    return Bounds(*(frozenset(stored[kind]) for kind in ("connections", "properties", "references")))


def _reach_text(reach: Bounds | None) -> str | None:
    if reach is None:
        return None
    kinds = {"connections": reach.connections, "properties": reach.properties, "references": reach.references}
    return json.dumps({kind: sorted(ids) for kind, ids in kinds.items()}, separators=(",", ":"))
