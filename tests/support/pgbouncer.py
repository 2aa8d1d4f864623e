"""PostgreSQL behind PgBouncer in transaction mode: `python -m tests.support.pgbouncer pytest …` runs tests that way.

Needs Debian's package (`make system`). Each transaction may run on another server connection than the one before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from tests.support.ports import free_port
from tests.support.postgres import ELSEWHERE, NOBODY, PATIENCE, PostgresServer, server

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 20
server_idle_timeout = 5
logfile = {folder}/log
"""


@contextmanager
def bouncer(behind: PostgresServer) -> Iterator[str]:
    """The URL of a pooler in front of this server."""
    program = shutil.which("pgbouncer")
    if program is None:
        raise SystemExit("pgbouncer is not installed: make system")
    folder, port = behind.folder / "pgbouncer", free_port()
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "pgbouncer.ini").write_text(CONFIG.format(server=behind.port, port=port, folder=folder))
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    command = [*(as_nobody if os.geteuid() == 0 else []), program, "--quiet", str(folder / "pgbouncer.ini")]
    process = subprocess.Popen(command, env={}, cwd=folder)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(url, connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > until or process.poll() is not None:
                    raise
                time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


def main(arguments: list[str]) -> int:
    """Run a module with the tests' database behind the pooler; its exit status."""
    with server() as behind, bouncer(behind) as url:
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, env={**os.environ, ELSEWHERE: url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
