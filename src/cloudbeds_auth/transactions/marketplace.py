"""The transactions of approvals that a hotel began in the Marketplace: unused until they are claimed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from cloudbeds_auth.errors import Forbidden, InvalidRequest, RefreshPending, StateMismatch
from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.lifecycle import NEWER_KEY, LifecycleEvent, State, move
from cloudbeds_auth.rules.model import CredentialKind, Pair, Role
from cloudbeds_auth.rules.permissions import Caller, Scope, may_connect
from cloudbeds_auth.transactions.authentic import altered, is_genuine
from cloudbeds_auth.transactions.authorizations import (
    SWEPT,
    Authorization,
    NewAuthorization,
    Spending,
    ids_of,
    insert_authorization,
    spend_state,
    sweep_states,
)
from cloudbeds_auth.transactions.candidates import Ends, add_grant, supersede
from cloudbeds_auth.transactions.homes import covering, must_be_allowed, refer, set_reference
from cloudbeds_auth.transactions.leaving import leave
from cloudbeds_auth.transactions.roles import set_role
from cloudbeds_auth.transactions.rows import add_event, carry_sendings, grant_of, is_sending, lasting
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import set_due


class Leaving(NamedTuple):
    """Why tokens leave their connection, and who caused it."""

    why: str
    actor: str


@transaction
def begin_arrival(tx: Tx, new: NewAuthorization, code_hash: str, *, most: int) -> Transaction[Authorization | Spending]:
    """Store and spend at once the state of an approval that the hotel began itself; each code once. FULL while `most`
    approvals wait to be claimed.
    """
    yield from query("one_at_a_time", work="arrivals")
    if (yield from query_one("authorization_by_state", state_hash=new.state_hash)) is None:
        for row in (yield from query("parked_too_long", now=tx.wall)):  # without upkeep nothing else deletes it
            yield from discard_parked(row["id"])(tx)
        waiting = yield from query_one("count_parked")
        if waiting is not None and waiting["waiting"] >= most:
            return Spending.FULL
        yield from sweep_states(tx, SWEPT)
        yield from insert_authorization(tx, new)
    return (yield from spend_state(new.state_hash, None, code_hash)(tx))


@transaction
def claim(
    tx: Tx,
    connection_id: str,
    reference: str | None,
    grant_id: str,
    challenge: str | None = None,
    *,
    caller: Caller | None = None,
) -> Transaction[str | None]:
    """Make the approval that waits in this connection a candidate: of the one connection of its app that covers one of
    its properties, as a new grant named `grant_id`, else where it is. Returns the id of that connection; None: nothing
    waits.

    `challenge`: that of the secret that the claimer brought. `caller`: the claimer, who may be limited to some hotels;
    None: all. Raises Forbidden if the approval is for another connection or reference (A27), StateMismatch if it was
    begun with another secret, ClientRefused if it was altered behind the service, and RefreshPending while an approval
    that was set aside is being refreshed: its pair has to find it where it was.
    """
    row, connection = (yield from query_one("parked", connection_id=connection_id, now=tx.wall)), None
    if row is not None:  # until it is locked, it may be claimed or moved
        yield from query("one_at_a_time", work=f"approvals of {row['app']}")  # before any row, as everywhere
        connection = yield from query_one("connection_locked", connection_id=connection_id)
        row = yield from query_one("parked", connection_id=connection_id, now=tx.wall)
    begun = None if row is None else (yield from query_one("authorization", id=row["authorization_id"]))
    if begun is None or not _is_beginners(caller, begun):
        yield from must_be_allowed(tx, caller, connection_id, reference)
    if row is None or connection is None or (begun is None and row["authorization_id"] is not None):
        return None  # in the last case its day is over as well: the challenge that it waits for is deleted
    if not is_genuine(tx, "grants", row):
        raise altered(connection_id)
    if is_sending(row, tx):
        raise RefreshPending(connection_id=connection_id)
    waits = _proven(begun, reference, challenge)  # where it belongs is decided once its properties are named
    home = None if waits else (yield from _home(tx, row, reference, caller))
    if home is None:
        yield from _claim_here(tx, row, reference)
        if reference is not None and not waits:  # its first reference, as for a new connection
            yield from set_reference(tx, connection, reference, 1)
        return connection_id
    leaving = Leaving(f"claimed for {home}", tx.acting.name)
    yield from move_tokens(tx, row, json.loads(row["property_ids"]), home, grant_id, leaving, tx.sealer)
    yield from refer(tx, home, reference, trusted=True, by=tx.acting.name)
    return home


def _claim_here(tx: Tx, row: Row, reference: str | None) -> Transaction[None]:
    claimed = move(State(row["state"]), LifecycleEvent.CLAIMED)
    state = claimed if row["marked_at"] is None else State.REAUTHORIZATION_REQUIRED
    yield from set_role(tx, row, Role.CANDIDATE, state)
    yield from set_due(row, tx, role=Role.CANDIDATE)
    yield from add_event(tx, row, LifecycleEvent.CLAIMED, actor=tx.acting.name, reference=reference)


def _is_beginners(caller: Caller | None, begun: Row) -> bool:
    """Whether this caller may have begun the approval, which waits for its secret."""
    known = begun["reference"] if begun["trusted"] else None
    expected = ids_of(begun["expected_properties"])
    return caller is not None and may_connect(caller, Scope.CONNECT, known, expected)


def _home(tx: Tx, row: Row, reference: str | None, caller: Caller | None) -> Transaction[str | None]:
    """The one connection of its app that covers one of its properties. The caller must be allowed to change that one as
    well: claiming an approval must not take over the hotel of another tenant.
    """
    property_ids = json.loads(row["property_ids"])
    if not property_ids and caller is not None and not caller.for_all:
        raise Forbidden(
            "Cloudbeds did not say yet which hotel this is, so it may be one that this credential is not for",
            next_step="claim it with a credential for all hotels",
        )
    home = yield from covering(tx, row["app"], property_ids)
    if home is not None:
        yield from must_be_allowed(tx, caller, home, reference)
    return home


def _proven(begun: Row | None, reference: str | None, challenge: str | None) -> bool:
    """Whether the approval was begun here and waited for its secret (RFC 7636), which has now come."""
    if begun is None:
        return False
    if begun["challenge"] != challenge:
        raise StateMismatch(
            "this approval was begun with a code challenge, and is claimed with its code verifier",
            next_step="the program that began it claims it",
        )
    if reference not in {None, begun["reference"]}:
        raise InvalidRequest("this approval was begun for another reference", next_step="claim it without one")
    return True


def move_tokens(
    tx: Tx, row: Row, property_ids: Iterable[str], home: str, grant_id: str, leaving: Leaving, sealer: Sealer
) -> Transaction[None]:
    """Make the tokens of a grant, with those that are kept until a proof (rule-2), a candidate of the connection
    `home`. They are sealed again, because a seal names the place. The grant that they leave keeps none, and takes no
    late pair: its fence moves.

    If a hotel pasted a key there after it approved, the key stays in use and the tokens are superseded, unless they are
    claimed.
    """
    grant = grant_of(row, (yield from query("tokens", grant_id=row["id"])), tx)
    tokens = [one.value for one in grant.tokens]
    child = tokens.pop() if tokens else None
    pair = Pair(
        grant.access, child, grant.lifetime, tuple(property_ids), tuple(json.loads(row["scopes"])),
        CredentialKind(row["kind"]), grant.source,
    )  # fmt: skip
    ends = Ends(row["expires_at"], row["lifetime"], row["stale_at"])
    candidate = yield from add_grant(
        tx, home, grant_id, row["app"], pair, ends, sealer, kept=tokens, received_at=row["received_at"]
    )
    yield from carry_sendings(tx, grant, grant_id)
    yield from leave(tx, row, leaving.why)
    yield from add_event(
        tx, candidate, "candidate_received", actor=leaving.actor, expires_at=lasting(ends.expires_at),
        property_ids=list(pair.property_ids),
    )  # fmt: skip
    newer = yield from query_one("pasted_since", connection_id=home, at=row["received_at"])
    if newer is not None and leaving.actor == "hotel":
        yield from supersede(tx, {**candidate, "state": State.IN_DOUBT}, NEWER_KEY)


@transaction
def discard_parked(tx: Tx, grant_id: str) -> Transaction[bool]:
    """Delete an approval that was not claimed in time, with its connection. False: it no longer waits."""
    row = yield from query_one("grant_locked", grant_id=grant_id)
    if row is None or row["role"] != Role.PARKED:
        return False
    for each in (yield from query("grants_of", connection_id=row["connection_id"])):
        yield from query("drop_all_tokens", grant_id=each["id"])
        yield from query("delete_properties", grant_id=each["id"])
        yield from query("delete_grant", grant_id=each["id"])
    yield from query("delete_events", connection_id=row["connection_id"])
    yield from query("delete_connection", connection_id=row["connection_id"])
    return True
