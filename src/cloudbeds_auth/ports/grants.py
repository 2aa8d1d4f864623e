"""What rests of grants and of client secrets: leases, intents, pairs, refusals, circuits; the fences around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cloudbeds_auth.rules.calls import Calls
from cloudbeds_auth.rules.lifecycle import Event as Happening
from cloudbeds_auth.rules.model import Fence, Grant, Pair, StoredToken


@dataclass(frozen=True, slots=True)
class Leased:
    """The refresh lease is ours under `epoch`."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else holds the lease for another `left` seconds."""

    left: float


class Written(Enum):
    """What became of a fenced write."""

    DONE = "written"
    GENERATION_MOVED = "somebody committed since"
    EPOCH_MOVED = "only the lease was taken by somebody else"
    GONE = "the grant was disconnected or superseded"


class Attempt(Enum):
    """How one sending ended without a pair; see `settle`."""

    REFUSED = "the token was refused"
    CLIENT_REFUSED = "the client was refused"
    UNAUTHORIZED = "the client was refused, for this grant alone"
    UNSENT = "nothing was sent"
    LOST = "no usable answer"
    NOT_OFFERED = "the exchange is not offered, and an earlier one may still be answered"


class Settled(Enum):
    """What became of the record of an ending."""

    DONE = "written"
    UNRECOGNIZED = "written; and for a day the vendor has refused in words that are in no table"
    MOVED = "the fence moved"


ENDINGS = {
    Attempt.REFUSED: Happening.TOKEN_REFUSED,
    Attempt.CLIENT_REFUSED: Happening.CLIENT_REFUSED,
    Attempt.UNAUTHORIZED: Happening.CLIENT_REFUSED,
    Attempt.UNSENT: Happening.NOTHING_SENT,
    Attempt.LOST: Happening.ANSWER_LOST,
    Attempt.NOT_OFFERED: Happening.CLIENT_REFUSED,
}
"""What the history calls each, and where it leads in the table of states."""


CALL_REFUSED = "call_refused"
"""What the history calls a call that Cloudbeds refused although the token works; it leads nowhere in that table."""


# Further lines of a grant's history that lead nowhere in that table.
RECOVERED = "recovered"  # a proof ended a mark
REPRIEVED = "reprieved"  # every refresh token is refused, and the access token works
PAIR_DENIED = "pair_denied"  # the proof of a new pair was answered 401
MARK_DELAYED = "mark_delayed"  # several hotels of one app would be marked at once
DISABLED_SAID = "disabled_said"  # Cloudbeds said that the app is disabled
DISABLED_WITHDRAWN = "disabled_withdrawn"  # … and the token works all the same
UNRECOGNIZED = "unrecognized_refusal"  # … for a day, in words that are in no table
UNAUTHORIZED_CLIENT = "unauthorized_client"  # … the client, for this grant alone
UNRECOGNIZED_FOR = 86400.0  # seconds, with the access token over


class Counted(Enum):
    """What a refused pass meant."""

    FIRST = "counted; asked again later"
    EARLY = "too soon after the first to count, or the access token could not be asked about"
    DELAYED = "the mark waits: several hotels of the app were marked a moment ago"
    REPRIEVED = "no mark: the access token works"
    MARKED = "reauthorization required"
    STILL_MARKED = "as it was marked before"
    CANDIDATE = "a newer grant waits to be proven"
    MOVED = "the fence moved"


