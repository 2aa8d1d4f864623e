"""What a new list of properties changes."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules.properties import PropertyChanges, relist, replaced

KNOWN = ("1", "2")


@pytest.mark.parametrize(
    ("named", "taken", "expected"),
    [
        (("1", "2"), (), PropertyChanges(KNOWN)),
        (("2", "1"), (), PropertyChanges(KNOWN)),
        (("3", "1", "2"), (), PropertyChanges(("1", "2", "3"), added=("3",))),
        (("2",), (), PropertyChanges(("2",), dropped=("1",))),
        (("3", "2"), (), PropertyChanges(("2", "3"), added=("3",), dropped=("1",))),
        (("3", "4"), (), PropertyChanges(("3", "4"), added=("3", "4"), dropped=("1", "2"))),
        (("1", "2", "3", "4"), {"3"}, PropertyChanges(("1", "2", "4"), added=("4",), elsewhere=("3",))),
        (("2", "3"), {"3"}, PropertyChanges(("2",), dropped=("1",), elsewhere=("3",))),
        (("1", "2"), {"1"}, PropertyChanges(KNOWN)),
        (("3",), {"3"}, PropertyChanges(KNOWN, elsewhere=("3",))),
        ((), (), PropertyChanges(KNOWN)),
    ],
)
def test_relist(named: tuple[str, ...], taken: set[str], expected: PropertyChanges) -> None:
    """Known ones keep their order; another's is left to it; a connection is never left without one."""
    assert relist(KNOWN, named, taken) == expected


def test_of_none_known() -> None:
    """An approval that was never given a property has what is named."""
    assert relist((), ("1", "2"), {"2"}) == PropertyChanges(("1",), added=("1",), elsewhere=("2",))
    assert relist((), ("2",), {"2"}) == PropertyChanges((), elsewhere=("2",))


@pytest.mark.parametrize(
    ("named", "expected", "count"),
    [
        (("2", "1"), PropertyChanges(("2", "1")), 0),
        (("2",), PropertyChanges(("2",), dropped=("1",)), 1),
        (("3", "2"), PropertyChanges(("3", "2"), added=("3",), dropped=("1",)), 2),
        ((), PropertyChanges((), dropped=("1", "2")), 2),
    ],
)
def test_another_approval(named: tuple[str, ...], expected: PropertyChanges, count: int) -> None:
    """It covers what was named of it alone, in any order; what that changed is counted."""
    assert (replaced(KNOWN, named), expected.count) == (expected, count)
