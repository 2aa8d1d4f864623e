"""Whose database this is: the clone guard (rule-16, F74).

A copy of a database holds the same living tokens. Two installations that refresh them would kill each other's, so a
copy comes up read-only until an operator says that the original is gone (`cloudbeds-auth database adopt`). A SQLite
database is known by a mark file beside it, its inode, and one of device number and machine id: a disk that is attached
again under another number, or a machine that got a new id, is the same installation; where both changed, the file is a
copy. A PostgreSQL database is known by the server's system identifier and the database's name. Where that is not enough
(a disk image restored on purpose), the operator names it: CLOUDBEDS_AUTH_INSTANCE.

The table `meta` keeps `instance` (the name), `place` (`device:inode`, or the server's own name) and `machine`, which
databases from before lack. Device and machine are written anew whenever one of them changed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import write_private
from cloudbeds_auth.transactions.statements import Instant, Transaction, query, query_one

LONGEST_MARK = 200  # characters


@dataclass(frozen=True, slots=True)
class Identity:
    """What this installation is known by: its name, `device:inode` of the database file (or what a server is called),
    and the machine's id, empty where it is unknown. `named`: the operator vouches for the name, wherever the file is.
    """

    name: str
    place: str
    machine: str = ""
    named: bool = field(default=False, compare=False)

    def is_at(self, known: Identity) -> bool:
        """Whether a database that was known by that is still where it was: one of device and machine is the same."""
        same_inode = self.place.partition(":")[2] == known.place.partition(":")[2]
        return self.place == known.place or (same_inode and self.machine == known.machine != "")


def mark_file(database: Path) -> Path:
    """The file beside a SQLite database in which the installation's name is stored."""
    return database.with_name(f"{database.name}.instance")


def identify(database: Path, setting: str | None, fresh: str, machine: str) -> Identity:
    """This installation's identity: the setting's name, else the mark file's, which is made now if there is none.

    `fresh` is a name that was never used before, `machine` this machine's id (`os_files.machine_id`). The database file
    must be there. Raises ConfigurationError when the mark file can be neither read nor made.
    """
    status = database.stat()
    place = f"{status.st_dev}:{status.st_ino}"
    if setting is not None:
        return Identity(setting, place, machine, named=True)
    path = mark_file(database)
    try:
        # Of several processes that start together one makes the mark file, and all of them read it.
        with suppress(FileExistsError):
            write_private(path, f"{fresh}\n".encode("ascii"), exclusive=True)
        return Identity(path.read_text("ascii").strip()[:LONGEST_MARK], place, machine)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the mark file {path} can be neither read nor made: {error}",
            next_step="make it readable for this user, or set CLOUDBEDS_AUTH_INSTANCE",
        ) from None


def recognise(now: Instant, identity: Identity) -> Transaction[bool]:
    """Whether the database is this installation's own. One that belongs to no installation yet is claimed."""
    known = yield from _known()
    if known is None:
        yield from adopt(now, identity)
        return True
    if known.name != identity.name:
        return False
    if identity.is_at(known):
        # Where this machine's id is unknown (a container), the stored one is kept.
        found = replace(identity, machine=identity.machine or known.machine)
        if found != known:  # else nothing is written, and a full disk still starts
            yield from _note(found)
        return True
    if identity.named:
        yield from adopt(now, identity)  # restored or moved, and vouched for
    return identity.named


def is_own(now: Instant, identity: Identity) -> Transaction[bool]:
    """Whether the database is this installation's own, as `recognise` left it; changes nothing."""
    known = yield from _known()
    return known is None or (known.name == identity.name and identity.is_at(known))


def _known() -> Transaction[Identity | None]:
    """The installation that the database belonged to when it was last opened; None: to none yet."""
    owner = yield from query_one("meta", name="instance")
    place = yield from query_one("meta", name="place")
    machine = yield from query_one("meta", name="machine")
    if owner is None or place is None:
        return None
    return Identity(owner["value"], place["value"], "" if machine is None else machine["value"])


def adopt(now: Instant, identity: Identity) -> Transaction[None]:
    """The database is this installation's from now on, even if it was moved elsewhere."""
    yield from query("forget_meta", name="moved_to")
    yield from _note(identity)


def _note(identity: Identity) -> Transaction[None]:
    for name, value in (("instance", identity.name), ("place", identity.place), ("machine", identity.machine)):
        yield from query("set_meta", name=name, value=value)
