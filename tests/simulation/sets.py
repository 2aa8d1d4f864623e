"""The exhaustive sets by name, each in parts of one variant, so that a long run can be shared out and gone on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.simulation.everywhere import everywhere
from tests.simulation.exhaustive import PAIRED, Tally, cuts, kill_points, pairs
from tests.simulation.lost_pages import lost_pages
from tests.simulation.schedules import ON_DISK, schedules

from cloudbeds_simulator.rotation import VARIANTS

KILL_POINTS = "kill points"


@dataclass(frozen=True)
class Set:
    """`part(variant, store)` runs what belongs to one variant, whole; `variants` says which there are, by store."""

    name: str
    part: Callable[[str, str], Tally]
    variants: Mapping[str, tuple[str, ...]]


ALL, SOME = tuple(VARIANTS), ("V0/n", "V2/n", "V3/n")
BOTH = {"disk": ALL, "memory": ALL}
SETS = (
    Set(KILL_POINTS, lambda variant, store: kill_points((variant,), store), BOTH),
    Set(
        "byte cuts of the token answer",
        lambda variant, store: cuts((variant,), store),
        {"disk": SOME, "memory": SOME},
    ),
    Set("lost and torn pages, rollback journal", lambda variant, store: lost_pages((variant,)), {"disk": SOME}),
    Set(
        "lost and torn pages, write-ahead log",
        lambda variant, store: lost_pages((variant,), logged=True),
        {"disk": SOME},
    ),
    Set("each fault at each point", lambda variant, store: everywhere((variant,), store), BOTH),
    Set(
        "ordered pairs of kill points",
        lambda variant, store: pairs((variant,), store),
        {"disk": PAIRED, "memory": PAIRED},
    ),
    Set(
        "schedules of two coordinators",
        lambda variant, store: schedules((variant,), store),
        {"disk": ON_DISK, "memory": ALL},
    ),
)
