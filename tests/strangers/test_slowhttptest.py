"""slowhttptest against `serve`: heads, bodies and reading at a snail's pace, and another caller beside them (A41)."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.strangers.tools import Done, careless, run

pytestmark = pytest.mark.timeout(120)
ELSEWHERE = ("127.0.0.2", 0)  # another address than the tool's, for what each address may have
CONNECTIONS, SECONDS = 1000, 12
AVAILABLE = r"service available: *(\w+)"
WAYS = {
    "heads": ("/healthz", "-H", "-i", "2"),
    "bodies": ("/api/v1/authorizations", "-B", "-i", "2", "-s", "8192"),
    "reading": ("/static/style.css", "-X", "-w", "1", "-y", "2", "-n", "2", "-z", "1", "-k", "5"),
}


@dataclass
class OtherCaller:
    """Asks for `/healthz` again and again; `answers` are the statuses, 0 for no answer within ten seconds."""

    answers: list[int] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self, host: str, port: int) -> None:
        """Until it is over."""
        while not self.over.wait(0.1):
            connection = http.client.HTTPConnection(host, port, timeout=10, source_address=ELSEWHERE)
            try:
                connection.request("GET", "/healthz", headers={"Host": "localhost"})
                self.answers.append(connection.getresponse().status)
            except OSError:
                self.answers.append(0)
            finally:
                connection.close()


@contextmanager
def another_caller(base: str) -> Iterator[OtherCaller]:
    """It asks meanwhile."""
    caller, port = OtherCaller(), urlsplit(base).port
    assert port is not None
    thread = threading.Thread(target=caller.ask, args=("127.0.0.1", port))
    thread.start()
    try:
        yield caller
    finally:
        caller.over.set()
        thread.join()


def slowhttptest(base: str, way: str, folder: Path) -> Done:
    """A thousand connections within some seconds."""
    path, *options = WAYS[way]
    return run(
        "slowhttptest", *options, "-u", f"{base}{path}", "-c", str(CONNECTIONS), "-r", "400", "-l", str(SECONDS),
        "-p", "5", folder=folder, seconds=60,
    )  # fmt: skip


@pytest.mark.row("A41")
@pytest.mark.parametrize("way", WAYS)
def test_other_callers_are_answered(make_world: MakeWorld, tmp_path: Path, way: str) -> None:
    """The tool says that the service was available, and each question of a caller elsewhere was answered 200."""
    made = make_world("--auto-approve")
    made.start()
    with another_caller(made.base) as caller:
        done = slowhttptest(made.base.replace("localhost", "127.0.0.1"), way, tmp_path)
    assert set(re.findall(AVAILABLE, done.said)) == {"YES"}, done.said[-2000:]
    assert set(caller.answers) == {200}


def test_a_server_that_they_hold(tmp_path: Path) -> None:
    """Against a server that reads one request after the other the same run holds up everybody."""
    with careless(threads=False) as url, another_caller(url) as caller:
        done = slowhttptest(url, "heads", tmp_path)
    assert "NO" in re.findall(AVAILABLE, done.said), done.said[-2000:]
    assert 0 in caller.answers
