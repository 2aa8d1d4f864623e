"""The transactions that verify stored rows (`rules.authentic`), and accept them as they are for an operator."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloudbeds_auth.rules.authentic import Chain, Verification
from cloudbeds_auth.rules.lifecycle import ACCEPTED
from cloudbeds_auth.rules.model import Event, Role
from cloudbeds_auth.transactions.authentic import is_genuine, is_linked, read_chains, take_as_it_is
from cloudbeds_auth.transactions.rows import add_event, event_of, properties_in
from cloudbeds_auth.transactions.statements import Row, Rows, Transaction, Tx, as_keys, query, query_one, transaction

EVENTS_AT_ONCE = 1_000
BEYOND = "z"  # sorts after every id in any collation
CHAIN = "what its history says is not all that happened, or not so"


def all_events(connection_id: str) -> Transaction[Rows]:
    """The whole history without counted calls, oldest first."""
    found: list[Row] = []
    while True:
        last = found[-1]["sequence"] if found else 0
        page = yield from query("events_behind", connection_id=connection_id, sequence=last, limit=EVENTS_AT_ONCE)
        found += page
        if len(page) < EVENTS_AT_ONCE:
            return found


@dataclass(frozen=True, slots=True)
class VerifiedHistory:
    """Events, oldest first, each with whether it is as it was written (None: it is from before there were MACs), and
    what is wrong with the history as a whole, as sentences for people.
    """

    events: Sequence[tuple[Event, bool | None]]
    problems: Sequence[str]


@transaction
def verify_history(tx: Tx, connection_id: str) -> Transaction[VerifiedHistory]:
    """A connection's history without counted calls, which have no MAC."""
    events = yield from all_events(connection_id)
    verification = yield from _begun(tx, connection_id)
    read = [(event_of(event, ""), verification.verify(event)) for event in events]
    verification.end()
    return VerifiedHistory(read, verification.problems)


def _begun(tx: Tx, connection_id: str) -> Transaction[Verification]:
    chains = yield from read_chains([connection_id])
    return Verification(tx.mac_key, connection_id, chains.get(connection_id, Chain()))


@dataclass(frozen=True, slots=True)
class AlteredRows:
    """What was altered in some rows, as sentences for people; `last`: the id of the last row, None if there are no
    more.
    """

    problems: Sequence[str]
    last: str | None


@transaction
def verify_connections(
    tx: Tx, before: str | None = None, *, limit: int, histories: bool = True
) -> Transaction[AlteredRows]:
    """Verify the next connections before this id, newest first: their links, and their `histories`."""
    rows = yield from query("page", cursor=before or BEYOND, limit=limit)
    ids = [row["id"] for row in rows]
    current = yield from query("current", connection_ids=as_keys(ids))
    linked = {row["c_id"]: is_linked(tx, row) for row in current}
    grants = yield from query("grants_of_all", connection_ids=as_keys(ids))
    misplaced = yield from _misplaced(ids, grants)
    problems, of_each = list[str](), defaultdict[str, list[Row]](list)
    for row in grants:
        of_each[row["connection_id"]].append(row)
    for connection_id in ids:
        problems += _of_one(tx, connection_id, linked[connection_id], of_each[connection_id], misplaced)
        if histories:
            history = yield from verify_history(connection_id)(tx)
            problems += [f"{connection_id}: {one}: {CHAIN}" for one in history.problems]
    return AlteredRows(problems, ids[-1] if len(ids) == limit else None)


def _of_one(
    tx: Tx, connection_id: str, linked: bool, grants: Rows, misplaced: Mapping[str, Mapping[str, bool]]
) -> Iterator[str]:
    wrong = [row["id"] for row in grants if not is_genuine(tx, "grants", row)]
    if not linked:
        yield f"{connection_id}: what links it to its app, its reference or its grant was altered: it is refused"
    for grant_id in wrong:
        yield f"{connection_id}: its grant {grant_id} was altered, or moved here: nothing of it is sent"
    for row in grants:
        for property_id, is_there in misplaced.get(row["id"], {}).items():
            what = "leads to it, and its grant does not name it" if is_there else "does not lead to it any more"
            yield f"{connection_id}: the property {property_id} {what} (table `properties`)"


def _misplaced(connection_ids: Sequence[str], grants: Rows) -> Transaction[Mapping[str, Mapping[str, bool]]]:
    """By grant, the properties whose row in `properties` should not exist (True) or is missing (False)."""
    there: dict[str, set[str]] = {}
    for row in (yield from query("properties_of", connection_ids=as_keys(connection_ids))):
        there.setdefault(row["grant_id"], set()).add(row["property_id"])
    found: dict[str, dict[str, bool]] = {}
    for row in grants:
        named, mine = set(properties_in(row)), there.get(row["id"], set())
        lacking = named - mine if row["role"] == Role.ACTIVE else set()
        found[row["id"]] = dict.fromkeys(sorted(mine - named), True) | dict.fromkeys(sorted(lacking), False)
    return found


@transaction
def verify_keys(tx: Tx, before: str | None = None, *, limit: int) -> Transaction[AlteredRows]:
    """Verify the next keys for callers before this id, newest first; with the first ones, also unexpired sessions."""
    rows = yield from query("caller_keys", before=before or BEYOND, limit=limit)
    wrong = [row["id"] for row in rows if not is_genuine(tx, "caller_keys", row)]
    problems = [
        f"the key {one} for callers was altered: it opens nothing; revoke it, and make another" for one in wrong
    ]
    sessions = (yield from query("sessions_now", now=tx.wall, limit=limit)) if before is None else ()
    problems += [
        f"the session {one['id']} was altered, or begun by something else: it opens nothing; `cloudbeds-auth sign-in "
        "--end-all` deletes it"
        for one in sessions
        if not is_genuine(tx, "sessions", one)
    ]
    return AlteredRows(problems, rows[-1]["id"] if len(rows) == limit else None)


@transaction
def accept(tx: Tx, connection_id: str) -> Transaction[bool]:
    """Accept this connection and its grants as they are, because an operator has checked them. Its history is verified
    from here on, and has a line about it. The grants' roles decide which of them is in use, and the properties that a
    grant names which ones lead to it. False: the connection is unknown.
    """
    connection = yield from query_one("connection_locked", connection_id=connection_id)
    if connection is None:
        return False
    grants = yield from query("grants_of", connection_id=connection_id)
    yield from take_as_it_is(tx, "connections", [connection])
    yield from take_as_it_is(tx, "grants", grants)
    used = next((row["id"] for row in grants if row["role"] == Role.ACTIVE), connection["active_grant"])
    yield from query("set_pointer", connection_id=connection_id, grant_id=used)
    for grant_id, properties in (yield from _misplaced([connection_id], grants)).items():
        for property_id, is_there in properties.items():
            name = "drop_property" if is_there else "add_property"
            yield from query(name, grant_id=grant_id, property_id=property_id)
    about = {"connection_id": connection_id, "id": used, "generation": None}
    yield from add_event(tx, about, ACCEPTED, actor=tx.acting.name)
    return True
