"""D of ROTATION section 4: what a power cut now would leave of the grants, opened with the real sealer.

On a disk it is read through a connection of its own from a copy of what was synced; a hot journal among it is rolled
back, as the next start would do. In memory, where every COMMIT is durable, it is read between two transactions. Cached
while nothing is committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw
from tests.simulation.disk import NAME, Disk, vfs

from cloudbeds_auth.store.sealing import AesGcmSealer
from cloudbeds_auth.store.sql.rows import access_place, token_place

DATABASE = "vault.db"
JOURNAL = f"{DATABASE}-journal"

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
    if not files.get(JOURNAL):
        connection = apsw.Connection(":memory:")
        connection.deserialize("main", files[DATABASE])
        return connection
    disk, name = Disk(), "copy"  # one at a time: the next takes its place
    disk.become(dict(files))
    disk.attach(name)
    vfs().opener = name
    return apsw.Connection(f"/{name}/{DATABASE}", vfs=NAME)


class Rest:
    """Reads what rests on a disk, or behind a server's connection."""

    def __init__(self, disk: Disk, sealer: AesGcmSealer, server: apsw.Connection | None = None) -> None:
        self._disk = disk
        self._sealer = sealer
        self._server = server
        self._opened: dict[bytes, str] = {}
        self._version = -1
        self._grants: dict[str, Stored] = {}

    def grants(self) -> dict[str, Stored]:
        """Every grant that rests now, by id."""
        if self._version != self._disk.version:
            self._version = self._disk.version
            self._grants = self._read(self._server) if self._server else self.read(self._disk.durable())
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

    def _read(self, connection: apsw.Connection) -> dict[str, Stored]:
        tokens: dict[str, list[tuple[int, str]]] = {}
        for grant_id, position, generation, sealed in connection.execute(TOKENS):
            value = self._value(sealed, token_place(grant_id, position, generation))
            tokens.setdefault(grant_id, []).append((position, value))
        return {row[0]: self._stored(row, tokens.get(row[0], [])) for row in connection.execute(GRANTS)}

    def _stored(self, row: Any, tokens: list[tuple[int, str]]) -> Stored:
        grant, home, role, _, generation, sealed, intent, _, owner, epoch, committed, refusals, *marks = row
        reauth, reason, latched, ordinal, *brakes = marks
        access = "" if sealed is None else self._value(sealed, access_place(grant, generation))
        return Stored(
            grant, home, role, generation, access, tuple(tokens), intent, owner, epoch, committed, refusals, reauth,
            reason, bool(latched), ordinal, *brakes,
        )  # fmt: skip

    def _value(self, sealed: bytes, place: Any) -> str:
        key = bytes(sealed) + repr(place).encode()
        found = self._opened.get(key)
        if found is None:
            found = self._opened[key] = self._sealer.open(bytes(sealed), place).reveal()
        return found
