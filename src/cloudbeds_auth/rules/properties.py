"""How a connection's properties change when Cloudbeds lists them anew, or another user approves: groups grow and
shrink.

Source: cloudbeds-facts.md section 7, "Properties can be added to / removed from a group later: re-list periodically".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cloudbeds_auth.rules.schedule import DAY

FIRST = 60.0  # seconds until the properties of a new grant are listed: those that came with its tokens need not be all
EVERY = DAY  # seconds from one listing to the next, less a part that differs from grant to grant
HOLD = 3600.0  # seconds until a listing that failed is tried again


@dataclass(frozen=True, slots=True)
class PropertyChanges:
    """What a list, or another approval, changed: properties `added` and `dropped`, and those `elsewhere`, which the
    list names although another connection covers them.

    `property_ids`: the properties that the connection covers from now on.
    """

    property_ids: tuple[str, ...]
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many were added or dropped."""
        return len(self.added) + len(self.dropped)


def fits(expected: Collection[str], named: Collection[str]) -> bool:
    """Whether an approval is for the hotel that was meant: it covers an expected property, or none is expected."""
    return not expected or not set(expected).isdisjoint(named)


def replaced(former: Sequence[str], named: Sequence[str]) -> PropertyChanges:
    """What changes when another approval, for the properties `named`, replaces one for `former`."""
    added = tuple(one for one in named if one not in former)
    return PropertyChanges(tuple(named), added, tuple(one for one in former if one not in named))


def relist(known: Sequence[str], named: Sequence[str], taken: Collection[str]) -> PropertyChanges:
    """What changes when Cloudbeds lists the properties `named`, of which another living connection covers `taken`;
    nothing is taken away from that one.

    A connection is never left without a property: a list that would do so is taken to name another hotel's properties.
    """
    new = [one for one in named if one not in known]
    elsewhere = tuple(one for one in new if one in taken)
    added = tuple(one for one in new if one not in taken)
    kept = [one for one in known if one in named]
    if not kept and not added:
        return PropertyChanges(tuple(known), elsewhere=elsewhere)
    dropped = tuple(one for one in known if one not in named)
    return PropertyChanges((*kept, *added), added, dropped, elsewhere)
