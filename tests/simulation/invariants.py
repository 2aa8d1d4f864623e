"""The invariants (docs/rotation.md#invariants), checked after every step, and at every sending.

D is what a power cut now would leave (`durable.Rest`), S the vendor's own state (`vendor.Vendor`). The checks at a
sending (I1, I4, I8, I12, I13) are in `sendings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.durable import Rest, Stored
from tests.simulation.trace import Trace
from tests.simulation.vendor import Issue, Vendor

INTERVAL = 60.0  # seconds between the two refusals of rule 12; the product's own number is not asked


@dataclass(slots=True)
class Seen:
    """What was ever durable of one grant."""

    before: Stored
    changed_at: float
    marked_at: float = -1.0
    generations: set[int] = field(default_factory=set)


class Invariants:
    """Compares D with S. `asked_at(exchange)` is the generation that a token request was asked for."""

    def __init__(
        self,
        trace: Trace,
        rest: Rest,
        vendor: Vendor,
        now: Callable[[], float],
        asked_at: Callable[[int], int | None],
    ) -> None:
        self.trace, self.rest, self.vendor = trace, rest, vendor
        self._now, self._asked_at = now, asked_at
        self.ever_access: set[str] = set()
        self.ever_refresh: set[str] = set()
        self.operator_disconnects = False  # an operator's disconnect is under way, or was
        self._seen: dict[str, Seen] = {}
        self._strict: set[str] = set()  # grants that V7 has lost, as stated
        self._checked = (-1, -1)

    def check(self) -> None:
        """After a step: whatever changed since the last one."""
        version = (self.rest._disk.version, self.vendor.ledger.version)
        if version == self._checked:
            return
        stored = self.rest.grants()
        if version[0] != self._checked[0]:
            for grant in stored.values():
                self._changed(grant, stored)
            self._vanished(stored)
        self._checked = version
        for grant in stored.values():
            self._never_lost(grant)

    def marked_since(self, connection_id: str, moment: float) -> bool:
        """Whether D said "reauthorization required" of this connection at some time since this moment."""
        return any(
            seen.before.reauth or seen.marked_at >= moment
            for seen in self._seen.values()
            if seen.before.connection_id == connection_id
        )

    def changed_at(self, grant_id: str) -> float:
        """When the tokens of this grant last changed in D."""
        return self._seen[grant_id].changed_at

    # --- what changed in D

    def _vanished(self, stored: dict[str, Stored]) -> None:
        """I3: no grant leaves D, and its tokens with it, but one that a later approval replaced or that was ended."""
        for grant_id, seen in self._seen.items():
            if grant_id not in stored and seen.before.role in {"active", "candidate"} and not self.operator_disconnects:
                self.trace.violate("I3", f"{grant_id} left, {seen.before.role}")

    def _changed(self, now: Stored, stored: dict[str, Stored]) -> None:
        seen = self._seen.get(now.id)
        self.ever_access.add(now.access)
        self.ever_refresh.update(now.values)
        if seen is None:
            self._seen[now.id] = Seen(now, self._now())
            self._say(now)
            return
        before = seen.before
        if before is now or before == now:
            return
        self.trace.count("checks", 4)
        if now.role == "disconnected":
            if not self.operator_disconnects:
                self.trace.violate("I15", f"{now.id} is disconnected, and no operator asked for it")
        else:
            self._kept(before, now)
            self._fenced(before, now)
            if now.reauth and not before.reauth:
                self._truly_dead(now, seen, stored)
            if (before.role, now.role) == ("candidate", "active") and now.access not in self.vendor.ledger.proofs:
                self.trace.violate(
                    "I3", f"the pointer moved to {now.id}, whose {self.trace.called(now.access)} never worked"
                )
        if now.reauth or before.reauth:
            seen.marked_at = self._now()
        if before.tokens != now.tokens or before.generation != now.generation:
            seen.changed_at = self._now()
            self._say(now)
        seen.before = now

    def _say(self, grant: Stored) -> None:
        tokens = " ".join(self.trace.called(value) for value in grant.values)
        self.trace.say(
            "disk",
            f"{grant.id} {grant.role} generation {grant.generation} {self.trace.called(grant.access)} [{tokens}]",
        )

    def _kept(self, before: Stored, now: Stored) -> None:
        """I3: an R leaves D only after a proof of a later one in D, or because an older one was accepted."""
        for at, value in enumerate(before.values):
            if value not in now.values and not self._may_leave(at, before, now):
                self.trace.violate(
                    "I3", f"{self.trace.called(value)} left {now.id} without a proof of a later generation"
                )

    def _may_leave(self, at: int, before: Stored, now: Stored) -> bool:
        ledger = self.vendor.ledger
        later = set(now.values) - set(before.values[: at + 1])
        return any(
            (issue.refresh in later and issue.access in ledger.proofs)
            or (issue.refresh in now.values[-1:] and issue.sent in before.values[:at])
            for issue in ledger.issues
        )  # fmt: skip

    def _fenced(self, before: Stored, now: Stored) -> None:
        """I6: generations grow; a pair is committed at the generation it was asked for, from the newest epoch."""
        if now.generation == before.generation:
            if now.access != before.access:
                self.trace.violate("I6", f"{now.id} has another access token under the same generation")
            return
        if (before.role, now.role) == ("candidate", "active") and now.access == before.access:
            return  # promoted: its number is again the highest of its connection
        if now.generation < before.generation:
            self.trace.violate("I6", f"{now.id} went from generation {before.generation} to {now.generation}")
        asked = [self._asked_at(issue.exchange) for issue in self._issues(now.access)]
        if before.generation not in asked:
            self.trace.violate(
                "I6", f"{self.trace.called(now.access)} was asked for at {asked}, committed over {before.generation}"
            )
        if now.committed_epoch != now.lease_epoch:
            self.trace.violate("I6", f"{now.id} committed under epoch {now.committed_epoch} of {now.lease_epoch}")

    def _issues(self, access: str) -> list[Issue]:
        return [issue for issue in self.vendor.ledger.issues if issue.access == access]

    def _truly_dead(self, now: Stored, seen: Seen, stored: dict[str, Stored]) -> None:
        """I7: marked only when all of D was refused twice, or `/userinfo` named a dead grant twice; no newer waits."""
        living = [value for value in now.values if value in self.vendor.accepted(value)]
        if living and not self.vendor.ledger.lied:
            self.trace.violate("I7", f"{now.id} is marked, and {self.trace.called(living[0])} is accepted")
        if any(other.role == "candidate" and other.ordinal > now.ordinal and other.connection_id == now.connection_id
               and not other.reauth for other in stored.values()):  # fmt: skip
            self.trace.violate("I7", f"{now.id} is marked while a newer grant waits")
        if not self._twice(now, seen.changed_at):
            self.trace.violate("I7", f"{now.id} is marked without two refusals, {INTERVAL:g} s apart, of all it has")

    def _twice(self, now: Stored, since: float) -> bool:
        ledger = self.vendor.ledger
        dead = [at for at, access in ledger.deaths if access == now.access and at >= since]
        for value in now.values or (now.access,):  # of a key there is nothing else
            refused = [at for at, token in ledger.refusals if token == value and at >= since]
            moments = sorted([*dead, *refused])  # a dead body and a refused pass bear each other out
            if not moments or moments[-1] - moments[0] < INTERVAL * 0.9:
                return False
        return True

    # --- D against S

    def _never_lost(self, grant: Stored) -> None:
        """I2: S revoked the grant, or some R in D is accepted by S."""
        if grant.role == "disconnected" or not grant.tokens:
            return
        self.trace.count("checks")
        theirs = self.vendor.grant_of(grant.values[-1])
        if theirs is None:
            self.trace.violate("I2", f"{grant.id} holds a refresh token that was never issued")
        if theirs is None or theirs.rotation.revoked:
            return
        accepted = theirs.rotation.accepted
        if any(value in accepted for value in grant.values):
            return
        if theirs.rotation.variant.name == "V7" and not any(value in self.ever_refresh for value in accepted):
            if grant.id not in self._strict:
                self._strict.add(grant.id)
                self.trace.count("lost under V7")
            return  # stated: an issued pair that was never committed loses a strict server's grant
        self.trace.violate(
            "I2",
            f"{grant.id} holds [{' '.join(map(self.trace.called, grant.values))}], the vendor accepts "
            f"[{' '.join(map(self.trace.called, accepted))}]",
        )
