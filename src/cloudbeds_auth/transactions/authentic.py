"""Which rows have a MAC, and over which columns (`rules.authentic`): those that say what belongs to which hotel, and
what a key for callers may do.

A transaction that changes such a row gives it a new MAC if it was genuine before. A row that was altered behind the
service is never made genuine by a later change, only by an operator (`accept`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from cloudbeds_auth.errors import ClientRefused, ConfigurationError
from cloudbeds_auth.ports import Place, SealBroken, Sealer
from cloudbeds_auth.rules.authentic import DIGITS, Chain, MacKey
from cloudbeds_auth.rules.model import Role
from cloudbeds_auth.rules.presentation import LOOK
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.seals import FORMER, check_keys
from cloudbeds_auth.transactions.statements import (
    Row,
    Rows,
    Statement,
    Transaction,
    Tx,
    as_keys,
    query,
    query_one,
    transaction,
)

COVERED: Mapping[str, tuple[str, ...]] = {
    "connections": ("id", "app", "reference", "reference_trusted"),
    "grants": ("id", "connection_id", "app", "role", "kind", "property_ids", "issuer", "client_id"),
    "caller_keys": (
        "id", "name", "hash", "scopes", "reach", "read_only", "methods", "parent", "created_by", "created_at",
        "expires_at", "ended_at", "rate",
    ),
    "sign_in_codes": ("hash", "made_by", "expires_at"),
    "sessions": ("id", "hash", "how", "address", "created_at", "expires_at"),
}  # fmt: skip
"""The tables whose rows have a `mac`, and the columns that it covers. A connection's pointer needs none: the row of the
grant that it names says which connection it belongs to, and that it is the one in use.
"""

FROM_BEFORE = ("connections", "grants", "caller_keys")  # the tables that existed before there were MACs
HOMES = {"connections": "id", "grants": "connection_id"}
MAC_KEY = Place("meta", "mac_key", 0, 0)
AUTHENTICATED = Place("meta", "authenticated", 0, 0)
BEGUN, ALL = "some rows have no MAC yet", "every row has its MAC"  # … and a row without one is refused
AT_ONCE = 500  # rows of one batch


def mac_of(tx: Tx, table: str, row: Row) -> str:
    """The MAC of a row with these values in this table."""
    return tx.mac_key.mac(table, (row[column] for column in COVERED[table]))


def is_genuine(tx: Tx, table: str, row: Row) -> bool:
    """Whether the row is as this installation wrote it."""
    return tx.mac_key.fits(row["mac"], table, (row[column] for column in COVERED[table]))


def changed_mac(tx: Tx, table: str, row: Row, **changed: object) -> str | None:
    """The row's MAC once these columns are `changed`; a row that is not genuine keeps its own."""
    mac: str | None = mac_of(tx, table, {**row, **changed}) if is_genuine(tx, table, row) else row["mac"]
    return mac


def is_linked(tx: Tx, row: Row) -> bool:
    """Whether the connection and the grant of a row of `current` are as they were written, and belong together."""
    home = {"id": row["c_id"], "app": row["c_app"], "reference": row["reference"], "mac": row["c_mac"]}
    if not is_genuine(tx, "connections", {**home, "reference_trusted": row["reference_trusted"]}):
        return False
    if row["id"] is None:  # nothing of it is left
        return row["active_grant"] is None
    pointed = row["id"] == row["active_grant"]
    return (
        is_genuine(tx, "grants", row)
        and row["connection_id"] == row["c_id"]
        and (not pointed or row["role"] in {Role.ACTIVE, Role.DISCONNECTED})
    )


def altered(connection_id: str) -> ClientRefused:
    """The error for a connection of which a row was altered."""
    return ClientRefused(
        f"what links {connection_id} to its app, its tokens, its properties or its reference was altered behind this "
        "service: nothing of it is sent",
        connection_id=connection_id,
        next_step=LOOK,
    )


# --- the key, and rows from before


@transaction
def unlock(tx: Tx) -> Transaction[tuple[Sequence[str], MacKey | None, bool]]:
    """Open a database. Returns the ids of missing encryption keys; if there are none, the MAC key, created now if need
    be, and whether some rows have no MAC yet, as in a database of an earlier version.

    Raises ConfigurationError if the MAC key is gone or was altered.
    """
    yield from query("one_at_a_time", work="unlock")  # no two keys are made
    former = (yield from query_one("meta", name=FORMER)) is not None
    missing = yield from check_keys()(tx)
    if missing:
        return missing, None, False
    state = yield from _state(tx.sealer)
    row = yield from query_one("meta", name="mac_key")
    if row is not None:
        key = _opened_key(row, tx.sealer)
    elif state == ALL:
        raise ConfigurationError(
            "the key that authenticates this database's rows is gone: `mac_key` was deleted from its table `meta`",
            next_step="restore it from a backup; or accept every row as it is: `cloudbeds-auth database accept --all`",
        )
    else:
        key = yield from make_key(tx.sealer)
    if state is None:
        state = BEGUN if former else ALL
        yield from _set_state(tx.sealer, state)
    return (), key, state == BEGUN


