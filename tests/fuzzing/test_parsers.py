"""Every parser holds what it promises for any bytes; `make fuzz` goes on where this ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzzing.parsers import Parser, parsers
from tests.support.drawing import CALM

ALL = parsers()
each_parser = pytest.mark.parametrize("parser", ALL.values(), ids=ALL)


@each_parser
def test_seeds(parser: Parser) -> None:
    """Some are accepted and some are not, so neither side of a property is empty."""
    assert {parser.check(seed) for seed in parser.seeds} == {True, False}


@each_parser
@CALM
@given(st.data())
def test_any_bytes(parser: Parser, data: st.DataObject) -> None:
    """Seeds with words and bytes between and in the place of what is theirs, and such alone."""
    parser.check(data.draw(bytes_for(parser)))


def bytes_for(parser: Parser) -> st.SearchStrategy[bytes]:
    """What chance alone would not spell."""
    pieces = st.lists(st.sampled_from(parser.words) | st.binary(max_size=6), max_size=10).map(b"".join)
    longest = max(map(len, parser.seeds))
    changed = st.builds(
        lambda seed, begin, piece, skipped: seed[:begin] + piece + seed[begin + skipped :],
        st.sampled_from(parser.seeds), st.integers(0, min(longest, 300)), pieces, st.integers(0, 20),
    )  # fmt: skip
    return pieces | changed
