"""Groups of calls through the service, beside other proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median

from benchmarks import ask, stage
from benchmarks.measure import Aim, Group, Subject

PAUSE = 1.5  # seconds, longer than a window of the rate limit
BURST = 9  # calls that go at once under the default limit
BODIES = 5  # of which one measurement takes the median
WARM_UP = 3  # seconds
EXPRESS = "Express + axios"
MEDIAN = f"{EXPRESS}, median"
UNLIMITED = {"CLOUDBEDS_AUTH_RATE_LIMIT": "0"}


@contextmanager
def proxies(vendor: stage.Vendor, **more: str) -> Iterator[Mapping[str, stage.Target]]:
    """Each on the same core, one of them asked at a time; `more` are settings of ours."""
    with ExitStack() as stack:
        yield {
            "cloudbeds-auth": stack.enter_context(stage.service(vendor, **more)),
            EXPRESS: stack.enter_context(stage.express(vendor)),
            "nginx": stack.enter_context(stage.plain_nginx(vendor)),
        }


def warm_up(targets: Mapping[str, stage.Target]) -> None:
    """Calls until Node has compiled what is called often."""
    express = targets[EXPRESS]
    ask.load(express.url, stage.METHOD, express.headers, connections=32, seconds=WARM_UP)


@contextmanager
def bursts() -> Iterator[Sequence[Subject]]:
    """Nine calls in a row after a pause, default settings: milliseconds that each subject adds to the vendor's own."""
    with stage.vendor() as vendor, proxies(vendor) as targets, stage.service(vendor, **UNLIMITED) as unlimited:
        warm_up(targets)
        direct: list[float] = []

        def added_by(target: stage.Target) -> float:
            how = {"bursts": 10, "calls": BURST, "pause": PAUSE}
            through = ask.median_latency(target.url, stage.METHOD, target.headers, **how)
            direct.append(ask.median_latency(vendor.url, stage.METHOD, {}, **how))
            return through - direct[-1]

        def told() -> str:
            return f"Cloudbeds alone: {min(direct):.2f} to {max(direct):.2f} ms"

        every = {**targets, "cloudbeds-auth, no rate limit": unlimited}
        yield [Subject(name, partial(added_by, target), told) for name, target in every.items()]


@contextmanager
def loaded(read: Callable[[ask.Load], float]) -> Iterator[Sequence[Subject]]:
    """Five seconds of load on each; the median of Express besides, which is asked about where `read` is the tail."""
    with stage.vendor() as vendor, proxies(vendor, **UNLIMITED) as targets:
        warm_up(targets)

        def measured(target: stage.Target, read: Callable[[ask.Load], float] = read) -> float:
            return read(ask.load(target.url, stage.METHOD, target.headers, connections=32, seconds=5))

        subjects = [Subject(name, partial(measured, target)) for name, target in targets.items()]
        if read is tail:
            subjects.append(Subject(MEDIAN, partial(measured, targets[EXPRESS], lambda found: found.p50)))
        yield subjects


@contextmanager
def added_at_the_tail() -> Iterator[Sequence[Subject]]:
    """Three seconds with one caller and with 64: by how much the p99 is above the vendor's own, in milliseconds."""
    with stage.vendor() as vendor, proxies(vendor, **UNLIMITED) as targets:
        warm_up(targets)

        def added(target: stage.Target, callers: int) -> float:
            through = ask.load(target.url, stage.METHOD, target.headers, connections=callers, seconds=3)
            return tail(through) - tail(ask.load(vendor.url, stage.METHOD, {}, connections=callers, seconds=3))

        yield [
            Subject(f"{name}, {callers} caller{'s' if callers > 1 else ''}", partial(added, target, callers))
            for name, target in targets.items()
            for callers in (1, 64)
        ]


def rate(found: ask.Load) -> float:
    """Calls a second."""
    return found.per_second


def tail(found: ask.Load) -> float:
    """Milliseconds within which 99 of 100 were answered."""
    return found.p99


@contextmanager
def bodies(megabytes_per_second: Callable[[stage.Vendor, stage.Target], float]) -> Iterator[Sequence[Subject]]:
    """One large body after another."""
    with stage.vendor() as vendor, proxies(vendor) as targets:
        warm_up(targets)

        def passed(target: stage.Target) -> float:
            return median(megabytes_per_second(vendor, target) for _ in range(BODIES))

        yield [Subject(name, partial(passed, target)) for name, target in targets.items()]


def down(vendor: stage.Vendor, target: stage.Target) -> float:
    """MB/s of an answer."""
    return stage.LARGE_SIZE / 1e6 / ask.download(target.url, target.headers)


def up(vendor: stage.Vendor, target: stage.Target) -> float:
    """MB/s of a request."""
    return stage.LARGE_SIZE / 1e6 / ask.upload(target.url, target.headers, vendor.large)


GROUPS = (
    Group(
        "bursts", "Calls through the proxy, default settings", "ms",
        "Nine calls in a row on one connection after a pause: what does each take longer than without a proxy? Ours "
        "checks the caller, takes a turn under the rate limit, counts and logs the call; Express and nginx do none "
        "of that.",
        bursts, EXPRESS, (Aim("cloudbeds-auth", 0.5, EXPRESS),),
    ),
    Group(
        "throughput", "Calls through the proxy at full load", "requests/s",
        "32 connections, the rate limit off, one core: how many calls a second? Ours and Express are bound by that "
        "core, nginx as much by the other one, which asks, and answers for Cloudbeds.",
        partial(loaded, rate), EXPRESS, (Aim("cloudbeds-auth", 2.5, EXPRESS),), less=False,
    ),
    Group(
        "tail", "The slowest calls at full load", "ms",
        "Another run of that load: within what time are 99 of 100 answered?",
        partial(loaded, tail), EXPRESS, (Aim("cloudbeds-auth", 1, MEDIAN),),
    ),
    Group(
        "gateway", "The slowest calls, one caller and many", "ms",
        "The rate limit off, one core, one caller and 64 that ask without a pause: by how much is the time within "
        "which 99 of 100 are answered longer than without a proxy? The aims are what LiteLLM, a gateway in Python, "
        "publishes of itself: 9.8 and 546 ms.",
        added_at_the_tail, f"{EXPRESS}, 1 caller",
        (Aim("cloudbeds-auth, 1 caller", 9.8), Aim("cloudbeds-auth, 64 callers", 546)),
    ),
    Group(
        "download", "A large answer", "MB/s", "100 MiB down on one connection, default settings: how fast?",
        partial(bodies, down), "nginx", (Aim("cloudbeds-auth", 1 / 3, "nginx"),), less=False,
    ),
    Group(
        "upload", "A large request", "MB/s", "100 MiB up on one connection, default settings: how fast?",
        partial(bodies, up), "nginx", (Aim("cloudbeds-auth", 1 / 3, "nginx"),), less=False,
    ),
)  # fmt: skip
