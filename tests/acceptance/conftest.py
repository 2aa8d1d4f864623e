"""A world of real processes for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.acceptance.processes import World, world

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    """Start a simulator with these arguments, and whatever services the test then starts; all end with the test."""
    with ExitStack() as stack:

        def make(*arguments: str, **parts: str) -> World:
            return stack.enter_context(world(tmp_path, *arguments, **parts))

        yield make
