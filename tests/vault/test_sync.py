"""The two vaults are one: names, signatures and docstrings, as an editor and mypy see them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, assert_type

import pytest

from cloudbeds_auth import CloudbedsAuth, Finished, Page, State, TokenVault, sync
from cloudbeds_auth.engine import apps, caller_keys
from cloudbeds_auth.engine.authorize import Authorizer
from cloudbeds_auth.rules.model import AccessToken, App, AuthorizationRequest, Connection

LIFE = {"open", "close", "aclose"}
PARTS = {"engine", "run"}  # of the asynchronous vault's process; how code for it is run over the blocking one
OWN_WORDS = {"auth", "from_environment"}  # it says for which client it is
PAIRS = [(TokenVault, sync.TokenVault), (apps.Apps, sync.Apps), (caller_keys.CallerKeys, sync.CallerKeys)]


def public(kind: type) -> set[str]:
    """What a program calls."""
    return {name for name in vars(kind) if not name.startswith("_")} - LIFE - PARTS


METHODS = [
    pytest.param(getattr(one, name), getattr(other, name), id=f"{other.__name__}.{name}")
    for one, other in PAIRS
    for name in sorted(public(one))
    if inspect.isfunction(getattr(one, name))
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_have_the_same_methods(one: type, other: type) -> None:
    """Nothing that one can do is missing in the other."""
    assert public(one) == public(other)


def test_every_way_in_is_a_method_of_the_vault() -> None:
    """What the authorizer can do, a program can ask for, too."""
    ways = {name for name in vars(Authorizer) if not name.startswith("_")}
    assert ways - {"begin"} | {"begin_authorization"} <= public(sync.TokenVault)


@pytest.mark.parametrize(("one", "other"), METHODS)
def test_a_method_has_the_same_signature_and_words(one: Callable[..., object], other: Callable[..., object]) -> None:
    """Names, kinds, defaults and annotations of all parameters, the result's, and the docstring."""
    assert inspect.signature(other) == inspect.signature(one)
    assert other.__name__ == one.__name__
    assert one.__name__ in OWN_WORDS or other.__doc__ == one.__doc__


@pytest.mark.parametrize(("one", "other"), METHODS)
def test_what_blocks_is_taken_for_nothing_else(one: Callable[..., object], other: Callable[..., object]) -> None:
    """Frameworks that look behind a function to see whether it is to be awaited find one that is not."""
    assert not inspect.iscoroutinefunction(inspect.unwrap(other))


def test_properties_are_described_alike() -> None:
    """What a program reads."""
    for name in sorted(public(TokenVault)):
        one, other = inspect.getattr_static(TokenVault, name), inspect.getattr_static(sync.TokenVault, name)
        if isinstance(one, property):
            assert isinstance(other, property)
            assert other.__doc__ == one.__doc__


if TYPE_CHECKING:

    def ask(method: Callable[[str], str]) -> None:
        """Something that takes a method."""

    def blocking_code(vault: sync.TokenVault, token: AccessToken) -> None:
        """What mypy says of it."""
        assert_type(vault.refresh("con_1"), Connection)
        assert_type(vault.access_token("con_1", 30.0, rejected=1), AccessToken)
        assert_type(vault.cached("con_1"), AccessToken | None)
        assert_type(vault.auth("con_1"), CloudbedsAuth)
        assert_type(vault.connections(), Page)
        assert_type([one.state for one in vault.connections()], list[State])
        assert_type(vault.finish(code="c", state="s"), Finished)
        assert_type(vault.begin_authorization(reference="tenant-7"), AuthorizationRequest)
        assert_type(vault.carrying(token), AbstractContextManager[None])
        assert_type(vault.apps.list(), Sequence[App])
        assert_type(vault.apps.add("aurora", client_id="client-2", client_secret="secret-2"), App)
        ask(vault.resolve)  # what is derived is bound as any method is
        vault.refresh()  # type: ignore[call-arg]
        vault.refresh(1)  # type: ignore[arg-type]
        vault.begin_authorization("tenant-7")  # type: ignore[call-arg]
        vault.apps.add("aurora")  # type: ignore[call-arg]

    async def awaiting_code(vault: TokenVault) -> None:
        """The same, awaited."""
        assert_type(await vault.refresh("con_1"), Connection)
        assert_type(await vault.apps.list(), Sequence[App])
