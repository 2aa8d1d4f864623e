"""The pytest plugin in users' test-suites: what they get, under which runners, and what is left behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.pytest_plugin.running import command, environment, run, suite

STRICT = "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function"
AUTO = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function"
SESSION = f"{AUTO}\nasyncio_default_test_loop_scope = session"
MODULE_MARK = 'import pytest\npytestmark = pytest.mark.asyncio(loop_scope="module")'
ASYNCIO_MARK = "import pytest\npytestmark = pytest.mark.asyncio"
ANYIO_MARK = (
    "import pytest\npytestmark = pytest.mark.anyio\n\n"
    '@pytest.fixture\ndef anyio_backend() -> str:\n    return "asyncio"\n'
)


def test_blocking_code(tmp_path: Path) -> None:
    """A call, a token that ran out, proven or not, a lost answer that heals, a variant, other hotels; each test begins
    afresh.
    """
    suite(tmp_path, "blocking", AUTO)
    done = run(tmp_path)
    assert done.counts == {"passed": 12}, done.output


@pytest.mark.row("F13")
@pytest.mark.parametrize(
    ("ini", "head", "arguments"),
    [
        pytest.param(STRICT, ASYNCIO_MARK, (), id="pytest-asyncio, strict"),
        pytest.param(AUTO, "", (), id="pytest-asyncio, auto"),
        pytest.param("", ANYIO_MARK, ("-p", "no:asyncio"), id="anyio alone"),
    ],
)
def test_asynchronous_code(tmp_path: Path, ini: str, head: str, arguments: tuple[str, ...]) -> None:
    """The vault lives in the loop of the test, whoever runs it: calls, a lost answer, a hang, a hotel that revoked."""
    suite(tmp_path, "asynchronous", ini, head)
    done = run(tmp_path, *arguments)
    assert done.counts == {"passed": 5}, done.output


@pytest.mark.parametrize(
    ("ini", "head"),
    [
        pytest.param(SESSION, "", id="pytest-asyncio, one loop for the session"),
        pytest.param(STRICT, MODULE_MARK, id="pytest-asyncio, a loop for the module"),
        pytest.param(STRICT, ANYIO_MARK, id="anyio beside pytest-asyncio"),
    ],
)
def test_other_loops(tmp_path: Path, ini: str, head: str) -> None:
    """One loop for several tests, or two plugins that could run it: the vault opens where the test runs."""
    suite(tmp_path, "asynchronous", ini, head)
    done = run(tmp_path, "-k", "healed or hanging")
    assert done.counts == {"passed": 2, "deselected": 3}, done.output


def test_plugins_that_are_named(tmp_path: Path) -> None:
    """Nothing is loaded by itself, and pytest-asyncio is named by its module."""
    suite(tmp_path, "asynchronous", AUTO)
    named = ("-p", "pytest_asyncio.plugin", "-p", "cloudbeds_auth")
    done = run(tmp_path, "-k", "healed or hanging", *named, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.counts == {"passed": 2, "deselected": 3}, done.output


def test_several_workers(tmp_path: Path) -> None:
    """With pytest-xdist each worker has a simulator of its own."""
    suite(tmp_path, "blocking", AUTO)
    suite(tmp_path, "asynchronous", AUTO)
    done = run(tmp_path, "-n", "2", "-p", "xdist")
    assert done.counts == {"passed": 17}, done.output


def test_the_users_settings_stay_theirs(tmp_path: Path) -> None:
    """Neither the environment nor a `.env` of the user reaches a vault of ours, nor a program that the test starts."""
    suite(tmp_path, "environment", AUTO)
    theirs_too = "CLOUDBEDS_AUTH_PORT=nonsense\nCLOUDBEDS_AUTH_OF_THEIR_OWN=1\nCLOUDBEDS_SCOPES=read:hotel\n"
    (tmp_path / ".env").write_text(theirs_too, "utf-8")
    theirs = {
        "CLOUDBEDS_CLIENT_ID": "the-users-own",
        "CLOUDBEDS_CLIENT_SECRET_FILE": "/nowhere",
        "HTTP_PROXY": "http://x",
    }
    done = run(tmp_path, **theirs)
    assert done.counts == {"passed": 4}, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "pytest.ini", "test_environment.py"]


def test_a_suite_that_needs_nothing_pays_for_nothing(tmp_path: Path) -> None:
    """The plugin is loaded, and nothing heavy is; no process was started."""
    suite(tmp_path, "unused", AUTO)
    done = run(tmp_path)
    assert done.counts == {"passed": 1}, done.output


def test_importing_the_plugin_is_light() -> None:
    """Neither our own heavy dependencies, nor our layers, nor pytest-asyncio are imported with it."""
    code = (
        "import sys, json, pytest\nbefore = set(sys.modules)\nimport cloudbeds_auth.pytest_plugin\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = [name for name in json.loads(done.stdout) if not name.startswith("cloudbeds_auth.pytest_plugin")]
    assert ours == ["cloudbeds_auth"]


def test_every_fixture_says_what_it_is(tmp_path: Path) -> None:
    """`pytest --fixtures` shows each public fixture with its docstring, and no other of ours."""
    done = run(tmp_path, "--fixtures", "-p", "no:asyncio")
    shown = re.findall(r"^(_?cloudbeds_\w+)", done.output, re.MULTILINE)
    names = ["connection", "environment", "redirect_uri", "settings", "simulator", "sync_vault", "vault"]
    assert sorted(shown) == [f"cloudbeds_{name}" for name in names]
    assert "no docstring available" not in done.output.partition("cloudbeds_auth")[2].partition("fixtures defined")[0]
    assert run(tmp_path, "--markers").output.count("@pytest.mark.cloudbeds(") == 1


def test_a_vault_that_nobody_can_run(tmp_path: Path) -> None:
    """The asynchronous vault in a blocking test without pytest-asyncio, on trio, or with a marker's typing error."""
    (tmp_path / "test_odd.py").write_text(
        "import pytest\n"
        "def test_blocking(cloudbeds_vault): pass\n"
        "@pytest.mark.cloudbeds('V0/n')\n"
        "def test_positional(cloudbeds_simulator): pass\n"
        "@pytest.mark.cloudbeds(varaint='V0/n')\n"
        "def test_misspelt(cloudbeds_simulator): pass\n",
        "utf-8",
    )
    done = run(tmp_path, "-p", "no:asyncio")
    assert done.counts == {"error": 3}, done.output
    for said in (
        "needs a test run by pytest-asyncio (0.24 or newer) or anyio",
        "takes keywords only",
        "unknown setting 'varaint'",
    ):
        assert said in done.output


