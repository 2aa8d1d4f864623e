"""What a seed means: how many hotels and machines, which variant, which faults and how often."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.kinds import drawn

LIFETIMES = ((1.2, 2.0), (1.2, 2.0), (1.2, 2.0), (2.0, 4.0), (2.0, 4.0), (4.0, 12.0))
"""How many lifetimes of an access token the faulty part lasts: most runs are short, as most stories of a loss are."""
LONG = 5.0  # lifetimes: a shorter run meets fewer strikes, or it would be all strikes and no refresh


@dataclass(frozen=True)
class Plan:
    """Everything that is drawn. `rates` are probabilities per request, `mischief` strikes per hour."""

    seed: int
    store: str = "disk"  # SQLite on the simulated disk; or "memory": SQLite in memory
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
    logged: bool = False  # over the write-ahead log, which one process at a time can have on the simulated disk
    lying: bool = False
    denies: float = 0.0
    upkeep: bool = False  # what nobody waits for is done while faults strike; once they have stopped, always
    limit: float = 0.0  # requests per second of ours to the vendor, over all machines; 0: not kept
    goes_on: bool = False  # who runs when faults stop must serve as it is; otherwise every process is started anew
    blind: frozenset[str] = frozenset()  # invariants that are not checked, to see what else finds a fault

    @property
    def faultless(self) -> bool:
        """Nothing goes wrong in this run."""
        return not self.rates and not self.mischief

    def but(self, **changes: Any) -> Plan:
        """The same with some of it changed."""
        return replace(self, **changes)


def draw(seed: int, store: str = "disk") -> Plan:
    """The plan of a seed, over this store."""
    dice = random.Random(f"plan {seed}")
    lifetime = dice.choice([300.0, 3600.0, 28800.0])
    lifetimes = dice.uniform(*dice.choice(LIFETIMES))
    hours = lifetime * lifetimes / 3600.0
    limit = dice.choice([0.0, 0.0, 2.0, 5.0, 10.0])
    faults = drawn(seed, hours, dense=min(1.0, lifetimes / LONG))
    plan = Plan(
        seed=seed,
        store=store,
        variant=faults.variant,
        lifetime=lifetime,
        hotels=dice.choice([1, 1, 2, 3]),
        machines=dice.choice([1, 2, 2, 3]),
        hours=hours,
        calls=dice.uniform(0.8, 3.2) * 3600.0 / lifetime,
        # Who waits long between a turn and its request would send two at once: that is not the limit's doing.
        linger=dice.choice([0.0, 0.02] if limit else [0.0, 0.02, 0.3]),
        denies=dice.choice([0.0, 0.0, 0.1]),
        limit=limit,
        fifo=dice.random() < 0.6,
        knows_dead=dice.random() < 0.6,
        rates=faults.rates,
        mischief=faults.mischief,
        # Every half minute of simulated time: where a lifetime is hours, that would be all there is.
        upkeep=lifetime < 3600.0 and dice.random() < 0.6,
        goes_on=random.Random(f"goes on {seed}").random() < 0.5,
    )
    # While the database is away each process sends by itself: no more of them than requests a second keep the limit.
    return plan.but(limit=max(plan.limit, float(plan.machines))) if plan.limit else plan
