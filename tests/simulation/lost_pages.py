"""The exhaustive set of power cuts, before each disk operation: whichever un-synced writes made it, torn or whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from tests.simulation.disk import vfs
from tests.simulation.durable import Rest, connection_to
from tests.simulation.exhaustive import SCENARIOS, Tally, cases, one_refresh
from tests.simulation.world import World

MOST_SUBSETS = 1024


def lost_pages(
    variants: Iterable[str] = ("V0/n", "V2/n", "V3/n"), most: int = MOST_SUBSETS, *, logged: bool = False
) -> Tally:
    """Power fails before each disk operation of one refresh; every subset of the un-synced writes may have made it.

    `logged`: over the write-ahead log, on which one process is alone; otherwise over the rollback journal.
    """
    tally = Tally()
    for case in cases(variants, SCENARIOS[:-1] if logged else SCENARIOS):
        world, machine = replace(case, logged=logged).staged()
        world.disk.hook = _power_fails(world, tally, most)
        one_refresh(world, machine)
        world.take_down()
    return tally


def _power_fails(world: World, tally: Tally, most: int) -> Callable[[str, str], None]:
    seen: set[int] = set()

    def hook(kind: str, name: str) -> None:
        opener = vfs().opener
        tally.points[kind] += 1
        for keep, torn in subsets(world.disk.unsynced(), most, random.Random(len(seen))):
            files = world.disk.left(keep, torn)
            mark = hash(tuple(sorted(files.items())))
            if mark in seen:
                continue
            seen.add(mark)
            tally.runs += 1
            failed = _opens(world, files)
            vfs().disks = {name: disk for name, disk in vfs().disks.items() if not name.startswith("copy-")}
            if failed:
                tally.failures.append(
                    f"{world.plan.variant} before {kind} of {name}, kept {keep} torn {torn}: {failed}"
                )
        vfs().opener = opener

    return hook


def subsets(
    pending: list[tuple[str, int]], most: int, dice: random.Random
) -> Iterator[tuple[list[tuple[str, int]], int | None]]:
    """Every subset when there are few, else a sample; each also with its last write torn."""
    if 2 ** len(pending) <= most:
        chosen = [list(some) for size in range(len(pending) + 1) for some in itertools.combinations(pending, size)]
    else:
        chosen = [[], pending, *([one for one in pending if dice.random() < 0.5] for _ in range(most - 2))]
    for keep in chosen:
        yield keep, None
        if keep:
            yield keep, dice.randrange(1, 4096)


def _opens(world: World, files: dict[str, bytes]) -> str:
    """The database opens, is whole, and holds a refresh token that the vendor accepts (F11)."""
    try:
        connection = connection_to(files)
        whole = connection.execute("PRAGMA integrity_check").get
        connection.close()
        if whole != "ok":
            return f"integrity: {whole}"
        stored = Rest(world.disk, world.sealer).read(files)
    except Exception as error:  # noqa: BLE001 - whatever it is, the database does not open
        return f"{type(error).__name__}: {error}"
    for grant in stored.values():
        if not any(value in world.vendor.accepted(value) for value in grant.values):
            return f"{grant.id} is lost"
    return "" if stored else "the grant is gone"
