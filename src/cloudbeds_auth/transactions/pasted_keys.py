"""The transaction of an API key that a hotel created itself: Cloudbeds was asked about it, and it comes into use.

is the key here already? ── yes → its connection, proven
    │ no
the connection asked for, else the one that covers one of its properties, else a new one → its OAuth tokens are latched
→ the key becomes its grant in use, and the former one is superseded
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from cloudbeds_auth.errors import PropertyMismatch, RefreshPending, Unclaimed
from cloudbeds_auth.rules.model import CredentialKind, Pair, Role, User
from cloudbeds_auth.rules.permissions import Caller
from cloudbeds_auth.rules.properties import PropertyChanges, fits
from cloudbeds_auth.transactions.authorizations import link_over
from cloudbeds_auth.transactions.candidates import Ends, add_grant, promote
from cloudbeds_auth.transactions.homes import add_connection, covering, must_be_allowed, refer
from cloudbeds_auth.transactions.reconnect import read_covered
from cloudbeds_auth.transactions.refusals import confirm
from cloudbeds_auth.transactions.rows import add_event, left, locked
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction

ANOTHER_KEY = "paste that hotel's key; if another hotel is meant, name its property"


@dataclass(frozen=True, slots=True)
class PastedKey:
    """A key that works, and what Cloudbeds reported about it: `user`, and the properties in `pair`.

    `key_hash` recognizes it. `connection_id`: the connection that it is for; None: the hotel's own. `expected`: the
    caller named the property, so the reference does not have to identify the hotel. `link_hash`: of the one-time link
    by which the hotel itself brought it. `caller`: who brings it, and may be limited to some hotels; None: all.
    """

    key_hash: str
    app: str
    pair: Pair
    user: User | None
    reference: str | None = None
    connection_id: str | None = None
    expected: bool = False
    link_hash: str | None = None
    caller: Caller | None = None


@dataclass(frozen=True, slots=True)
class PlacedKey:
    """The connection that has the key now. `new`: it had another credential before, or none; `moved`: it had OAuth
    tokens; `changed`: the properties that were added and dropped with the key, if any were.
    """

    connection_id: str
    new: bool = True
    moved: bool = False
    changed: PropertyChanges | None = None


@transaction
def add_pasted_key(tx: Tx, key: PastedKey, connection_id: str, grant_id: str) -> Transaction[PlacedKey]:
    """Put the key into use as the grant `grant_id`: in the connection asked for, else in the one of its app that covers
    one of its properties, else in a new one with the id `connection_id`. A key that is in use already gets no new
    grant.

    OAuth tokens of the connection are latched: none of them is refreshed any more (rule-15).

    Raises PropertyMismatch if the connection, the reference or the key itself belongs to another hotel, or if other
    properties would lose their credential; Forbidden if the caller is not for the connection, or not for the whole of
    it (A27); Unclaimed if the connection asked for waits to be claimed; AuthorizationExpired if the link was used or
    has expired; and RefreshPending while a refresh of these tokens is under way.
    """
    yield from query("one_at_a_time", work="pasted keys")
    by = tx.acting.name if key.link_hash is None else (yield from _use_link(tx, key.link_hash))
    yield from query("one_at_a_time", work=f"approvals of {key.app}")
    known = yield from query_one("imported", token_hash=key.key_hash)
    if known is not None and known["role"] == Role.ACTIVE:
        return (yield from _here_already(tx, key, known, by))
    if known is not None:
        yield from query("forget_import", grant_id=known["id"])  # left from its former use: it begins anew
    home = yield from _home(tx, key)
    if home is None:
        home = connection_id
        yield from add_connection(tx, home, key.app, key.reference, trusted=True)
    else:
        yield from must_be_allowed(tx, key.caller, home, key.reference)
    yield from _must_cover(key, home)
    moved = yield from _latched(tx, home)
    change = yield from _add(tx, key, home, grant_id)
    yield from refer(tx, home, key.reference, trusted=True, by=by)
    return PlacedKey(home, moved=moved, changed=change)


def _use_link(tx: Tx, link_hash: str) -> Transaction[str | None]:
    """Spend the link, and return who made it; raises AuthorizationExpired if it is not valid. An approval by this link
    at the same moment comes before this transaction, or after it.
    """
    link = yield from query_one("link", hash=link_hash, now=tx.wall)
    if link is not None:
        yield from query("one_at_a_time", work=f"approvals of {link['app']}")
        link = yield from query_one("link", hash=link_hash, now=tx.wall)
    if link is None:
        raise link_over()
    yield from query("use_link", hash=link_hash, now=tx.wall)
    made_by: str | None = link["made_by"]
    return made_by


def _here_already(tx: Tx, key: PastedKey, known: Row, by: str | None) -> Transaction[PlacedKey]:
    home: str = known["connection_id"]
    if key.connection_id not in {None, home}:
        raise PropertyMismatch(f"this key is in use by the connection {home}", connection_id=key.connection_id)
    yield from must_be_allowed(tx, key.caller, home, key.reference)
    yield from _must_be_referred(key, home)
    yield from confirm(known["id"], known["generation"], issuer=key.pair.source.issuer)(tx)
    yield from query("connection_locked", connection_id=home)
    yield from refer(tx, home, key.reference, trusted=True, by=by)
    yield from query("link_led_to", hash=key.link_hash, connection_id=home)
    return PlacedKey(home, new=False)


def _home(tx: Tx, key: PastedKey) -> Transaction[str | None]:
    """The connection that the key belongs to; None: none of the existing ones."""
    if key.connection_id is None:
        home = yield from covering(tx, key.app, key.pair.property_ids)
        yield from _must_be_referred(key, home)
        return home
    if (yield from query_one("asked_for", connection_id=key.connection_id)) is None:
        raise Unclaimed(connection_id=key.connection_id)
    covered = yield from read_covered(key.connection_id)(tx)
    if not fits(covered, key.pair.property_ids):
        raise _another(key, covered, "this connection is for", key.connection_id)
    return key.connection_id


def _must_cover(key: PastedKey, home: str) -> Transaction[None]:
    """A key of one property must not end a grant that serves a whole group: the rest would be left without a
    credential.
    """
    used = yield from query_one("in_use", connection_id=home)
    lost = [] if used is None else [one for one in json.loads(used["property_ids"]) if one not in key.pair.property_ids]
    if lost:
        raise PropertyMismatch(
            f"Cloudbeds names property {', '.join(key.pair.property_ids)} for this key, but the connection {home} also "
            f"serves {', '.join(lost)}, which would be lost",
            connection_id=home,
            next_step="paste a key for all of them; if each is to have its own, disconnect that connection first",
        )


def _must_be_referred(key: PastedKey, home: str | None) -> Transaction[None]:
    """A reference belongs to one hotel, unless the caller names the properties: a key that was pasted into the wrong
    form must not give a tenant the hotel of another one (F87).
    """
    if key.reference is None or key.expected:
        return
    rows = yield from query("referred", reference=key.reference)
    covered = [one for row in rows for one in json.loads(row["property_ids"])]
    if home not in {row["connection_id"] for row in rows} and not fits(covered, key.pair.property_ids):
        raise _another(key, covered, f"the reference {key.reference!r} belongs to", None)


def _another(key: PastedKey, covered: Iterable[str], whose: str, connection_id: str | None) -> PropertyMismatch:
    named, known = ", ".join(key.pair.property_ids), ", ".join(dict.fromkeys(covered))
    return PropertyMismatch(
        f"Cloudbeds names property {named} for this key, but {whose} {known}",
        connection_id=connection_id,
        next_step=ANOTHER_KEY,
    )


def _latched(tx: Tx, home: str) -> Transaction[bool]:
    """Latch the OAuth tokens of this connection, and return whether any were in use.

    Raises RefreshPending while a refresh is under way: its pair would arrive after the key.
    """
    grants = yield from query("grants_of", connection_id=home)
    tokens = [one for one in grants if one["kind"] == CredentialKind.OAUTH]
    for one in tokens:
        row = yield from locked(tx, one["id"])
        if row is not None and row["lease_owner"] is not None and left(row["lease_until"], row, tx) > 0:
            raise RefreshPending("a refresh of this hotel's tokens is under way", connection_id=home)
        yield from query("latch", grant_id=one["id"])
    return any(one["role"] == Role.ACTIVE for one in tokens)


def _add(tx: Tx, key: PastedKey, home: str, grant_id: str) -> Transaction[PropertyChanges | None]:
    """Store the key and put it into use. It was seen to work before, so it waits for no proof (rule-13)."""
    never = Ends(math.inf, math.inf, math.inf)
    row = yield from add_grant(tx, home, grant_id, key.app, key.pair, never, tx.sealer)
    yield from query("mark_import", grant_id=grant_id, token_hash=key.key_hash, said_of=None, refreshed_at=None)
    yield from add_event(
        tx, row, "candidate_received", actor=tx.acting.name if key.link_hash is None else "hotel", expires_at=None,
        property_ids=list(key.pair.property_ids), pasted=True,
    )  # fmt: skip
    change = yield from promote(home, grant_id, row["generation"], key.user, ())(tx)
    yield from confirm(grant_id, row["generation"], issuer=key.pair.source.issuer)(tx)
    yield from query("link_led_to", hash=key.link_hash, connection_id=home)
    return change if change is not None and change.count else None
