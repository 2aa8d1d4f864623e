"""Groups of programs that use the library, and of processes that begin and end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import stage
from benchmarks.children import added, lookup
from benchmarks.measure import ROOT, Aim, Group, Subject

PYTHON = "python -c pass"


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
            Subject(PYTHON, partial(run_time, python, "-c", "pass")),
            Subject("cloudbeds-auth --version", partial(run_time, ours, "--version")),
            Subject("import TokenVault", partial(run_time, python, "-c", "from cloudbeds_auth import TokenVault")),
            Subject(
                "cloudbeds-auth access-token", partial(run_time, ours, "access-token", vendor.connection.id, **more)
            ),
        ]


GROUPS = (
    Group(
        "lookup", "A fresh token", "µs",
        "What does a program pay to learn the token that it may send? The peers have no call for that alone: theirs "
        "makes the header, too.",
        partial(children, "lookup", list(lookup.SUBJECTS)), "requests-oauthlib", (Aim("cloudbeds-auth", 0.5),),
    ),
    Group(
        "added", "Authorization of a call", "µs",
        "What does `auth=` add to a call over the same client without it? No network, no rate limit. Without `auth=`, "
        "`requests` looks for a `.netrc`: that makes all of its three rows smaller.",
        partial(children, "added", list(added.SUBJECTS)), "Authlib, httpx2",
        (
            Aim("cloudbeds-auth, httpx2", 10), Aim("cloudbeds-auth, httpx2", 1, "Authlib, httpx2"),
            Aim("cloudbeds-auth, httpx2 (async)", 10),
            Aim("cloudbeds-auth, httpx2 (async)", 1, "Authlib, httpx2 (async)"),
            Aim("cloudbeds-auth, requests", 10), Aim("cloudbeds-auth, requests", 1, "Authlib, requests"),
            Aim("cloudbeds-auth, requests", 1, "requests-oauthlib, requests"),
        ),
    ),
    Group(
        "start", "Start", "ms",
        "How long does a process take that begins, does one thing and ends? The import is that of a name: engine and "
        "drivers come with the first vault, as in `access-token`.",
        starts, PYTHON,
        (
            Aim("cloudbeds-auth --version", 5, PYTHON), Aim("import TokenVault", 12, PYTHON),
            Aim("cloudbeds-auth access-token", 22, PYTHON),
        ),
    ),
)  # fmt: skip
