"""Mischief of a vendor that is wrong for a while: it refuses what lives, in known words and in unknown ones.

Nothing of it is true, so when it is over every hotel has to serve again by itself (I15).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.simulation.vendor import CLIENT

from cloudbeds_simulator.answers import SimulatedAnswer, html_page, json_answer

if TYPE_CHECKING:
    from tests.simulation.machine import Machine
    from tests.simulation.mischief import Deed, Mischief

REFUSED = (
    json_answer(400, {"error": "invalid_request", "message": "The refresh token is invalid."}),
    json_answer(401, {"error": "invalid_request", "message": "The refresh token is invalid."}),
    json_answer(400, {"error": "invalid_grant"}),
)
UNKNOWN_401 = (
    json_answer(401, {"message": "Unauthorized"}),
    json_answer(401, {"success": False, "message": "Unauthorized"}),
    json_answer(401, {"error": "unauthorized"}),
    html_page(401, "401 Authorization Required"),
    SimulatedAnswer(401, b""),
)
LONGEST = 2 * 3600.0  # seconds


class Lies:
    """The deeds; `mischief` lends world and dice."""

    def __init__(self, mischief: Mischief) -> None:
        self._mischief, self._world, self._dice = mischief, mischief.world, mischief.dice

    def deeds(self) -> dict[str, Deed]:
        """By the names of `kinds`."""
        return {
            "tokens refused by mistake": self._tokens_refused,
            "401s everywhere": self._unknown_401s,
            "disabled by mistake": self._disabled,
        }

    def _tokens_refused(self) -> None:
        """The token endpoint refuses every refresh token, for a minute and a half, or for hours (F93)."""
        self._world.vendor.ledger.lied = True
        self._lie("token", self._dice.choice(REFUSED), self._dice.choice([90.0, 600.0, LONGEST]))

    def _unknown_401s(self) -> None:
        """Every endpoint answers 401 to every token, in a shape that nobody has documented (F100)."""
        answer, seconds = self._dice.choice(UNKNOWN_401), self._dice.choice([60.0, 900.0, 3600.0])
        for target in ("userinfo", "resource"):
            self._lie(target, answer, seconds)

    def _lie(self, target: str, answer: SimulatedAnswer, seconds: float) -> None:
        until = self._world.loop.now + seconds
        world, mischief = self._world, self._mischief
        world.fates.lies[target] = lambda: answer if world.loop.now < until and not mischief.over else None

    def _disabled(self) -> None:
        """The app state says that the hotel left, and a hook does, too; the sessions live (F95)."""
        world, hotel, machine = self._world, self._dice.choice(self._world.hotels), self._mischief.some()
        self._set_state(hotel.property_id, "disabled")
        world.loop.spawn(machine.name, self._told(machine, hotel.property_id))
        world.network.later(self._dice.uniform(30.0, LONGEST), self._set_state, hotel.property_id, "enabled")

    async def _told(self, machine: Machine, property_id: str) -> None:
        machine.app_states.hint(json.dumps({"newState": "disabled", "propertyID": property_id}).encode())

    def _set_state(self, property_id: str, state: str) -> None:
        self._world.vendor.model.set_app_state(CLIENT, property_id, state, self._world.vendor._now(), True)
        self._world.vendor.ledger.version += 1
