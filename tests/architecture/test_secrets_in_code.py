"""How the code may treat secrets, read from its syntax: what they are compared by, and what is never loaded as code."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cloudbeds_auth

SOURCE = Path(cloudbeds_auth.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
QUERIES = {path.name: path.read_text("utf-8") for path in (SOURCE / "transactions/queries").glob("*.sql")}

RAW = {
    "access_token", "admin_token", "api_key", "client_secret", "code_verifier", "credential", "one_time", "password",
    "refresh_token", "secret",
}  # fmt: skip
"""Names of values as they came or are sent; what is stored of one, or compared, is named after its hash."""
COMPARED = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Lt, ast.Gt)
UNSEALED = re.compile(
    r"\b(?:state|secret|token|credential|browser|code|key|one_time)\s*(?:=|<|>|LIKE|IN)\s*\(?:", re.IGNORECASE
)
WHERE_SECRETS_ARE_FOUND = re.compile(r"\b(?:authorizations|links|caller_keys)\b")

LOADERS = {
    "pickle",
    "_pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "yaml",
    "ruamel",
    "jsonpickle",
}
CALLS = {"eval", "exec", "compile", "__import__", "entry_points", "iter_entry_points", "run_path", "run_module"}
BY_NAME = {"__init__.py": 1, "cli/main.py": 1}
"""Where `import_module` is called, and how often: with names from a table beside it, never with what came in."""


def compared(tree: ast.AST) -> Iterator[int]:
    """The lines that compare a secret as it is, in a time that tells how much of it was right."""
    for node in ast.walk(tree):
        match node:
            case ast.Compare(ops=ops) if any(isinstance(one, COMPARED) for one in ops):
                sides = [node.left, *node.comparators]
            case ast.Call(func=ast.Attribute(attr="startswith"), args=sides):
                pass
            case _:
                continue
        if any(map(_is_raw, sides)) and not any(map(_is_fixed, sides)):
            yield node.lineno


def _is_raw(side: ast.expr) -> bool:
    """A secret that was revealed, or a value by the name of one."""
    if isinstance(side, ast.Call):
        return isinstance(side.func, ast.Attribute) and (side.func.attr == "reveal" or _is_raw(side.func.value))
    name = side.attr if isinstance(side, ast.Attribute) else side.id if isinstance(side, ast.Name) else ""
    return name in RAW


def _is_fixed(side: ast.expr) -> bool:
    """Something that the source names: no secret can be found out by comparing with it."""
    return isinstance(side, ast.Constant) or (isinstance(side, ast.Attribute) and side.attr.isupper())


def loaded(tree: ast.AST) -> Iterator[int]:
    """The lines that would run, or build objects from, what is only data."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if any(one.name.split(".")[0] in LOADERS for one in names):
                yield node.lineno
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in LOADERS:
                yield node.lineno
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name, value=ast.Name())) if (
                name in CALLS and not _is_pattern(node)
            ):
                yield node.lineno


def _is_pattern(call: ast.Call) -> bool:
    """`re.compile`."""
    return isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "re"


def found(by: Callable[[ast.AST], Iterator[int]]) -> list[str]:
    """Where the library does so."""
    return [
        f"{path.relative_to(SOURCE)}:{line}" for path in FILES for line in by(ast.parse(path.read_text("utf-8")))
    ]  # fmt: skip


@pytest.mark.row("A24")
def test_no_secret_is_compared_as_it_is() -> None:
    """`Secret` compares in constant time; what comes in is compared by its hash, with `hmac.compare_digest`."""
    assert found(compared) == []
    comparing = {path.name for path in FILES if "compare_digest(" in path.read_text("utf-8")}
    assert {"secret.py", "gateway.py", "caller_keys.py", "vendor_hook.py", "connect.py"} <= comparing


@pytest.mark.row("A24")
def test_what_is_looked_up_is_looked_up_by_a_hash_or_a_public_id() -> None:
    """A state, a browser, a link, a key: an index says how long a common prefix is, so none holds a secret."""
    asked = [
        statement
        for text in QUERIES.values()
        for statement in re.split(r"^-- name: ", text, flags=re.MULTILINE)
        if WHERE_SECRETS_ARE_FOUND.search(statement)
    ]
    assert len(asked) > 20
    assert [one for one in asked if UNSEALED.search(one)] == []
    assert UNSEALED.search("SELECT * FROM links WHERE token = :token")


@pytest.mark.row("A24", control=True)
@pytest.mark.parametrize(
    "line",
    [
        "given == known.reveal()", "one.admin_token != given", "secret in known", "self.credential == text",
        "a < b.secret", "known.reveal().encode() == given", "given.startswith(self.client_secret)",
    ],
)  # fmt: skip
def test_a_comparison_that_tells_is_found(line: str) -> None:
    """However it is written; one with a word of the source is none."""
    assert [*compared(ast.parse(f"if {line}: ..."))] == [1]
    assert [*compared(ast.parse("if credential == 'api-key' or ' ' in token.reveal(): ..."))] == []


@pytest.mark.row("A53")
def test_nothing_that_is_data_is_run() -> None:
    """Settings, cookies, rows, bodies and files are text and JSON; no plug-in is found by its name elsewhere."""
    assert found(loaded) == []
    texts = {str(path.relative_to(SOURCE)): path.read_text("utf-8") for path in FILES}
    calls = {name: len(re.findall(r"\bimport_module\(", text)) for name, text in texts.items()}
    assert {name: count for name, count in calls.items() if count} == BY_NAME


@pytest.mark.row("A53", control=True)
@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from marshal import loads", "import yaml as y", "from ruamel.yaml import YAML", "eval(text)",
        "builtins.exec(text)", "metadata.entry_points(group='x')", "__import__(name)", "runpy.run_path(path)",
    ],
)  # fmt: skip
def test_what_would_run_data_is_found(line: str) -> None:
    """Each way; a regular expression is none of them."""
    assert [*loaded(ast.parse(line))] == [1]
    assert [*loaded(ast.parse("import re, json; re.compile('x'); json.loads(text)"))] == []
