"""Lanes for the tests of this folder. `make test` runs a share of it: a few kill points, one of each kind of fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.crash.bases import Bases, in_a_file, on_server
from tests.crash.disks import MOUNTS
from tests.crash.lane import Lane, beside, lane

LaneOf = Callable[..., Lane]
MakeLane = Callable[..., Lane]

DEADLINE = 2.0  # seconds of a token exchange of who shall be served: a busy machine takes its time
HASTY = {"CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "0.6"}  # of who is killed: how long its intent holds others back


def variants(*labels: str) -> pytest.MarkDecorator:
    """One test for each of these variants; the first is in the share."""
    first, *more = labels
    return pytest.mark.parametrize("variant", [first, *(pytest.param(one, marks=pytest.mark.long) for one in more)])


def pytest_report_header() -> str:
    """Whether what needs a mount runs."""
    return f"tests/crash: full and read-only mounts are {'tried' if MOUNTS else 'NOT tried: this user may not mount'}"


@contextmanager
def lanes(factory: pytest.TempPathFactory, bases: Bases) -> Iterator[LaneOf]:
    """Makes the lane of a variant, with one hotel, when it is first asked for; one test after another uses it."""
    started: dict[str, Lane] = {}
    with ExitStack() as stack:

        def get(variant: str) -> Lane:
            if variant not in started:
                made = lane(factory.mktemp("lane"), variant=variant, deadline=DEADLINE, bases=bases)
                started[variant] = stack.enter_context(made)
            return started[variant]

        yield get


@pytest.fixture(scope="session")
def sqlite_lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaneOf]:
    """Lanes over files."""
    with lanes(tmp_path_factory, in_a_file) as get:
        yield get


@pytest.fixture(scope="session")
def postgresql_lanes(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[LaneOf]:
    """Lanes over databases of a server."""
    with lanes(tmp_path_factory, on_server(postgres_server)) as get:
        yield get


@pytest.fixture
def lane_of(request: pytest.FixtureRequest) -> LaneOf:
    """The lane of this variant over this database. No PostgreSQL is started for who wants SQLite alone."""

    def get(variant: str, database: str = "sqlite") -> Lane:
        found: Lane = request.getfixturevalue(f"{database}_lanes")(variant)
        return found

    return get


@pytest.fixture
def make_lane(tmp_path: Path, lane_of: LaneOf) -> MakeLane:
    """A database for one test alone, whatever becomes of it."""
    return lambda **parts: beside(lane_of("V2/n"), tmp_path, **parts)
