"""What becomes of a connection's properties when Cloudbeds lists them anew, or somebody else approves: groups grow and
shrink.

Source: cloudbeds-facts.md section 7, "Properties can be added to / removed from a group later: re-list periodically".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cloudbeds_auth.rules.schedule import DAY

FIRST = 60.0  # seconds until a hotel whose properties came with its tokens is asked about: they need not be all
EVERY = DAY  # seconds between two questions that had an answer, less a part that differs from grant to grant
HOLD = 3600.0  # seconds until one that had none is asked again


@dataclass(frozen=True, slots=True)
class PropertyChanges:
    """What a list, or another approval, changed: properties that came, that went, and that a list names although they
    are another connection's.

    `property_ids` is what the connection covers from now on.
    """

    property_ids: tuple[str, ...]
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many came or went."""
        return len(self.added) + len(self.dropped)


def fits(expected: Collection[str], named: Collection[str]) -> bool:
    """Whether an approval is for the hotel that was meant: it covers one of the expected properties, or none is."""
    return not expected or not set(expected).isdisjoint(named)


def replaced(former: Sequence[str], named: Sequence[str]) -> PropertyChanges:
    """Another approval takes the former one's place: it covers what Cloudbeds named of it, be that more or less."""
    added = tuple(one for one in named if one not in former)
    return PropertyChanges(tuple(named), added, tuple(one for one in former if one not in named))


def relist(known: Sequence[str], named: Sequence[str], taken: Collection[str]) -> PropertyChanges:
    """`taken`: those of `named` that another living connection covers; nothing is taken away from that one.

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
