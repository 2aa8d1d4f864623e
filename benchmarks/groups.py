"""What is measured: a group for each question, beside what people use instead."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import ask, stage
from benchmarks.children import added, lookup
from benchmarks.measure import Group, Subject

ROOT = Path(__file__).parent.parent
PAUSE = 1.5  # seconds, longer than a window of the rate limit
BURST = 9  # calls that go at once under the default limit


def child(module: str, name: str) -> float:
    """The number that a program of `children` prints, on a core of its own."""
    command = ["taskset", "-c", stage.SERVES, sys.executable, "-m", f"benchmarks.children.{module}", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()[-1])


@contextmanager
def children(module: str, names: Sequence[str]) -> Iterator[Sequence[Subject]]:
    """A subject for each program."""
    yield [Subject(name, partial(child, module, name)) for name in names]


def run_time(*command: str, **more: str) -> float:
    """Milliseconds from the start of a process to its end; the best of five."""
    found = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(
            ["taskset", "-c", stage.SERVES, *command], check=True, capture_output=True, env=os.environ | more
        )
        found.append((time.perf_counter() - begun) * 1e3)
    return min(found)


@contextmanager
def starts() -> Iterator[Sequence[Subject]]:
    """Processes that begin, do one thing and end."""
    python, ours = sys.executable, str(Path(sys.executable).parent / "cloudbeds-auth")
    with stage.vendor() as vendor:
        more = {
            "CLOUDBEDS_CLIENT_ID": vendor.settings.client_id,
            "CLOUDBEDS_CLIENT_SECRET": "unused",
            "CLOUDBEDS_BASE_URL": vendor.url,
            "CLOUDBEDS_AUTH_DATABASE_URL": vendor.settings.database_url,
        }
        yield [
            Subject("python -c pass", partial(run_time, python, "-c", "pass")),
            Subject("cloudbeds-auth --version", partial(run_time, ours, "--version")),
            Subject("import TokenVault", partial(run_time, python, "-c", "from cloudbeds_auth import TokenVault")),
            Subject(
                "cloudbeds-auth access-token", partial(run_time, ours, "access-token", vendor.connection.id, **more)
            ),
        ]


@contextmanager
def proxies(vendor: stage.Vendor, **more: str) -> Iterator[Mapping[str, stage.Target]]:
    """Each on the same core, one of them asked at a time; `more` are settings of ours."""
    with ExitStack() as stack:
        yield {
            "cloudbeds-auth": stack.enter_context(stage.service(vendor, **more)),
            "Express + axios": stack.enter_context(stage.express(vendor)),
            "nginx": stack.enter_context(stage.plain_nginx(vendor)),
        }


@contextmanager
def bursts() -> Iterator[Sequence[Subject]]:
    """Nine calls in a row after a pause, default settings: milliseconds that each subject adds to the vendor's own."""
    with stage.vendor() as vendor, proxies(vendor) as targets:

        def added_by(target: stage.Target) -> float:
            how = {"bursts": 10, "calls": BURST, "pause": PAUSE}
            through = ask.median_latency(target.url, stage.METHOD, target.headers, **how)
            return through - ask.median_latency(vendor.url, stage.METHOD, {}, **how)

        yield [Subject(name, partial(added_by, target)) for name, target in targets.items()]


def _loaded(read: Callable[[ask.Load], float]) -> Callable[[], AbstractContextManager[Sequence[Subject]]]:
    @contextmanager
    def opened() -> Iterator[Sequence[Subject]]:
        with stage.vendor() as vendor, proxies(vendor, CLOUDBEDS_AUTH_RATE_LIMIT="0") as targets:

            def measured(target: stage.Target) -> float:
                return read(ask.load(target.url, stage.METHOD, target.headers, connections=32, seconds=5))

            yield [Subject(name, partial(measured, target)) for name, target in targets.items()]

    return opened


def resident(pid: int) -> float:
    """MB of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no VmRSS")


@contextmanager
def memory() -> Iterator[Sequence[Subject]]:
    """What a service holds that was asked a hundred times."""
    with stage.vendor() as vendor, proxies(vendor, CLOUDBEDS_AUTH_RATE_LIMIT="0") as targets:

        def held(target: stage.Target) -> float:
            ask.latencies(target.url, stage.METHOD, target.headers, bursts=1, calls=100, pause=0.0)
            return resident(target.pid)

        yield [Subject(name, partial(held, target)) for name, target in targets.items() if target.pid]


GROUPS = (
    Group(
        "lookup", "A fresh token", "µs", "What does a program pay to learn the token that it may send?",
        partial(children, "lookup", list(lookup.SUBJECTS)), "cloudbeds-auth", "requests-oauthlib", "at most 0.5 µs",
    ),
    Group(
        "added", "Authorization of a call", "µs", "What does `auth=` add to a call over the same client without it?",
        partial(children, "added", list(added.SUBJECTS)), "cloudbeds-auth, httpx2", "Authlib, httpx2",
        "under 10 µs, and below each peer on its own client",
    ),
    Group(
        "start", "Start", "ms", "How long does a process take that begins, does one thing and ends?",
        starts, "cloudbeds-auth access-token", "python -c pass",
        "`--version` at most 5 times, the import 12 times, `access-token` 22 times bare Python",
    ),
    Group(
        "bursts", "Calls through the proxy, default settings", "ms",
        "Nine calls in a row on one connection after a pause: what does each take longer than without a proxy?",
        bursts, "cloudbeds-auth", "Express + axios", "at most half of what Express + axios adds",
    ),
    Group(
        "throughput", "Calls through the proxy at full load", "requests/s",
        "32 connections, the rate limit off, one core: how many calls a second?",
        _loaded(lambda found: found.per_second), "cloudbeds-auth", "Express + axios",
        "at least 2.5 times Express + axios", less=False,
    ),
    Group(
        "tail", "The slowest calls at full load", "ms", "The same load: within what time are 99 of 100 answered?",
        _loaded(lambda found: found.p99), "cloudbeds-auth", "Express + axios", "below the median of Express + axios",
    ),
    Group(
        "memory", "Memory", "MB", "What does the service hold after a hundred calls?",
        memory, "cloudbeds-auth", "Express + axios", "under 80 MB",
    ),
)  # fmt: skip
