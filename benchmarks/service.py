"""Groups of the service as a process: what it holds, when it is ready, and what workers and databases make of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from benchmarks import ask, copies, stage
from benchmarks.measure import Aim, Group, Subject
from benchmarks.proxy import EXPRESS, UNLIMITED, proxies

WARM, HOTELS = 1_000, 5_000  # called before, and between, two looks at the memory: the first ones fill pools, too
GRANTS = 100_000
CORES = {"1 process": stage.SERVES, "2 processes": f"{stage.SERVES},{stage.ASKS}"}


def resident(pid: int, what: str = "VmRSS") -> float:
    """MB of memory that a process holds; `VmHWM`: held at most since `reset_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no {what}")


def reset_peak(pid: int) -> None:
    """The most that a process ever held is what it holds now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def held(target: stage.Target) -> float:
    """MB after a hundred calls."""
    ask.latencies(target.url, stage.METHOD, target.headers, bursts=1, calls=100, pause=0.0)
    return resident(target.pid)


@contextmanager
def memory() -> Iterator[Sequence[Subject]]:
    """What a service holds that was asked a hundred times."""
    with stage.vendor() as vendor, proxies(vendor, **UNLIMITED) as targets:
        yield [Subject(name, partial(held, target)) for name, target in targets.items()]


@contextmanager
def streamed() -> Iterator[Sequence[Subject]]:
    """What large bodies add to that, at their most."""
    with stage.vendor() as vendor, proxies(vendor, **UNLIMITED) as targets:
        ways = {
            "down": lambda target: ask.download(target.url, target.headers),
            "up": lambda target: ask.upload(target.url, target.headers, vendor.large),
        }
        idle = {name: held(target) for name, target in targets.items()}

        def added(name: str, way: str) -> float:
            target = targets[name]
            reset_peak(target.pid)
            ways[way](target)
            return resident(target.pid, "VmHWM") - idle[name]

        yield [Subject(f"{name}, {way}", partial(added, name, way)) for name in targets for way in ways]


@contextmanager
def cached() -> Iterator[Sequence[Subject]]:
    """What a thousand hotels add, each called once; measured in a new process each time."""
    with stage.vendor() as vendor:
        ids = copies.multiply(vendor.settings, WARM + HOTELS)

        def each_thousand() -> float:
            with stage.service(vendor, **UNLIMITED) as target:
                urls = [f"{target.base}/proxy/{connection_id}" for connection_id in ids]
                ask.each(urls[:WARM], stage.METHOD, target.headers)
                before = resident(target.pid)
                ask.each(urls[WARM:], stage.METHOD, target.headers)
                return (resident(target.pid) - before) / HOTELS * 1_000

        yield [Subject("cloudbeds-auth", each_thousand)]


@contextmanager
def databases() -> Iterator[Mapping[str, stage.Vendor]]:
    """A hotel in each of them."""
    with stage.vendor() as sqlite, stage.postgresql() as url, stage.vendor(url) as postgresql:
        yield {"SQLite": sqlite, "PostgreSQL": postgresql}


@contextmanager
def workers() -> Iterator[Sequence[Subject]]:
    """One process on the first core; two on both, of which the second one asks and answers for Cloudbeds, too."""
    with databases() as vendors, ExitStack() as stack:

        def measured(target: stage.Target) -> float:
            return ask.load(target.url, stage.METHOD, target.headers, connections=32, seconds=5).per_second

        subjects = []
        for database, vendor in vendors.items():
            for number, (name, core) in enumerate(CORES.items(), start=1):
                more = {"CLOUDBEDS_AUTH_WORKERS": str(number), **UNLIMITED}
                target = stack.enter_context(stage.service(vendor, core=core, **more))
                subjects.append(Subject(f"cloudbeds-auth, {database}, {name}", partial(measured, target)))
        yield subjects


def until_ready(vendor: stage.Vendor) -> float:
    """Seconds from the start of the process to the first 200 of /readyz."""
    begun = time.perf_counter()
    with stage.service(vendor) as target:

        def asked() -> float | None:
            with suppress(RuntimeError):
                ask.each([target.base], "/readyz", {})
                return time.perf_counter() - begun
            return None

        return stage.until(asked, "a 200 of /readyz")


@contextmanager
def ready() -> Iterator[Sequence[Subject]]:
    """One hotel, and a hundred thousand of them."""
    with stage.vendor() as small, databases() as vendors:
        for vendor in vendors.values():
            copies.multiply(vendor.settings, GRANTS - 1)
        every = {**vendors, "SQLite, one grant": small}
        yield [Subject(f"cloudbeds-auth, {name}", partial(until_ready, vendor)) for name, vendor in every.items()]


GROUPS = (
    Group(
        "workers", "Processes and databases", "requests/s",
        "32 connections, the rate limit off: how many calls a second? One process has a core of its own; two have both "
        "cores, and share the second one with those who ask and with Cloudbeds. A fresh token is in memory, so neither "
        "database is asked.",
        workers, "cloudbeds-auth, SQLite, 1 process", less=False,
    ),
    Group(
        "memory", "Memory", "MB",
        "What does the service hold after a hundred calls? (An idle one holds half a megabyte less.)",
        memory, EXPRESS, (Aim("cloudbeds-auth", 80),),
    ),
    Group(
        "cached", "Memory of hotels", "MB",
        f"What do a thousand hotels add, each called once, after the first {WARM:,}?",
        cached, aims=(Aim("cloudbeds-auth", 2),),
    ),
    Group(
        "streamed", "Memory of large bodies", "MB",
        "What does the service hold at its most while 100 MiB pass, over what it held before the first of them?",
        streamed, f"{EXPRESS}, down", (Aim("cloudbeds-auth, down", 20), Aim("cloudbeds-auth, up", 20)),
    ),
    Group(
        "ready", "Ready to serve", "s",
        f"How long from the start of `serve` until `/readyz` answers 200, with {GRANTS:,} grants in the database?",
        ready, "cloudbeds-auth, SQLite, one grant",
        (Aim("cloudbeds-auth, SQLite", 2), Aim("cloudbeds-auth, PostgreSQL", 2)),
    ),
)  # fmt: skip
