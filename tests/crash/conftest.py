"""Lanes for the tests of this folder: one for each variant and worker, used by one test after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.crash.lane import Lane, lane

LaneOf = Callable[[str], Lane]
MakeLane = Callable[..., Lane]


@pytest.fixture(scope="session")
def lane_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaneOf]:
    """The lane of this variant, with one hotel; started when first asked for."""
    started: dict[str, Lane] = {}
    with ExitStack() as stack:

        def get(variant: str) -> Lane:
            if variant not in started:
                folder = tmp_path_factory.mktemp("lane")
                started[variant] = stack.enter_context(lane(folder, variant=variant))
            return started[variant]

        yield get


@pytest.fixture
def make_lane(tmp_path: Path) -> Iterator[MakeLane]:
    """A lane for one test alone."""
    with ExitStack() as stack:

        def make(**parts: object) -> Lane:
            return stack.enter_context(lane(tmp_path, **parts))  # type: ignore[arg-type]

        yield make
