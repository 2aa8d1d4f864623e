"""The transactions of tokens that come from another program: stored as a candidate, recognized again, corrected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.lifecycle import LifecycleEvent, State, move
from cloudbeds_auth.rules.model import CredentialKind, Grant, Pair, Role
from cloudbeds_auth.rules.schedule import CANDIDATE
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.authentic import changed_mac, mac_of
from cloudbeds_auth.transactions.homes import add_connection, homes_of, refer
from cloudbeds_auth.transactions.roles import show
from cloudbeds_auth.transactions.rows import access_place, add_event, carry_sendings, grant_of, listed, token_place
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, as_keys, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_due_at


@dataclass(frozen=True, slots=True)
class NewImport:
    """A hotel's tokens as another program held them.

    `token_hash` recognizes the refresh token. `pair.lifetime` is 0 or less if no access token came with it.
    """

    token_hash: str
    app: str
    reference: str | None
    property_id: str
    pair: Pair


@dataclass(frozen=True, slots=True)
class Placed:
    """The place of an imported token; `grant_id` is None if it was not stored: the hotel is connected already."""

    connection_id: str
    grant_id: str | None


@dataclass(frozen=True, slots=True)
class Hand:
    """The tokens of a grant about to be stored; moments are unix seconds. `refreshed_at`: None if we never refreshed
    it. `former`: the grant that they were taken back from.
    """

    refresh: tuple[Secret, ...]
    access: Secret | None
    expires_at: float
    lifetime: float
    refreshed_at: float | None = None
    former: Grant | None = None


@transaction
def add_import(tx: Tx, new: NewImport, connection_id: str, grant_id: str) -> Transaction[Placed]:
    """Store the tokens as a candidate. For a token that was imported before, return its place, and change nothing.

    The candidate belongs to the one connection of this app that covers the property and whose tokens are refused,
    forgotten or not proven yet, else to a new one with the id `connection_id`. Nothing is stored if a connection that
    works covers the property. A token that was dropped because it belongs to another property begins anew under the one
    named now.
    """
    yield from query("one_at_a_time", work=f"approvals of {new.app}")
    known = yield from query_one("imported", token_hash=new.token_hash)
    if known is not None and not _of_another_property(known, new.property_id):
        yield from _settle_source(tx, known, new)
        return Placed(known["connection_id"], known["id"])
    home = yield from _home(tx, new, connection_id)
    if home.grant_id is None:
        return home
    hand = _received(tx, new) if known is None else (yield from _taken_back(tx, known))
    yield from _add(tx, new, home.connection_id, grant_id, hand, tx.sealer)
    if hand.former is not None:
        yield from carry_sendings(tx, hand.former, grant_id)
    return Placed(home.connection_id, grant_id)


@transaction
def read_refused(tx: Tx, token_hash: str) -> Transaction[bool]:
    """Whether this token was imported before, and the vendor finally refused it: importing it again sends nothing."""
    known = yield from query_one("imported", token_hash=token_hash)
    return known is not None and known["reauth"] is not None


def settle_property(tx: Tx, row: Row, property_ids: Iterable[str]) -> Transaction[None]:
    """The vendor named a grant's properties: if the one that it is said to belong to is among them, store them all."""
    named = tuple(property_ids)
    if row["said_of"] is None or row["said_of"] not in named:
        return
    for property_id in named:
        yield from query("add_property", grant_id=row["id"], property_id=property_id)
    known = listed(dict.fromkeys((*json.loads(row["property_ids"]), *named)))
    mac = changed_mac(tx, "grants", row, property_ids=known)
    yield from query("settle_property", grant_id=row["id"], property_ids=known, mac=mac)


def _of_another_property(known: Row, property_id: str) -> bool:
    """Whether the grant was dropped because the vendor names another property than the one it was imported for."""
    dropped = known["role"] == Role.SUPERSEDED and known["reauth"] is None
    return dropped and known["said_of"] not in {None, property_id}


def _settle_source(tx: Tx, known: Row, new: NewImport) -> Transaction[None]:
    """Store where the token is from: a later import may correct this until the token has worked."""
    if known["role"] == Role.CANDIDATE and known["refreshed_at"] is None and not known["proven"]:
        source = new.pair.source
        new_source = {"issuer": source.issuer, "client_id": source.client_id}
        mac = changed_mac(tx, "grants", known, **new_source)
        yield from query("settle_source", grant_id=known["id"], mac=mac, **new_source)


