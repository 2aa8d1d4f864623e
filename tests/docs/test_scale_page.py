"""The page of very many hotels is what its numbers say, and each aim is judged."""

from __future__ import annotations

import json

import pytest
from benchmarks.scale import page
from benchmarks.scale.rows import ENDS, Row
from tests.docs.pages import DOCS


def test_the_page_is_what_its_numbers_say() -> None:
    """`python -m benchmarks.scale --draw` changes nothing."""
    found = json.loads((DOCS / "scale/results.json").read_text("utf-8"))
    assert page.page(found) == (DOCS / "scale.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("aims", "more", "flat", "values", "verdict"),
    [
        ({"": 50.0}, False, 0.0, (900.0, 50.0), ("at most 50", "met")),
        ({"": 50.0}, False, 0.0, (1.0, 50.1), ("at most 50", "**missed**")),
        ({"": 50.0}, False, 0.0, (1.0, None), ("at most 50", "**missed**")),
        ({"": 7.0}, True, 0.0, (1.0, 7.0), ("at least 7", "met")),
        ({"": 7.0}, True, 0.0, (9.0, 6.9), ("at least 7", "**missed**")),
        ({"other": 1.0, "it": 3.0}, False, 0.0, (9.0, 2.0), ("at most 3", "met")),
        ({"other": 1.0}, False, 0.0, (9.0, 2.0), ("", "")),
        ({}, False, 0.0, (9.0, None), ("", "**not measured**")),
        ({"": ENDS}, False, 0.0, (9.0, 1e9), ("that it ends", "met")),
        ({"": ENDS}, False, 0.0, (9.0, None), ("that it ends", "**missed**")),
        ({}, False, 2.0, (10.0, 20.0), ("at most 2 times that of 1,000, or 5", "met")),
        ({}, False, 2.0, (10.0, 20.1), ("at most 2 times that of 1,000, or 5", "**missed**")),
        ({}, False, 2.0, (0.1, 5.0), ("at most 2 times that of 1,000, or 5", "met")),
        ({}, False, 2.0, (None, 2.1), ("at most 2 times that of 1,000, or 5", "**missed**")),
    ],
)
def test_what_became_of_an_aim(
    aims: dict[str, float], more: bool, flat: float, values: tuple[float | None, ...], verdict: tuple[str, str]
) -> None:
    """It is judged by the number with the most hotels, and missed where there is none."""
    row = Row("name", "Title", "question", "", "s", lambda place: iter(()), aims, flat, more)
    assert page.judged(row, "it", dict(zip((1_000, 100_000), values, strict=True))) == verdict
