"""The rotation rule, one sentence of the published words or of a variant at a time."""

from __future__ import annotations

from itertools import count

import pytest

from cloudbeds_simulator.rotation import VARIANTS, IssuedPair, RefreshRefusal, Rotation, TokenPair, variant_of

ALL = sorted(VARIANTS)
WITH_PARENT = [label for label in ALL if label[:2] not in ("V6", "V7")]
V2_FAMILY = [label for label in ALL if label[:2] in ("V2", "V3", "V4", "V5")]


class Mint:
    """Token values that tell their kind and order."""

    def __init__(self) -> None:
        self.numbers = count()

    def __call__(self, kind: str) -> str:
        return f"{kind}-{next(self.numbers)}"


def start(label: str, lifetime: float = 100.0) -> Rotation:
    return Rotation(variant_of(label), Mint(), now=0.0, lifetime=lifetime)


def refreshed(rotation: Rotation, refresh_token: str, now: float = 1.0) -> TokenPair:
    outcome = rotation.present(refresh_token, now)
    assert isinstance(outcome, IssuedPair), outcome
    return outcome.pair


def test_sixteen_variants() -> None:
    """There are eight variants in two forms each."""
    assert len(VARIANTS) == 16


@pytest.mark.parametrize(("text", "label"), [("V2", "V2/n"), ("v0/Y", "V0/y"), (" V6/n ", "V6/n")])
def test_parse(text: str, label: str) -> None:
    """A variant is named by number and form, n when no form is given."""
    assert variant_of(text).label == label


@pytest.mark.parametrize("text", ["V8", "V2/x", "", "2/n", "V2/n/y"])
def test_parse_refuses(text: str) -> None:
    """Any other name is refused, quoting it."""
    with pytest.raises(ValueError, match="unknown variant"):
        variant_of(text)


@pytest.mark.parametrize("label", ALL)
def test_refresh_kills_old_access_token(label: str) -> None:
    """Once a new access token is issued, the one before cannot be used anymore."""
    rotation = start(label)
    old = rotation.current
    new = refreshed(rotation, old.refresh_token)
    assert not rotation.use(old.access_token, 2.0)
    assert rotation.use(new.access_token, 2.0)


@pytest.mark.parametrize("label", [label for label in ALL if not label.startswith("V7")])
def test_unsaved_answer_can_be_asked_for_again(label: str) -> None:
    """While the new access token is unused, the refresh token still gives one that works."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    refreshed(rotation, parent)
    again = refreshed(rotation, parent, 2.0)
    assert rotation.use(again.access_token, 3.0)


@pytest.mark.parametrize("label", WITH_PARENT)
def test_first_use_kills_parent(label: str) -> None:
    """As soon as access token 1 was used, refresh token 0 is refused."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    assert rotation.use(refreshed(rotation, parent).access_token, 2.0)
    assert isinstance(rotation.present(parent, 3.0), RefreshRefusal)


@pytest.mark.parametrize("label", ALL)
def test_child_survives_first_use(label: str) -> None:
    """Using an access token never kills the refresh token issued with it."""
    rotation = start(label)
    pair = refreshed(rotation, rotation.current.refresh_token)
    rotation.use(pair.access_token, 2.0)
    assert isinstance(rotation.present(pair.refresh_token, 3.0), IssuedPair)


@pytest.mark.parametrize("label", ALL)
def test_access_token_expires(label: str) -> None:
    """An access token is refused from the second its lifetime ends; its refresh token still works."""
    rotation = start(label, lifetime=100.0)
    pair = rotation.current
    assert rotation.use(pair.access_token, 99.9)
    assert not rotation.use(pair.access_token, 100.0)
    assert isinstance(rotation.present(pair.refresh_token, 5000.0), IssuedPair)


@pytest.mark.parametrize("label", WITH_PARENT)
def test_form(label: str) -> None:
    """Presenting an unproven child kills its parent in form y and not in form n."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent).refresh_token
    refreshed(rotation, child, 2.0)
    assert isinstance(rotation.present(parent, 3.0), IssuedPair) == label.endswith("/n")


@pytest.mark.parametrize("label", ["V0/y", "V0/n"])
def test_v0_gives_same_pair(label: str) -> None:
    """Under V0 a repeated refresh gives the very same pair, expired or not, and works again if unexpired."""
    rotation = start(label, lifetime=100.0)
    parent = rotation.current.refresh_token
    first = refreshed(rotation, parent, 1.0)
    second = rotation.present(parent, 5000.0)
    assert isinstance(second, IssuedPair)
    assert second.repeated
    assert (second.pair.access_token, second.pair.refresh_token) == (first.access_token, first.refresh_token)
    assert not rotation.use(second.pair.access_token, 5000.0)


def test_v0_goes_back_to_earlier_pair() -> None:
    """Under V0/n a parent presented after its child brings the child's pair back and kills the grandchild."""
    rotation = start("V0/n")
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent, 1.0)
    grandchild = refreshed(rotation, child.refresh_token, 2.0)
    assert refreshed(rotation, parent, 3.0).access_token == child.access_token
    assert not rotation.alive(grandchild.access_token, 4.0)
    assert rotation.alive(child.access_token, 4.0)
    assert rotation.present(grandchild.refresh_token, 5.0) == RefreshRefusal("dead")
    assert rotation.pairs[2].superseded_at == 3.0
    assert rotation.current.superseded_at is None


