"""The tokens of one grant: which are accepted after what, as Cloudbeds' words may be read. Pure, usable alone.

``A`` is an access token, ``R`` a refresh token. Cloudbeds' own words: a refresh kills the old A at once; the old R may
be presented again until the new A is first used; then it is dead. They leave two questions open, and field reports
differ: what a second refresh with the same R gives while the A of the first is unused, and whether presenting an
unproven child kills its parent. So there are the variants V0 to V7, each in the forms y and n.

One detail of V3 is ours: an R counts as dead by first use from the first use of *any* A issued after it, for good, even
if something else killed it before. So a token that a used pair has outlived always revokes the grant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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


class WhyRefused(Enum):
    """What ended a refresh token whose grant is still alive."""

    FIRST_USE = "a newer access token was used"
    OLDER_PRESENTED = "an older refresh token was presented again"
    NEWER_PRESENTED = "a newer refresh token was presented"
    SPENT = "it was presented, and counts once"


@dataclass(frozen=True, slots=True)
class Variant:
    """One reading of the rotation rules.

    ``child_kills_parent`` is the form: true for /y, false for /n. It means nothing under V6 and V7, which have no
    living parent. Every variant except V4 and V5 counts first use as AUTHENTICATED, which is V4 without the requests
    that never reached a method.
    """

    name: str
    repeat: Repeat
    first_use: FirstUse = FirstUse.AUTHENTICATED
    reuse_revokes: bool = False
    child_kills_parent: bool = False

    @property
    def label(self) -> str:
        """The name with its form, as ``variant_of`` reads it: ``V2/n``."""
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


VARIANTS: dict[str, Variant] = {
    variant.label: variant for base in _BASES for variant in (base, replace(base, child_kills_parent=True))
}
"""Every variant by label, ``V0/n`` to ``V7/y``."""

DEFAULT = VARIANTS["V2/n"]
"""The harsh reading that breaks naive clients, and therefore the one to develop against."""


def variant_of(label: str) -> Variant:
    """The variant named ``V2/n``, ``v2/y`` or ``V6`` (without a form: n). Raises ValueError for any other text."""
    name, _, form = label.strip().upper().partition("/")
    found = VARIANTS.get(f"{name}/{form.lower() or 'n'}")
    if found is None:
        raise ValueError(f"unknown variant {label!r}: expected V0 to V7, with /y or /n behind it")
    return found


@dataclass(frozen=True, slots=True)
class TokenPair:
    """One issued (A, R). ``ordinal`` counts from 0 within a grant; times are Unix seconds, None if not reached yet."""

    ordinal: int
    access_token: str
    refresh_token: str
    issued_at: float
    expires_at: float
    superseded_at: float | None = None
    first_used_at: float | None = None


@dataclass(frozen=True, slots=True)
class IssuedPair:
    """A refresh that was answered with a pair; ``repeated`` if that pair had been given before (V0)."""

    pair: TokenPair
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class RefreshRefusal:
    """A refresh that was refused.

    The token is ``dead``, or never belonged to this grant (``unknown``); or the grant is ``revoked``, or was revoked by
    this very presentation (``reuse``, V3).
    """

    reason: str


class Rotation:
    """One grant's tokens. It starts with a first pair, as after a code exchange.

    ``mint`` makes a fresh token value of a kind, ``"access"`` or ``"refresh"``; ``lifetime`` is that of access tokens,
    in seconds. ``accepted`` holds the living R's, oldest first; ``refused`` holds, for every other R, what ended it and
    when. An ``empty`` rotation has no pair, for an approval whose code was exchanged for an API key.
    """

    __slots__ = (
        "_by_refresh", "_now", "_outlived", "accepted", "lifetime", "mint", "pairs", "refused", "revoked", "variant",
    )  # fmt: skip

    def __init__(
        self,
        variant: Variant,
        mint: Callable[[str], str],
        now: float,
        lifetime: float = 28800.0,
        *,
        empty: bool = False,
    ) -> None:
        self.variant = variant
        self.mint = mint
        self.lifetime = lifetime
        self.pairs: list[TokenPair] = []
        self.revoked = False
        self.refused: dict[str, tuple[WhyRefused, float]] = {}
        self._by_refresh: dict[str, int] = {}  # R -> ordinal of the newest pair that carries it
        self._now = -1  # ordinal of the current pair; V0 may go back to an earlier one
        self._outlived = 0  # every R of a lower ordinal was issued before an A that has been used
        self.accepted: tuple[str, ...] = () if empty else (self._issue(mint("refresh"), now).refresh_token,)

    @property
    def current(self) -> TokenPair:
        """The pair whose A is the only one that can be alive."""
        return self.pairs[self._now]

    def present(self, refresh_token: str, now: float) -> IssuedPair | RefreshRefusal:
        """Answer a token request that carries this R: with a pair, or with the reason why there is none."""
        refusal = self.show(refresh_token)
        if refusal is not None:
            return refusal
        at = self.accepted.index(refresh_token)
        if self.variant.repeat is Repeat.SAME_PAIR and at + 1 < len(self.accepted):
            return self._give_again(at + 1, now)
        keeps = self.variant.repeat is Repeat.SAME_REFRESH_TOKEN
        pair = self._issue(refresh_token if keeps else self.mint("refresh"), now)
        self._accept(self._accepted_after(at, pair.refresh_token), at, now)
        return IssuedPair(pair)

    def show(self, refresh_token: str) -> RefreshRefusal | None:
        """Why presenting this R is refused, or None. It rotates nothing, but may revoke the grant (V3)."""
        if self.revoked:
            return RefreshRefusal("revoked")
        if refresh_token in self.accepted:
            return None
        if refresh_token not in self._by_refresh:
            return RefreshRefusal("unknown")
        if self.would_revoke(refresh_token):
            self.revoke()
            return RefreshRefusal("reuse")
        return RefreshRefusal("dead")

    def would_revoke(self, refresh_token: str) -> bool:
        """Whether presenting this dead R of the grant revokes the whole grant (V3)."""
        return self.variant.reuse_revokes and self._by_refresh[refresh_token] < self._outlived

    def alive(self, access_token: str, now: float) -> bool:
        """Whether a resource would accept this A; asking changes nothing."""
        current = self.current
        return not self.revoked and access_token == current.access_token and now < current.expires_at

    def use(self, access_token: str, now: float, successful: bool = True) -> bool:
        """Call a protected method with this A: whether it is accepted. The first use that counts kills the other R's.

        ``successful``: whether the answer is 2xx, the only use that counts under V5.
        """
        if not self.alive(access_token, now):
            return False
        counts = successful or self.variant.first_use is not FirstUse.SUCCESSFUL
        if counts and self.current.first_used_at is None:
            self._replace(self._now, first_used_at=now)
            if self.variant.repeat is not Repeat.SAME_REFRESH_TOKEN:
                newest = self.current.refresh_token
                self.refused |= {one: (WhyRefused.FIRST_USE, now) for one in self.accepted if one != newest}
                self.accepted = (newest,)
                self._outlived = self._now
        return True

    def expire(self, now: float) -> None:
        """Let the current A expire now, as if its lifetime had passed. Its R is not affected."""
        if self.pairs:
            self._replace(self._now, expires_at=min(now, self.current.expires_at))

    def revoke(self) -> None:
        """The server ends the grant: none of its tokens is accepted again."""
        self.revoked = True
        self.accepted = ()

    def _issue(self, refresh_token: str, now: float) -> TokenPair:
        pair = TokenPair(len(self.pairs), self.mint("access"), refresh_token, now, now + self.lifetime)
        if self.pairs:
            self._replace(self._now, superseded_at=now)
        self.pairs.append(pair)
        self._by_refresh[refresh_token] = self._now = pair.ordinal
        return pair

    def _give_again(self, child: int, now: float) -> IssuedPair:
        """V0: the R after the presented one is its unused child. Its pair becomes current again, and later ones die."""
        again = self._by_refresh[self.accepted[child]]
        self._accept(self.accepted[: child + 1], child - 1, now)
        if again != self._now:
            self._replace(self._now, superseded_at=now)
            self._replace(again, superseded_at=None)
            self._now = again
        return IssuedPair(self.current, repeated=True)

    def _accepted_after(self, at: int, new: str) -> tuple[str, ...]:
        """The living R's after the one at this position was answered with the new one."""
        repeat, before, sent = self.variant.repeat, self.accepted[:at], self.accepted[at : at + 1]
        if repeat is Repeat.SAME_REFRESH_TOKEN:
            return self.accepted
        if repeat is Repeat.STRICT:
            return (new,)
        parents = () if self.variant.child_kills_parent else before
        siblings = self.accepted[at + 1 :] if repeat is Repeat.SIBLINGS else ()
        return (*parents, *sent, *siblings, new)

    def _accept(self, living: tuple[str, ...], presented: int, now: float) -> None:
        """Accept only these R's from now on, because the one at this position was presented."""
        for at, token in enumerate(self.accepted):
            if token not in living:
                older = WhyRefused.NEWER_PRESENTED if at < presented else WhyRefused.SPENT
                self.refused[token] = (WhyRefused.OLDER_PRESENTED if at > presented else older, now)
        self.accepted = living

    def _replace(self, ordinal: int, **changes: float | None) -> None:
        self.pairs[ordinal] = replace(self.pairs[ordinal], **changes)  # type: ignore[arg-type]  # times only