@pytest.mark.parametrize("ini", [AUTO, STRICT])
def test_a_blocking_test_with_the_asynchronous_vault(tmp_path: Path, ini: str) -> None:
    """It fails at once and says why: the vault's loop stands still while such a test waits for an answer."""
    head = "import pytest\n"
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n", "utf-8")
    (tmp_path / "test_plain.py").write_text(f"{head}def test_plain(cloudbeds_vault): pass\n", "utf-8")
    seeded = (
        "import pytest_asyncio\n"
        "@pytest_asyncio.fixture\n"
        "async def seen(cloudbeds_vault, cloudbeds_connection):\n"
        "    return (await cloudbeds_vault.call(cloudbeds_connection.id, 'GET', 'userinfo')).status_code\n"
        "def test_seeded(seen): assert seen == 200\n"
    )
    (tmp_path / "test_seeded.py").write_text(seeded, "utf-8")  # a loop runs wherever the vault has something to do
    decorated = (
        f"{head}import functools\n"
        "def noted(test):\n"
        "    @functools.wraps(test)\n"
        "    async def wrapper(**given): return await test(**given)\n"
        "    return wrapper\n"
        "@pytest.mark.asyncio\n@noted\nasync def test_decorated(cloudbeds_vault): pass\n"
        "class TestMethod:\n"
        "    @pytest.mark.asyncio\n    async def test_it(self, cloudbeds_vault): pass\n"
    )
    (tmp_path / "test_decorated.py").write_text(decorated, "utf-8")
    generated = (
        f"{head}from hypothesis import HealthCheck, given, settings, strategies\n"
        "@pytest.mark.asyncio\n@settings(max_examples=2, suppress_health_check=list(HealthCheck), database=None)\n"
        "@given(number=strategies.integers())\nasync def test_generated(cloudbeds_vault, number): pass\n"
    )
    (tmp_path / "test_generated.py").write_text(generated, "utf-8")
    done = run(tmp_path)
    assert done.counts == {"passed": 4, "error": 1}, done.output
    assert "in blocking tests use cloudbeds_sync_vault" in done.output


PRINTS = """
def test_it(cloudbeds_simulator, capfd):
    with capfd.disabled():
        print("simulator at", cloudbeds_simulator.url, flush=True)
        {then}
"""


def gone(url: str) -> bool:
    """Whether nobody listens there any more."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0)):
            return False
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it ended between the two halves of the handshake
        return True


@pytest.mark.parametrize("then", ["pass", "assert False", "raise KeyboardInterrupt", "import pytest; pytest.exit('x')"])
def test_nothing_is_left_running(tmp_path: Path, then: str) -> None:
    """Passed, failed, interrupted or given up: the simulator ends with the session."""
    (tmp_path / "test_it.py").write_text(PRINTS.format(then=then), "utf-8")
    done = run(tmp_path)
    found = re.search(r"simulator at (\S+)", done.output)
    assert found, done.output
    assert gone(found[1])


def test_a_killed_session_leaves_nothing_running(tmp_path: Path) -> None:
    """Even SIGKILL, which gives nobody a chance to clean up."""
    (tmp_path / "test_it.py").write_text(PRINTS.format(then="import time; time.sleep(100)"), "utf-8")
    with subprocess.Popen(
        command(), cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as session:
        assert session.stdout is not None
        found = next(match for line in session.stdout if (match := re.search(r"simulator at (\S+)", line)))
        assert not gone(found[1])
        session.send_signal(signal.SIGKILL)
    while not gone(found[1]):
        time.sleep(0.02)  # ends when its standard input does; the test's own time limit is the deadline
