"""The transactions of a reconnect: the approval moves to the hotel's connection once the vendor has named the hotel."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.lifecycle import NEWER_APPROVAL
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.transactions.authentic import changed_mac
from cloudbeds_auth.transactions.candidates import supersede
from cloudbeds_auth.transactions.homes import covered_by, covering, refer
from cloudbeds_auth.transactions.marketplace import Leaving, move_tokens
from cloudbeds_auth.transactions.rows import is_sending, listed, locked
from cloudbeds_auth.transactions.statements import Row, Rows, Transaction, Tx, query, query_one, transaction


@transaction
def bring_home(
    tx: Tx, grant_id: str, generation: int, named: tuple[str, ...], new_grant_id: str
) -> Transaction[str | None]:
    """The vendor named these properties of a candidate that works: return the id of the connection that it belongs to.

    That is its own, if it was ever connected. Else it is the one connection of its app that covers one of them: the
    newest tokens become a candidate there, as a grant named `new_grant_id`, with the reference that they came with. The
    former row shows for a day where the tokens went, as after a claim, and an authorization that led to its own
    connection now leads to the other one. Else it is its own, which now covers what was named, so that the next
    approval or import finds it.

    None, and nothing changes: the grant is no longer a candidate, has another generation, or is not the newest; or it
    would move, and its refresh is under way or not settled yet.
    """
    row = yield from candidate_locked(tx, grant_id, generation)
    if row is None:
        return None
    grants = yield from query("grants_of", connection_id=row["connection_id"])
    if grants[-1]["id"] != row["id"] and grants[-1]["role"] == Role.CANDIDATE:
        return None
    own: str = row["connection_id"]
    connection = yield from query_one("connection_row", connection_id=own)
    if connection is None or connection["connected_at"] is not None:
        return own
    home = None if grants[-1]["id"] != row["id"] else (yield from covering(tx, row["app"], named))
    if home is None or home == own:
        yield from name_properties(tx, row, named)
        return own
    if is_sending(row, tx):
        return None
    yield from _leave(tx, grants, home, named, new_grant_id, tx.sealer)
    begun = yield from query_one("led_to", connection_id=own)
    by = None if begun is None else begun["made_by"]
    yield from refer(tx, home, connection["reference"], trusted=bool(connection["reference_trusted"]), by=by)
    yield from query("move_outcomes", former=own, connection_id=home)
    return home


def candidate_locked(tx: Tx, grant_id: str, generation: int) -> Transaction[Row | None]:
    """Lock the candidate's row, and keep out other approvals of its app. None: the grant is no longer a candidate, or
    has another generation.
    """
    found = yield from query_one("grant", grant_id=grant_id)
    if found is None:
        return None
    yield from query("one_at_a_time", work=f"approvals of {found['app']}")
    row = yield from locked(tx, grant_id)
    return row if row is not None and (row["role"], row["generation"]) == (Role.CANDIDATE, generation) else None


def name_properties(tx: Tx, row: Row, named: Sequence[str]) -> Transaction[None]:
    """Add these properties to those that the grant covers."""
    for property_id in named:
        yield from query("add_property", grant_id=row["id"], property_id=property_id)
    known = listed(dict.fromkeys((*json.loads(row["property_ids"]), *named)))
    mac = changed_mac(tx, "grants", row, property_ids=known)
    yield from query(
        "set_properties", grant_id=row["id"], property_ids=known, elsewhere=row["named_elsewhere"], mac=mac
    )


def _leave(
    tx: Tx, grants: Rows, home: str, named: tuple[str, ...], new_grant_id: str, sealer: Sealer
) -> Transaction[None]:
    """Move the tokens of the newest grant; candidates that were approved before it are superseded."""
    for older in grants[:-1]:
        if older["role"] == Role.CANDIDATE:
            yield from supersede(tx, older, NEWER_APPROVAL)
    leaving = Leaving(f"moved to {home}", "hotel")
    yield from move_tokens(tx, grants[-1], named, home, new_grant_id, leaving, sealer)


@transaction
def read_covered(tx: Tx, connection_id: str | None) -> Transaction[tuple[str, ...]]:
    """The properties of the grant that was last in use there, even after a disconnect; empty: none ever was."""
    return (yield from covered_by(tx, connection_id))
