"""Every idea once: no name for two things, no function that only passes a call on, no file that outgrows a reading.

Both roots are read: the library, and the simulator, which shares no code with it and no name either.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cloudbeds_auth

SOURCE = Path(cloudbeds_auth.__file__).parent
SIMULATOR = SOURCE.parent / "cloudbeds_simulator"
FILES = {
    **{str(path.relative_to(SOURCE)): path for path in sorted(SOURCE.rglob("*.py"))},
    **{str(path.relative_to(SOURCE.parent)): path for path in sorted(SIMULATOR.rglob("*.py"))},
}
"""The library's files by their place in it, the simulator's below its name."""

LONGEST = {"errors.py": 493, "vault.py": 505}
"""How long a file of more than 350 lines may be: the tree of errors, from which its page is drawn; and the one class
that a user calls.
"""

LAYERS = {
    "api_keys", "apps", "audit", "authentic", "caller_keys", "candidates", "connections", "history", "imports",
    "origins", "pasted_keys", "properties", "rate_limit", "refresh", "risks", "sessions", "sign_in",
    "subscriptions", "webhooks",
}  # fmt: skip
"""One noun in several layers (rules, transactions, engine, app, cli, doctor) has one name there."""
SAME_SUBJECT = {"database": "the command and the check"}
DERIVED = {"Apps", "CallerKeys", "TokenVault"}  # sync's are made from the asynchronous ones
MOUNTED = {"Cloudbeds"}  # the flow in an application: one name, whatever framework it is of

PASSING = {
    "vault.py": "what a user calls is one class, whatever part does it",
    "sync.py": "derived",
}
ADAPTERS = {"close", "aclose", "stop", "is_closing", "handle_async_request", "sleep", "reveal"}
"""Names that another library's interface, or a port, asks for."""


@cache
def modules() -> dict[str, ast.Module]:
    """Each file as it is parsed, by its place."""
    return {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def classes() -> Iterator[tuple[str, str]]:
    """The public classes of every module."""
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, name


def twice(pairs: Iterator[tuple[str, str]]) -> dict[str, set[str]]:
    """The names that stand in several places."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, where in pairs:
        found[name].add(where)
    return {name: places for name, places in found.items() if len(places) > 1}


def only_passes_on(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether its whole body calls a function of its own name on something else."""
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    if len(body) != 1 or not isinstance(body[0], ast.Return | ast.Expr) or body[0].value is None:
        return False
    called = [node.func for node in ast.walk(body[0].value) if isinstance(node, ast.Call)]
    return any(isinstance(one, ast.Attribute) and one.attr == function.name for one in called)


def test_a_class_name_means_one_thing() -> None:
    """No two classes, of the library or the simulator, have one name, but for sync's and the mounted flow's."""
    assert twice(classes()).keys() == DERIVED | MOUNTED


def test_a_module_name_means_one_thing() -> None:
    """Modules of one name are one noun in several layers, or a thing and its check."""
    names = ((Path(name).stem, name) for name in FILES if not name.endswith(("__init__.py", "__main__.py")))
    assert twice(names).keys() == LAYERS | SAME_SUBJECT.keys()


def test_no_function_only_passes_a_call_on() -> None:
    """A function that calls its namesake and does nothing else says nothing; those that are asked for are listed."""
    found = {
        (name, node.name)
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and only_passes_on(node)
    }
    assert {(file, name) for file, name in found if name not in ADAPTERS and file not in PASSING} == set()
    assert {file for file, _ in found} >= PASSING.keys()
    assert {name for _, name in found} >= ADAPTERS


def test_a_file_is_read_in_one_go() -> None:
    """At most 350 lines."""
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST.get(name, 350)} == {}


def test_a_function_is_seen_at_once() -> None:
    """At most 46 lines."""
    found = {
        f"{name}: {node.name}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 46
    }  # fmt: skip
    assert not found
