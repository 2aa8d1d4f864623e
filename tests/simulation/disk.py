"""A disk in memory beneath SQLite: what was written, what was synced, and what a power cut would leave.

An apsw VFS written in Python. A Python VFS has no shared memory, so several processes cannot share SQLite's write-ahead
log on it; they run over the product's other mode, the rollback journal with `synchronous=EXTRA` that
`database.durability` chooses on SQLite builds before 3.51.3 (the simulation tells it such a version). It gives the same
promise, and its file operations are finer: a journal, pages, two syncs, an unlink and a sync of the folder, each a
point where power may fail. One process alone can have the log (`driver.LoggedFile`): `lost_pages` cuts its power, too.

Every machine has a connection of its own to the shared file. Transactions run inline, so connections meet only through
what a killed machine left behind (its locks are gone, its hot journal stays, as after `kill -9`).

A file that was written is *synced* up to the last `xSync`; later writes are *pending*. A power cut keeps any subset of
the pending ones, the last of them perhaps torn. A new file's name is durable with its first sync, a removal when its
folder is synced. `lying` makes every sync a lie.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import apsw

NAME = "cloudbeds-auth-simulated"
PAGE = 4096
SHARED, RESERVED, PENDING, EXCLUSIVE = (
    apsw.SQLITE_LOCK_SHARED,
    apsw.SQLITE_LOCK_RESERVED,
    apsw.SQLITE_LOCK_PENDING,
    apsw.SQLITE_LOCK_EXCLUSIVE,
)
NOT_FOUND = apsw.SQLITE_IOERR_DELETE_NOENT


@dataclass(frozen=True, slots=True)
class Write:
    """One un-synced change of a file: bytes at an offset, or (with None) a truncation to `offset`."""

    offset: int
    data: bytes | None

    def apply(self, target: bytearray) -> None:
        """Do it."""
        if self.data is None:
            del target[self.offset :]
            return
        if len(target) < self.offset:
            target.extend(bytes(self.offset - len(target)))
        target[self.offset : self.offset + len(self.data)] = self.data


@dataclass(slots=True)
class Blob:
    """A file: what programs see, what rests, and what lies between."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)
    born: bool = False
    holders: dict[int, int] = field(default_factory=dict)


class Disk:
    """The files under one prefix. `hook(kind, name)` is told of every operation that changes something, before it.

    `hook` may raise an apsw error: then the operation fails and has not happened. `version` grows whenever what rests
    changes. `busy` makes every lock fail, as another program's long transaction does.
    """

    def __init__(self) -> None:
        self.files: dict[str, Blob] = {}
        self.removed: dict[str, Blob] = {}  # whose removal a power cut may undo
        self.version = 0
        self.lying = False
        self.busy = False
        self.hook: Callable[[str, str], None] = lambda kind, name: None
        self.handles: dict[int, File] = {}
        self.gone: set[str] = set()  # processes that were killed: whatever they still try has no effect
        self._numbers = 0

    def attach(self, prefix: str) -> None:
        """Make it reachable under this first folder of a path."""
        vfs().disks[prefix] = self

    def open(self, name: str, owner: str) -> File:
        """Open or create."""
        self.must_live(owner)
        if name not in self.files:
            self.hook("create", name)
            self.must_live(owner)
            self.files[name] = Blob()
        self._numbers += 1
        handle = File(self, name, self.files[name], self._numbers, owner)
        self.handles[self._numbers] = handle
        return handle

    def delete(self, name: str, owner: str, durable: bool) -> None:
        """Unlink; with `durable` the folder is synced too."""
        self.must_live(owner)
        self.hook("delete", name)
        self.must_live(owner)
        blob = self.files.pop(name, None)
        if blob is None:
            raise _missing()
        if durable and not self.lying:
            self.removed.clear()
        elif blob.born:
            self.removed[name] = blob
        self.version += 1

    def abandon(self, owner: str) -> None:
        """The process of these handles was killed: its locks are gone, and it changes nothing any more."""
        self.gone.add(owner)
        for handle in list(self.handles.values()):
            if handle.owner == owner:
                handle.dead = True
                handle.blob.holders.pop(handle.number, None)
                del self.handles[handle.number]

    def durable(self) -> dict[str, bytes]:
        """What a power cut now would surely leave: only what was synced."""
        found = {name: bytes(blob.synced) for name, blob in self.files.items() if blob.born}
        return {name: bytes(blob.synced) for name, blob in self.removed.items()} | found

    def unsynced(self) -> list[tuple[str, int]]:
        """The pending writes, as the file's name and the write's index in it."""
        return [(name, at) for name, blob in sorted(self.files.items()) for at in range(len(blob.pending))]

    def left(self, keep: Iterable[tuple[str, int]], torn: int | None = None) -> dict[str, bytes]:
        """What a power cut leaves when these pending writes made it, the last of them only up to byte `torn`.

        What was written to a file is found in that file, or not at all: never in an earlier one of the same name.
        """
        kept = list(keep)
        result = self.durable() | {name: bytes(self.files[name].synced) for name, _ in kept}
        for name, at in sorted(kept):
            blob = self.files[name]
            image = bytearray(result[name])
            write = blob.pending[at]
            if torn is not None and (name, at) == kept[-1] and write.data is not None:
                write = Write(write.offset, write.data[:torn])
            write.apply(image)
            result[name] = bytes(image)
        return result

    def cut_power(self, dice: random.Random) -> int:
        """Lose a random part of what was not synced; how many writes were lost."""
        pending = self.unsynced()
        luck = dice.choice([0.0, 0.5, 0.9])
        keep = [one for one in pending if dice.random() < luck]
        torn = dice.randrange(1, PAGE) if keep and dice.random() < 0.3 else None
        dice.shuffle(keep)
        self.become(self.left(keep, torn))
        return len(pending) - len(keep)

    def become(self, files: dict[str, bytes]) -> None:
        """The machine starts again with these files and nobody holding them."""
        for handle in self.handles.values():
            handle.dead = True
            self.gone.add(handle.owner)
        self.handles.clear()
        self.removed.clear()
        self.files = {name: Blob(bytearray(image), bytearray(image), born=True) for name, image in files.items()}
        self.version += 1

    def must_live(self, owner: str) -> None:
        """Raises an apsw error for a process that was killed."""
        if owner in self.gone:
            raise apsw.IOError("this process was killed")


