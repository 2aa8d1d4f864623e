"""The rotation rule against an oracle: predicates over a history, independent of how ``Rotation`` keeps its state."""

from __future__ import annotations

from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from cloudbeds_simulator.rotation import VARIANTS, IssuedPair, Rotation

LIFETIME = 10


class Oracle:
    """Who is accepted, from what happened: events are ("present", r, pair given) and ("use", a, a), by ordinals."""

    def __init__(self, label: str) -> None:
        self.name, self.kills_parent = label[:2], label.endswith("/y")
        self.born, self.mother, self.issued_at = {0: 0}, {0: -1}, {0: 0}
        self.events: list[tuple[str, int, int]] = []
        self.holder, self.revoked = 0, False

    def kills(self, event: tuple[str, int, int], r: int) -> bool:
        what, subject, given = event
        if what == "use":
            return self.name != "V6" and r != subject
        if self.name in ("V6", "V7"):
            return self.name == "V7" and r == subject
        older, newer = r < subject, r > subject and r != given
        return (older and self.kills_parent) or (newer and self.name != "V1")

    def accepts_refresh(self, r: int) -> bool:
        return not self.revoked and not any(self.kills(event, r) for event in self.events[self.born[r] :])

    def accepts_access(self, a: int, now: int) -> bool:
        return not self.revoked and a == self.holder and now < self.issued_at[a] + LIFETIME

    def outlived(self, r: int) -> bool:
        return any(what == "use" and subject > r for what, subject, _ in self.events)

    def present(self, r: int, now: int) -> int | None:
        if not self.accepts_refresh(r):
            self.revoked = self.revoked or (self.name == "V3" and self.outlived(r))
            return None
        living = [c for c, mother in self.mother.items() if mother == r and self.accepts_refresh(c)]
        again = self.name == "V0" and living
        self.holder = living[-1] if again else len(self.born)
        self.events.append(("present", r, self.holder))
        if not again:
            self.born[self.holder], self.mother[self.holder] = len(self.events), r
            self.issued_at[self.holder] = now
        return self.holder

    def use(self, a: int, now: int, successful: bool) -> bool:
        accepted = self.accepts_access(a, now)
        if accepted and (successful or self.name != "V5"):
            self.events.append(("use", a, a))
        return accepted


STEPS = st.lists(
    st.tuples(st.sampled_from(("present", "present", "use", "use badly")), st.integers(0, 7), st.integers(0, 6)),
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(VARIANTS)), STEPS)
def test_agrees_with_oracle(label: str, steps: list[tuple[str, int, int]]) -> None:
    """After any history, rotation and oracle accept the same refresh tokens and the same access token."""
    numbers = count()
    rotation = Rotation(VARIANTS[label], lambda kind: f"{kind}{next(numbers)}", 0, LIFETIME)
    oracle, now = Oracle(label), 0
    for what, pick, pause in steps:
        now += pause
        pairs = rotation.pairs
        which = pick % len(pairs)
        if what == "present":
            outcome = rotation.present(pairs[which].refresh_token, now)
            told = outcome.pair.ordinal if isinstance(outcome, IssuedPair) else None
            # Under V6 every pair carries the same R, so the oracle may be asked about any of them.
            assert told == oracle.present(which, now)
        else:
            good = what == "use"
            assert rotation.use(pairs[which].access_token, now, good) == oracle.use(which, now, good)
        for pair in rotation.pairs:
            assert (pair.refresh_token in rotation.accepted) == oracle.accepts_refresh(pair.ordinal)
            assert rotation.alive(pair.access_token, now) == oracle.accepts_access(pair.ordinal, now)
        assert rotation.revoked == oracle.revoked


@settings(deadline=None)
@given(st.sampled_from(sorted(set(VARIANTS) - {"V3/n", "V3/y"})), STEPS)
def test_never_stranded(label: str, steps: list[tuple[str, int, int]]) -> None:
    """Whatever is presented and used, outside V3 the refresh token of the current pair is accepted."""
    numbers = count()
    rotation = Rotation(VARIANTS[label], lambda kind: f"{kind}{next(numbers)}", 0, LIFETIME)
    for what, pick, _ in steps:
        pair = rotation.pairs[pick % len(rotation.pairs)]
        if what == "present":
            rotation.present(pair.refresh_token, 0)
        else:
            rotation.use(pair.access_token, 0, what == "use")
        assert rotation.current.refresh_token in rotation.accepted
