"""The record of a proof run: what was done, counted and found; kept in a small JSON file that a run goes on with."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import platform
import subprocess
import tokenize
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import apsw

ROOT = Path(__file__).resolve().parents[2]
# What a run's outcome depends on, and no page or command: while those change, ranges of seeds can be joined. Tests see
# to it that nothing else is imported, and that no run calls a function of what is in `NOT_RUN`.
CODE = (
    "src/cloudbeds_auth/rules", "src/cloudbeds_auth/transactions", "src/cloudbeds_auth/engine",
    "src/cloudbeds_auth/database", "src/cloudbeds_auth/wire", "src/cloudbeds_auth/__init__.py",
    "src/cloudbeds_auth/errors.py", "src/cloudbeds_auth/os_files.py", "src/cloudbeds_auth/ports.py",
    "src/cloudbeds_auth/system.py", "src/cloudbeds_auth/threads.py", "src/cloudbeds_auth/version.py",
    "src/cloudbeds_simulator", "tests/simulation", "tests/support/keys.py", "tests/support/genuine.py",
)  # fmt: skip
NOT_RUN = (
    *(f"src/cloudbeds_auth/rules/{one}.py" for one in (
        "answer_words", "caller_keys", "event_words", "hotel_words", "languages", "overview", "pair_drawing",
        "permissions", "property_pin", "request_ids", "time_words", "timeline",
    )),
    *(f"src/cloudbeds_auth/transactions/{one}.py" for one in (
        "caller_keys", "exposure", "pasted_keys", "sessions",
    )),
    *(f"src/cloudbeds_auth/engine/{one}.py" for one in (
        "audit", "caller_keys", "changed_looks", "imports", "pasted_keys", "sessions", "views",
        "watching", "webhooks", "workload",
    )),
    *(f"src/cloudbeds_auth/database/{one}.py" for one in (
        "backup", "bulk", "check", "copy", "copy_history", "key_files", "maintenance", "rekey",
    )),
    *(f"src/cloudbeds_auth/wire/{one}.py" for one in ("hotel_client", "upstream", "webhook_sender")),
    *(f"src/cloudbeds_simulator/{one}.py" for one in (
        "approval_pages", "control_api", "glass_box", "grant_views", "http_shell", "local_requests", "request_views",
    )),
    "src/cloudbeds_auth/os_files.py",
    *(f"tests/simulation/{one}.py" for one in ("progress", "prove", "record", "report")),
)  # fmt: skip
"""Of `CODE`, what is imported at most, and constructed: words, keys, sessions, pasted keys, views, copies, files, the
clients of the proxy and of webhooks; and the simulator as a server, with its pages.
"""


class OtherCode(Exception):
    """A record does not belong to this code, or not to this store."""


@dataclass
class Failure:
    """What went wrong; `replay` is the command that shows it again."""

    what: str
    violation: str
    story: str
    replay: str


@dataclass
class Part:
    """One variant's part of an exhaustive set; `seconds` of one core."""

    runs: int
    seconds: float
    points: dict[str, int]
    failures: int


@dataclass
class Record:
    """`done`: the seeds, as ranges [from, to); `variants`: faults that struck, by variant; `controls`: who found it."""

    code: str
    store: str
    machine: dict[str, str]
    commit: str
    commands: list[str] = field(default_factory=list)
    began: str = ""
    ended: str = ""
    seconds: float = 0.0
    done: list[list[int]] = field(default_factory=list)
    hours: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    variants: dict[str, Counter[str]] = field(default_factory=dict)
    sets: dict[str, dict[str, Part]] = field(default_factory=dict)
    controls: dict[str, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    @property
    def seeds(self) -> int:
        """How many seeds are done."""
        return sum(end - start for start, end in self.done)

    def add_seed(self, seed: int) -> None:
        """This seed is done."""
        ranges = sorted([*self.done, [seed, seed + 1]])
        self.done = ranges[:1]
        for start, end in ranges[1:]:
            if start <= self.done[-1][1]:
                self.done[-1] = [self.done[-1][0], max(end, self.done[-1][1])]
            else:
                self.done.append([start, end])

    def has_seed(self, seed: int) -> bool:
        """Whether it is done."""
        return any(start <= seed < end for start, end in self.done)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        self.ended = now()
        other = path.with_name(f"{path.name}.new")
        other.write_text(json.dumps(vars(self), default=vars, indent=1) + "\n", "utf-8")
        other.replace(path)


def new(store: str) -> Record:
    """The record of a run that begins now."""
    return Record(code_hash(), store, machine(), commit(), began=now())


def load(path: Path) -> Record:
    """A record from its file."""
    content = json.loads(path.read_text("utf-8"))
    content["counts"] = Counter(content["counts"])
    content["variants"] = {variant: Counter(counts) for variant, counts in content["variants"].items()}
    content["sets"] = {
        name: {variant: Part(**part) for variant, part in parts.items()} for name, parts in content["sets"].items()
    }
    content["failures"] = [Failure(**one) for one in content["failures"]]
    return Record(**content)


def resumed(path: Path | None, store: str) -> Record:
    """The record to go on with, a new one when there is none; raises OtherCode."""
    if path is None or not path.exists():
        return new(store)
    record = load(path)
    if record.code != code_hash():
        raise OtherCode(f"{path} was made by other code than this: its counts cannot be added to")
    if record.store != store:
        raise OtherCode(f"{path} is of the {record.store} store, not of {store}")
    return record


def code_hash() -> str:
    """Of what runs of `CODE` without `NOT_RUN` and the tests of the simulation itself."""
    digest = hashlib.sha256()
    for path in sorted(path for one in CODE for path in ((ROOT / one), *(ROOT / one).rglob("*"))):
        name = str(path.relative_to(ROOT))
        if path.suffix in {".py", ".sql"} and path.is_file() and name not in NOT_RUN and path.name[:5] != "test_":
            text = path.read_text("utf-8")
            digest.update(f"{name}\0{what_runs(text) if path.suffix == '.py' else text}\0".encode())
    return digest.hexdigest()[:16]


@cache
def what_runs(source: str) -> str:
    """A module without comments, docstrings and empty lines; the same under every version of Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                lines[first - 1 : last] = [""] * (last - first + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def now() -> str:
    """The date and time."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def machine() -> dict[str, str]:
    """What it runs on; neither names of hosts nor of users."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.system(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def commit() -> str:
    """The commit of the checkout, and whether files differ from it."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return f"{head} with changes" if _git("status", "--porcelain", "--", *CODE) else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
