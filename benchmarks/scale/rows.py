"""What is measured, how it was when the aims were set, and the aims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.scale import accidents, commands, jobs, serving
from benchmarks.scale.place import DATABASES, Found, Place

SIZES = (1_000, 100_000, 1_000_000)  # hotels
MOVED = 100_000  # the most that are moved to the other database
CONNECTED = 320  # hotels with tokens of their own, for accidents and refreshes
ENDS = math.inf  # the aim of what only has to end within its patience
SMALL = 5.0  # ms that are no more than flat, whatever they are with the fewest hotels


@dataclass(frozen=True, slots=True)
class Row:
    """`measure` yields its numbers.

    `aims` by what was measured, "" for all of it: at most so much, or at least where `more` is better. `flat`: at most
    so many times what it is with the fewest hotels, or SMALL. Both are judged with the most hotels. `most`: with more
    it is not measured; 0: it does not depend on them, and is measured once.
    """

    name: str
    title: str
    question: str
    before: str
    unit: str
    measure: Callable[[Place], Iterator[Found]]
    aims: Mapping[str, float] = field(default_factory=dict)
    flat: float = 0.0
    more: bool = False
    most: int = SIZES[-1]
    databases: tuple[str, ...] = DATABASES

    def aim(self, what: str) -> float | None:
        """The aim of this number; None: it has none."""
        return self.aims.get(what, self.aims.get(""))


# In this order: a copy comes last of what is done to many hotels, and refreshes after all accidents, since both leave
# something behind.
ROWS = (
    Row(
        "built", "The database",
        "How long does it take to build, by SQL and with the product's sealer, and how large is it?",
        "", "s", commands.built,
    ),
    Row(
        "migrate", "Migration",
        "`database migrate` from two schema versions earlier: does it end?",
        "on PostgreSQL it failed at a million, by the statement timeout of calls", "s", commands.migrate,
        {"": ENDS},
    ),
    Row(
        "ready", "Ready to serve",
        "How long does it take from the start of `serve` until `/readyz` answers 200?",
        "0.65 s", "s", commands.ready, {"": 2.0},
    ),
    Row(
        "doctor", "Doctor",
        "How long does `doctor` take over hotels that need no attention?",
        "wrong with more than 50 healthy hotels; 44 s at 100,000 on PostgreSQL", "s", commands.doctor, {"": 5.0},
    ),
    Row(
        "lists", "Lists and searches",
        "`GET /api/v1/connections`: the first page and the last one, median of five (fewer if slow). A last page is"
        " requested by the cursor of one of the oldest hotels. One hotel in a thousand is `backing_off`, one"
        " `disconnected`, none `reauthorization_required`. `client_refused` is measured twice: with no such hotel, and"
        " with another client id in the settings, so that nine in ten are refused.",
        "1.1 to 9.5 s at a million; `state=client_refused` gave empty pages with a `next`", "ms", serving.lists,
        {"": 50.0},
    ),
    Row(
        "metrics", "Metrics",
        "`GET /metrics`, median of five, once it has its gauges; and the slowest answer of `/readyz` meanwhile.",
        "at a million 1.2 s on SQLite, 4.8 s on PostgreSQL and then without gauges; `/readyz` waited 1.6 s", "ms",
        serving.metrics, {"": 50.0},
    ),
    Row(
        "strangers", "Strangers",
        "A request without a credential, for an unknown host, an unknown path, and the callback of one app; one hotel"
        " in ten, at most 100,000, has an app of its own; median of five.",
        "0.4 s with 100,000 apps", "ms", serving.strangers, flat=2.0,
    ),
    Row(
        "cold", "Tokens that are not in memory",
        "`GET …/access-token` of hotels that the process has not served before, one after the other.",
        "", "ms", serving.cold, flat=2.0,
    ),
    Row(
        "tick", "Jobs with nothing due",
        "One tick of each job that finds nothing to do, median of 25.",
        "`app_states` took 51 ms on SQLite, inside a write transaction", "ms", jobs.nothing_due, flat=2.0,
    ),
    Row(
        "backup", "Backup under load",
        f"How long does `database backup` take while the service gets {commands.A_SECOND:.0f} calls a second, and how"
        " long the slowest of these calls?",
        "with 617 MB, it restarted 366 times in 25 s, and never ended", "s", commands.backup,
        {"backup": ENDS, "longest call meanwhile": 1.0}, databases=("SQLite",),
    ),
    Row(
        "retention", "Retention",
        f"{jobs.KEPT} days are kept, and older rows exist: how many rows a second does the job delete, including the"
        f" waits of its loop, until all are gone or for {jobs.DELETES:.0f} s? The aim is the value before.",
        "667 a second", "rows/s", jobs.retention, {"": 667.0}, more=True,
    ),
    Row(
        "copy", "Move to the other database",
        "`database copy --offline`: how long does it take until a service over the other database has served a call"
        " (the downtime), and until everything is there?",
        "5,600 rows a second, all of it downtime", "s", commands.copy,
        {commands.SERVED: 60.0, commands.WHOLE: ENDS}, most=MOVED,
    ),
    Row(
        "restart", "Rolling restart",
        "Two services behind a load balancer that asks `/readyz` every two seconds are restarted one after the other,"
        f" under {accidents.RUSH:.0f} calls a second from callers that never retry, with the rate limit off. How many"
        " calls are refused?",
        "128 of 700", "calls", accidents.rolling_restart, {"": 0.0}, most=0,
    ),
    Row(
        "away", "Database away",
        f"For {accidents.AWAY:.0f} s PostgreSQL is stopped, or another program holds SQLite's lock, while a hotel whose"
        f" token is in memory is called {accidents.A_SECOND:.0f} times a second. How many of these calls are answered?"
        " The share of the rate limit that one process may use alone is seven in ten seconds.",
        "none: 503 after 3 s", "calls", accidents.database_away, {"": 7.0}, more=True, most=0,
    ),
    Row(
        "full", "Disk full",
        f"The same for {accidents.FULL:.0f} s in which nothing can be written. How are the other calls answered?",
        "none: `rate_limited`", "calls", accidents.disk_full, {"": 7.0}, more=True, most=0, databases=("SQLite",),
    ),
    Row(
        "killed", "Killed in a refresh",
        "A process is killed (`kill -9`) while Cloudbeds has its refresh: how long do callers of another process wait"
        " for that hotel until they are served? The aim is what safety requires, 20 s after the killed refresh began"
        " (operating.md#a-process-that-is-killed-in-a-refresh), plus a second for what follows.",
        "14 to 25 s", "s", accidents.killed, {"": 21.0}, most=0,
    ),
    Row(
        "refreshes", "Refreshes",
        f"{CONNECTED} hotels are due at once, half of them under a second client id, and Cloudbeds takes"
        f" {jobs.SLOW:.0f} s for each answer: how many are refreshed and proven a second? The vendor's limit lets 7.2"
        " through for both; the aim allows 5 % of that for rounding to whole seconds.",
        "1.9 for one client id", "refreshes/s", jobs.refreshes, {"": 6.84}, more=True, most=0,
    ),
)  # fmt: skip
