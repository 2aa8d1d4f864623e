"""D (docs/rotation.md#invariants): what a power cut now would leave of the grants, opened with the real sealer.

On a disk it is read through a connection of its own, which sees what was synced and nothing else; with a hot journal
among it, from a copy, where the journal is rolled back, as the next start would do. In memory, where every COMMIT is
durable, it is read between two transactions. Nothing is read again at the same version of the disk, and a grant whose
rows did not change is the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw
from tests.simulation.disk import NAME, Blob, Disk, vfs

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.ports import Place
from cloudbeds_auth.transactions.rows import access_place, token_place

DATABASE = "vault.db"
JOURNAL = f"{DATABASE}-journal"
LOG = f"{DATABASE}-wal"

GRANTS = """SELECT id, connection_id, role, state, generation, access_sealed, intent_position, intent_epoch,
    lease_owner, lease_epoch, committed_epoch, refusals, reauth, first_reason, latched, ordinal, denied,
    mark_after, reprieves FROM grants
    ORDER BY connection_id, ordinal"""
TOKENS = "SELECT grant_id, position, generation, sealed FROM tokens ORDER BY grant_id, position"


@dataclass(frozen=True, slots=True)
class Stored:
    """One grant as it rests; `tokens` are (position, R), oldest first."""

    id: str
    connection_id: str
    role: str
    generation: int
    access: str
    tokens: tuple[tuple[int, str], ...]
    intent: int | None
    lease_owner: str | None
    lease_epoch: int
    committed_epoch: int | None
    refusals: int
    reauth: str | None
    reason: str | None
    latched: bool
    ordinal: int
    denied: int = 0
    mark_after: float | None = None
    reprieves: int = 0

    @property
    def values(self) -> tuple[str, ...]:
        """The refresh tokens, oldest first."""
        return tuple(value for _, value in self.tokens)


def connection_to(files: dict[str, bytes]) -> apsw.Connection:
    """A fresh connection to a copy of these files."""
    if not files.get(JOURNAL) and LOG not in files:
        connection = apsw.Connection(":memory:")
        connection.deserialize("main", files[DATABASE])
        return connection
    disk = Disk()
    disk.become(dict(files))
    return _opened(disk, "copy")  # one at a time: the next takes its place


class Synced:
    """A connection to what was synced of a database, for as long as nobody but SQLite changes it."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        disk = Disk()
        disk.files[DATABASE] = Blob(data=blob.synced)
        self.connection = _opened(disk, "synced")


class Rest:
    """Reads what rests on a disk, or behind a server's connection."""

    def __init__(self, disk: Disk, sealer: AesGcmSealer, server: apsw.Connection | None = None) -> None:
        self._disk = disk
        self._sealer = sealer
        self._server = server
        self._synced: Synced | None = None
        self._version = -1
        self._values: dict[tuple[bytes, Place], str] = {}
        self._known: dict[str, tuple[Any, Stored]] = {}
        self._grants: dict[str, Stored] = {}

    def grants(self) -> dict[str, Stored]:
        """Every grant that rests now, by id."""
        if self._version != self._disk.version:
            self._version = self._disk.version
            connection = self._server or self._undisturbed()
            self._grants = self._read(connection) if connection else self.read(self._disk.durable())
        return self._grants

    def plain(self) -> bytes:
        """What is in the files, for whoever reads them without the key (I9)."""
        if self._server:
            return self._server.serialize("main")
        return b"".join(bytes(blob.data) for blob in self._disk.files.values())

    def read(self, files: dict[str, bytes]) -> dict[str, Stored]:
        """Every grant in these files."""
        connection = connection_to(files)
        try:
            return self._read(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing is read any more."""
        if self._synced is not None:
            self._synced.connection.close()
            self._synced = None

    def _undisturbed(self) -> apsw.Connection | None:
        """The connection to what was synced; None where that has to be rolled back first, or is not all there."""
        blob, journal = self._disk.files[DATABASE], self._disk.files.get(JOURNAL)
        if LOG in self._disk.files or self._disk.removed or (journal is not None and journal.synced) or not blob.born:
            return None
        if self._synced is None or self._synced.blob is not blob:
            self.close()
            self._synced = Synced(blob)
        return self._synced.connection

    def _read(self, connection: apsw.Connection) -> dict[str, Stored]:
        tokens: dict[str, list[Any]] = {}
        for row in connection.execute(TOKENS):
            tokens.setdefault(row[0], []).append(row)
        found: dict[str, Stored] = {}
        for row in connection.execute(GRANTS):
            grant = row[0]
            rows = (row, tokens.get(grant))
            before = self._known.get(grant)
            if before is None or before[0] != rows:
                before = self._known[grant] = (rows, self._stored(row, tokens.get(grant, [])))
            found[grant] = before[1]
        return found

    def _stored(self, row: Any, tokens: list[Any]) -> Stored:
        grant, home, role, _, generation, sealed, intent, _, owner, epoch, committed, refusals, *marks = row
        reauth, reason, latched, ordinal, *brakes = marks
        access = "" if sealed is None else self._value(sealed, access_place(grant, generation))
        held = tuple(
            (position, self._value(token, token_place(grant, position, born))) for _, position, born, token in tokens
        )
        return Stored(
            grant, home, role, generation, access, held, intent, owner, epoch, committed, refusals, reauth,
            reason, bool(latched), ordinal, *brakes,
        )  # fmt: skip

    def _value(self, sealed: bytes, place: Place) -> str:
        found = self._values.get((sealed, place))
        if found is None:
            found = self._values[sealed, place] = self._sealer.open(sealed, place).reveal()
        return found


def _opened(disk: Disk, name: str) -> apsw.Connection:
    disk.attach(name)
    former, vfs().opener = vfs().opener, name
    try:
        connection = apsw.Connection(f"/{name}/{DATABASE}", vfs=NAME)
        return alone(connection) if LOG in disk.files else connection
    finally:
        vfs().opener = former


def alone(connection: apsw.Connection) -> apsw.Connection:
    """It has the file to itself, and needs no shared memory for a write-ahead log."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    return connection
