"""What a seed means: how many hotels and machines, which variant, which faults and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.fates import NETWORK_FAULTS

from cloudbeds_simulator.variants import VARIANTS

MISCHIEF = (
    "kill",
    "kill at a point",
    "kill at a disk operation",
    "pause",
    "power cut",
    "power cut at a disk operation",
    "wall jump",
    "expire early",
    "lease taken",
    "disk error",
    "disk full",
    "database locked",
    "commit answer lost",
    "reconnect",
    "revoke",
    "user inactive",
    "secret reset",
    "herd",
    "cancelled caller",
)
"""What the world does besides the network's faults, in strikes per hour of simulated time."""

RARE = {"power cut", "power cut at a disk operation", "reconnect", "secret reset"}
LAST = {"revoke", "user inactive"}  # end a grant: at most once a run


@dataclass(frozen=True)
class Plan:
    """Everything that is drawn. `rates` are probabilities per request, `mischief` strikes per hour."""

    seed: int
    variant: str = "V2/n"
    lifetime: float = 3600.0
    hotels: int = 1
    machines: int = 2
    hours: float = 6.0
    calls: float = 12.0  # per hour, hotel and machine
    linger: float = 0.02  # longest ordinary wait around a transaction, seconds
    fifo: bool = True
    knows_dead: bool = True
    rates: dict[str, float] = field(default_factory=dict)
    mischief: dict[str, float] = field(default_factory=dict)
    lying: bool = False
    denies: float = 0.0
    blind: frozenset[str] = frozenset()  # invariants that are not checked, to see what else finds a fault

    @property
    def faultless(self) -> bool:
        """Nothing goes wrong in this run."""
        return not self.rates and not self.mischief

    def but(self, **changes: Any) -> Plan:
        """The same with some of it changed."""
        return replace(self, **changes)


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"plan {seed}")
    lifetime = dice.choice([300.0, 3600.0, 28800.0])
    network = [kind for kind in NETWORK_FAULTS if dice.random() < 0.5]
    world = [kind for kind in MISCHIEF if dice.random() < 0.45]
    level = dice.choice([0.02, 0.08, 0.2])
    hours = lifetime * dice.uniform(5.0, 12.0) / 3600.0
    strikes = dice.choice([1.0, 3.0, 8.0])
    return Plan(
        seed=seed,
        variant=dice.choice(list(VARIANTS)),
        lifetime=lifetime,
        hotels=dice.choice([1, 1, 2, 3]),
        machines=dice.choice([1, 2, 2, 3]),
        hours=hours,
        calls=dice.uniform(1.0, 5.0) * 3600.0 / lifetime,
        linger=dice.choice([0.0, 0.02, 0.3]),
        denies=dice.choice([0.0, 0.0, 0.1]),
        fifo=dice.random() < 0.6,
        knows_dead=dice.random() < 0.6,
        rates={kind: level * dice.uniform(0.2, 1.0) for kind in network} if seed % 10 else {},
        mischief={kind: _often(kind, strikes, hours, dice) for kind in world} if seed % 10 else {},
    )


def _often(kind: str, strikes: float, hours: float, dice: random.Random) -> float:
    """Strikes per hour, so that a run meets about this many of the kind."""
    if kind in LAST:
        return 0.5 / hours
    if kind in RARE:
        return dice.uniform(0.5, 1.5) / hours
    return strikes * dice.uniform(0.3, 1.2) / hours
