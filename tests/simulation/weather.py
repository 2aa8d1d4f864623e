"""Mischief of clocks, leases and disks."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import apsw
from tests.simulation.disk import Disk
from tests.simulation.driver import SimDriver, on_disk
from tests.simulation.machine import Machine, start

from cloudbeds_auth.database.clone_guard import Identity, recognise
from cloudbeds_auth.errors import Error, StoreUnavailable
from cloudbeds_auth.transactions.grants import Leased, release_lease, take_lease
from cloudbeds_auth.transactions.runner import Database

if TYPE_CHECKING:
    from tests.simulation.mischief import Deed, Mischief

ELSEWHERE = Identity("ins_sim", "another place")  # a copy has the name, but not the place
HERE = Identity("ins_sim", "the first place")
IN_HAND = "statement commit_pair"


class Weather:
    """The deeds; `mischief` lends world and dice."""

    def __init__(self, mischief: Mischief) -> None:
        self._mischief, self._world, self._dice = mischief, mischief.world, mischief.dice
        self._copies = count(1)

    def deeds(self) -> dict[str, Deed]:
        """By the names of `kinds`."""
        return {
            "wall jump": partial(self._wall_jump, (-3600.0, -600.0, 600.0, 3600.0)),
            "wall jump of a year": partial(self._wall_jump, (-3.2e7, 3.2e7)),
            "lease taken": self._lease_taken,
            "statement fails": self._statement_fails,
            "disk error": self._disk_error,
            "disk full": self._disk_full,
            "database locked": self._database_locked,
            "commit answer lost": self._commit_answer_lost,
            "descriptors run out": self._descriptors_run_out,
            "copy started elsewhere": self._copy_started_elsewhere,
        }

    # --- time, leases

    def _wall_jump(self, choices: tuple[float, ...]) -> None:
        seconds = self._dice.choice(choices)
        self._world.trace.say("host", f"wall clock jumps by {seconds:g} s")
        self._world.clock.jump += seconds

    def _lease_taken(self) -> None:
        """Somebody takes every lease, and gives it back or not: an operator's tool, a machine of another namespace."""
        machine = self._mischief.some()
        self._world.loop.spawn(machine.name, self._take(machine, keep=self._dice.random() < 0.3))

    async def _take(self, machine: Machine, *, keep: bool) -> None:
        world = self._world
        for grant in list(world.invariants.rest.grants().values()):
            try:
                world.disturb("everybody")
                seconds = self._dice.uniform(0.1, 30.0)
                store = Database(machine.driver, world.sealer, lambda owner, clock: True)
                taken = await store.write(take_lease(grant.id, "somebody", seconds))
                if isinstance(taken, Leased):
                    world.sendings.strangers.add((grant.id, taken.epoch))
                if isinstance(taken, Leased) and not keep:
                    await asyncio.sleep(self._dice.uniform(0.0, 5.0))
                    await store.write(release_lease(grant.id, taken.epoch))
            except Error:
                pass  # the database cannot be used, or opened, just now

    # --- the store and its disk

    def _statement_fails(self) -> None:
        """A statement fails, once or from then on for a while: a deadlock, a timeout, a lost connection."""
        names = ("", "write_intent", "commit_pair", "settle", "confirm", "release_lease")
        word = f"statement {self._dice.choice(names)}"
        lasting = self._dice.random() < 0.3
        until = self._world.loop.now + self._dice.uniform(1.0, 60.0)

        def fail(name: str) -> None:
            if lasting and self._lasts(until):
                self._world.points.arm(1, fail, word=word)
            raise StoreUnavailable("simulated: the statement failed")

        self._mischief.arm(self._dice.randrange(1, 8), fail, word=word)

    def _descriptors_run_out(self) -> None:
        """While a pair is in hand: a failure that no store of ours names, once or from then on for a while (F102)."""
        until = self._world.loop.now + self._dice.choice([0.0, 5.0, 60.0])

        def fail(name: str) -> None:
            if self._lasts(until):
                self._world.points.arm(1, fail, word=IN_HAND)
            raise OSError(errno.EMFILE, "simulated: too many open files")

        self._mischief.arm(1, fail, word=IN_HAND)

    def _disk_error(self) -> None:
        lasting = self._dice.random() < 0.4
        until = self._world.loop.now + self._dice.uniform(1.0, 90.0)

        def fail(kind: str) -> None:
            if lasting and self._lasts(until):
                self._world.points.arm_disk(1, fail)
            raise apsw.IOError("simulated EIO")

        self._mischief.arm_disk(self._dice.randrange(1, 120), fail)

    def _disk_full(self) -> None:
        until = self._world.loop.now + self._dice.uniform(1.0, 200.0)
        self._mischief.arm_disk(
            self._dice.randrange(1, 120), full(self._world.points.arm_disk, lambda: self._lasts(until))
        )

    def _lasts(self, until: float) -> bool:
        return self._world.loop.now < until and not self._mischief.over

    def _database_locked(self) -> None:
        seconds = self._dice.choice([2.0, 30.0])

        def lock(name: str) -> None:
            self._world.disk.busy = True
            self._world.network.later(seconds, self._unlock)

        self._mischief.arm(self._dice.randrange(1, 30), lock, word="sent")

    def _unlock(self) -> None:
        self._world.disk.busy = False

    def _commit_answer_lost(self) -> None:
        word = self._dice.choice(["committed commit_pair", "committed"])
        self._mischief.arm(self._dice.randrange(1, 4), lose_answer, word=word)

    # --- a copy

    def _copy_started_elsewhere(self) -> None:
        """The database's files are copied to another host, and a process is started over them (F74)."""
        machine = self._mischief.some()
        self._world.loop.spawn(machine.name, self._copied(machine.driver))

    async def _copied(self, original: SimDriver) -> None:
        world = self._world
        try:
            await original.write(partial(recognise, identity=HERE))  # as its first start did
        except Error:
            return  # it cannot be written to just now
        disk, name = Disk(), f"copy{next(self._copies)}"
        disk.become(world.disk.durable())
        disk.attach(name)
        file = on_disk(name, world.clock.instant)
        driver = SimDriver(file, name, world._linger, _nothing, _nothing, world.loop.alive)
        world.drivers[name] = driver
        copy = start(
            name, clock=world.clock, entropy=world.entropy, driver=driver, sealer=world.sealer, network=world.network,
            timing=world.timing, secrets=world.secrets, is_dead=lambda owner, clock: True,
        )  # fmt: skip
        world.loop.spawn(name, self._stays_still(copy))

    async def _stays_still(self, copy: Machine) -> None:
        """It may read; it never refreshes, or `Sendings` finds a refresh without an intent of ours."""
        world, store = self._world, copy.world.db
        assert isinstance(store, Database)
        await store.open(partial(recognise, identity=ELSEWHERE))
        if not store.read_only:
            world.trace.violate("I4", f"{copy.name}, a copy of the database, takes itself for the original")
        for hotel in world.hotels:
            try:
                token = await copy.access.access_token(hotel.connection_id)
                await copy.access.access_token(hotel.connection_id, rejected=token)
            except Error as error:
                world.trace.say(copy.name, f"{hotel.connection_id}: {error.code}")
            else:
                world.trace.violate("I4", f"{copy.name}, a copy of the database, has a newer token")


def full(arm: Callable[[int, Callable[[str], None]], None], lasts: Callable[[], bool]) -> Callable[[str], None]:
    """A strike at a disk operation: from then on nothing grows, for as long as `lasts()`."""

    def fail(kind: str) -> None:
        if lasts():
            arm(1, fail)
            if kind in {"write", "create"}:
                raise apsw.FullError("simulated ENOSPC")

    return fail


def lose_answer(name: str) -> None:
    """A strike after a COMMIT: it is done, and nobody is told."""
    raise StoreUnavailable("simulated: the answer of COMMIT was lost")


def _nothing(*told: object) -> None:
    """A copy's points and commits are no business of the original's."""
