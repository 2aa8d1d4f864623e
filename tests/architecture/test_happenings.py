"""Code that reports an event names it, with the facts that `rules.happenings` declares for it and no other."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import cloudbeds_auth
from cloudbeds_auth.rules.happenings import Happening

SOURCE = Path(cloudbeds_auth.__file__).parent
PASS_ON = {"app/limits.py", "observe/__init__.py"}
"""Where `happened` is called with what a caller gave; the call that gave it is compared instead."""


@cache
def reported() -> dict[str, set[tuple[str | None, ...]]]:
    """The facts of each call by the member that it names; `?` where `happened` is called with anything else."""
    found: dict[str, set[tuple[str | None, ...]]] = defaultdict(set)
    for path in sorted(SOURCE.rglob("*.py")):
        tree, file = ast.parse(path.read_text("utf-8")), path.relative_to(SOURCE).as_posix()
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            names = {name for argument in call.args for name in _members(argument)}
            asked = isinstance(call.func, ast.Attribute) and call.func.attr == "happened"
            for name in names or ({f"? {file}"} if asked else ()):
                found[name].add(_facts(call))
    return found


def _members(what: ast.expr) -> set[str]:
    """The members that an argument may be."""
    match what:
        case ast.Attribute(value=ast.Name(id="Happening"), attr=name):
            return {name}
        case ast.IfExp(body=one, orelse=other):
            return _members(one) | _members(other)
        case _:
            return set()


def _facts(call: ast.Call) -> tuple[str | None, ...]:
    """Their names in order: keywords, the keys of a literal, and how often where a `Tally` counts; None: `**facts`."""
    literals = [ast.literal_eval(key) for one in call.args if isinstance(one, ast.Dict) for key in one.keys if key]
    counted = ["times"] if isinstance(call.func, ast.Attribute) and call.func.attr == "add" else []
    return (*(keyword.arg for keyword in call.keywords), *literals, *counted)


@pytest.mark.parametrize("what", Happening, ids=str)
def test_an_event_is_reported_with_the_facts_that_it_declares(what: Happening) -> None:
    """In their order, by every call that names it, and there is one."""
    assert reported()[what.name] == {what.facts}


def test_every_report_names_its_event() -> None:
    """No call of `happened` escapes the comparison."""
    assert {name for name in reported() if name not in Happening.__members__} == {f"? {file}" for file in PASS_ON}
