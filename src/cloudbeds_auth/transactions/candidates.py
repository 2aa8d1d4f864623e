"""The transactions of a new approval's grant: received as a candidate, promoted once proven, or dropped (rule-13)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from cloudbeds_auth.errors import StateMismatch
from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.lifecycle import (
    MOVED_TO_KEY,
    NEWER_APPROVAL,
    NEWER_KEY,
    PROPERTY_UNKNOWN,
    LifecycleEvent,
    State,
    move,
)
from cloudbeds_auth.rules.model import CredentialKind, Grant, Pair, Role, User
from cloudbeds_auth.rules.properties import PropertyChanges, fits, replaced
from cloudbeds_auth.rules.risks import NOT_RENEWABLE, OVER_WITH_APPROVAL
from cloudbeds_auth.rules.schedule import CANDIDATE, PARKED
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.webhooks import Standing
from cloudbeds_auth.transactions.authentic import changed_mac, mac_of
from cloudbeds_auth.transactions.authorizations import ids_of, link_is_used, written
from cloudbeds_auth.transactions.connections import note_changes, set_listing
from cloudbeds_auth.transactions.homes import add_connection, covered_by, covering, refer
from cloudbeds_auth.transactions.leaving import end_set_aside
from cloudbeds_auth.transactions.origins import bind, sourced
from cloudbeds_auth.transactions.outbox import announce, standing_of
from cloudbeds_auth.transactions.risks import change_risks
from cloudbeds_auth.transactions.roles import place, set_role, show
from cloudbeds_auth.transactions.rows import (
    access_place,
    add_event,
    grant_of,
    is_pasted,
    lasting,
    listed,
    locked,
    token_place,
)
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import never_due, set_comparison, set_due, set_due_at, set_due_in, set_poll


class Ends(NamedTuple):
    """When an access token expires and when it turns stale (unix seconds), and its whole lifetime (seconds)."""

    expires_at: float
    lifetime: float
    stale_at: float


@transaction
def add_candidate(
    tx: Tx,
    authorization_id: str,
    connection_id: str,
    grant_id: str,
    pair: Pair,
    *,
    stale_after: float,
    unproven: bool = False,
) -> Transaction[str]:
    """Store a new grant as a candidate, and return the id of its connection: the authorization's own; else the one
    connection of this app that covers one of its properties, according to its grant in use, or to its newest grant if
    none was ever proven; else `connection_id`, created now.

    If its properties are yet to be compared with those expected, or it is `unproven` (it waits for its secret), the
    grant is alone in `connection_id`, which has no reference, until that is settled (`settle_approval`). But if no
    property is named so far, and the approval is a reconnect, the grant waits in the connection of that hotel.
    """
    stored = yield from query_one("grant", grant_id=grant_id)
    if stored is not None:  # a commit whose answer was lost: it is here
        home: str = stored["connection_id"]
        return home
    begun = yield from query_one("authorization", id=authorization_id)
    if begun is None:  # it was spent, and swept a day later: the database was unavailable for so long
        raise StateMismatch("the authorization that began this approval was deleted")
    yield from query("one_at_a_time", work=f"approvals of {begun['app']}")
    if (yield from link_is_used(begun)):
        raise StateMismatch("this connect link was used in another browser a moment ago")
    parked = bool(begun["parked"]) or unproven  # never into a connection that holds other tokens
    expected = yield from _expected(tx, begun)
    waits, home = unproven or not fits(expected, pair.property_ids), connection_id
    again = begun["expected_properties"] is None and not pair.property_ids
    if parked or (waits and not again):
        yield from add_connection(tx, home, begun["app"], None, trusted=False)
    else:
        home = yield from _home(tx, begun, connection_id, pair)
    yield from _receive(tx, home, grant_id, begun["app"], pair, stale_after, parked=parked)
    if waits:
        yield from query("set_expected", id=authorization_id, connection_id=home, expected=written(expected))
        yield from query("await_names", grant_id=grant_id, id=authorization_id)
        yield from query("delete_properties", grant_id=grant_id)  # until then no property leads to it
    else:
        yield from take_effect(tx, begun, home, pair.property_ids)
    return home


def _expected(tx: Tx, begun: Row) -> Transaction[tuple[str, ...]]:
    """The properties of which the approval has to cover one: those named when it was begun, else those of the
    connection that it is for.
    """
    expected = ids_of(begun["expected_properties"])
    if expected:
        return expected
    return (yield from covered_by(tx, begun["connection_id"]))


def _receive(
    tx: Tx, home: str, grant_id: str, app: str, pair: Pair, stale_after: float, *, parked: bool
) -> Transaction[None]:
    """Store a grant that the hotel approved, and write the line of history about it."""
    ends = Ends(tx.wall + pair.lifetime, pair.lifetime, tx.wall + stale_after)
    row = yield from add_grant(tx, home, grant_id, app, pair, ends, tx.sealer)
    if parked:  # it waits to be claimed, for a day
        yield from set_role(tx, row, Role.PARKED, State.PARKED)
        yield from set_due_at(tx, grant_id, tx.wall + PARKED)
    yield from add_event(
        tx, row, "parked" if parked else "candidate_received", actor="hotel", expires_at=lasting(ends.expires_at),
        property_ids=list(pair.property_ids),
    )  # fmt: skip


def take_effect(tx: Tx, begun: Row, home: str, named: Iterable[str]) -> Transaction[None]:
    """The approval of these properties belongs to this connection: spend its link, and set its reference."""
    if begun["expected_properties"] is None:
        yield from query("set_outcome", id=begun["id"], connection_id=home)
    else:
        yield from query("set_found", id=begun["id"], connection_id=home, found=listed(named))
    if begun["link_hash"] is not None:
        yield from query("use_link", hash=begun["link_hash"], now=tx.wall)
    yield from refer(tx, home, begun["reference"], trusted=bool(begun["trusted"]), by=begun["made_by"])


def add_grant(
    tx: Tx,
    home: str,
    grant_id: str,
    app: str,
    pair: Pair,
    ends: Ends,
    sealer: Sealer,
    *,
    kept: Iterable[Secret] = (),
    received_at: float | None = None,
) -> Transaction[Row]:
    """Store a candidate of this connection, newer than all its grants; `kept`: older refresh tokens, oldest first.
    `received_at`: when the approval came in, if it was stored elsewhere before. Returns the part of its row that other
    transactions need.
    """
    yield from query("connection_locked", connection_id=home)
    former = (yield from query_one("last_ordinal", connection_id=home)) or {"ordinal": 0, "generation": 0}
    # Generations grow over the whole connection: a rejected one that a program names is never another grant's.
    ordinal, generation = former["ordinal"] + 1, former["generation"] + 1
    scopes = pair.scopes if pair.scopes is not None else ()
    link: dict[str, object] = {
        "id": grant_id, "connection_id": home, "app": app, "kind": pair.kind, "role": Role.CANDIDATE,
        "property_ids": listed(pair.property_ids), "issuer": pair.source.issuer, "client_id": pair.source.client_id,
    }  # fmt: skip
    mac = mac_of(tx, "grants", link)
    yield from query(
        "add_grant", ordinal=ordinal, generation=generation, state=State.IN_DOUBT,
        access_sealed=sealer.seal(pair.access, access_place(grant_id, generation)),
        expires_at=ends.expires_at, lifetime=ends.lifetime, stale_at=ends.stale_at,
        clock_id=tx.clock_id, scopes=listed(scopes), mac=mac,
        received_at=tx.wall if received_at is None else received_at, **link,
    )  # fmt: skip
    yield from bind(tx, app, pair.source.issuer)
    tokens = [*kept] if pair.refresh is None else [*kept, pair.refresh]
    for position, value in enumerate(tokens, 1):
        sealed = sealer.seal(value, token_place(grant_id, position, generation))
        yield from query("add_token", grant_id=grant_id, position=position, generation=generation, sealed=sealed)
    for property_id in pair.property_ids:
        yield from query("add_property", grant_id=grant_id, property_id=property_id)
    yield from set_due_at(tx, grant_id, tx.wall + CANDIDATE)
    yield from show(home)
    return {**link, "generation": generation, "mac": mac}


def _home(tx: Tx, begun: Row, connection_id: str, pair: Pair) -> Transaction[str]:
    """The connection of a new grant: the one that was asked for, else the one that covers its property, else a new
    one.
    """
    asked = yield from query_one("asked_for", connection_id=begun["connection_id"])
    home: str | None = asked["id"] if asked else None
    if home is None:
        home = yield from covering(tx, begun["app"], pair.property_ids)
    if home is None:
        home = connection_id
        yield from add_connection(tx, home, begun["app"], begun["reference"], trusted=bool(begun["trusted"]))
    return home


@transaction
def read_candidate(tx: Tx, connection_id: str) -> Transaction[Grant | None]:
    """The newest grant that waits to be proven, except those refused twice, which only upkeep tries again."""
    rows = yield from query("candidates", connection_id=connection_id)
    waiting = next((row for row in rows if row["marked_at"] is None), None)
    if waiting is None:
        return None
    tokens = yield from query("tokens", grant_id=waiting["id"])
    return grant_of((yield from sourced(waiting)), tokens, tx)


@transaction
def read_unproven(tx: Tx, connection_id: str, behind: str) -> Transaction[Sequence[tuple[str, int]]]:
    """Id and generation of each grant, except `behind`, that waits to be proven and can be refreshed."""
    rows = yield from query("candidates", connection_id=connection_id)
    return [
        (row["id"], row["generation"])
        for row in rows
        if row["id"] != behind and row["kind"] == CredentialKind.OAUTH and row["marked_at"] is None
    ]


@transaction
def promote(
    tx: Tx, connection_id: str, grant_id: str, generation: int, user: User | None, property_ids: tuple[str, ...]
) -> Transaction[PropertyChanges | None]:
    """The candidate's pair of this generation worked: make it the connection's grant, and supersede the old one.
    Returns which properties were added and dropped compared with the grant that was in use. None: a newer grant came
    first, or the candidate has a newer pair, which has to work itself. `property_ids`: those learnt besides the
    grant's own.
    """
    found = yield from query_one("grant", grant_id=grant_id)
    if found is not None:
        yield from query("one_at_a_time", work=f"approvals of {found['app']}")  # before any row, as everywhere
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    row = yield from locked(tx, grant_id)
    if connection is None or row is None:
        return None
    if row["role"] != Role.CANDIDATE:
        return (
            PropertyChanges(tuple(json.loads(row["property_ids"]))) if connection["active_grant"] == grant_id else None
        )
    if row["generation"] != generation:
        return None
    former = yield from query("grants_of", connection_id=connection_id)
    for other in former:
        if place(other, former) < place(row, former) and other["role"] in {Role.ACTIVE, Role.CANDIDATE}:
            yield from supersede(tx, other, _replaced(other, row))
    row = yield from _identify(tx, row, user, property_ids)
    yield from end_set_aside(tx, row["app"], json.loads(row["property_ids"]), connection_id, row["received_at"])
    state = move(State(row["state"]), LifecycleEvent.PROMOTED)
    yield from set_role(tx, row, Role.ACTIVE, state)
    yield from set_due(row, tx, role=Role.ACTIVE, marked_at=None)
    yield from set_poll(tx, grant_id)
    yield from set_comparison(tx, grant_id)
    yield from set_listing(tx, grant_id, learnt=bool(property_ids))
    yield from query(
        "move_pointer", connection_id=connection_id, grant_id=grant_id, sequence=connection["sequence"], now=tx.wall
    )
    yield from show(connection_id)
    yield from add_event(tx, row, LifecycleEvent.PROMOTED)
    yield from announce(tx, connection_id, standing_of(connection, former), Standing.CONNECTED)
    yield from _renewed(tx, row)
    in_use = next((one for one in former if one["id"] == connection["active_grant"]), None)
    return (yield from _changed(tx, row, in_use))


def _changed(tx: Tx, row: Row, former: Row | None) -> Transaction[PropertyChanges]:
    """What the grant in `row` covers compared with the `former` one; the history has a line about the difference."""
    covered = json.loads(row["property_ids"])
    change = replaced(covered if former is None else json.loads(former["property_ids"]), covered)
    yield from note_changes(tx, row, change)
    return change


def _renewed(tx: Tx, row: Row) -> Transaction[None]:
    """A new approval ends some risks, and is a risk itself if it came without a refresh token."""
    found: dict[str, str | None] = dict.fromkeys(OVER_WITH_APPROVAL)
    if row["kind"] == CredentialKind.OAUTH and not (yield from query("tokens", grant_id=row["id"])):
        found[NOT_RENEWABLE] = "Cloudbeds gave no refresh token"
    yield from change_risks(tx, {**row, "role": Role.ACTIVE, "reauth": None}, found)


def _replaced(former: Row, row: Row) -> str:
    """Why `former` is superseded by the grant in `row`."""
    if row["kind"] == CredentialKind.API_KEY and former["latched"] % 2:
        return MOVED_TO_KEY
    return NEWER_KEY if is_pasted(row) or row["exchanged_from"] is not None else NEWER_APPROVAL


def _identify(tx: Tx, row: Row, user: User | None, property_ids: tuple[str, ...]) -> Transaction[Row]:
    """Store who approved, and for which properties; returns the row with all of them."""
    every = dict.fromkeys((*json.loads(row["property_ids"]), *property_ids))
    known = listed(every)
    mac = changed_mac(tx, "grants", row, property_ids=known)
    for property_id in every:
        yield from query("add_property", grant_id=row["id"], property_id=property_id)
    identity = (user.id, user.name, user.email) if user else (None, None, None)
    yield from query(
        "set_identity",
        grant_id=row["id"],
        property_ids=known,
        mac=mac,
        **dict(zip(("user_id", "user_name", "user_email"), identity, strict=True)),
    )
    return {**row, "property_ids": known, "mac": mac}


def supersede(tx: Tx, row: Row, reason: str) -> Transaction[None]:
    """Take a grant out of use; its tokens stay, so that a late pair can still be stored."""
    state = move(State(row["state"]), LifecycleEvent.SUPERSEDED)
    yield from set_role(tx, row, Role.SUPERSEDED, state)
    yield from query("set_ended", grant_id=row["id"], now=tx.wall)
    yield from never_due(row["id"])
    yield from add_event(tx, row, LifecycleEvent.SUPERSEDED, reason=reason)


@transaction
def note_unnamed(
    tx: Tx, grant_id: str, generation: int, problem: str, said: Mapping[str, str], *, again_in: float | None
) -> Transaction[bool]:
    """It is unknown which property a candidate belongs to: show `problem`, and write a line of history. The candidate
    is due again in `again_in` seconds; None: its due moment stays.

    False: the problem is shown already, or the grant is not a candidate, or has a newer generation.
    """
    row = yield from locked(tx, grant_id)
    if row is None or row["role"] != Role.CANDIDATE or row["generation"] != generation:
        return False
    if again_in is not None:
        yield from set_due_in(row, tx, again_in)
    if row["problem"] == problem:
        return False
    yield from query("note_unnamed", grant_id=grant_id, problem=problem)
    yield from add_event(tx, row, PROPERTY_UNKNOWN, generation=generation, actor="vault", **said)
    return True


@transaction
def drop_candidate(tx: Tx, grant_id: str, reason: str) -> Transaction[None]:
    """Supersede a candidate that is of no use; the connection keeps the grant that it had."""
    row = yield from locked(tx, grant_id)
    if row is not None and row["role"] == Role.CANDIDATE:
        yield from supersede(tx, row, reason)
