"""Reads a whole database and checks that it is sound, that every sealed value opens with the configured keys, that
what is stored may be used with the settings, that every living grant can come back by itself (I15), that lists find
every connection, and that links, keys and histories are unaltered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from cloudbeds_auth.database import copy, key_files, opening, schema
from cloudbeds_auth.database.bulk import Progress
from cloudbeds_auth.database.sealed_values import IN_META
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.ports import Place, SealBroken, Sealer
from cloudbeds_auth.rules.inputs import LARGEST
from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.schedule import Reach, out_of_reach
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.transactions.apps import sealed_secrets
from cloudbeds_auth.transactions.grants import LATCHED
from cloudbeds_auth.transactions.origins import read_foreign
from cloudbeds_auth.transactions.rows import access_place, token_place
from cloudbeds_auth.transactions.runner import HISTORY_BEHIND, Database, Driver
from cloudbeds_auth.transactions.seals import MOST_SEALS, read_seals
from cloudbeds_auth.transactions.statements import (
    Instant,
    Row,
    Rows,
    Transaction,
    Tx,
    as_keys,
    query,
    query_one,
    transaction,
)
from cloudbeds_auth.transactions.verification import verify_connections, verify_keys

CHUNK = 500
VERIFIED = 50  # connections whose histories one transaction reads
BEHIND = "those of hotels that were moved here are not all copied: run `cloudbeds-auth database copy` again"


@dataclass
class Found:
    """The result of a scan; `problems` are sentences for people."""

    schema: int = 0
    apps: int = 0
    connections: int = 0
    grants: int = 0
    sealed_values: int = 0
    key_id: str = ""
    values: dict[str, int] = field(default_factory=dict)  # how many are stored and open, by key id
    seals: dict[str, int] = field(default_factory=dict)  # how many each key has sealed at most, by key id
    history_behind: bool = False  # hotels were moved here, and their histories are not all copied
    problems: list[str] = field(default_factory=list)

    def fields(self) -> list[tuple[str, str]]:
        """Labels and texts, for people."""
        return [
            ("schema", str(self.schema)), ("apps", str(self.apps)), ("connections", str(self.connections)),
            ("grants", str(self.grants)),
            ("sealed values", f"{self.sealed_values}, {len(self.problems)} problems"),
            *([("histories", BEHIND)] if self.history_behind else []),
            *(("key", self._key(key_id)) for key_id in sorted({*self.values, *self.seals})),
        ]  # fmt: skip

    def _key(self, key_id: str) -> str:
        first = "; it seals new values" if key_id == self.key_id else ""
        seals = f"sealed {self.seals.get(key_id, 0)} of at most {MOST_SEALS} values"
        return f"{key_id} {seals}, {self.values.get(key_id, 0)} are stored{first}"


async def scan(settings: Settings, progress: Progress) -> Found:
    """Read and check everything. Raises ConfigurationError when the database cannot be opened at all."""
    store = await opening.open_database(settings)  # checks the keys: a wrong one is one error, not one per row
    await store.close()
    sealer = AesGcmSealer(key_files.load_keys(settings, database_has_rows=True))
    driver, _ = await opening.open_driver(settings, bulk=True)
    found = Found(key_id=sealer.key_id)
    try:
        await _read(driver, sealer, found, progress)
        if (unfinished := await driver.read(lambda now: copy.unfinished())) is not None:
            found.problems.append(f"{unfinished.detail}: {unfinished.next_step}")
            return found
        database = Database(driver, sealer, opening.nobody_is_known_dead)
        found.seals = dict(await database.read(read_seals()))
        found.problems += await database.read(_foreign(settings))
        await _altered(database, found, progress)
    finally:
        await driver.close()
    return found


async def _altered(database: Database, found: Found, progress: Progress) -> None:
    before, read = None, 0
    while True:
        page = await database.read(verify_connections(before, limit=VERIFIED))
        found.problems += page.problems
        read += VERIFIED
        progress("histories", min(read, found.connections), found.connections)
        before = page.last
        if before is None:
            break
    while True:
        page = await database.read(verify_keys(before, limit=CHUNK))
        found.problems += page.problems
        before = page.last
        if before is None:
            break


async def _read(driver: Driver, sealer: Sealer, found: Found, progress: Progress) -> None:
    progress("the database itself", 0, 1)
    found.problems += await driver.read(_integrity)
    found.problems += await driver.read(_pointless)
    progress("the database itself", 1, 1)
    found.schema = await driver.read(schema.version)
    found.history_behind = bool(await driver.read(lambda now: query("meta", name=HISTORY_BEHIND)))
    counted = await driver.read(lambda now: query_one("count_all"))
    assert counted is not None  # noqa: S101 - a count has one row
    found.connections = counted["connections"]
    for app in await driver.read(lambda now: query("apps", after="", limit=LARGEST)):
        found.apps += 1
        for sealed, place in sealed_secrets(app):
            _try(sealed, place, f"a client secret of the app {app['name']}", sealer, found)
    for name, place in IN_META.items():
        row = await driver.read(lambda now, name=name: query_one("meta", name=name))  # type: ignore[misc]
        if row is not None:
            _try(bytes.fromhex(row["value"]), place, f"the value {name}", sealer, found)
    after, listed = "", 0
    while ids := await driver.read(lambda now, after=after: _ids(now, after)):  # type: ignore[misc]
        found.problems += await driver.read(partial(_wrongly_shown, ids=ids))
        after = ids[-1]
        listed += len(ids)
        progress("lists", listed, found.connections)
    after = ""
    while page := await driver.read(lambda now, after=after: _page(now, after)):  # type: ignore[misc]
        for grant, tokens, problem in page:
            _open(grant, tokens, sealer, found)
            found.problems += problem
        after = page[-1][0]["id"]
        progress("grants", found.grants, counted["grants"])


def _integrity(now: Instant) -> Transaction[list[str]]:
    rows = yield from query("integrity")
    return [row["problem"] for row in rows if row["problem"] != "ok"]


@transaction
def _foreign(tx: Tx, settings: Settings) -> Transaction[list[str]]:
    """What came from an origin or client id other than those of the settings (rules.origins)."""
    own = settings.app()
    found = yield from read_foreign(settings.base_url, {own.id: own.client_id or None})(tx)
    return [f"{one.what}: {one.next_step}" for one in found]


def _ids(now: Instant, after: str) -> Transaction[list[str]]:
    rows = yield from query("connections_after", after=after, limit=CHUNK)
    return [row["id"] for row in rows]


def _wrongly_shown(now: Instant, *, ids: Sequence[str]) -> Transaction[list[str]]:
    rows = yield from query("shown_wrongly", connection_ids=as_keys(ids))
    return [
        f"{row['connection_id']} is not in the lists where it belongs: a process of an earlier version changed it; "
        "its next change, or the daily listing of its properties, repairs that"
        for row in rows
    ]


def _page(now: Instant, after: str) -> Transaction[Sequence[tuple[Row, Rows, list[str]]]]:
    grants = yield from query("grants_after", after=after, limit=CHUNK)
    found = []
    for grant in grants:
        tokens = yield from query("tokens", grant_id=grant["id"])
        found.append((grant, tokens, _out_of_reach(grant, len(tokens), now.wall)))
    return found


def _out_of_reach(grant: Row, tokens: int, now: float) -> list[str]:
    why = out_of_reach(
        Reach(
            kind=CredentialKind(grant["kind"]),
            role=Role(grant["role"]),
            tokens=tokens,
            marked=grant["marked_at"] is not None,
            due_at=grant["due_at"],
            retry_at=grant["retry_at"],
            due_from=grant["due_from"],
            latched=grant["latched"] == LATCHED,
            moving=grant["migration"] is not None,
        ),
        now,
    )
    return [] if why is None else [f"{grant['connection_id']} does not come back by itself: {why}"]


def _pointless(now: Instant) -> Transaction[list[str]]:
    """Connections whose grants were all replaced; and how many hotels a copy to another database holds."""
    rows = yield from query("pointless")
    found = [f"{row['id']} does not come back by itself: it has no grant in use" for row in rows]
    held = yield from query_one("held_by_a_copy")
    if held is not None and held["hotels"]:
        found.append(
            f"{held['hotels']} hotels are not refreshed here: they were moved elsewhere, or `cloudbeds-auth database "
            "copy` was interrupted; use that database, or repeat it"
        )
    return found


def _open(grant: Row, tokens: Rows, sealer: Sealer, found: Found) -> None:
    found.grants += 1
    values = [(token["sealed"], token_place(grant["id"], token["position"], token["generation"])) for token in tokens]
    if grant["access_sealed"] is not None:
        values.append((grant["access_sealed"], access_place(grant["id"], grant["generation"])))
    for sealed, place in values:
        _try(sealed, place, f"a sealed value of {grant['connection_id']}", sealer, found)


def _try(sealed: bytes, place: Place, what: str, sealer: Sealer, found: Found) -> None:
    found.sealed_values += 1
    try:
        sealer.open(sealed, place)
        key_id = sealer.key_of(sealed)
        found.values[key_id] = found.values.get(key_id, 0) + 1
    except SealBroken:
        found.problems.append(f"{what} does not open ({place.table}, position {place.position})")