def _home(tx: Tx, new: NewImport, connection_id: str) -> Transaction[Placed]:
    """The connection to be repaired, or a new one; without a grant if one works already."""
    ids = sorted((yield from homes_of(tx, new.app, new.property_id)))
    for one in ids:
        current = yield from query_one("current", connection_ids=as_keys([one]))
        if current is not None and current["role"] == Role.ACTIVE and current["reauth"] is None:
            return Placed(one, None)
    if len(ids) == 1:
        return Placed(ids[0], "")
    yield from add_connection(tx, connection_id, new.app, new.reference, trusted=True)
    return Placed(connection_id, "")


def _received(tx: Tx, new: NewImport) -> Hand:
    pair = new.pair
    assert pair.refresh is not None  # noqa: S101 - an import always has one
    if pair.lifetime <= 0:
        return Hand((pair.refresh,), None, tx.wall, 0.0)
    return Hand((pair.refresh,), pair.access, tx.wall + pair.lifetime, pair.lifetime)


def _taken_back(tx: Tx, known: Row) -> Transaction[Hand]:
    """All that the dropped grant holds. Its row keeps nothing and takes no late pair, so no token is stored twice."""
    former = grant_of(known, (yield from query("tokens", grant_id=known["id"])), tx)
    gone = move(State(known["state"]), LifecycleEvent.DISCONNECTED)
    mac = changed_mac(tx, "grants", known, role=Role.DISCONNECTED)
    yield from query("forget_access", grant_id=known["id"], state=gone, mac=mac)
    yield from show(known["connection_id"])
    yield from query("drop_all_tokens", grant_id=known["id"])
    yield from query("forget_import", grant_id=known["id"])
    return Hand(
        tuple(token.value for token in former.tokens), former.access or None, former.expires_at, former.lifetime,
        known["refreshed_at"], former,
    )  # fmt: skip


def _add(tx: Tx, new: NewImport, home: str, grant_id: str, hand: Hand, sealer: Sealer) -> Transaction[None]:
    """Store the candidate, as `candidates.add_grant` does for tokens that were exchanged."""
    yield from query("connection_locked", connection_id=home)
    former = (yield from query_one("last_ordinal", connection_id=home)) or {"ordinal": 0, "generation": 0}
    ordinal, generation = former["ordinal"] + 1, former["generation"] + 1
    access = None if hand.access is None else sealer.seal(hand.access, access_place(grant_id, generation))
    link = {
        "id": grant_id, "connection_id": home, "app": new.app, "kind": CredentialKind.OAUTH, "role": Role.CANDIDATE,
        "property_ids": listed((new.property_id,)), "issuer": new.pair.source.issuer,
        "client_id": new.pair.source.client_id,
    }  # fmt: skip
    yield from query(
        "add_grant", ordinal=ordinal, generation=generation, state=State.IN_DOUBT, access_sealed=access,
        expires_at=hand.expires_at, lifetime=hand.lifetime, stale_at=hand.expires_at, clock_id=tx.clock_id,
        scopes=listed(new.pair.scopes or ()), received_at=tx.wall, mac=mac_of(tx, "grants", link), **link,
    )  # fmt: skip
    for position, token in enumerate(hand.refresh, 1):
        sealed = sealer.seal(token, token_place(grant_id, position, generation))
        yield from query("add_token", grant_id=grant_id, position=position, generation=generation, sealed=sealed)
    yield from query("add_property", grant_id=grant_id, property_id=new.property_id)
    yield from query(
        "mark_import", grant_id=grant_id, token_hash=new.token_hash, said_of=new.property_id,
        refreshed_at=hand.refreshed_at,
    )  # fmt: skip
    yield from set_due_at(tx, grant_id, tx.wall + CANDIDATE)
    yield from show(home)
    row = {"id": grant_id, "connection_id": home, "generation": generation}
    yield from add_event(
        tx, row, "candidate_received", actor=tx.acting.name, expires_at=hand.expires_at,
        property_ids=[new.property_id], imported=True,
    )  # fmt: skip
    yield from refer(tx, home, new.reference, trusted=True, by=tx.acting.name)
