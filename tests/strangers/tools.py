"""Other people's tools: where they are, how one is run, and a server with the faults that they are to find."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-strangers" / "bin"
PASSED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")  # which certificates this machine trusts
COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # and what else terminals are told


@dataclass(frozen=True)
class Done:
    """How a tool ended, and what it said."""

    status: int
    said: str


def run(tool: str, *arguments: str, folder: Path, seconds: float = 120.0) -> Done:
    """Run a tool until it ends by itself; `folder` is its home. Fails where it takes longer than so many seconds."""
    command = shutil.which(tool, path=f"{FOLDER}{os.pathsep}{os.environ['PATH']}")
    assert command, f"{tool} is not there: `make system strangers` brings it"
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    done = subprocess.run(
        [command, *arguments], cwd=folder, env={**passed, "HOME": str(folder), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False,
    )  # fmt: skip
    return Done(done.returncode, COLOURS.sub("", done.stdout.decode("utf-8", "replace")))


class Careless(BaseHTTPRequestHandler):
    """Joins a parameter into SQL and into a page: what no program may do, for tools to find."""

    def do_GET(self) -> None:
        """A hotel by its reference, with the reference as it came."""
        reference = dict(parse_qsl(urlsplit(self.path).query)).get("reference", "")
        with closing(sqlite3.connect(":memory:")) as database:
            database.executescript(
                "CREATE TABLE hotels (name, reference); INSERT INTO hotels VALUES ('Aurora', 'tenant-7')"
            )
            try:
                found = database.execute(f"SELECT name FROM hotels WHERE reference = '{reference}'").fetchall()
            except sqlite3.Error as error:
                found = [(f"SQLite error: {error}",)]
        rows = "".join(f"<li>{name}</li>" for (name,) in found)
        form = '<form><input name="reference" value="tenant-7"><input type="submit"></form>'
        page = f"<html><body><h1>{reference}</h1><ul>{rows}</ul>{form}</body></html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *arguments: object) -> None:
        """Nobody looks."""


@contextmanager
def careless(*, threads: bool = True) -> Iterator[str]:
    """Its address while it runs; without threads it serves one caller after the other."""
    kind = ThreadingHTTPServer if threads else HTTPServer
    with kind(("127.0.0.1", 0), Careless) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever hung up
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
