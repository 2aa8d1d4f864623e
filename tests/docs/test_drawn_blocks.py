"""Blocks that no one types: what a page quotes, and what a script draws, agrees with the code as it is now."""

from __future__ import annotations

import re

import pytest
from tests.docs.pages import ROOT, block, blocks, drawer

DRAWN = {
    "README.md#help": "draw_help",
    "docs/command-line.md#commands": "draw_help",
    "docs/rotation.md#lifecycle": "draw_lifecycle",
}


def test_the_layers_are_those_of_the_contract() -> None:
    """The picture is the list that import-linter enforces."""
    contract = (ROOT / "pyproject.toml").read_text("utf-8").partition("\nlayers = [\n")[2].partition("]")[0]
    enforced = [re.findall(r"\w+", line) for line in contract.splitlines()]
    assert [re.findall(r"\w+", line) for line in block("docs/how-it-works.md#layers").splitlines()] == enforced


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("docs/adr/0001-transactions-are-generators.md#generator", "src/cloudbeds_auth/transactions/grants.py"),
        ("CONTRIBUTING.md#row", "tests/engine/test_over_the_wire.py"),
    ],
)
def test_what_a_page_quotes_of_the_code_is_there(name: str, file: str) -> None:
    """Line by line."""
    lines = (ROOT / file).read_text("utf-8").splitlines()
    assert [line for line in block(name).splitlines() if line not in lines] == []


def test_every_part_that_is_drawn_has_its_command() -> None:
    """CONTRIBUTING names each script of `docs`, and each runs."""
    named = re.findall(r"docs/(draw_\w+)\.py", block("CONTRIBUTING.md#draw"))
    assert sorted(named) == sorted(path.stem for path in (ROOT / "docs").glob("draw_*.py"))
    assert all(drawer(name) for name in named)


@pytest.mark.parametrize("name", DRAWN)
def test_blocks_that_a_script_draws_are_what_it_draws_now(name: str) -> None:
    """The program's own help, and the table of states."""
    drawn = drawer(DRAWN[name])
    parts = drawn.readme_block() + drawn.page_block() if DRAWN[name] == "draw_help" else drawn.block()
    assert all(one.text in parts for one in blocks() if one.id == name)
