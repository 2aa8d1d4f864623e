"""The clone guard: which installation a database belongs to (rule-16, F74).

A copy of a database holds the same living tokens. Two installations that refresh them would kill each other's, so a
copy opens read-only until an operator declares that the original is gone (`cloudbeds-auth database adopt`). A SQLite
database is recognized by a mark file beside it, its inode, and either its device number or the machine id: a disk that
is attached again under another number, or a machine with a new id, is the same installation; if both changed, the file
is a copy. A PostgreSQL database is recognized by the server's system identifier and the database's name. If that is not
enough (a disk image restored on purpose), the operator names the installation: CLOUDBEDS_AUTH_INSTANCE.

An older copy that is written over the file in place has the same inode and mark. So database and mark file also hold a
count, and the mark file's is never ahead: a database whose count is behind its mark file's is an older one (F111).

The table `meta` holds `instance` (the name), `place` (`device:inode`, or the server's own name), `machine` and `count`;
databases of earlier versions may lack the last two. Device and machine are written anew whenever one of them changed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.os_files import write_private
from cloudbeds_auth.transactions.statements import Body, Instant, Transaction, query, query_one

T = TypeVar("T")

LONGEST_MARK = 200  # characters
COUNTED_EVERY = 60.0  # seconds, while something is written


@dataclass(frozen=True, slots=True)
class Identity:
    """How this installation is recognized: its name, `device:inode` of the database file (or the server's own name),
    and the machine's id, empty if unknown. `named`: the operator vouches for the name, wherever the file is. `count`:
    that of the mark file, or of the database.
    """

    name: str
    place: str
    machine: str = ""
    named: bool = field(default=False, compare=False)
    count: int = field(default=0, compare=False)

    def is_at(self, known: Identity) -> bool:
        """Whether the database `known` is still where it was: inode and either device or machine are the same."""
        same_inode = self.place.partition(":")[2] == known.place.partition(":")[2]
        return self.place == known.place or (same_inode and self.machine == known.machine != "")

    def owns(self, known: Identity) -> bool:
        """Whether the database `known` is this installation's: still where it was, and no older than its mark file."""
        return self.name == known.name and self.is_at(known) and (self.named or self.count <= known.count)


def mark_file(database: Path) -> Path:
    """The file beside a SQLite database in which the installation's name is stored."""
    return database.with_name(f"{database.name}.instance")


def identify(database: Path, setting: str | None, fresh: str, machine: str) -> Identity:
    """This installation's identity: the name in the setting, else in the mark file, which is created if missing.

    `fresh` is a name that was never used before, `machine` this machine's id (`os_files.machine_id`). The database file
    must exist. Raises ConfigurationError when the mark file can be neither read nor created.
    """
    status = database.stat()
    place = f"{status.st_dev}:{status.st_ino}"
    if setting is not None:
        return Identity(setting, place, machine, named=True)
    path = mark_file(database)
    try:
        # Of several processes that start together one makes the mark file, and all of them read it.
        with suppress(FileExistsError):
            write_private(path, f"{fresh}\n".encode("ascii"), exclusive=True, beside=database)
        name, count = read_mark(path)
        return Identity(name, place, machine, count=count)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the mark file {path} can be neither read nor made: {error}",
            next_step="make it readable for this user, or set CLOUDBEDS_AUTH_INSTANCE",
        ) from None


def read_mark(path: Path) -> tuple[str, int]:
    """The name and the count in a mark file; a file of an earlier version has no count. Raises OSError, ValueError."""
    name, _, count = path.read_text("ascii").strip()[:LONGEST_MARK].partition("\n")
    return name, int(count or 0)


def recognise(now: Instant, identity: Identity) -> Transaction[bool]:
    """Whether the database is this installation's own. A database that belongs to none yet is claimed."""
    known = yield from _known()
    if known is None:
        yield from adopt(now, identity)
        return True
    if identity.owns(known):
        # Where this machine's id is unknown (a container), the stored one is kept.
        found = replace(identity, machine=identity.machine or known.machine)
        if found != known:  # else nothing is written: it also starts on a full disk
            yield from _note(found)
        return True
    if identity.named and identity.name == known.name:
        yield from adopt(now, identity)  # restored or moved, and vouched for
        return True
    return False


def is_own(now: Instant, identity: Identity) -> Transaction[bool]:
    """Whether the database is this installation's own, as `recognise` left it; changes nothing."""
    known = yield from _known()
    return known is None or identity.owns(known)


def _known() -> Transaction[Identity | None]:
    """The installation to which the database belonged when it was last opened; None if there was none yet."""
    owner = yield from query_one("meta", name="instance")
    place = yield from query_one("meta", name="place")
    machine = yield from query_one("meta", name="machine")
    if owner is None or place is None:
        return None
    known_machine = "" if machine is None else machine["value"]
    return Identity(owner["value"], place["value"], known_machine, count=(yield from _count()))


def _count() -> Transaction[int]:
    row = yield from query_one("meta", name="count")
    return 0 if row is None else int(row["value"])


def adopt(now: Instant, identity: Identity) -> Transaction[None]:
    """Make the database this installation's own, even if it was moved elsewhere, or is older than its mark file."""
    yield from query("forget_meta", name="moved_to")
    yield from _note(identity)
    if identity.count > (yield from _count()):
        yield from query("set_meta", name="count", value=str(identity.count))


def _note(identity: Identity) -> Transaction[None]:
    for name, value in (("instance", identity.name), ("place", identity.place), ("machine", identity.machine)):
        yield from query("set_meta", name=name, value=value)


class Counter:
    """Increments the count as part of a transaction that writes anyway, at most every `COUNTED_EVERY` seconds: in the
    database, and once that is committed and synced, in the mark file.

    So wherever the process ends, the file is behind its database or level with it, and a database that is behind its
    file is an older one. Nothing is counted while nothing is written: a copy made meanwhile is not older.
    """

    def __init__(self, database: Path, name: str, steady: Callable[[], float]) -> None:
        self._database = database
        self._mark = mark_file(database)
        self._name = name
        self._steady = steady
        self._due = steady()

    def is_due(self) -> bool:
        """Whether the next transaction should increment the count."""
        return self._steady() >= self._due

    def counted(self, body: Body[T]) -> Body[tuple[T, int]]:
        """The same transaction, with the count incremented; pass the count to `note` after the commit.

        Raises StoreUnavailable when the database is behind its mark file: it was replaced while it was open.
        """
        noted = 0
        with suppress(OSError, ValueError):
            _, noted = read_mark(self._mark)

        def counting(now: Instant) -> Transaction[tuple[T, int]]:
            result = yield from body(now)
            count = yield from _count()
            if count < noted:
                raise StoreUnavailable(
                    "the database was replaced by an older one while it was open",
                    next_step="restart: it is read-only then, until `cloudbeds-auth database adopt`",
                )
            yield from query("set_meta", name="count", value=str(count + 1))
            return result, count + 1

        return counting

    def note(self, count: int) -> None:
        """Write the count to the mark file; if that fails, a later count will be written."""
        self._due = self._steady() + COUNTED_EVERY
        with suppress(OSError):
            text = f"{self._name}\n{count}\n".encode("ascii")
            write_private(self._mark, text, exclusive=False, beside=self._database)
