"""The database's server killed under processes that live on: a service under its callers, or vaults (F62, F63).

The server is killed with all its processes and started again a moment later; what it had acknowledged is there. Each
process must serve every hotel then, without being started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.crash import marks
from tests.crash.bases import ServerBase
from tests.crash.evidence import Life, point_of
from tests.crash.nursery import Child
from tests.crash.service import MARK_SECONDS, Running, Service
from tests.crash.tally import OUTSIDE
from tests.crash.trials import MOST_IN_A_ROW, SHORTEST_SLEEP, slow_network
from tests.support.postgres import PostgresServer

MOST_DOWN = 0.5  # seconds until the server is started again
HOUR = 3600.0  # by which the clocks of two machines are wrong, ahead and behind
# What a caller may be told meanwhile.
PASSING = {"StoreUnavailable", "RefreshPending", "RefreshInDoubt", "TokenEndpointUnavailable", "RateLimited"}


@dataclass
class Watched:
    """A process that lives on, seen from the moment at which the tokens end."""

    child: Child
    cut: int = 0

    @property
    def told(self) -> str:
        """Its marks since."""
        self.child.read(0.0)
        return self.child.marks[self.cut :]


@dataclass
class Outage:
    """One kill of the server. Marks are of each process; `entries`: what the vendor was asked until the next start."""

    target: int
    before: list[dict[str, Any]]
    ahead: list[str] = field(default_factory=list)
    at: list[str] = field(default_factory=list)
    down: list[str] = field(default_factory=list)
    at_the_kill: list[dict[str, Any]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    def struck(self, hotel: int) -> bool:
        """Whether the kill may have fallen into this hotel's refresh."""
        begun = [one for one, told in enumerate(self.down) if marks.LEASED in marks.of(told, hotel)]
        return any(marks.RELEASED not in marks.of(self.ahead[one], hotel) for one in begun)

    def point(self, hotel: int, refreshes: list[dict[str, Any]]) -> str:
        """The kill point of this hotel: that of the process that was refreshing it."""
        points = [point_of(marks.of(told, hotel), refreshes) for told in self.at]
        return next((point for point in points if point not in OUTSIDE), points[0])


@dataclass
class Outages(Service):
    """Kills of one server. `processes`: workers of the service, or, when not `serving`, vaults on as many machines."""

    serving: bool = True

    @property
    def server(self) -> PostgresServer:
        """Whom it strikes."""
        base = self.lane.base
        assert isinstance(base, ServerBase)
        assert base.server is not None
        return base.server

    def round(self, go_on: Callable[[], bool]) -> None:
        """Processes that serve everybody, tokens that end, and a kill or a few."""
        if not self.serving:
            self._of_vaults(go_on)
            return
        with self._running() as running:
            self._must_serve(running)
            for _ in range(self.dice.randint(1, MOST_IN_A_ROW)):
                if not go_on():
                    return
                self._of_service(running)

    def _of_service(self, running: Running) -> None:
        target = self.dice.choice(self.hotels)
        running.child.read(0.0)
        cut = len(running.child.marks)
        outage = Outage(target, self._end_some(target))
        self._strike(outage, [Watched(running.child, cut)])
        self._all_served(running.callers, time.monotonic(), self.patience)
        self._judge_all(outage)

    def _of_vaults(self, go_on: Callable[[], bool]) -> None:
        if not go_on():
            return
        target = self.dice.choice(self.hotels)
        outage = Outage(target, self._end_some(target))
        grants = self.lane.grants()
        crowd = [
            self.lane.fork("heal", *self.hotels, skew=HOUR * (-1) ** one, grants=grants)
            for one in range(self.processes)
        ]
        for child in crowd:
            assert child.wait_for(marks.OPEN)
        self._strike(outage, [Watched(child) for child in crowd])
        self.tally.heals += 1
        for child in crowd:
            report = child.end()
            if report is None or report.statuses != [200] * len(self.hotels) or not _passing(report.errors):
                self._lost(None, f"a vault lived on and does not serve: {report}")
            else:
                self.tally.later += len(report.errors)
        self._judge_all(outage)

    def _strike(self, outage: Outage, watched: list[Watched]) -> None:
        mark, delay = self.aim.draw()
        slow_network(self.lane, self.dice, mark, kinds=("delay",))
        self._wait_for(watched, mark, outage.target)
        if delay > SHORTEST_SLEEP:
            time.sleep(delay)
        outage.ahead = [one.told for one in watched]
        self.server.kill()
        outage.at_the_kill = self.lane.refreshes(self._seen)
        outage.at = [one.told for one in watched]
        time.sleep(self.dice.random() * MOST_DOWN)
        outage.down = [one.told for one in watched]
        outage.entries = self.lane.journal(self._seen)
        self.server.start()
        self.lane.made.vendor.control("faults", "DELETE")
        self._promises(outage)

    def _wait_for(self, watched: list[Watched], mark: str, target: int) -> None:
        """Until one of them has come to this mark of the target's refresh, or it is over."""
        until = time.monotonic() + MARK_SECONDS
        over = {mark, marks.RELEASED}
        while mark != marks.OPEN and time.monotonic() < until:
            if any(over & set(marks.of(one.told, target)) or one.child.closed for one in watched):
                return
            time.sleep(0.0005)

    # --- evidence

    def _promises(self, outage: Outage) -> None:
        """What was answered is there; what is not there was used by nobody; nothing was sent without an intent."""
        self.tally.variants[f"{self.lane.variant} x{self.processes} {'service' if self.serving else 'vaults'}"] += 1
        for hotel in self.hotels:
            mine = Life(
                "".join(marks.of(told, hotel) for told in outage.down),
                [one for one in outage.entries if self.lane.may_be(hotel, one)],
            )
            point = outage.point(hotel, [one for one in outage.at_the_kill if self.lane.may_be(hotel, one)])
            if hotel == outage.target:
                self.tally.points[point] += 1
            if point not in OUTSIDE:
                self.tally.caught[point] += 1
            gained = self.lane.row(hotel)["generation"] - outage.before[hotel]["generation"]
            issued = {one["ordinal"] for one in mine.refreshes if one["outcome"] == "issued"}
            used = {one["ordinal"] for one in mine.entries if one["outcome"] == "accepted"}
            broken = {
                f"{mine.marks.count(marks.COMMITTED)} commits were answered, {gained} rest": (
                    gained < mine.marks.count(marks.COMMITTED)
                ),
                "a token that rests nowhere was used": gained < len(issued & used),
                "a refresh was sent without an intent": len(mine.refreshes) > mine.marks.count(marks.INTENT),
            }
            for why in [why for why, is_so in broken.items() if is_so]:
                self._lost([hotel], f"server killed at {point} ({mine.marks}), and {why}")

    def _judge_all(self, outage: Outage) -> None:
        """When everybody is served again: how many refreshes each generation cost."""
        if self.lane.marked() or not self.lane.base.sound():
            self._lost(None, f"marked as to be approved again: {self.lane.marked()}, or a damaged database")
        self.lane.base.settle()
        entries = self.lane.refreshes(self._seen)
        for hotel in self.hotels:
            row = self.lane.row(hotel)
            self.tally.most_kept = max(self.tally.most_kept, row["stored"] - 1)
            gained = row["generation"] - outage.before[hotel]["generation"]
            sent = sum(self.lane.may_be(hotel, one) for one in entries)
            if gained or sent:
                kind = "struck" if outage.struck(hotel) else "undisturbed"
                self.tally.cost[f"{kind}: {sent} for {gained}"] += 1


def _passing(errors: list[str]) -> bool:
    return {error.split(":")[0] for error in errors} <= PASSING
