"""The nouns, and who may do what."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest
from tests.support.fakes import pair

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, CredentialKind, Grant, Role, StoredToken, moment
from cloudbeds_auth.rules.secret import Secret

CANARY = "canary-7d1f"


def grant() -> Grant:
    """A grant full of canaries."""
    return Grant(
        id="g", connection_id="c", app="default", kind=CredentialKind.OAUTH, role=Role.ACTIVE, state=State.FRESH,
        generation=3, access=Secret(CANARY), expires_at=1_800_000_000.0, lifetime=3600.0, valid_for=9.0, stale_in=1.0,
        tokens=tuple(StoredToken(position, Secret(CANARY)) for position in (1, 2, 3)),
    )  # fmt: skip


def test_moments() -> None:
    """Unix seconds as aware UTC."""
    assert moment(0.0) == datetime(1970, 1, 1, tzinfo=UTC)
    assert moment(2_200_000_000.5).year == 2039


def test_the_token_that_callers_get() -> None:
    """Its value on request, its end, its generation, where it came from."""
    token = grant().token()
    assert token == AccessToken(Secret(CANARY), moment(1_800_000_000.0), 3, grant_id="g", lifetime=3600.0)
    assert (token.reveal(), token.token_type) == (CANARY, "Bearer")


def test_the_same_token() -> None:
    """Two tokens are the same when generation and grant are; their values are not compared (V6)."""
    one = grant().token()
    assert one.is_same(AccessToken(Secret("other"), moment(0.0), 3, grant_id="g"))
    assert not one.is_same(AccessToken(Secret(CANARY), moment(0.0), 4, grant_id="g"))
    assert not one.is_same(AccessToken(Secret(CANARY), moment(0.0), 3, grant_id="other"))


def test_kept_tokens() -> None:
    """All but the last; of one or none, none."""
    assert [token.position for token in grant().kept] == [1, 2]


def test_nothing_shows_a_secret() -> None:
    """`repr` of what carries secrets."""
    for one in (grant(), grant().token(), grant().tokens[0], pair(CANARY)):
        assert CANARY not in repr(one)
        assert CANARY not in f"{one}"


def test_frozen() -> None:
    """Data is not changed under anybody's hands."""
    with pytest.raises(FrozenInstanceError):
        grant().generation = 4  # type: ignore[misc]