def _state(sealer: Sealer) -> Transaction[str | None]:
    row = yield from query_one("meta", name="authenticated")
    return None if row is None else _opened(row, sealer, AUTHENTICATED).reveal()


def _set_state(sealer: Sealer, state: str) -> Transaction[None]:
    yield from query("set_meta", name="authenticated", value=sealer.seal(Secret(state), AUTHENTICATED).hex())


def make_key(sealer: Sealer) -> Transaction[MacKey]:
    """Create and store a new MAC key, which replaces any other."""
    secret = sealer.new_key()
    yield from query("set_meta", name="mac_key", value=sealer.seal(secret, MAC_KEY).hex())
    return MacKey(bytes.fromhex(secret.reveal()))


def read_key(sealer: Sealer) -> Transaction[MacKey | None]:
    """The MAC key; None if the database was never opened. Raises ConfigurationError if the key does not open."""
    row = yield from query_one("meta", name="mac_key")
    return None if row is None else _opened_key(row, sealer)


def _opened_key(row: Row, sealer: Sealer) -> MacKey:
    return MacKey(bytes.fromhex(_opened(row, sealer, MAC_KEY).reveal()))


def _opened(row: Row, sealer: Sealer, place: Place) -> Secret:
    try:
        return sealer.open(bytes.fromhex(row["value"]), place)
    except (SealBroken, ValueError):
        raise ConfigurationError(
            f"what authenticates this database's rows does not open: `{place.row}` in its table `meta` was altered, or "
            "is sealed with a key that is missing",
            next_step="restore it from a backup; or accept every row as it is: `cloudbeds-auth database accept --all`",
        ) from None


@transaction
def authenticate(tx: Tx, table: str, after: str, *, anew: bool = False) -> Transaction[str | None]:
    """Give a MAC to the next rows after this id that have none; `anew`: to all rows. Returns the last id; None: no more
    rows.
    """
    home = HOMES.get(table, "NULL")
    lacking = "true" if anew else "mac IS NULL"
    sql = f"SELECT id, {home} AS home FROM {table} WHERE {lacking} AND id > :after ORDER BY id LIMIT :limit"  # noqa: S608
    found = yield Statement(f"next_of_{table}", sql, {"after": after, "limit": AT_ONCE})
    homes = as_keys(row["home"] for row in found if row["home"] is not None)
    yield from query("connections_locked", connection_ids=homes)  # transactions that change a row wait
    sql = f"SELECT * FROM {table} WHERE id IN (SELECT key FROM json_each(:ids)) ORDER BY id"  # noqa: S608
    rows = yield Statement(f"rows_of_{table}", sql, {"ids": as_keys(row["id"] for row in found)})
    yield from take_as_it_is(tx, table, rows)
    return str(found[-1]["id"]) if len(found) == AT_ONCE else None


def take_as_it_is(tx: Tx, table: str, rows: Rows) -> Transaction[None]:
    """Make these rows genuine with the values that they have. Each key of the parameter is a MAC and an id."""
    macs = as_keys(f"{mac_of(tx, table, row)} {row['id']}" for row in rows)
    sql = (
        f"UPDATE {table} SET mac = substr(given.key, 1, {DIGITS}) FROM (SELECT key FROM json_each(:macs)) AS given "  # noqa: S608
        f"WHERE {table}.id = substr(given.key, {DIGITS + 2})"
    )
    yield Statement(f"authenticate_{table}", sql, {"macs": macs})
    if table == "connections":  # their histories have a chain from here on, after all events so far
        former = {row["id"]: Chain.parse(row["chain"]) for row in rows}
        newest = yield from query("last_sequences", connection_ids=as_keys(former))
        numbers = {row["id"]: max(row["sequence"] or 0, former[row["id"]].last) for row in newest}
        yield from set_chains({home: Chain.begun(tx.mac_key, home, last) for home, last in numbers.items()})


@transaction
def begin_anew(tx: Tx) -> Transaction[Sequence[str]]:
    """Treat the database as one of an earlier version, under its MAC key, or a new one if that does not open. Returns
    the ids of missing encryption keys; then nothing is changed, because the MAC key may open with them.
    """
    missing = yield from check_keys()(tx)
    if missing:
        return missing
    try:
        key = yield from read_key(tx.sealer)
    except ConfigurationError:
        key = None
    if key is None:
        yield from make_key(tx.sealer)
    yield from _set_state(tx.sealer, BEGUN)
    return ()


@transaction
def authenticated(tx: Tx) -> Transaction[None]:
    """Record that every row has its MAC: from now on, a row without one is refused."""
    yield from _set_state(tx.sealer, ALL)


# --- ends of histories


def read_chains(connection_ids: Iterable[str]) -> Transaction[dict[str, Chain]]:
    """The chains of connections that are locked."""
    rows = yield from query("chains", connection_ids=as_keys(connection_ids))
    return {row["id"]: Chain.parse(row["chain"]) for row in rows}


def set_chains(chains: Mapping[str, Chain]) -> Transaction[None]:
    """Store the chains of these connections."""
    rows = [{"id": connection_id, "chain": chain.text} for connection_id, chain in chains.items()]
    yield from query("set_chains", chains=json.dumps(rows))