class File:
    """One open handle, as SQLite uses it."""

    def __init__(self, disk: Disk, name: str, blob: Blob, number: int, owner: str) -> None:
        self.disk, self.name, self.blob, self.number, self.owner = disk, name, blob, number, owner
        self.dead = False

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self.blob.data[offset : offset + amount])

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._changing("write")
        self._do(Write(offset, bytes(data)))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._changing("truncate")
        self._do(Write(size, None))

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._changing("sync")
        blob = self.blob
        if self.disk.lying or (blob.born and not blob.pending):
            return
        for write in blob.pending:
            write.apply(blob.synced)
        blob.pending.clear()
        blob.born = True
        self.disk.version += 1

    def xFileSize(self) -> int:  # noqa: N802
        return len(self.blob.data)

    def xLock(self, level: int) -> None:  # noqa: N802
        held = self.blob.holders
        others = [other for number, other in held.items() if number != self.number]
        if self.dead or self.disk.busy:
            raise apsw.BusyError("another program holds the file")
        if level == SHARED and any(other >= PENDING for other in others):
            raise apsw.BusyError("shared")
        if level == RESERVED and any(other >= RESERVED for other in others):
            raise apsw.BusyError("reserved")
        if level == EXCLUSIVE and others:
            held[self.number] = PENDING
            raise apsw.BusyError("exclusive")
        held[self.number] = max(level, held.get(self.number, 0))

    def xUnlock(self, level: int) -> None:  # noqa: N802
        if level == 0:
            self.blob.holders.pop(self.number, None)
        elif self.number in self.blob.holders:
            self.blob.holders[self.number] = level

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return any(level >= RESERVED for level in self.blob.holders.values())

    def xClose(self) -> None:  # noqa: N802
        self.blob.holders.pop(self.number, None)
        self.disk.handles.pop(self.number, None)

    def xFileControl(self, operation: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xSectorSize(self) -> int:  # noqa: N802
        return PAGE

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return 0

    def _changing(self, kind: str) -> None:
        if self.dead:
            raise apsw.IOError("the process of this handle is dead")
        self.disk.hook(kind, self.name)
        if self.dead:
            raise apsw.IOError("the process of this handle was killed")

    def _do(self, write: Write) -> None:
        write.apply(self.blob.data)
        self.blob.pending.append(write)


class Vfs(apsw.VFS):
    """Gives each path `/prefix/name` to the disk attached under its prefix."""

    def __init__(self) -> None:
        super().__init__(NAME, base="")
        self.disks: dict[str, Disk] = {}
        self.opener = ""  # the machine that is opening

    def find(self, path: str) -> tuple[Disk, str]:
        """The disk and the name on it."""
        _, prefix, name = path.split("/", 2)
        return self.disks[prefix], name

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        disk, short = self.find(str(path))
        flags[1] = flags[0]
        return disk.open(short, self.opener)

    def xAccess(self, path: str, flags: int) -> bool:  # noqa: N802
        disk, name = self.find(path)
        return name in disk.files

    def xDelete(self, path: str, sync: bool) -> None:  # noqa: N802
        disk, name = self.find(path)
        disk.delete(name, self.opener, sync)

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xSleep(self, microseconds: int) -> int:  # noqa: N802
        return microseconds


_made: list[Vfs] = []


def vfs() -> Vfs:
    """The one VFS of this process, registered at its first use."""
    if not _made:
        _made.append(Vfs())
    return _made[0]


def _missing() -> apsw.Error:
    error: Any = apsw.IOError("no such file")
    error.extendedresult = NOT_FOUND
    found: apsw.Error = error
    return found
