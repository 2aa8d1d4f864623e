"""`python -m benchmarks [GROUP…]`: measure, and write docs/benchmarks.md (`make bench`)."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import fleet, programs, proxy, service
from benchmarks.measure import ROOT, Found, Group, rounds
from benchmarks.notes import NOTES
from benchmarks.page import compared, shown, write

RESULTS = ROOT / "docs" / "benchmarks" / "results.json"
GROUPS = (*programs.GROUPS, *proxy.GROUPS, *service.GROUPS, *fleet.GROUPS)

PEERS = ("requests-oauthlib", "authlib", "google-auth", "msal", "httpx2", "httpx", "requests", "aiohttp", "uvicorn")


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
    begun = time.monotonic()
    groups: list[Mapping[str, Any]] = []
    for group in chosen:
        groups.append(measured(group, given.rounds))
        if given.write:  # after each: the next one may fail
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({"facts": facts(given.rounds), "groups": groups}, indent=1) + "\n")
            write(json.loads(RESULTS.read_text()), NOTES, RESULTS.parent)
    print(f"{time.monotonic() - begun:.0f} s")
    return 0


def measured(group: Group, number: int) -> Mapping[str, Any]:
    """One group, as the page needs it; its table on the terminal."""
    print(f"\n{group.title}: {group.question}")
    with group.open() as subjects:
        values = rounds(subjects, number, _progress)
        counted = {subject.name: subject.counted() for subject in subjects}
    for name, one in values.items():
        print(f"  {name:32} {shown(one.middle):>10} {group.unit:10} {counted[name]}".rstrip())
    kept = ("name", "title", "unit", "question", "ours", "beside", "aim", "less")
    found = {
        **{key: getattr(group, key) for key in kept},
        "subjects": {name: {**_kept(one), "counted": counted[name]} for name, one in values.items()},
    }
    print(f"  {compared(found)}", flush=True)
    return found


def _kept(found: Found) -> Mapping[str, Any]:
    values = found.values
    return {"middle": found.middle, "lowest": min(values), "highest": max(values), "values": list(values)}


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}", end="\r", file=sys.stderr, flush=True)


def facts(number: int) -> Mapping[str, object]:
    """Where and when it was measured."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True, cwd=ROOT
    ).stdout.strip()
    node = subprocess.run(["node", "--version"], check=False, capture_output=True, text=True).stdout.strip()
    locked = json.loads((ROOT / "benchmarks/peers/express/package-lock.json").read_text())["packages"]
    names = [f"{name} {version(name)}" for name in PEERS]
    names += [f"{name} {locked[f'node_modules/{name}']['version']}" for name in ("express", "axios")]
    return {
        "rounds": number,
        "machine": f"{processor}, {platform.system()} {platform.release()}",
        "versions": ", ".join([f"Python {platform.python_version()}", f"Node {node}", *names]),
        "commit": commit,
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    sys.exit(main())
