"""Groups of calls through the service, beside other proxies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from statistics import median

from benchmarks import ask, stage
from benchmarks.measure import Group, Subject

PAUSE = 1.5  # seconds, longer than a window of the rate limit
BURST = 9  # calls that go at once under the default limit
BODIES = 5  # of which one measurement takes the median
WARM_UP = 3  # seconds
EXPRESS = "Express + axios"


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
    """Calls until Node has compiled what is called often; neither of the others becomes any faster."""
    express = targets[EXPRESS]
    ask.load(express.url, stage.METHOD, express.headers, connections=32, seconds=WARM_UP)


@contextmanager
def bursts() -> Iterator[Sequence[Subject]]:
    """Nine calls in a row after a pause, default settings: milliseconds that each subject adds to the vendor's own."""
    with stage.vendor() as vendor, proxies(vendor) as targets:
        warm_up(targets)

        def added_by(target: stage.Target) -> float:
            how = {"bursts": 10, "calls": BURST, "pause": PAUSE}
            through = ask.median_latency(target.url, stage.METHOD, target.headers, **how)
            return through - ask.median_latency(vendor.url, stage.METHOD, {}, **how)

        yield [Subject(name, partial(added_by, target)) for name, target in targets.items()]


def _loaded(read: Callable[[ask.Load], float]) -> Callable[[], AbstractContextManager[Sequence[Subject]]]:
    @contextmanager
    def opened() -> Iterator[Sequence[Subject]]:
        with stage.vendor() as vendor, proxies(vendor, CLOUDBEDS_AUTH_RATE_LIMIT="0") as targets:
            warm_up(targets)

            def measured(target: stage.Target) -> float:
                return read(ask.load(target.url, stage.METHOD, target.headers, connections=32, seconds=5))

            yield [Subject(name, partial(measured, target)) for name, target in targets.items()]

    return opened


@contextmanager
def bodies(megabytes_per_second: Callable[[stage.Vendor, stage.Target], float]) -> Iterator[Sequence[Subject]]:
    """One large body after another."""
    with stage.vendor() as vendor, proxies(vendor) as targets:

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
        "Nine calls in a row on one connection after a pause: what does each take longer than without a proxy?",
        bursts, "cloudbeds-auth", EXPRESS, "at most half of what Express + axios adds",
    ),
    Group(
        "throughput", "Calls through the proxy at full load", "requests/s",
        "32 connections, the rate limit off, one core: how many calls a second? The others are bound by this core; "
        "nginx as much by the second one, where a call takes those who ask, and Cloudbeds, as long as it takes nginx.",
        _loaded(lambda found: found.per_second), "cloudbeds-auth", EXPRESS,
        "at least 2.5 times Express + axios", less=False,
    ),
    Group(
        "tail", "The slowest calls at full load", "ms", "The same load: within what time are 99 of 100 answered?",
        _loaded(lambda found: found.p99), "cloudbeds-auth", EXPRESS, "below the median of Express + axios",
    ),
    Group(
        "download", "A large answer", "MB/s", "100 MiB down on one connection, default settings: how fast?",
        partial(bodies, down), "cloudbeds-auth", "nginx", "a third of nginx", less=False,
    ),
    Group(
        "upload", "A large request", "MB/s", "100 MiB up on one connection, default settings: how fast?",
        partial(bodies, up), "cloudbeds-auth", "nginx", "a third of nginx", less=False,
    ),
)  # fmt: skip
