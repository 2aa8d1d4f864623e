"""The rotation rule of one grant under one variant: who is accepted after what. Pure, and usable alone.

``A`` is an access token, ``R`` a refresh token. Cloudbeds' own words: a refresh kills the old A at once; the old R
may be presented again until the new A is first used; then it is dead. ``variants`` says where the readings part.

Of V3 one detail is ours: an R counts as dead by first use from the first use of *any* A issued after it, for good,
also if something else had killed it before. So a token that has been outlived by a used pair always revokes the
grant.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from cloudbeds_simulator.variants import FirstUse, Repeat, Variant


@dataclass(frozen=True, slots=True)
class Pair:
    """One issued (A, R). ``ordinal`` counts from 0 in a grant; times are Unix seconds, None while not yet happened."""

    ordinal: int
    access_token: str
    refresh_token: str
    issued_at: float
    expires_at: float
    superseded_at: float | None = None
    first_used_at: float | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A refresh that was answered with a pair; ``repeated`` when it is a pair already given before (V0)."""

    pair: Pair
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A refresh that was refused.

    The token is ``dead``, was never this grant's (``unknown``), the grant is ``revoked``, or this very presentation
    revoked it (``reuse``, V3).
    """

    reason: str


class Rotation:
    """One grant's tokens. It starts with a first pair, as a code exchange gives it.

    ``mint`` makes a fresh token value of a kind, ``"access"`` or ``"refresh"``; ``lifetime`` is that of access tokens
    in seconds. Pairs are immutable, so a deep copy is a copy of short lists. ``accepted`` holds the living R's,
    oldest first. An ``empty`` one has no pair at all, for an approval whose code was exchanged for an API key.
    """

    __slots__ = ("_by_refresh", "_now", "_outlived", "accepted", "lifetime", "mint", "pairs", "revoked", "variant")

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
        self.pairs: list[Pair] = []
        self.revoked = False
        self._by_refresh: dict[str, int] = {}  # R -> ordinal of the newest pair that carries it
        self._now = -1  # ordinal of the current pair; V0 may go back to an earlier one
        self._outlived = 0  # every R of a lower ordinal was issued before an A that has been used
        self.accepted: tuple[str, ...] = () if empty else (self._issue(mint("refresh"), now).refresh_token,)

    @property
    def current(self) -> Pair:
        """The pair whose A is the only one that can be alive."""
        return self.pairs[self._now]

    def present(self, refresh_token: str, now: float) -> Issued | Refused:
        """A token request carries this R: the pair that answers it, or why there is none."""
        if self.revoked:
            return Refused("revoked")
        if refresh_token not in self.accepted:
            return self._refuse(refresh_token)
        at = self.accepted.index(refresh_token)
        if self.variant.repeat is Repeat.SAME_PAIR and at + 1 < len(self.accepted):
            return self._give_again(at + 1, now)
        keeps = self.variant.repeat is Repeat.SAME_REFRESH_TOKEN
        pair = self._issue(refresh_token if keeps else self.mint("refresh"), now)
        self.accepted = self._accepted_after(at, pair.refresh_token)
        return Issued(pair)

    def show(self, refresh_token: str) -> Refused | None:
        """This R is presented for something else than a refresh: why it is refused, or None. It rotates nothing."""
        if self.revoked:
            return Refused("revoked")
        return None if refresh_token in self.accepted else self._refuse(refresh_token)

    def alive(self, access_token: str, now: float) -> bool:
        """Whether a resource would accept this A; asking changes nothing."""
        current = self.current
        return not self.revoked and access_token == current.access_token and now < current.expires_at

    def use(self, access_token: str, now: float, successful: bool = True) -> bool:
        """A protected method is asked with this A: whether it is accepted. The first use that counts kills other R's.

        ``successful`` says that the answer is 2xx, the only use that counts under V5.
        """
        if not self.alive(access_token, now):
            return False
        counts = successful or self.variant.first_use is not FirstUse.SUCCESSFUL
        if counts and self.current.first_used_at is None:
            self._replace(self._now, first_used_at=now)
            if self.variant.repeat is not Repeat.SAME_REFRESH_TOKEN:
                self.accepted = (self.current.refresh_token,)
                self._outlived = self._now
        return True

    def expire(self, now: float) -> None:
        """The current A runs out now, as if its lifetime had passed. Its R is not touched."""
        if self.pairs:
            self._replace(self._now, expires_at=min(now, self.current.expires_at))

    def revoke(self) -> None:
        """The server ends the grant: nothing of it is accepted again."""
        self.revoked = True
        self.accepted = ()

    def _refuse(self, refresh_token: str) -> Refused:
        ordinal = self._by_refresh.get(refresh_token)
        if ordinal is None:
            return Refused("unknown")
        if self.variant.reuse_revokes and ordinal < self._outlived:
            self.revoke()
            return Refused("reuse")
        return Refused("dead")

    def _issue(self, refresh_token: str, now: float) -> Pair:
        pair = Pair(len(self.pairs), self.mint("access"), refresh_token, now, now + self.lifetime)
        if self.pairs:
            self._replace(self._now, superseded_at=now)
        self.pairs.append(pair)
        self._by_refresh[refresh_token] = self._now = pair.ordinal
        return pair

    def _give_again(self, child: int, now: float) -> Issued:
        """V0: the R after the presented one is its unused child; that pair is current again, later ones are dead."""
        again = self._by_refresh[self.accepted[child]]
        self.accepted = self.accepted[: child + 1]
        if again != self._now:
            self._replace(self._now, superseded_at=now)
            self._replace(again, superseded_at=None)
            self._now = again
        return Issued(self.current, repeated=True)

    def _accepted_after(self, at: int, new: str) -> tuple[str, ...]:
        """The living R's once the one at this position was answered with the new one."""
        repeat, before, sent = self.variant.repeat, self.accepted[:at], self.accepted[at : at + 1]
        if repeat is Repeat.SAME_REFRESH_TOKEN:
            return self.accepted
        if repeat is Repeat.STRICT:
            return (new,)
        parents = () if self.variant.child_kills_parent else before
        siblings = self.accepted[at + 1 :] if repeat is Repeat.SIBLINGS else ()
        return (*parents, *sent, *siblings, new)

    def _replace(self, ordinal: int, **changes: float | None) -> None:
        self.pairs[ordinal] = replace(self.pairs[ordinal], **changes)  # type: ignore[arg-type]  # times only

    def __deepcopy__(self, memo: dict[int, Any]) -> Rotation:
        twin = object.__new__(Rotation)
        memo[id(self)] = twin
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "mint":
                value = deepcopy(value, memo)
            setattr(twin, name, value.copy() if isinstance(value, (list, dict)) else value)
        return twin
