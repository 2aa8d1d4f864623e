"""Callers: programs that call the vendor through a machine's `auth=`, and what they may be told (I5, I10).

And what runs beside them in every process: its jobs.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import httpx2
from tests.simulation.machine import BASE, VERSION, Machine

from cloudbeds_auth.engine.jobs import AFTER_FAILURE, Job, Jobs
from cloudbeds_auth.errors import ConnectionUnusable, Error

if TYPE_CHECKING:
    from tests.simulation.world import Hotel, World

PATIENCE = 200.0  # seconds; an HTTP client of a caller has some end
API = httpx2.URL(f"{BASE}/api/{VERSION}/")
CALLED = {"GET": API.join("getHotelDetails"), "POST": API.join("echo/note")}


class Callers:
    """Makes calls, and judges how they end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = 0
        self._beginning: dict[str, list[asyncio.Task[None]]] = {}  # by machine: what begins new calls

    def begin(self, machine: Machine) -> None:
        """Calls for every hotel, at random moments, for as long as the machine lives."""
        loop, beginning = self._world.loop, self._beginning.setdefault(machine.name, [])
        for at, hotel in enumerate(self._world.hotels):
            dice = random.Random(f"caller {self._world.plan.seed} {machine.name} {at}")
            beginning.append(loop.spawn(machine.name, self._calling(machine, hotel, dice)))
        beginning.append(loop.spawn(machine.name, self._counting(machine)))

    def keep(self, machine: Machine) -> None:
        """What is due is looked after for as long as the machine lives."""
        upkeep = Job("upkeep", machine.upkeep.tick, first=AFTER_FAILURE)
        kept = self._world.loop.spawn(machine.name, Jobs(machine.world, [upkeep]).run(upkeep))
        self._beginning.setdefault(machine.name, []).append(kept)

    def stop(self, machine: Machine) -> None:
        """This machine takes no new calls; those under way go on."""
        for task in self._beginning.pop(machine.name, []):
            task.cancel()

    async def _calling(self, machine: Machine, hotel: Hotel, dice: random.Random) -> None:
        mean = 3600.0 / self._world.plan.calls
        while True:
            await asyncio.sleep(dice.expovariate(1.0) * mean)
            for _ in range(dice.choice([1, 1, 1, 4])):
                method = dice.choice(["GET", "GET", "POST"])
                self._world.loop.spawn(machine.name, self.call(machine, hotel, method))

    async def _counting(self, machine: Machine) -> None:
        """The job that writes counted calls."""
        while True:
            await asyncio.sleep(self._world.plan.lifetime / 3)
            await machine.calls.flush()

    async def call(self, machine: Machine, hotel: Hotel, method: str = "GET") -> str:
        """One protected call; in a word how it ended."""
        self._numbers += 1
        number = str(self._numbers)
        began = self._world.loop.now
        ended = await self._ended(machine, hotel, method, number)
        if ended == "reauthorization_required" and not self._world.invariants.marked_since(hotel.connection_id, began):
            self._world.trace.violate("I7", f"call {number} is told to reconnect, and nothing durable says so")
        self._world.trace.count(f"call {ended}")
        self._world.trace.say(machine.name, f"call {number} of {hotel.connection_id}: {ended}")
        return ended

    async def _ended(self, machine: Machine, hotel: Hotel, method: str, number: str) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await machine.http.request(
                    method, CALLED[method], auth=machine.auth(hotel.connection_id), headers={"X-Call": number}
                )
        except ConnectionUnusable as error:
            return error.code
        except Error as error:
            return f"try again: {error.code}"
        except (httpx2.HTTPError, TimeoutError) as error:
            return f"lost: {type(error).__name__}"
        except Exception as error:  # noqa: BLE001 - whatever else a caller is given is a fault of ours
            self._world.trace.violate("I10", f"call {number} is given {type(error).__name__}: {error}")
        if answer.status_code == 401:
            self._judge_401(number)
            return "401"
        if b"not active anymore" in answer.content or b"not available to be connected" in answer.content:
            return "dead grant"
        if answer.status_code >= 300 or b'"success": false' in answer.content:
            return f"answered {answer.status_code}"
        return "served"

    def _judge_401(self, number: str) -> None:
        """I5: only where the endpoint itself refuses a token proven good, or the token died after the last look."""
        world = self._world
        sent = [one for one in world.network.exchanges if one.call_id == number]
        last = sent[-1]
        if last.fate.answer is not None or last.strayed:
            return  # not the endpoint's 401, about a token that was proven good
        grant = world.vendor.grant_behind(last.call)
        rotated = world.vendor.ledger.rotated.get(grant.number, 0.0) if grant else 0.0
        disturbed = not world.plan.faultless and len(sent) == 3
        if grant is not None and (rotated >= world.vendor._now() - (world.loop.now - last.at) or disturbed):
            return
        if grant is not None and grant.rotation.revoked and not world.plan.faultless:
            world.trace.violate("I5", f"call {number} ends with 401 of a revoked grant, not with our 409")
        world.trace.violate("I5", f"call {number} ends with 401, and a refresh would have healed it")
