"""Negative controls: seeded bugs, each a small patch of running production code, each of which must be caught.

A simulation that finds nothing in broken code proves nothing about sound code. `CONTROLS` lists the bugs; `catch` runs
one over its seeds until an invariant finds it. A patch whose target is gone raises `TargetGone`, so a control cannot
quietly stop meaning something. Some controls are run *blind* for the invariant that would find them at once, to show
that the loss itself is found too. The patches are in `seeded` and `seeded_store`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation import seeded, seeded_budget, seeded_marks, seeded_origins, seeded_store
from tests.simulation.patch import Patch
from tests.simulation.plan import Plan
from tests.simulation.run import Result, run_plan


@dataclass(frozen=True)
class Control:
    """One seeded bug: its patch, the plan that brings it out, and the invariants that may name it."""

    name: str
    patch: Callable[[Patch], None]
    caught_by: tuple[str, ...]
    changes: dict[str, Any] = field(default_factory=dict)
    seeds: int = 40
    variants: tuple[str, ...] = ("V2/n",)
    first: int = 1


@dataclass(frozen=True)
class Caught:
    """How a control was found."""

    control: str
    invariant: str
    seed: int
    result: Result

    def __str__(self) -> str:
        result = self.result
        return f"{result.violation} (seed {self.seed}, {result.plan.variant}, {result.counts['checks']} checks)"


def catch(control: Control) -> Caught | None:
    """Run it until it is caught; None when no seed finds it."""
    with Patch() as patch:
        control.patch(patch)
        for seed in range(control.first, control.first + control.seeds):
            variant = control.variants[seed % len(control.variants)]
            result = run_plan(Plan(seed, variant=variant, **(BASE | control.changes)))
            if result.violation is not None:
                return Caught(control.name, result.violation.invariant, seed, result)
    return None


BASE: dict[str, Any] = {"hotels": 1, "machines": 2, "lifetime": 600.0, "hours": 2.0, "calls": 20.0, "linger": 0.05}
QUIET: dict[str, Any] = {"calls": 8.0}
# Nobody gets an answer of a resource or of `/userinfo`, so generations stay unproven; requests are duplicated.
UNPROVEN = {"userinfo:lose request": 0.85, "resource:lose request": 0.85, "token:duplicate": 0.7}
OVERLAP: dict[str, Any] = {
    "machines": 3,
    "knows_dead": True,
    "linger": 0.3,
    "calls": 60.0,
    "rates": {"token:late answer": 0.2, "token:lose answer": 0.1, "userinfo:late answer": 0.2},
    "mischief": {"pause": 20.0, "lease taken": 40.0, "expire early": 20.0},
}
LATE_PROOF: dict[str, Any] = {  # a machine stands still between a proof and its confirm
    "lifetime": 300.0,
    "rates": {"userinfo:lose request": 0.5, "resource:lose request": 0.7},
    "mischief": {"pause": 40.0},
}
LIES: dict[str, Any] = {  # … and the child of another machine's pass is refused meanwhile
    "calls": 40.0,
    "mischief": {"pause": 60.0, "tokens refused by mistake": 20.0, "expire early": 40.0},
}
LATE_PAIR: dict[str, Any] = {  # a machine stands still with a pair in hand; what others send meanwhile is not answered
    "rates": {"token:late answer": 0.2, "token:lose answer": 0.2},
    "mischief": {"pause": 60.0, "lease taken": 40.0, "expire early": 40.0},
}
TWICE: dict[str, Any] = {"rates": UNPROVEN | {"token:duplicate": 0.9}, "mischief": {"expire early": 30.0}}
HERDS: dict[str, Any] = {
    "calls": 120.0,
    "machines": 3,
    "linger": 0.5,
    "mischief": {"herd": 60.0, "expire early": 60.0},
}
STRICT: dict[str, Any] = {  # refused passes, and leases taken while they are under way
    "hotels": 3,
    "rates": {"token:lose answer": 0.5},
    "mischief": {"reconnect": 20.0, "lease taken": 600.0},
}
STRAYS: dict[str, Any] = {  # answers that come twice
    "calls": 60.0,
    "rates": {"userinfo:answer twice": 0.5, "token:answer twice": 0.5, "userinfo:gateway unacted": 0.3},
    "mischief": {"expire early": 60.0},
}
RATED: dict[str, Any] = {  # many of our own requests at once, over several machines
    "hotels": 3,
    "machines": 3,
    "limit": 2.0,
    "calls": 60.0,
    "rates": {"userinfo:lose request": 0.3},
    "mischief": {"all expire together": 60.0},
}
MOVES: dict[str, Any] = {  # exchanges without an answer, and tokens that end meanwhile
    "calls": 60.0,
    "rates": {"token:lose answer": 0.6},
    "mischief": {"move to a key": 30.0, "expire early": 30.0},
}
SLOW_COUNTS: dict[str, Any] = {  # a hotel with a key loses its user, and machines stand still with that answer
    "machines": 1,
    "calls": 120.0,
    "mischief": {"move to a key": 30.0, "user inactive": 6.0, "pause": 20.0},
}
LYING: dict[str, Any] = {  # every refresh token is refused for a while, and tokens end meanwhile
    "calls": 60.0,
    "upkeep": True,
    "mischief": {"tokens refused by mistake": 4.0, "expire early": 20.0},
}
SLOTS: dict[str, Any] = {"calls": 30.0, "hours": 3.0, "rates": UNPROVEN, "mischief": {"expire early": 10.0}}

CONTROLS = (
    Control("use before commit", seeded.use_before_commit, ("I1",)),
    Control("lost sync", seeded_store.lost_sync, ("I1",)),
    Control("a disk that lies about fsync", seeded.nothing, ("I1",), {"lying": True}),
    Control("no lease", seeded_store.no_lease, ("I4",), HERDS),
    Control("one slot", seeded_store.one_slot, ("I3",)),
    Control("one slot, its loss", seeded_store.one_slot, ("I2",), SLOTS | {"blind": frozenset({"I3"})}),
    Control("two slots", seeded_store.two_slots, ("I3",), SLOTS),
    Control("two slots, their loss", seeded_store.two_slots, ("I2",),
            SLOTS | TWICE | {"blind": frozenset({"I3"})}, 200, first=72),
    Control("discard at epoch change", seeded.discard_at_epoch_change, ("I6",), OVERLAP, 60),
    Control("one kind of failed commit is retried", seeded.one_failure_is_retried, ("I6", "I2"),
            {"calls": 60.0, "mischief": {"descriptors run out": 60.0, "expire early": 20.0}}, 40, ("V2/n", "V7/n")),
    Control("parent first", seeded.parent_first, ("I4",), SLOTS),
    Control("parent first, its livelock", seeded.parent_first, ("I10", "I5", "I2"),
            SLOTS | {"blind": frozenset({"I4"})}, 100, ("V0/n", "V3/n")),
    Control("refused child kept as parent", seeded_store.refused_child_kept, ("I3",), SLOTS, 100),
    Control("refused child kept as parent, its loss", seeded_store.refused_child_kept, ("I2",),
            SLOTS | {"blind": frozenset({"I3"})}, 200),
    Control("unfenced confirm", seeded_store.unfenced_confirm, ("I3",), LATE_PROOF, 100),
    Control("a token sent that a proof has dropped", seeded_store.dropped_token_sent, ("I1",), LATE_PROOF | LIES, 100),
    Control("404 counted as proof", seeded.not_found_is_proof, ("I3",),
            {"rates": {"userinfo:gateway unacted": 0.7}}, first=53),
    Control("prune before proof", seeded.prune_before_proof, ("I3",)),
    Control("no probe before spending", seeded.no_probe, ("I4",), {"denies": 0.2}),
    Control("ambiguous falls through to an older R", seeded.ambiguous_falls_through, ("I4",),
            SLOTS | {"rates": UNPROVEN | {"token:lose answer": 0.3}}),
    Control("delete at first refusal", seeded_store.delete_at_first_refusal, ("I3",), SLOTS, 100),
    Control("no re-read after refusal", seeded.no_reread, ("I7",), STRICT, 100, ("V7/n",), first=10),
    Control("a refusal counted when it is told", seeded_store.refusal_counted_when_told, ("I7",), SLOW_COUNTS,
            first=81),
    Control("waiter cancels leader", seeded.waiter_cancels_leader, ("I6",),
            {"mischief": {"cancelled caller": 200.0, "expire early": 60.0}, "linger": 0.5, "calls": 4.0}, 100),
    Control("retry before the old socket is closed", seeded.socket_left_open, ("I4",),
            {"rates": {"token:lose request": 0.5}, "calls": 60.0}),
    Control("network inside a transaction", seeded.network_in_transaction, ("I8",)),
    Control("fence not checked", seeded_store.fence_not_checked, ("I6",), OVERLAP, 100),
    Control("pointer moved before the new grant worked", seeded.pointer_first, ("I3",),
            {"mischief": {"reconnect": 4.0}, "rates": {"userinfo:lose request": 0.5}}),
    Control("a latched grant is refreshed", seeded_store.latch_ignored, ("I16",), MOVES),
    Control("secret reset marks hotels", seeded.secret_reset_marks, ("I7",), {"mischief": {"secret reset": 2.0}}),
    Control("rate kept by each process for itself", seeded_budget.each_process_for_itself, ("I11",), RATED),
    Control("rate forgotten at a start", seeded_budget.forgotten_at_a_start, ("I11",),
            RATED | {"mischief": {"all expire together": 120.0, "kill at a point": 120.0, "kill": 60.0}}, first=26),
    Control("calls without a turn", seeded_budget.calls_not_counted, ("I11",), RATED),
    Control("token requests on kept connections", seeded.kept_connections_of_tokens, ("I6",), STRAYS, first=80),
    Control("proofs on kept connections", seeded.kept_connections_of_proofs, ("I3", "I5"), STRAYS, 100, first=139),
    Control("no clock between intent and send", seeded_marks.no_clock_before_the_send, ("I4",),
            {"calls": 60.0, "mischief": {"stopped before a send": 60.0, "expire early": 20.0}}),
    Control("no hold after an attempt without an answer", seeded_marks.no_hold_back, ("I4",),
            {"calls": 120.0, "rates": {"token:gateway unacted": 0.6}, "mischief": {"expire early": 20.0}}),
    Control("a late pair used beside a request that may arrive", seeded_marks.no_wait_with_a_pair_in_hand, ("I4",),
            OVERLAP | {"linger": 0.05} | LATE_PAIR, variants=("V3/n",)),
    Control("no brake", seeded_marks.no_brake, ("I4",),
            {"calls": 120.0, "lifetime": 3600.0, "upkeep": True, "mischief": {"401s everywhere": 4.0}}),
    Control("a process that never serves again", seeded_marks.deaf_after_a_while, ("I10",),
            {"goes_on": True, "mischief": {"expire early": 20.0}}),
    Control("callers are given a bug", seeded_marks.callers_are_given_a_bug, ("I10",),
            {"rates": {"token:lose answer": 0.6}}),
    Control("a mark that never retries", seeded_marks.mark_never_retries, ("I15",), LYING),
    Control("a refusal by substring", seeded_marks.refusal_by_substring, ("I7",),
            {"calls": 60.0, "rates": {"token:mentions a token": 0.9}, "mischief": {"expire early": 20.0}}),
    Control("one disabled believed", seeded_marks.one_disabled_believed, ("I15",),
            {"mischief": {"disabled by mistake": 6.0}}),
    Control("sent under another client id", seeded_origins.where_from_is_not_compared, ("I9",),
            {"calls": 60.0, "mischief": {"another client id on one machine": 6.0, "expire early": 20.0}}),
    Control("sent to another origin", seeded_origins.where_from_is_not_compared, ("I9",),
            {"calls": 60.0, "mischief": {"another origin on one machine": 6.0, "expire early": 20.0}}),
    Control("success: false ignored", seeded.success_false_ignored, ("I3",),
            {"rates": {"userinfo:gateway unacted": 0.7}}),
)  # fmt: skip