@pytest.mark.parametrize("label", ["V1/y", "V1/n"])
def test_v1_siblings(label: str) -> None:
    """Under V1 a repeated refresh gives a new pair, the earlier child is still accepted, only the newest A works."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    first, second = refreshed(rotation, parent), refreshed(rotation, parent)
    assert first.refresh_token != second.refresh_token
    assert not rotation.alive(first.access_token, 2.0)
    assert rotation.alive(second.access_token, 2.0)
    assert isinstance(rotation.present(first.refresh_token, 2.0), IssuedPair)


@pytest.mark.parametrize("label", V2_FAMILY)
def test_v2_newest_only(label: str) -> None:
    """Under V2 and its family a repeated refresh kills the earlier child pair; parent and newest child are accepted."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    first, second = refreshed(rotation, parent), refreshed(rotation, parent)
    assert not rotation.alive(first.access_token, 2.0)
    assert rotation.present(first.refresh_token, 2.0) == RefreshRefusal("dead")
    assert rotation.accepted == (parent, second.refresh_token)


@pytest.mark.parametrize("label", [label for label in WITH_PARENT if not label.startswith("V3")])
def test_reuse_is_only_refused(label: str) -> None:
    """Outside V3 a dead refresh token is refused and nothing else happens."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent)
    rotation.use(child.access_token, 2.0)
    assert rotation.present(parent, 3.0) == RefreshRefusal("dead")
    assert rotation.use(child.access_token, 3.0)


@pytest.mark.parametrize("label", ["V3/y", "V3/n"])
def test_v3_reuse_revokes(label: str) -> None:
    """Under V3 presenting a refresh token that died by first use revokes the whole grant."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent)
    rotation.use(child.access_token, 2.0)
    assert rotation.present(parent, 3.0) == RefreshRefusal("reuse")
    assert not rotation.use(child.access_token, 3.0)
    assert rotation.present(child.refresh_token, 3.0) == RefreshRefusal("revoked")


def test_v3_superseded_child_does_not_revoke() -> None:
    """Under V3 a child that died by a repeated refresh is refused without revoking, as long as nothing was used."""
    rotation = start("V3/n")
    parent = rotation.current.refresh_token
    first = refreshed(rotation, parent)
    refreshed(rotation, parent)
    assert rotation.present(first.refresh_token, 2.0) == RefreshRefusal("dead")
    assert not rotation.revoked


def test_v3_remembers_first_use_after_next_refresh() -> None:
    """Under V3 a token that died by first use revokes for good, also after the next refresh."""
    rotation = start("V3/n")
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent)
    rotation.use(child.access_token, 2.0)
    refreshed(rotation, child.refresh_token, 3.0)
    assert rotation.present(parent, 4.0) == RefreshRefusal("reuse")


@pytest.mark.parametrize("label", WITH_PARENT)
def test_unsuccessful_use(label: str) -> None:
    """A use answered 403, 404 or 429 kills the parent, but under V5 only a 2xx does."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent)
    assert rotation.use(child.access_token, 2.0, successful=False)
    assert isinstance(rotation.present(parent, 3.0), IssuedPair) == label.startswith("V5")


@pytest.mark.parametrize("label", ["V6/y", "V6/n"])
def test_v6_same_refresh_token(label: str) -> None:
    """Under V6 every refresh returns the same refresh token and a new access token, also after use."""
    rotation = start(label)
    only = rotation.current.refresh_token
    for now in (1.0, 2.0, 3.0):
        pair = refreshed(rotation, only, now)
        assert pair.refresh_token == only
        assert rotation.use(pair.access_token, now)
    assert len({pair.access_token for pair in rotation.pairs}) == 4


@pytest.mark.parametrize("label", ["V7/y", "V7/n"])
def test_v7_strict(label: str) -> None:
    """Under V7 a refresh token dies when it is spent, used or not."""
    rotation = start(label)
    parent = rotation.current.refresh_token
    child = refreshed(rotation, parent)
    assert rotation.present(parent, 2.0) == RefreshRefusal("dead")
    assert rotation.accepted == (child.refresh_token,)


@pytest.mark.parametrize("label", ALL)
def test_unknown_token(label: str) -> None:
    """A value that was never issued is refused, and revokes nothing."""
    rotation = start(label)
    assert rotation.present("made up", 1.0) == RefreshRefusal("unknown")
    assert not rotation.use("made up", 1.0)
    assert rotation.use(rotation.current.access_token, 1.0)


def test_expire_now() -> None:
    """An access token can be made to expire early, never to live longer."""
    rotation = start("V2/n", lifetime=100.0)
    rotation.expire(50.0)
    assert not rotation.alive(rotation.current.access_token, 50.0)
    rotation.expire(90.0)
    assert rotation.current.expires_at == 50.0
