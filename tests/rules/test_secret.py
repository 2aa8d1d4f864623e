"""Secret: used on purpose, shown by nobody."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.rules.secret import Secret

CANARY = "canary-7d1f"


def test_revealing() -> None:
    """The one word that gives the value."""
    assert Secret(CANARY).reveal() == CANARY


@pytest.mark.row("A46")
@pytest.mark.parametrize("show", [repr, str, format, "{}".format, "{!r:>40}".format, "%s".__mod__, ascii])
def test_showing(show: object) -> None:
    """Every way of printing it by accident gives stars."""
    shown = show(Secret(CANARY))  # type: ignore[operator]
    assert "***" in shown
    assert CANARY not in shown


@pytest.mark.row("A46")
def test_logging_it(caplog: pytest.LogCaptureFixture) -> None:
    """A careless log line tells nothing."""
    logging.getLogger("test").warning("the token is %s and %r", Secret(CANARY), [Secret(CANARY)])
    assert CANARY not in caplog.text


@pytest.mark.row("A46")
@pytest.mark.parametrize("store", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps])
def test_storing_it(store: object) -> None:
    """Pickling, copying and JSON refuse."""
    with pytest.raises(TypeError):
        store(Secret(CANARY))  # type: ignore[operator]


def test_hashing_it() -> None:
    """It is no key of a dictionary."""
    with pytest.raises(TypeError):
        hash(Secret(CANARY))


@pytest.mark.row("A24")
@CALM
@given(st.text(alphabet=st.characters(codec="utf-8")), st.text(alphabet=st.characters(codec="utf-8")))
def test_comparing(one: str, other: str) -> None:
    """Equal when the values are; never equal to anything that is no Secret."""
    assert (Secret(one) == Secret(other)) == (one == other)
    assert Secret(one) != one
    assert bool(Secret(one)) == bool(one)


def test_subclassing_and_adding() -> None:
    """Nothing else fits into it."""
    with pytest.raises(AttributeError):
        Secret(CANARY).hint = "x"  # type: ignore[attr-defined]
