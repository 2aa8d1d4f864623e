"""Makes SQLite's commits survive a power cut: settings are made, read back, and refused if weaker (F12).

WAL with `synchronous=FULL` syncs on every commit. SQLite builds 3.7.0 to 3.51.2 carry a WAL-reset bug that several
processes can meet (fixed in 3.51.3); on such a build the rollback journal with `synchronous=EXTRA` is used instead.
`fullfsync` makes macOS really flush. `secure_delete` and `temp_store=MEMORY` keep old tokens out of free pages.
"""

from __future__ import annotations

import apsw

from cloudbeds_auth.errors import ConfigurationError

FIRST_SOUND_WAL = 3_051_003  # SQLite 3.51.3, in the form of SQLITE_VERSION_NUMBER
APPLICATION_ID = 0x0C10DBED  # identifies the file as ours, in its header
NORMAL, FULL, EXTRA = 1, 2, 3  # values of `synchronous`
MEMORY = 2  # a value of `temp_store`
MOST_SWITCHES = 100  # attempts, when several processes start together on a new database


def version_number() -> int:
    """The version of the SQLite in use, as one number: 3.51.3 is 3051003."""
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split(".")[:3])
    return major * 1_000_000 + minor * 1_000 + patch


def settle_pragmas(connection: apsw.Connection, *, version: int, synced: bool = True) -> None:
    """Make the connection durable and verify that it is; raises ConfigurationError, which names the setting.

    If not `synced`, a connection with a write-ahead log syncs at checkpoints only: its commits outlive every process,
    but a power cut may lose them, without harm to the commits of others.
    """
    journal, synchronous = ("wal", FULL if synced else NORMAL) if version >= FIRST_SOUND_WAL else ("delete", EXTRA)
    _switch_journal(connection, journal)
    _must_be(connection, "synchronous", synchronous)
    for setting in ("foreign_keys", "secure_delete", "fullfsync", "checkpoint_fullfsync"):
        _must_be(connection, setting, 1)
    _must_be(connection, "temp_store", MEMORY)


def claim_file(connection: apsw.Connection, path: str) -> None:
    """Write our application id into an empty database; refuse a database that belongs to another program.

    In one transaction: of several processes that start together, none sees the half-made database of another.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.execute("PRAGMA application_id").get
        tables = connection.execute("SELECT COUNT(*) FROM sqlite_schema").get
        if found == 0 and tables == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}").fetchall()
        elif found != APPLICATION_ID:
            raise ConfigurationError(
                f"{path} is an SQLite database, but not one of cloudbeds-auth",
                next_step="point CLOUDBEDS_AUTH_DATABASE_URL at a file of its own",
            )
    finally:
        connection.execute("COMMIT")


def _switch_journal(connection: apsw.Connection, journal: str) -> None:
    """Set the journal mode. SQLite never waits for a lock to do that, so wait for the write lock and try again."""
    for _ in range(MOST_SWITCHES):
        try:
            _must_be(connection, "journal_mode", journal)
        except apsw.BusyError:
            connection.execute("BEGIN IMMEDIATE")  # waits, for the busy timeout at most
            connection.execute("COMMIT")
        else:
            return
    _must_be(connection, "journal_mode", journal)


def _must_be(connection: apsw.Connection, setting: str, wanted: int | str) -> None:
    # Read each to its end: apsw executes a statement further only when the rows so far have been read.
    connection.execute(f"PRAGMA {setting} = {wanted}").fetchall()
    found = connection.execute(f"PRAGMA {setting}").get
    if found != wanted:
        raise ConfigurationError(
            f"SQLite's {setting} is {found!r} and would not be set to {wanted!r}: a power cut could lose a hotel",
            next_step="move the database to a local disk that this process may write (CLOUDBEDS_AUTH_DATABASE_URL)",
        )
