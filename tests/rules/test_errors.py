"""The tree of errors against the public contract, and the names that the package exports."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

import cloudbeds_auth
from cloudbeds_auth import errors
from cloudbeds_auth.errors import (
    ConfigurationError,
    Diagnosis,
    Error,
    ForeignOrigin,
    ReauthorizationRequired,
    StoreReadOnly,
    TryAgain,
)

# The table of docs/errors.md
CODES = {
    401: {"unauthenticated"},
    403: {"forbidden"},
    400: {
        "invalid_request", "invalid_return_to", "state_mismatch", "authorization_denied", "authorization_expired",
        "key_refused",
    },
    404: {"unknown_connection"},
    409: {
        "ambiguous_property", "reauthorization_required", "connection_disconnected", "unclaimed", "not_refreshable",
        "migration_refused", "property_mismatch",
    },
    503: {
        "token_endpoint_unavailable", "store_unavailable", "store_read_only", "rate_limited", "refresh_pending",
        "refresh_in_doubt", "client_refused", "body_not_replayable",
    },
    502: {"upstream_failed", "outcome_unknown"},
}  # fmt: skip
OURS = {"invalid_configuration", "foreign_origin", "vault_closed"}  # never an HTTP answer


def tree(root: type[Error] = Error) -> Iterator[type[Error]]:
    """Every class, depth first, in the order of definition."""
    yield root
    for one in root.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from tree(one)


CLASSES = list(dict.fromkeys(tree()))
CODED = [one for one in CLASSES if "code" in vars(one) and one is not Error]


def test_every_code_once_with_its_status() -> None:
    """The table and the classes say the same."""
    assert {(one.code, one.status) for one in CODED if one.code not in OURS} == {
        (code, status) for status, codes in CODES.items() for code in codes
    }
    assert len({one.code for one in CODED}) == len(CODED)
    assert {one.code for one in CODED} >= OURS


def test_a_class_without_a_code_is_only_a_branch() -> None:
    """It has children that have one."""
    assert {one.__name__ for one in CLASSES if one not in CODED} == {
        "Error", "ConnectionUnusable", "TryAgain", "UpstreamError"
    }  # fmt: skip


def test_the_drawing() -> None:
    """The module's docstring draws exactly this tree."""
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        bare = line.replace("│", " ").replace("├──", "   ").replace("└──", "   ")
        name = bare.split()[0] if bare.split() else ""
        if isinstance(getattr(errors, name, None), type):
            drawn.append((len(bare) - len(bare.lstrip()), name))
    by_name = {one.__name__: one for one in CLASSES}
    assert sorted(name for _, name in drawn) == sorted(by_name)
    above: list[tuple[int, str]] = []
    for depth, name in drawn:
        above = [one for one in above if one[0] < depth]
        if above and name != "ForeignOrigin":
            assert by_name[name].__bases__[0].__name__ == above[-1][1], name
        above.append((depth, name))


@pytest.mark.parametrize("kind", CLASSES)
def test_three_answers(kind: type[Error]) -> None:
    """What happened, whether anything is lost, what to do next; without and with a detail."""
    plain = kind().diagnosis()
    assert isinstance(plain, Diagnosis)
    assert all(plain)
    assert plain.what == kind.title() == str(kind())
    assert not plain.what.endswith(".")
    told = kind("this happened", next_step="do that")
    assert told.diagnosis() == ("this happened", kind.lost, "do that")
    assert str(told) == told.detail == "this happened"
    assert str(told.diagnosis()).splitlines() == ["this happened", f"  lost: {kind.lost}", "  next: do that"]


def test_what_it_may_carry() -> None:
    """The members that a problem document shows."""
    error = ReauthorizationRequired(connection_id="con_1", connect_url="https://x/connect/1", retry_after=3.0)
    assert (error.connection_id, error.connect_url, error.retry_after) == ("con_1", "https://x/connect/1", 3.0)
    assert isinstance(error, Error)


def test_every_try_again_is_a_503() -> None:
    """One `except` for all that heals."""
    assert {one.status for one in CLASSES if issubclass(one, TryAgain)} == {503}


@pytest.mark.parametrize("kind", [one for one in CLASSES if issubclass(one, TryAgain)])
def test_when_to_try_again_is_always_a_number(kind: type[TryAgain]) -> None:
    """Of seconds, whether it was said or not: a program sleeps for it without asking whether it is there."""
    assert kind().retry_after == (60.0 if kind is StoreReadOnly else 1.0)  # there a person has to act first
    assert kind(retry_after=7.5).retry_after == 7.5


@pytest.mark.parametrize("derived", [lambda error: error, copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_the_next_step_is_in_the_traceback_once(derived: Callable[[Error], Error]) -> None:
    """A program that catches nothing still shows it; what is for the hotel alone, its link, is not in it."""
    error = derived(ReauthorizationRequired("refused", connect_url="https://x/connect/one-time", next_step="do that"))
    for _ in range(2):
        try:
            raise error
        except Error as caught:
            shown = "".join(traceback.format_exception(caught))
        assert shown.splitlines()[-2:] == ["cloudbeds_auth.errors.ReauthorizationRequired: refused", "Next: do that"]
        assert "one-time" not in shown
    assert str(error) == "refused"


def test_every_problem_of_a_configuration() -> None:
    """All at once, one per line; or the one detail."""
    error = ConfigurationError(problems=("A is wrong", "B is missing"))
    assert error.problems == ("A is wrong", "B is missing")
    assert str(error) == "A is wrong\nB is missing"
    assert ConfigurationError("C").problems == ("C",)
    assert ConfigurationError().problems == (ConfigurationError.title(),)


def test_a_foreign_origin_is_a_value_error_too() -> None:
    """For code that knows only Python."""
    with pytest.raises(ValueError, match="an origin other than"):
        raise ForeignOrigin


def test_a_title_without_a_docstring() -> None:
    """A subclass of somebody's own still has one: its name."""

    class Homemade(Error):
        pass

    Homemade.__doc__ = None
    assert Homemade.title() == "Homemade"


# --- the package's names


def test_what_is_exported_can_be_had() -> None:
    """`__all__` is sorted, each name is there, `dir` tells them, and nothing else is."""
    assert cloudbeds_auth.__all__ == sorted(cloudbeds_auth.__all__)
    assert dir(cloudbeds_auth) == cloudbeds_auth.__all__
    for name in cloudbeds_auth.__all__:
        assert getattr(cloudbeds_auth, name).__name__ == name
    with pytest.raises(AttributeError, match="Nothing"):
        _ = cloudbeds_auth.Nothing


def test_every_error_is_exported() -> None:
    """Whatever the library raises can be named from its top."""
    assert {one.__name__ for one in CLASSES} | {"Diagnosis"} <= set(cloudbeds_auth.__all__)


def test_what_is_exported_is_declared_for_type_checkers() -> None:
    """The names under TYPE_CHECKING are those of `__all__`."""
    import ast
    import inspect

    source = ast.parse(inspect.getsource(cloudbeds_auth))
    (guarded,) = [node for node in source.body if isinstance(node, ast.If)]
    imported = [name for node in guarded.body if isinstance(node, ast.ImportFrom) for name in node.names]
    assert sorted(name.name for name in imported) == cloudbeds_auth.__all__
    for node in guarded.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        module = import_module(node.module)
        assert all(hasattr(module, name.name) for name in node.names)