class GrantStore(Protocol):
    """What `vault.refresh` needs: leases, intents, commits, proofs (ROTATION section 3)."""

    async def grant(self, grant_id: str) -> Grant | None:
        """The row, with durations measured by the store's clock; None when it is gone."""
        ...

    async def take_lease(self, grant_id: str, owner: str, seconds: float) -> Leased | Busy | None:
        """Take the lease if it is free, ended, or its owner is known dead; the epoch grows. None: no such grant."""
        ...

    async def renew_lease(self, grant_id: str, epoch: int, seconds: float) -> bool:
        """Hold the lease for another `seconds`; False when somebody else took it."""
        ...

    async def release_lease(self, grant_id: str, epoch: int) -> None:
        """Give the lease back; nothing happens when it is not ours any more."""
        ...

    async def write_intent(
        self, fence: Fence, position: int, *, lease: float, hold: float, exchange: bool = False
    ) -> bool:
        """Before a refresh token is sent: which one, and lease enough for the answer. False: the fence moved.

        The latch is part of the fence (rule 15): a latched grant's token is sent for an `exchange` and for nothing
        else. An attempt of a migration that is pending still puts it in doubt.
        """
        ...

    async def settle(
        self,
        fence: Fence,
        attempt: Attempt,
        *,
        hold: float = 0.0,
        detail: str = "",
        unrecognized: str | None = None,
    ) -> Settled:
        """Record how a sending ended. REFUSED clears intent and hold; LOST and NOT_OFFERED keep the intent, which says
        since when an answer may still come. `unrecognized`: it was a refusal in words that are in no table; in short.
        """
        ...

    async def commit_pair(self, fence: Fence, sent: StoredToken, pair: Pair, *, stale_after: float) -> Written:
        """Make `pair` the next generation: tokens up to `sent`, then the new one. Repeating it is harmless.

        Generations grow within a grant and are unique within a connection. A grant of which no client id is known is
        bound to that of `pair.source`.
        """
        ...

    async def confirm(self, grant_id: str, generation: int, *, issuer: str | None = None) -> bool:
        """The generation was seen to work: forget its kept tokens, clear marks. Needs no lease.

        `issuer`: the vendor's origin where; a grant of which none is known is bound to it, and so is its app.
        """
        ...

    async def note_denied(self, grant_id: str, generation: int, hold: float) -> bool:
        """The proof of this generation was answered 401: a 401 causes no refresh for `hold` seconds. Needs no lease."""
        ...

    async def note_disabled(self, grant_id: str, generation: int) -> bool:
        """Cloudbeds said that the app is disabled. False: not the grant in use, a newer generation, or known."""
        ...

    async def reprieve(self, fence: Fence, reason: str, hold: float, *, issuer: str | None = None) -> bool:
        """Instead of a mark: the access token works. It is proven, and the next pass is due in `hold` seconds."""
        ...

    async def count_refusal(self, fence: Fence, reason: str, *, may_mark: bool, interval: float) -> Counted:
        """A whole pass was refused: count it; the second marks the grant (rule 12), unless a newer one waits to be
        proven. Whether it came late enough is `rules.refresh.may_mark` of the row that was read under this fence's
        lease, before the pass began. The next pass is due `interval` seconds from now.
        """
        ...

    async def note_problem(self, grant_id: str, generation: int, problem: str, said: Mapping[str, str]) -> bool:
        """The hotel is connected and its calls run into something: `problem` is shown, and the history has a line.

        False, and nothing changes: it is shown already, or the grant is not in use, not healthy, or of a newer
        generation. The next pair clears it.
        """
        ...

    async def record_calls(self, calls: Sequence[Calls]) -> None:
        """Add lines of counted calls to the history; those of a grant that is gone are dropped.

        More than one transaction: the lines come first and hold no row of a grant; then the time of last use of some
        grants whose noted one is long ago, the longest first, and when each is due therefore. One whose row is held is
        left to the next time.
        """
        ...


class CircuitStore(Protocol):
    """Which client secrets the vendor refuses, by app and fingerprint of the secret (F35, F36)."""

    async def open_circuits(self, app: str) -> Mapping[str, float]:
        """Fingerprint to seconds until one trial is allowed again (0: now)."""
        ...

    async def open_circuit(self, app: str, fingerprint: str, *, trial_after: float) -> None:
        """The vendor refused this secret; also claims a trial: nobody else tries before `trial_after` seconds."""
        ...

    async def close_circuit(self, app: str, fingerprint: str) -> None:
        """The vendor accepted this secret."""
        ...
