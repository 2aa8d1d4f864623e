"""Every block of the pages is run by a test, or listed with a reason."""

from __future__ import annotations

import pytest
from tests.docs.counting import MOST, count
from tests.docs.pages import blocks, blocks_of


def test_every_block_is_run_or_listed() -> None:
    """At most a tenth is listed."""
    counted = count()
    assert counted.astray == []
    assert counted.run + counted.listed == counted.total
    assert counted.listed * MOST <= counted.total
    assert str(counted) == f"blocks: {counted.run} of {counted.total} executed, {counted.listed} listed"


def test_a_block_has_a_name_of_its_own() -> None:
    """Two of one page that are not drawn together have two names."""
    names = [one.id for one in blocks()]
    assert {name for name in names if names.count(name) > 1} == {"docs/command-line.md#commands"}


def test_a_block_without_a_name_is_found() -> None:
    """With its page and line."""
    with pytest.raises(ValueError, match=r"page\.md:3: a block without a name"):
        list(blocks_of("page.md", "A page.\n\n```sh\ntrue\n```\n"))
