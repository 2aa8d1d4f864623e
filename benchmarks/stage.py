"""The processes that are measured, each on its core: the first core serves, the second asks and answers for Cloudbeds.

asker ─► subject (ours, Express, nginx) ─► the vendor: nginx, which answers one method and a large one from memory,
                                           and asks the simulator for everything else
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from tests.support import postgres
from tests.support.keys import KEY_TEXT

from benchmarks.children.hotel import REDIRECT
from cloudbeds_auth import Connection, Secret, Settings
from cloudbeds_auth.pytest_plugin.process import Simulator, running
from cloudbeds_auth.sync import TokenVault

HERE = Path(__file__).parent
SERVES, ASKS = "0", "1"  # cores
METHOD = "/api/v1.3/getReservation"
LARGE = "/api/v1.3/large"
UPLOAD = "/api/v1.3/upload"
LARGE_SIZE = 100 * 1024 * 1024  # bytes
BODY = '{"success":true,"data":{' + ",".join(f'"field{number}":"value {number}"' for number in range(40)) + "}}"
ADMIN = "an-admin-token-for-benchmarks-only-0123456789"
READY = 30.0  # seconds
T = TypeVar("T")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def process(
    command: Sequence[str], *, core: str, environment: Mapping[str, str], folder: Path, ready: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A process pinned to a core, once it wrote a line that matches `ready`; ended by its own pid."""
    ours = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    child = subprocess.Popen(
        ["taskset", "-c", core, *command], cwd=folder, env={**ours, "HOME": str(folder), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    lines: list[str] = []
    seen = threading.Event()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            if not seen.is_set():
                lines.append(line)
                if ready and re.search(ready, line):
                    seen.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        if ready and not seen.wait(READY):
            raise RuntimeError(f"{command[0]} did not start:\n{''.join(lines)}")
        yield child
    finally:
        child.terminate()
        try:
            child.wait(READY)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def until(found: Callable[[], T | None], what: str) -> T:
    """What is found, waited for. Raises RuntimeError that says `what` did not come."""
    end = time.monotonic() + READY
    while (one := found()) is None:
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not come within {READY:.0f} s")
        time.sleep(0.01)
    return one


def until_open(port: int) -> None:
    """Wait until a server listens."""

    def opened() -> Literal[True] | None:
        with socket.socket() as probe:
            return True if probe.connect_ex(("127.0.0.1", port)) == 0 else None

    until(opened, f"a server on port {port}")


def child_of(pid: int) -> int:
    """The process id of the one process that this one starts."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return int(until(lambda: children.read_text() or None, f"a child of process {pid}"))


@contextmanager
def nginx(name: str, port: int, core: str, folder: Path, **values: object) -> Iterator[int]:
    """Nginx with `peers/NAME.conf`; the process id of its one worker."""
    place = Path(tempfile.mkdtemp(dir=folder))
    text = (HERE / "peers" / f"{name}.conf").read_text()
    for key, value in {"PORT": port, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    (place / "nginx.conf").write_text(text)
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    command = [program, "-p", str(place), "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")]
    with process(command, core=core, environment={}, folder=place) as master:
        until_open(port)
        yield child_of(master.pid)


@dataclass(frozen=True, slots=True)
class Vendor:
    """Cloudbeds for a benchmark, and a hotel that is connected to our database. Behind its `url` is the simulator."""

    simulator: Simulator
    url: str
    settings: Settings
    connection: Connection
    folder: Path

    @property
    def large(self) -> Path:
        """A file of LARGE_SIZE bytes."""
        return self.folder / "large"


@contextmanager
def vendor(database_url: str = "") -> Iterator[Vendor]:
    """The simulator behind nginx, and a hotel that approved; its database is a new SQLite file where none is named."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        simulator = stack.enter_context(running(folder))
        simulator.reset(redirect_uri=REDIRECT)
        port = free_port()
        (folder / "large").write_bytes(bytes(LARGE_SIZE))
        stack.enter_context(
            nginx("vendor", port, ASKS, folder, SIMULATOR=simulator.url, METHOD=METHOD, BODY=BODY, LARGE=LARGE,
                  UPLOAD=UPLOAD, FILE=folder / "large")
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        settings = Settings(
            client_id=simulator.client_id, client_secret=Secret(simulator.client_secret), base_url=url,
            redirect_uri=REDIRECT, database_url=database_url or f"sqlite:///{folder}/vault.sqlite3",
            encryption_keys=(Secret(KEY_TEXT),) if database_url else (), admin_token=Secret(ADMIN),
        )  # fmt: skip
        with TokenVault.open(settings) as vault:
            begun = vault.begin_authorization()
            approval = simulator.approve(begun.url)
            connection = vault.finish_authorization(code=approval.code, state=approval.state)
        yield Vendor(simulator, url, settings, connection, folder)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a new database on a server of its own, on the core of those who ask."""
    with postgres.server() as server:
        os.sched_setaffinity(server.pid, {int(ASKS)})  # the processes of its connections take after it
        with postgres.database(server.url) as url:
            yield url


@dataclass(frozen=True, slots=True)
class Target:
    """Where a subject answers, and with which headers it is asked."""

    url: str
    headers: Mapping[str, str]
    pid: int

    @property
    def base(self) -> str:
        """Without a path."""
        return self.url.partition("/proxy")[0]


@contextmanager
def service(at: Vendor, *, core: str = SERVES, **more: str) -> Iterator[Target]:
    """`cloudbeds-auth serve` over the hotel's database, with default settings but for where things are, and `more`."""
    port = free_port()
    environment = {
        "CLOUDBEDS_CLIENT_ID": at.settings.client_id,
        "CLOUDBEDS_CLIENT_SECRET": at.settings.client_secret.reveal() if at.settings.client_secret else "",
        "CLOUDBEDS_BASE_URL": at.url,
        "CLOUDBEDS_AUTH_DATABASE_URL": at.settings.database_url,
        "CLOUDBEDS_AUTH_ENCRYPTION_KEYS": ",".join(key.reveal() for key in at.settings.encryption_keys),
        "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN,
        "CLOUDBEDS_AUTH_PORT": str(port),
        **more,
    }
    command = [sys.executable, "-m", "cloudbeds_auth", "serve"]
    with process(command, core=core, environment=environment, folder=at.folder, ready="listening") as child:
        until_open(port)
        yield Target(
            f"http://127.0.0.1:{port}/proxy/{at.connection.id}", {"Authorization": f"Bearer {ADMIN}"}, child.pid
        )


@contextmanager
def express(at: Vendor) -> Iterator[Target]:
    """The tutorial's program in Node."""
    port = free_port()
    environment = {"PORT": str(port), "VENDOR": at.url, "ACCESS_TOKEN": "token", "NODE_ENV": "production"}
    command = ["node", str(HERE / "peers" / "express" / "server.js")]
    with process(command, core=SERVES, environment=environment, folder=at.folder, ready="ready") as child:
        yield Target(f"http://127.0.0.1:{port}/proxy", {}, child.pid)


@contextmanager
def plain_nginx(at: Vendor) -> Iterator[Target]:
    """Nginx that only adds the header."""
    port = free_port()
    with nginx("proxy", port, SERVES, at.folder, VENDOR=at.url.removeprefix("http://")) as worker:
        yield Target(f"http://127.0.0.1:{port}", {}, worker)
