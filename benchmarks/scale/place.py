"""One database with hotels, Cloudbeds for them, and commands and services over both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.support import postgres
from tests.support.postgres import PostgresServer

from benchmarks import hotels, stage
from benchmarks.children.hotel import REDIRECT
from benchmarks.copies import Plain, copy_id
from benchmarks.hotels import Fleet
from benchmarks.scale import fill
from cloudbeds_auth import Connection
from cloudbeds_auth.sync import TokenVault

DATABASES = ("SQLite", "PostgreSQL")
SERVER = {"shared_buffers": "512MB", "max_wal_size": "4GB"}  # other settings are PostgreSQL's own
BOTH_CORES = f"{stage.SERVES},{stage.ASKS}"
SECOND, SECOND_ID, SECOND_SECRET = "second", "second-app", "the-second-app-s-secret-0123456789"
PATIENCE = 300.0  # seconds of a command


class NotMeasured(Exception):
    """What stands on the page in the place of a number: why there is none."""


@dataclass(frozen=True, slots=True)
class Found:
    """One number, in the unit of its row. None: there is none, and `note` says why."""

    what: str
    value: float | None
    note: str = ""


class Command:
    """One of ours that runs, killed when its patience is over: what it said, and after how many seconds it had."""

    def __init__(self, process: subprocess.Popen[str], patience: float) -> None:
        self._process = process
        self._begun = time.perf_counter()
        self._patience = patience
        self.said, self.seconds = "", 0.0

    def until(self, words: str) -> None:
        """Until it says a line with these words, or ends. Raises NotMeasured unless it ends well, and in time."""
        assert self._process.stdout is not None
        lines = [self.said]
        for line in self._process.stdout:
            lines.append(line)
            if words in line:
                break
        else:
            self._process.wait()
        self.said, self.seconds = "".join(lines), time.perf_counter() - self._begun
        if self._process.returncode and self.seconds >= self._patience:
            raise NotMeasured(f"not done within {self._patience:.0f} s")
        if self._process.returncode:
            last = " ".join(self.said.split())[-200:]
            raise NotMeasured(f"exit status {self._process.returncode} after {self.seconds:.1f} s: {last}")

    def end(self) -> None:
        """To its end, as `until`."""
        self.until("\0")


@dataclass(frozen=True)
class Place:
    """Where one row is measured. `first`: the hotel that the others copy, or one of those that were connected."""

    database: str
    hotels: int
    fleet: Fleet
    first: Connection
    folder: Path
    server: PostgresServer
    took: float  # seconds until they were there

    @cached_property
    def vendor(self) -> stage.Vendor:
        """As the services of other benchmarks have it."""
        return stage.Vendor(self.fleet.simulator, self.fleet.base_url, self.fleet.settings, self.first, self.folder)

    @property
    def admin(self) -> Mapping[str, str]:
        """Headers of a caller who may do everything."""
        return {"Authorization": f"Bearer {stage.ADMIN}"}

    def copy(self, at: int) -> str:
        """The connection id of the hotel with this number; 0 is the first."""
        return copy_id(self.first.id, at) if at else self.first.id

    @contextmanager
    def begun(self, *arguments: str, patience: float, given: str = "") -> Iterator[Command]:
        """A command of ours, which is gone at the end of the block; `given`: its standard input."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cloudbeds_auth", *arguments], cwd=self.folder, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        late = threading.Timer(patience, process.kill)
        late.start()
        try:
            with process:
                assert process.stdin is not None
                process.stdin.write(given)
                process.stdin.close()
                try:
                    yield Command(process, patience)
                finally:
                    process.kill()
        finally:
            late.cancel()

    def run(self, *arguments: str, patience: float = PATIENCE, given: str = "") -> Command:
        """A command of ours, once it has ended well. Raises NotMeasured."""
        with self.begun(*arguments, patience=patience, given=given) as command:
            command.end()
            return command

    @property
    def _environment(self) -> dict[str, str]:
        own = {name: os.environ[name] for name in ("PATH", "TMPDIR", "PYTHONPATH") if name in os.environ}
        return {**own, "HOME": str(self.folder), "PYTHONUNBUFFERED": "1", **self.fleet.environment}

    @contextmanager
    def serving(self, **more: str) -> Iterator[stage.Target]:
        """`serve` on both cores, with default settings and `more`. It is stopped by Ctrl-C: nobody is told first."""
        with stage.service(self.vendor, core=BOTH_CORES, **more) as target:
            try:
                yield target
            finally:
                os.kill(target.pid, signal.SIGINT)


@contextmanager
def many(server: PostgresServer, database: str, number: int) -> Iterator[Place]:
    """Copies of a hotel, of a former schema."""
    with _empty(server, database) as (fleet, folder):
        begun = time.perf_counter()
        first = fill.fill(fleet, number)
        yield Place(database, number, fleet, first, folder, server, time.perf_counter() - begun)


@contextmanager
def connected(server: PostgresServer, database: str, number: int) -> Iterator[Place]:
    """So many hotels that were really connected, each with tokens of its own; every second one by a second app."""
    with _empty(server, database) as (fleet, folder):
        begun = time.perf_counter()
        first = fleet.connect(hotels.PROPERTIES[0])
        place = Place(database, number, fleet, first, folder, server, 0.0)
        second_uri = f"{REDIRECT}/{SECOND}"
        app = {"client_id": SECOND_ID, "client_secret": SECOND_SECRET, "redirect_uris": [second_uri]}
        fleet.simulator.control("POST", "apps", app)
        place.run("apps", "add", SECOND, "--client-id", SECOND_ID, "--level", "partner", "--secret-file", "-",
                  given=SECOND_SECRET)  # fmt: skip
        with TokenVault.open(fleet.settings.model_copy(update={"rate_limit": 0})) as vault:
            for at in range(1, number):
                name = str(200_000 + at)
                fleet.simulator.add_hotel(name)
                begin = vault.begin_authorization(app=SECOND if at % 2 else None)
                approval = fleet.simulator.approve(begin.url, name)
                vault.finish_authorization(code=approval.code, state=approval.state)
        with Plain(fleet.settings) as sql:
            fill.nothing_due(sql)  # no job stands between a caller and the rate
        yield Place(database, number, fleet, first, folder, server, time.perf_counter() - begun)


@contextmanager
def _empty(server: PostgresServer, database: str) -> Iterator[tuple[Fleet, Path]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudbeds-auth-scale-")))
        simulator = stack.enter_context(hotels.cloudbeds())
        yield Fleet(simulator, stack.enter_context(new_database(server, database, folder))), folder


@contextmanager
def new_database(server: PostgresServer, database: str, folder: Path) -> Iterator[str]:
    """The address of an empty one, which is gone at the end."""
    if database == "PostgreSQL":
        with postgres.database(server.url) as url:
            yield url
    else:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            yield f"sqlite:///{own}/vault.sqlite3"
