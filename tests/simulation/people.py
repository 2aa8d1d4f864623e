"""Mischief of hotels, operators, the vendor and callers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.simulation.fates import DOWN
from tests.simulation.vendor import OTHER, OTHERS_SECRET

from cloudbeds_auth.errors import Error

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.mischief import Deed, Mischief
    from tests.simulation.world import World

OUTAGE = 6 * 3600.0  # seconds, at most (F77)
HERD = 30


class People:
    """The deeds; `mischief` lends world and dice."""

    def __init__(self, mischief: Mischief) -> None:
        self._mischief, self._world, self._dice = mischief, mischief.world, mischief.dice

    def deeds(self) -> dict[str, Deed]:
        """By the names of `kinds`."""
        return {
            "expire early": self._expire,
            "all expire together": self._all_expire_together,
            "reconnect": self._reconnect,
            "move to a key": self._move_to_a_key,
            "revoke": self._revoke,
            "user inactive": self._user_inactive,
            "secret reset": self._secret_reset,
            "wrong secret on one machine": self._wrong_secret,
            "another client id on one machine": partial(self._strange, client=OTHER, secrets=(OTHERS_SECRET,)),
            "another origin on one machine": partial(self._strange, base="https://elsewhere.example"),
            "vendor down": self._vendor_down,
            "herd": self._herd,
            "cancelled caller": self._cancelled_caller,
        }

    # --- the vendor

    def _expire(self) -> None:
        for grant in self._world.vendor.model.grants:
            grant.rotation.expire(self._world.vendor._now())

    def _all_expire_together(self) -> None:
        """Every hotel's token ends at once, and everybody calls for every hotel (F76)."""
        self._expire()
        for _, machine in sorted(self._world.machines.items()):
            self._call_all(machine, 3)

    def _vendor_down(self) -> None:
        """Nothing answers for hours: no connection, silence, or a page (F77)."""
        how = self._dice.choice(DOWN)
        longest = min(OUTAGE, self._world.plan.hours * 3600.0 / 3)
        until = self._world.loop.now + longest * self._dice.uniform(0.3, 1.0)
        self._world.fates.down = lambda: how if self._world.loop.now < until and not self._mischief.over else ""

    def _revoke(self) -> None:
        self._end_grant("revoked by the hotel", self._dice.choice(["denied", "not_available"]))

    def _user_inactive(self) -> None:
        self._end_grant("user inactive", "user_inactive")

    def _end_grant(self, reason: str, face: str) -> None:
        self._mischief.spent |= {"revoke", "user inactive"}
        living = [grant for grant in self._world.vendor.model.grants if not grant.rotation.revoked]
        if living:
            self._world.vendor.model.end(self._dice.choice(living), reason, face)
            self._world.vendor.ledger.version += 1

    # --- hotels and operators

    def _reconnect(self) -> None:
        machine, hotel = self._mischief.some(), self._dice.choice(self._world.hotels)
        self._world.loop.spawn(machine.name, self._connect_again(machine, hotel.property_id, hotel.connection_id))

    async def _connect_again(self, machine: Machine, property_id: str, connection_id: str) -> None:
        try:
            begun = await machine.authorizer.begin(connection_id=connection_id)
            code, state = self._world.vendor.approve(begun.url, property_id)
            await machine.authorizer.finish(code=code, state=state)
        except Error as error:
            self._world.trace.say(machine.name, f"reconnecting ended with {error.code}")

    def _move_to_a_key(self) -> None:
        """An operator moves this hotel; done already, it changes nothing (rule 15)."""
        machine, hotel = self._mischief.some(), self._dice.choice(self._world.hotels)
        self._world.loop.spawn(machine.name, moved(self._world, machine, hotel.connection_id))

    def _secret_reset(self) -> None:
        """The vendor takes another secret; machines learn of it when they are started next, one by one (F35, F36)."""
        world = self._world
        secret = f"secret-sim-{len(world.secrets)}{self._dice.getrandbits(32)}"
        world.vendor.reset_secret(secret)
        world.secrets = (secret, *world.secrets)[:2]
        for number in sorted(world.machines):
            world.network.later(self._dice.uniform(10.0, 600.0), self._mischief.restart, number)

    def _wrong_secret(self) -> None:
        """One machine is started with a secret that was never right, the others go on (F36)."""
        world, machine = self._world, self._mischief.some()
        number = next(number for number, one in world.machines.items() if one is machine)
        right, world.secrets = world.secrets, (f"secret-sim-wrong-{self._dice.getrandbits(32)}",)
        try:
            world.kill(number)
            world.boot(number)
        finally:
            world.secrets = right
        world.network.later(self._dice.uniform(60.0, 1800.0), self._mischief.restart, number)

    def _strange(self, **settings: Any) -> None:
        """One machine is started with another registered app's credentials, or towards another host (F92)."""
        world, machine = self._world, self._mischief.some()
        number = next(number for number, one in world.machines.items() if one is machine)
        world.kill(number)
        world.boot(number, **settings)
        world.network.later(self._dice.uniform(60.0, 3600.0), self._mischief.restart, number)

    # --- callers

    def _call_all(self, machine: Machine, times: int) -> None:
        for _ in range(times):
            for hotel in self._world.hotels:
                self._world.loop.spawn(machine.name, self._world.callers.call(machine, hotel))

    def _herd(self) -> None:
        self._call_all(self._mischief.some(), HERD)

    def _cancelled_caller(self) -> None:
        machine, hotel = self._mischief.some(), self._dice.choice(self._world.hotels)
        task = self._world.loop.spawn(machine.name, self._world.callers.call(machine, hotel))
        self._world.network.later(self._dice.uniform(0.0, 3.0), _hang_up, task)


async def moved(world: World, machine: Machine, connection_id: str) -> str:
    """A move to a key over this machine; in a word how it ended."""
    try:
        await machine.migrator.migrate(connection_id)
        ended = "moved"
    except Error as error:
        ended = error.code
    world.trace.count(f"move {ended}")
    world.trace.say(machine.name, f"the move of {connection_id} to a key: {ended}")
    return ended


def _hang_up(task: asyncio.Task[str]) -> None:
    task.cancel()
