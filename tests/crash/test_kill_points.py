"""kill -9 at every kill point of one refresh, hit for certain: the process stops itself there, and is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from tests.crash import marks
from tests.crash.bases import DATABASES
from tests.crash.conftest import HASTY, LaneOf, MakeLane, variants
from tests.crash.evidence import point_of
from tests.crash.lane import Lane

LABELS = ("V2/n", "V0/n", "V1/n", "V2/y", "V6")
VARIANTS = variants(*LABELS)
SHARE = ("K1", "K4", "K7", "K8", "K9", "K11")  # over PostgreSQL, with V2/n; the others are long
FOR_EVER = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "600"}  # a lease of a quarter of an hour
UNREAD = {"target": "token", "kind": "hang_before"}
LATE = {"target": "token", "kind": "late", "seconds": 3.0}
SILENT = {"target": "token", "kind": "hang_after"}
SLOW = {"target": "token", "kind": "slow", "seconds": 0.005}


@dataclass(frozen=True)
class Case:
    """Stop at this mark; then the generation has moved or not, and so many refreshes are seen until all is well."""

    row: str
    point: str
    mark: str
    moved: bool
    refreshes: tuple[int, ...]
    fault: tuple[tuple[str, Any], ...] = ()


CASES = (
    Case("F01", "K0", marks.OPEN, False, (1,)),
    Case("F01", "K0p", marks.LEASED, False, (1,)),
    Case("F01", "K1", marks.INTENT, False, (1,)),
    Case("F02", "K2", marks.SENDING, False, (1,)),
    Case("F03", "K3", marks.SENT, False, (2,), tuple(UNREAD.items())),
    Case("F04", "K4", marks.SENT, False, (2,), tuple(SILENT.items())),
    Case("F05", "K5", marks.ANSWERING, False, (2,), tuple(SLOW.items())),
    Case("F05", "K6", marks.PARSED, False, (2,)),
    Case("F06", "K7", marks.IN_TRANSACTION, False, (2,)),
    Case("F07", "K8", marks.COMMITTING, False, (2,)),
    Case("F08", "K9", marks.COMMITTED, True, (1,)),
    Case("F08", "K10", marks.PUBLISHED, True, (1,)),
    Case("F09", "K11", marks.USED, True, (1,)),
    Case("F10", "K12", marks.PROVEN, True, (1,)),
    Case("F10", "K13", marks.PRUNED, True, (1,)),
)


def killed_at(
    lane: Lane, mark: str, fault: dict[str, Any], outcome: str, settings: dict[str, str] = HASTY
) -> tuple[str, int]:
    """Bring a refresh to this mark and kill it; the kill point, and the journal's number before it."""
    lane.end_tokens()
    after = lane.last_entry()
    if fault:
        lane.made.vendor.control("faults", **fault)
    victim = lane.fork("call", 0, stop_at=mark, victim=True, settings=settings)
    victim.stopped()
    if outcome:
        query = f"wait?target=token&outcome={outcome}&after={after}&timeout=60"
        assert lane.made.vendor.control(query, "GET")["entry"]
    left = victim.kill()
    lane.base.settle()
    point = point_of(left, lane.refreshes(after))
    if fault:
        lane.made.vendor.control("faults", "DELETE")
    return point, after


def kills() -> Iterator[Any]:
    """Each point over each database and variant: all over SQLite and some over PostgreSQL with the first variant."""
    for case, variant, database in product(CASES, LABELS, DATABASES):
        now = variant == "V2/n" and (database == "sqlite" or case.point in SHARE)
        marked = [pytest.mark.row(case.row, *(["F66"] if database == "postgresql" else []))]
        yield pytest.param(
            case, variant, database,
            id=f"{case.row}-{case.point}-{variant}-{database}", marks=marked if now else [*marked, pytest.mark.long],
        )  # fmt: skip


@pytest.mark.parametrize(("case", "variant", "database"), [*kills()])
def test_a_kill_at_this_point_loses_nothing(case: Case, variant: str, database: str, lane_of: LaneOf) -> None:
    """The database rests as the point says; the next process serves, with no more refreshes than it needs."""
    lane = lane_of(variant, database)
    before = lane.settled()
    outcome = {"K3": "pending", "K4": "issued", "K5": "issued"}.get(case.point, "")
    point, after = killed_at(lane, case.mark, dict(case.fault), outcome)
    assert point == case.point
    resting = lane.row()
    assert (resting["generation"] > before["generation"]) is case.moved
    kept = (0 if variant == "V6" else 1) if case.moved and case.point != "K13" else 0
    assert resting["stored"] == 1 + kept
    issued = {entry["ordinal"] for entry in lane.refreshes(after)}
    used = {entry["ordinal"] for entry in lane.journal(after) if entry["outcome"] == "accepted"}
    assert case.moved or not issued & used
    lane.served()
    assert len(lane.refreshes(after)) in case.refreshes, lane.story(0, after)


@VARIANTS
@pytest.mark.row("F03")
def test_a_request_that_lands_before_the_healers_first_use(variant: str, lane_of: LaneOf) -> None:
    """Killed at K3; the healer refreshes and commits, then the lost request rotates, then the new token is used."""
    lane = lane_of(variant)
    lane.settled()
    _, after = killed_at(lane, marks.SENT, LATE, "pending")
    healer = lane.fork("heal", 0, stop_at=marks.COMMITTED)
    healer.stopped()
    acted = f"wait?target=token&fault=late&outcome=issued&after={after}&timeout=60"
    assert lane.made.vendor.control(acted, "GET")["entry"]
    healer.signal(signal.SIGCONT)
    healer.end()
    lane.served()


@pytest.mark.row("F07")
def test_a_kill_between_the_syncs_of_a_rollback_journal(make_lane: MakeLane) -> None:
    """On an SQLite build without a sound write-ahead log: written and not synced, at each sync of the commit."""
    lane = make_lane(old_sqlite=True)
    for sync in range(3):
        before = lane.settled()
        lane.end_tokens()
        victim = lane.fork("call", 0, stop_at=marks.SYNCING, stop_skip=sync, victim=True, settings=HASTY)
        victim.stopped()
        assert victim.kill().count(marks.SYNCING) == sync + 1
        assert lane.row()["generation"] - before["generation"] in (0, 1)
        lane.served()


@pytest.mark.row("F01")
def test_a_dead_holders_lease_is_free_at_once(make_lane: MakeLane) -> None:
    """Killed before its intent, with a lease much longer than anybody here waits: the next process is served."""
    lane = make_lane()
    killed_at(lane, marks.LEASED, {}, "", FOR_EVER)
    lane.served()
