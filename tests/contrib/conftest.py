"""A connected hotel for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contrib.hotel import Hotel, connected


@pytest.fixture
def hotel(tmp_path: Path) -> Iterator[Hotel]:
    """The simulator, a vault and a connection; all end with the test."""
    with connected(tmp_path) as made:
        yield made
