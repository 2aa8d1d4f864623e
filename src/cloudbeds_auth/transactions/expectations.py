"""The transactions that compare an approval's properties with the expected ones, once Cloudbeds has named them.

Until then the grant is alone in a connection without a reference (`add_candidate`). An approval for another hotel is
set aside, not dropped: its tokens may be the only living ones of that hotel. They are kept alive like those of an idle
hotel until they are claimed or deleted, or the hotel approves again: only its newest approval stays set aside, in
whatever order approvals are settled; one that Cloudbeds refuses ends no older one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from cloudbeds_auth.rules.lifecycle import PROPERTY_MISMATCH, LifecycleEvent, State, move
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.properties import fits
from cloudbeds_auth.transactions.authorizations import Authorization, authorization_of, ids_of, link_is_used
from cloudbeds_auth.transactions.candidates import take_effect
from cloudbeds_auth.transactions.homes import add_connection, covering
from cloudbeds_auth.transactions.leaving import end_set_aside, leave, newer_set_aside
from cloudbeds_auth.transactions.marketplace import Leaving, move_tokens
from cloudbeds_auth.transactions.reconnect import candidate_locked, name_properties
from cloudbeds_auth.transactions.roles import set_role
from cloudbeds_auth.transactions.rows import add_event, is_sending, listed
from cloudbeds_auth.transactions.statements import Row, Transaction, Tx, query, query_one, transaction
from cloudbeds_auth.transactions.upkeep import never_due, set_due


class Spare(NamedTuple):
    """Ids for what a move of the tokens creates: a grant, and a connection if no existing one takes them."""

    grant_id: str
    connection_id: str


class Settlement(NamedTuple):
    """Where the tokens are now. `turned_down`: the approval, if it was set aside instead of taking effect."""

    grant_id: str
    connection_id: str
    turned_down: Authorization | None = None


@transaction
def settle_approval(
    tx: Tx, grant_id: str, generation: int, named: Sequence[str], spare: Spare
) -> Transaction[Settlement | None]:
    """Compare the properties that Cloudbeds named for a candidate with those expected of its approval.

    If they fit, the tokens move to the connection that was asked for, else to the one that covers them, else they stay
    in their own; the link is used, and the reference set. If they do not fit, or another approval used the link
    meanwhile, the approval is set aside as by `set_aside`. None, and nothing changes: the grant is no longer a
    candidate, has another generation, or its refresh is not settled yet.
    """
    row = yield from _still(tx, grant_id, generation)
    if row is None:
        return None
    begun = yield from query_one("authorization", id=row["authorization_id"])
    if begun is None:  # another process settled it
        return Settlement(grant_id, row["connection_id"])
    yield from query("await_names", grant_id=grant_id, id=None)
    if not fits(ids_of(begun["expected_properties"]), named) or (yield from link_is_used(begun)):
        yield from query("set_found", id=begun["id"], connection_id=None, found=listed(named))
        placed = yield from _put_aside(tx, row, named, spare, ids_of(begun["expected_properties"]))
        turned_down = replace(authorization_of(begun), earlier=None, found=tuple(named))
        return placed._replace(turned_down=turned_down)
    placed = yield from _put_where_it_belongs(tx, row, named, spare, begun["connection_id"])
    yield from take_effect(tx, begun, placed.connection_id, named)
    return placed


@transaction
def set_aside(
    tx: Tx, grant_id: str, generation: int, named: Sequence[str], spare: Spare, expected: Sequence[str]
) -> Transaction[Settlement | None]:
    """Set aside a candidate of another hotel than the expected one: it becomes a candidate of the one connection of its
    app that covers a `named` property; if there is none, it waits to be claimed in a connection of its own. No
    reference changes. None, and nothing changes: as for `settle_approval`.
    """
    row = yield from _still(tx, grant_id, generation)
    return None if row is None else (yield from _put_aside(tx, row, named, spare, expected))


def _still(tx: Tx, grant_id: str, generation: int) -> Transaction[Row | None]:
    """Lock the candidate's row; None if the candidate may not move now."""
    row = yield from candidate_locked(tx, grant_id, generation)
    return None if row is None or is_sending(row, tx) else row


def _put_where_it_belongs(
    tx: Tx, row: Row, named: Sequence[str], spare: Spare, asked_for: str | None
) -> Transaction[Settlement]:
    asked = yield from query_one("asked_for", connection_id=asked_for)
    home: str | None = asked["id"] if asked else (yield from covering(tx, row["app"], named))
    if home is None or home == row["connection_id"]:
        yield from name_properties(tx, row, named)
        return Settlement(row["id"], row["connection_id"])
    return (yield from _move(tx, row, named, home, spare.grant_id))


def _put_aside(
    tx: Tx, row: Row, named: Sequence[str], spare: Spare, expected: Sequence[str]
) -> Transaction[Settlement]:
    home = yield from covering(tx, row["app"], named)
    placed = Settlement(row["id"], row["connection_id"])
    if home is not None:
        placed = yield from _move(tx, row, named, home, spare.grant_id)
    elif not (yield from _is_alone(row)):
        yield from add_connection(tx, spare.connection_id, row["app"], None, trusted=False)
        placed = yield from _move(tx, row, named, spare.connection_id, spare.grant_id)
    else:
        yield from name_properties(tx, row, named)
    about = yield from query_one("grant", grant_id=placed.grant_id)
    assert about is not None  # noqa: S101 - it exists, or was just created
    yield from add_event(tx, about, PROPERTY_MISMATCH, expected=list(expected), found=list(named))
    if home is None:
        yield from _let_newest_wait(tx, about, named)
    return placed


def _let_newest_wait(tx: Tx, row: Row, named: Sequence[str]) -> Transaction[None]:
    """Have the approval wait to be claimed in the place of those that came before it; if a newer one waits already,
    because this one was settled late, and Cloudbeds does not refuse it, it is this one that ends.
    """
    newer = yield from newer_set_aside(tx, row["app"], named, row["connection_id"], row["received_at"])
    if newer is not None:
        yield from leave(tx, row, f"replaced by {newer}")
        return
    yield from set_role(tx, row, Role.SET_ASIDE, move(State(row["state"]), LifecycleEvent.SET_ASIDE))
    yield from set_due(row, tx, role=Role.SET_ASIDE)
    yield from end_set_aside(tx, row["app"], named, row["connection_id"], row["received_at"])


def _move(tx: Tx, row: Row, named: Sequence[str], home: str, grant_id: str) -> Transaction[Settlement]:
    """Move the tokens to `home`. A connection that was created for them alone shows for a day where they went, and is
    then deleted.
    """
    leaving = Leaving(f"moved to {home}", "hotel")
    yield from move_tokens(tx, row, named, home, grant_id, leaving, tx.sealer)
    if not (yield from _is_alone(row)):
        yield from set_role(tx, row, Role.SUPERSEDED, State.SUPERSEDED)
        yield from query("set_ended", grant_id=row["id"], now=tx.wall)
        yield from never_due(row["id"])
    return Settlement(grant_id, home)


def _is_alone(row: Row) -> Transaction[bool]:
    """Whether the grant is the only one of its connection."""
    return len((yield from query("grants_of", connection_id=row["connection_id"]))) == 1
