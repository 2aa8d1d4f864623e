"""What a repeated refresh may mean: the variants V0 to V7, each in form y and n.

Cloudbeds' published words leave two questions open, and field reports differ: what a second refresh with the same
refresh token gives while the access token of the first is unused, and whether presenting an unproven child kills its
parent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Repeat(Enum):
    """What a repeated refresh with R0 gives before A1 is used."""

    SAME_PAIR = "the same pair again, expired or not"
    SIBLINGS = "a new pair; earlier children are still accepted"
    NEWEST_ONLY = "a new pair; earlier children are dead"
    SAME_REFRESH_TOKEN = "a new access token; the refresh token never changes"
    STRICT = "nothing: R0 died when it was spent"


class FirstUse(Enum):
    """Which request counts as the first use of an access token, the moment its parents die."""

    AUTHENTICATED = "any authenticated request that reaches a protected method, whatever its status"
    ANY = "any request that carries the token, also one answered 403, 404 or 429 before a method was reached"
    SUCCESSFUL = "only a request answered 2xx"


@dataclass(frozen=True, slots=True)
class Variant:
    """One reading of the rotation rules.

    ``child_kills_parent`` is the form: true for /y, false for /n. It means nothing under V6 and V7, which have no
    living parent. Every variant but V4 and V5 counts first use as AUTHENTICATED, which is V4 without the
    requests that never reached a method.
    """

    name: str
    repeat: Repeat
    first_use: FirstUse = FirstUse.AUTHENTICATED
    reuse_revokes: bool = False
    child_kills_parent: bool = False

    @property
    def label(self) -> str:
        """The name with its form, as ``parse`` reads it: ``V2/n``."""
        return f"{self.name}/{'y' if self.child_kills_parent else 'n'}"


_BASES = (
    Variant("V0", Repeat.SAME_PAIR),
    Variant("V1", Repeat.SIBLINGS),
    Variant("V2", Repeat.NEWEST_ONLY),
    Variant("V3", Repeat.NEWEST_ONLY, reuse_revokes=True),
    Variant("V4", Repeat.NEWEST_ONLY, first_use=FirstUse.ANY),
    Variant("V5", Repeat.NEWEST_ONLY, first_use=FirstUse.SUCCESSFUL),
    Variant("V6", Repeat.SAME_REFRESH_TOKEN),
    Variant("V7", Repeat.STRICT),
)


def _in_form(base: Variant, child_kills_parent: bool) -> Variant:
    return Variant(base.name, base.repeat, base.first_use, base.reuse_revokes, child_kills_parent)


VARIANTS: dict[str, Variant] = {
    variant.label: variant for base in _BASES for variant in (_in_form(base, False), _in_form(base, True))
}
"""Every variant by label, ``V0/n`` to ``V7/y``."""

DEFAULT = VARIANTS["V2/n"]
"""The harsh reading that breaks naive clients, and so the one to develop against."""


def parse(label: str) -> Variant:
    """The variant named ``V2/n``, ``v2/y`` or ``V6`` (no form means n). Raises ValueError for any other text."""
    name, _, form = label.strip().upper().partition("/")
    found = VARIANTS.get(f"{name}/{form.lower() or 'n'}")
    if found is None:
        raise ValueError(f"unknown variant {label!r}: expected V0 to V7, with /y or /n behind it")
    return found
