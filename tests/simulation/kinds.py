"""Every kind of fault, and which of them a seed draws.

The variant goes by the seed's number, and so does one kind that this run is sure to meet: after as many seeds as there
are variants times kinds, each kind has struck under each variant, however rarely it is drawn otherwise.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.simulation.fates import NETWORK_FAULTS

from cloudbeds_simulator.rotation import VARIANTS

MISCHIEF = (
    "kill",
    "kill at a point",
    "kill at a disk operation",
    "drain",
    "pause",
    "power cut",
    "power cut at a disk operation",
    "wall jump",
    "wall jump of a year",
    "expire early",
    "all expire together",
    "lease taken",
    "statement fails",
    "disk error",
    "disk full",
    "database locked",
    "commit answer lost",
    "copy started elsewhere",
    "reconnect",
    "move to a key",
    "revoke",
    "user inactive",
    "secret reset",
    "wrong secret on one machine",
    "vendor down",
    "herd",
    "cancelled caller",
    "stopped before a send",
    "tokens refused by mistake",
    "401s everywhere",
    "disabled by mistake",
    "another client id on one machine",
    "another origin on one machine",
    "descriptors run out",
)
"""What the world does besides the network's faults, in strikes per hour of simulated time."""

ONCE_OR_TWICE = frozenset(
    {"power cut", "power cut at a disk operation", "reconnect", "secret reset", "wrong secret on one machine"}
    | {"vendor down", "copy started elsewhere", "wall jump of a year", "move to a key"}
    | {"tokens refused by mistake", "401s everywhere", "disabled by mistake"}
    | {"another client id on one machine", "another origin on one machine"}
)
LAST = frozenset({"revoke", "user inactive"})  # end a grant: at most once a run
OF_FILES = frozenset({"copy started elsewhere"})  # mean nothing in memory
KINDS = (*NETWORK_FAULTS, *MISCHIEF)


@dataclass(frozen=True)
class Drawn:
    """A run's faults; `sure` is the kind that its seed's number names, empty in a run without faults."""

    variant: str
    sure: str
    rates: dict[str, float]
    mischief: dict[str, float]


def drawn(seed: int, hours: float, *, dense: float = 1.0) -> Drawn:
    """The variant and the faults of a seed whose faulty part lasts this long; a tenth of all seeds has none.

    `dense` scales how often the world strikes in a run; the kind that its number names strikes as it must.
    """
    dice = random.Random(f"kinds {seed}")
    turn, at = divmod(seed, len(VARIANTS))
    variant = list(VARIANTS)[at]
    if dice.random() < 0.1:
        return Drawn(variant, "", {}, {})
    sure = KINDS[(turn + 7 * at) % len(KINDS)]
    level, strikes = dice.choice([0.02, 0.08, 0.2]), dense * dice.choice([1.0, 3.0, 8.0])
    rates = {kind: level * dice.uniform(0.1, 0.6) for kind in NETWORK_FAULTS if dice.random() < 0.4}
    mischief = {kind: _often(kind, strikes, dice) / hours for kind in MISCHIEF if dice.random() < 0.4}
    if sure in MISCHIEF:
        mischief[sure] = max(mischief.get(sure, 0.0), 4.0 / hours)
    else:
        rates[sure] = max(rates.get(sure, 0.0), 0.15)
    return Drawn(variant, sure, rates, mischief)


def _often(kind: str, strikes: float, dice: random.Random) -> float:
    """About how many strikes of this kind a run meets."""
    if kind in LAST:
        return 0.5
    return dice.uniform(0.5, 1.5) if kind in ONCE_OR_TWICE else strikes * dice.uniform(0.3, 1.2)
