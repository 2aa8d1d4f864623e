"""Whose database this is: the clone guard (rule 16, F74).

A copy of a database holds the same living tokens. Two installations that refresh them would kill each other's, so a
copy comes up read-only until somebody says that the original is gone (`cloudbeds-auth database adopt`). An installation
is known by two things that a copy does not have both of: a mark file beside the database, and the database file's own
inode; in PostgreSQL by the server's system identifier and the database's name. Where that is not enough (a disk image
restored on purpose), the operator names it: CLOUDBEDS_AUTH_INSTANCE.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.host import write_private
from cloudbeds_auth.store.sql.transactions import Instant, Transaction, query, query_one

LONGEST_MARK = 200  # characters


@dataclass(frozen=True, slots=True)
class Identity:
    """What this installation is known by. `named`: the operator vouches for the name, wherever the file lies."""

    name: str
    place: str
    named: bool = False


def mark_file(database: Path) -> Path:
    """Where an installation's name rests beside its SQLite database."""
    return database.with_name(f"{database.name}.instance")


def identify(database: Path, setting: str | None, fresh: str) -> Identity:
    """This installation's identity: the setting's name, else the mark file's, which is made now if there is none.

    `fresh` is a name that was never used before. The database file must be there. Raises ConfigurationError when the
    mark file can be neither read nor made.
    """
    status = database.stat()
    place = f"{status.st_dev}:{status.st_ino}"
    if setting is not None:
        return Identity(setting, place, named=True)
    path = mark_file(database)
    try:
        # Of several processes that start together one makes the mark, and all of them read it.
        with suppress(FileExistsError):
            write_private(path, f"{fresh}\n".encode("ascii"), exclusive=True)
        return Identity(path.read_text("ascii").strip()[:LONGEST_MARK], place)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the mark file {path} can be neither read nor made: {error}",
            next_step="make it readable for this user, or set CLOUDBEDS_AUTH_INSTANCE",
        ) from None


def identify_server(place: str, setting: str | None) -> Identity:
    """This installation's identity in a database server: `place` is the server's own name and the database's."""
    return Identity(setting or place, place, named=setting is not None)


def recognise(now: Instant, identity: Identity) -> Transaction[bool]:
    """Whether the database is this installation's own. One that belongs to nobody yet is claimed."""
    owner = yield from query_one("meta", name="instance")
    place = yield from query_one("meta", name="place")
    if owner is None or place is None:
        yield from adopt(now, identity)
        return True
    if owner["value"] != identity.name:
        return False
    if identity.named and place["value"] != identity.place:
        yield from adopt(now, identity)  # restored or moved, and vouched for
        return True
    return bool(place["value"] == identity.place)


def adopt(now: Instant, identity: Identity) -> Transaction[None]:
    """The database is this installation's from now on, whatever was being done to it."""
    yield from query("unlatch_all")
    yield from query("forget_meta", name="moved_to")
    yield from query("set_meta", name="instance", value=identity.name)
    yield from query("set_meta", name="place", value=identity.place)
