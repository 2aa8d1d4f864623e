"""What every test gets: no settings of this machine, and a run that fails when CI skips something."""

from __future__ import annotations

import gc
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.postgres_fixtures import (
    elsewhere,
    kept_driver,
    postgres_home,
    postgres_server,
    postgres_url,
    sweeper,
)
from tests.support.watch import Watch, begin_watching

__all__ = ["elsewhere", "kept_driver", "postgres_home", "postgres_server", "postgres_url", "sweeper"]
OWN_TARGETS = {
    "browser", "deploy", "image", "instructions", "namespaces", "node", "pgbouncer", "prometheus", "release", "secrets",
    "shells", "strangers",
}  # fmt: skip
"""Each needs packages, or root."""
TESTS = Path(__file__).parent
WHOLE_DATABASES = {"test_check", "test_copy", "test_rekey"}  # each makes one or two for every case
FIRST = "V2/n"  # of the readings of the rotation, the one that breaks naive clients
ROW = re.compile(r"[FA][0-9]{2,3}\Z")
skipped: list[str] = []
WATCH = begin_watching()
gc.disable()  # till all is collected: everything that is made till then stays

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of a shell's background job: our processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say what they set; nothing leaks in from whoever runs them."""
    for name in list(os.environ):
        if name.startswith("CLOUDBEDS_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def watched() -> Iterator[Watch]:
    """No test lets our code tell a secret: in a line at any level, on a terminal, as a number, in a process list."""
    WATCH.begin()
    yield WATCH
    assert WATCH.found() == [], "secrets, and the lines that hold them"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Tests with a target of their own are collected only when they are asked for by name."""
    apart = collection_path.name in OWN_TARGETS and collection_path.parent == TESTS
    return True if apart and not any(collection_path.name in argument for argument in config.args) else None


def pytest_configure(config: pytest.Config) -> None:
    """The marker of `_is_long`."""
    config.addinivalue_line("markers", "long: left out of `make test`; runs where its folder is asked for by name")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests of a folder that is not named on the command line are left out.

    A row that does not look like one is a typing error, and would be missed by whoever counts rows.
    """
    named = {part for argument in config.args for part in Path(argument.partition("::")[0]).parts}
    left_out = set()
    for item in items:
        if _is_long(item):
            item.add_marker(pytest.mark.long)  # for `-m long`
            if item.path.relative_to(TESTS).parts[0] not in named:
                left_out.add(item)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        for mark in item.iter_markers("row"):
            if astray := [row for row in mark.args if not ROW.match(row)] + [*(mark.kwargs.keys() - {"control"})]:
                raise pytest.UsageError(f"{item.nodeid}: {astray[0]!r} is no row of the catalogue")


def _is_long(item: pytest.Item) -> bool:
    """Marked so; or one reading of the rotation among several, and not the first; or what is done with whole databases,
    once more over PostgreSQL.
    """
    call = getattr(item, "callspec", None)
    variant = FIRST if call is None else call.params.get("variant", FIRST)
    again = call is not None and item.path.stem in WHOLE_DATABASES and "postgresql" in call.id
    return item.get_closest_marker("long") is not None or variant != FIRST or again


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """What the test made is looked at while it is alive."""
    try:
        return (yield)
    finally:
        WATCH.see_objects()


def pytest_collection_finish() -> None:
    """What was imported stays: whoever collects garbage during a test looks only at what was made since."""
    gc.freeze()
    gc.enable()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped:
        skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI nothing of the test command may be skipped."""
    if skipped and os.environ.get("CI") and not hasattr(session.config, "workerinput"):
        print(f"\nskipped in CI, which must not be: {', '.join(sorted(skipped))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
