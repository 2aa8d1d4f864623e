"""What every test gets: no settings of this machine, and a run that fails when CI skips something."""

from __future__ import annotations

import gc
import os
import re
from pathlib import Path

import pytest
from tests.support.postgres_fixtures import elsewhere, postgres_home, postgres_server, postgres_url

__all__ = ["elsewhere", "postgres_home", "postgres_server", "postgres_url"]
OWN_TARGETS = {"browser", "namespaces", "node", "pgbouncer"}  # each needs a package or root
ROW = re.compile(r"[FA][0-9]{2,3}\Z")
skipped: list[str] = []


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests say what they set; nothing leaks in from whoever runs them."""
    for name in list(os.environ):
        if name.startswith("CLOUDBEDS_"):
            monkeypatch.delenv(name)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Tests with a target of their own are collected only when they are asked for by name."""
    apart = collection_path.name in OWN_TARGETS and collection_path.parent == Path(__file__).parent
    return True if apart and not any(collection_path.name in argument for argument in config.args) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A row that does not look like one is a typing error, and would be missed by whoever counts rows."""
    for item in items:
        for mark in item.iter_markers("row"):
            for row in mark.args:
                if not ROW.match(row):
                    raise pytest.UsageError(f"{item.nodeid}: {row!r} is no row of the catalogue")


def pytest_collection_finish() -> None:
    """What was imported stays: whoever collects garbage during a test looks only at what was made since."""
    gc.freeze()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what was skipped."""
    if report.skipped:
        skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI nothing of the test command may be skipped."""
    if skipped and os.environ.get("CI") and not hasattr(session.config, "workerinput"):
        print(f"\nskipped in CI, which must not be: {', '.join(sorted(skipped))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
