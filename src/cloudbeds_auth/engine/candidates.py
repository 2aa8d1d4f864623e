"""A new grant is a candidate until its access token is proven to work; then the connection's pointer moves (rule-13).

Any process may resume a candidate that was left behind: each request for a token of the connection does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from cloudbeds_auth.engine.context import World, still_works
from cloudbeds_auth.engine.proofs import listed, tell_changes, verdict_on
from cloudbeds_auth.engine.refresh import Refresher
from cloudbeds_auth.engine.single_flight import GrantSuperseded
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    Error,
    InvalidRequest,
    PropertyMismatch,
    RateLimited,
    ReauthorizationRequired,
    RefreshInDoubt,
    StateMismatch,
)
from cloudbeds_auth.ports import Listed, Unlisted
from cloudbeds_auth.rules.api_errors import (
    SCOPE_REFUSED,
    Act,
    DeadGrant,
    DeadToken,
    Inconclusive,
    Proof,
    Refusal,
    Verdict,
)
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import HOTEL_SCOPE_MISSING, PROPERTY_UNKNOWN
from cloudbeds_auth.rules.model import CredentialKind, Grant, Role
from cloudbeds_auth.rules.presentation import WAITING
from cloudbeds_auth.rules.properties import fits
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.transactions.authorizations import Authorization
from cloudbeds_auth.transactions.candidates import drop_candidate, note_unnamed, promote, read_candidate, read_unproven
from cloudbeds_auth.transactions.expectations import Settlement, Spare, set_aside, settle_approval
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.transactions.reconnect import bring_home, read_covered
from cloudbeds_auth.transactions.refusals import confirm

SELDOM = 3600.0  # seconds until a question is repeated whose answer may never change
NONE_NAMED = "no_property"  # the list is empty


class Candidates:
    """Proves candidates and promotes them. `promoted(connection_id)` is called after each promotion."""

    def __init__(self, world: World, refresher: Refresher, promoted: Callable[[str], None]) -> None:
        self._world = world
        self._refresher = refresher
        self._promoted = promoted

    async def resume(self, connection_id: str) -> Grant | None:
        """The newest candidate, promoted if its token works; None if there is none or it is not proven yet.

        Afterwards it may belong to another connection: the one that the hotel had before it approved again.

        Raises PropertyMismatch if it turns out to be another hotel's: the connection keeps what it had.
        """
        candidate = await self._world.db.read(read_candidate(connection_id))
        return None if candidate is None else await self.prove(candidate)

    async def prove(self, candidate: Grant) -> Grant | None:
        """As `resume`, for this candidate; upkeep calls it for one that was refused and is retried (rule-12)."""
        verdict = await self._verdict(candidate)
        if isinstance(verdict, DeadToken | DeadGrant):  # a refresh renews the one, and counts the other (rule-12)
            return await self._refreshed(candidate)
        return await self._judged(candidate, verdict)

    async def go_on(self, connection_id: str) -> None:
        """After the grant in use was superseded or refused, resume the newer one before the connection is read again.

        Raises RefreshInDoubt while it can be neither proven nor dropped: another read would find the same.
        """
        if await self.resume(connection_id) is None:
            await self.must_not_wait(connection_id)

    async def renew(self, connection_id: str, *, behind: str) -> None:
        """An operator's refresh, for the candidates that wait to be proven behind this grant: they have tokens, too.
        Raises if one of them gets no new ones.
        """
        for grant_id, seen in await self._world.db.read(read_unproven(connection_id, behind)):
            with suppress(GrantSuperseded, ConnectionDisconnected):  # it has no tokens any more
                served = await self._refresher.refresh(Ask(grant_id, seen, operator=True, connection_id=connection_id))
                if served.grant.generation == seen:
                    raise still_works(self._world, served.grant)

    async def must_not_wait(self, connection_id: str) -> None:
        """Raises RefreshInDoubt if a candidate waits, saying what it is and that it is not known to work yet; or as
        `why_unnamed`.
        """
        waiting = await self._world.db.read(read_candidate(connection_id))
        if waiting is None:
            return
        if waiting.problem in {HOTEL_SCOPE_MISSING, PROPERTY_UNKNOWN}:
            raise why_unnamed(connection_id, waiting.problem)
        what = "the key was stored" if waiting.kind is CredentialKind.API_KEY else "the hotel approved again"
        raise RefreshInDoubt(
            f"{what}, and Cloudbeds did not say yet whether it works",
            connection_id=connection_id,
        )

    async def _verdict(self, candidate: Grant) -> Verdict:
        """What `/userinfo` says about the candidate; Inconclusive if there was no turn to ask."""
        if not candidate.access:  # imported: there is only its refresh token, so it is refreshed
            return DeadToken()
        verdict = await verdict_on(self._world, await self._world.app_of(candidate), candidate)
        if isinstance(verdict, RateLimited):
            return Inconclusive("the rate limit leaves no room")
        if isinstance(verdict, Error):
            raise verdict
        return verdict

    async def _refreshed(self, candidate: Grant) -> Grant | None:
        seen, marked = candidate.generation, candidate.reauth is not None
        try:
            ask = Ask(candidate.id, seen, seen, upkeep=marked, connection_id=candidate.connection_id)
            grant = (await self._refresher.refresh(ask)).grant
        except (RefreshInDoubt, ReauthorizationRequired):
            return None  # later: by any process, or by occasional retries if it was refused twice
        except GrantSuperseded:
            self._world.observer.happened(Happening.CANDIDATE_SUPERSEDED, connection_id=candidate.connection_id)
            return None
        return await self._judged(grant, await self._verdict(grant))

    async def _judged(self, candidate: Grant, verdict: Verdict) -> Grant | None:
        return await self._promote(candidate, verdict) if isinstance(verdict, Proof) else None

    async def _promote(self, candidate: Grant, proof: Proof) -> Grant | None:
        db = self._world.db
        learnt = await self._learnt(candidate, proof)
        if learnt is None:
            return None  # later, by any process: the hotel is never guessed
        await self._must_be_as_said(candidate, learnt)
        settled = await self._settled(candidate, learnt)
        at_home = None if settled is None else await self._at_home(settled, learnt)
        if at_home is None:
            return None
        if at_home.role is Role.CANDIDATE and at_home.access != candidate.access:
            return None  # refreshed meanwhile: the newer pair has to work itself
        await self._must_be_same_hotel(at_home, (*at_home.property_ids, *learnt))
        change = await db.write(promote(at_home.connection_id, at_home.id, at_home.generation, proof.user, learnt))
        if change is None:
            return None
        self._promoted(at_home.connection_id)
        self._world.observer.happened(Happening.CONNECTED, connection_id=at_home.connection_id)
        tell_changes(self._world, at_home.connection_id, change)
        promoted = await db.read(read_grant(at_home.id))
        # Another process may have promoted it long ago and refreshed it since: the proof is for this token only.
        if promoted is not None and promoted.access == candidate.access:
            await db.write(confirm(promoted.id, promoted.generation, issuer=self._world.issuer))
        return promoted

    async def _settled(self, candidate: Grant, learnt: tuple[str, ...]) -> Grant | None:
        """The candidate where it belongs, now that its properties can be compared with the expected ones. None: to be
        done later, by any process. Raises PropertyMismatch.
        """
        if candidate.authorization is None:
            return candidate
        await self._refresher.flights.over(candidate.id)  # its pair is stored; it has the lease, and nothing moves
        named = tuple(dict.fromkeys((*candidate.property_ids, *learnt)))
        placed = await self._world.db.write(settle_approval(candidate.id, candidate.generation, named, self._spare()))
        if placed is None:
            return None
        if placed.turned_down is not None:
            await self._aside(placed)
            raise why_turned_down(placed.turned_down)
        return await self._world.db.read(read_grant(placed.grant_id))

    def _spare(self) -> Spare:
        entropy = self._world.entropy
        return Spare(entropy.identifier("gra_"), entropy.identifier("con_"))

    async def _aside(self, placed: Settlement) -> None:
        """Another hotel's approval now waits in the connection it was placed in: take it into use there."""
        self._world.observer.happened(Happening.PROPERTY_MISMATCH, connection_id=placed.connection_id)
        await self.resume(placed.connection_id)

    async def _at_home(self, candidate: Grant, learnt: tuple[str, ...]) -> Grant | None:
        """The candidate where it belongs, now that its properties are known: a hotel that came back already has a
        connection. None: to be done later, by any process. An import named its property from the start.
        """
        if not learnt or candidate.said_of is not None:
            return candidate
        await self._refresher.flights.over(candidate.id)  # its pair is stored; it has the lease, and nothing moves
        db, new = self._world.db, self._world.entropy.identifier("gra_")
        home = await db.write(bring_home(candidate.id, candidate.generation, learnt, new))
        if home is None or home == candidate.connection_id:
            return candidate if home else None
        self._world.observer.happened(Happening.CAME_BACK, connection_id=home)
        return await db.read(read_grant(new))

    async def _learnt(self, candidate: Grant, proof: Proof) -> tuple[str, ...] | None:
        """The properties that Cloudbeds names, if the grant came with none or with those named by another program; None
        while Cloudbeds names none. The list has precedence; `/userinfo` names at most one.
        """
        world, waits = self._world, candidate.authorization is not None
        known = bool(candidate.property_ids) or not world.vendor.lists_properties
        if candidate.said_of is None and known and not waits:
            return ()
        answer = await listed(world, await world.app_of(candidate), candidate.access)
        named = (answer.property_ids if isinstance(answer, Listed) else ()) or proof.property_ids
        if named or (waits and candidate.property_ids):  # those that came with its tokens
            return named
        await self._note_unnamed(candidate, answer)
        return None

    async def _note_unnamed(self, candidate: Grant, answer: Listed | Unlisted) -> None:
        """Record for people why the candidate waits. If only the hotel or the vendor can change that, ask seldom."""
        refusal = answer.refusal if isinstance(answer, Unlisted) else Refusal(NONE_NAMED, Act.NOTHING)
        settled = isinstance(answer, Listed) or answer.final
        recorded = await self._world.db.write(
            note_unnamed(
                candidate.id,
                candidate.generation,
                HOTEL_SCOPE_MISSING if refusal.reason in SCOPE_REFUSED else PROPERTY_UNKNOWN,
                {"reason": refusal.reason, "said": refusal.said},
                again_in=SELDOM if settled else None,
            )
        )
        if recorded:
            self._world.observer.happened(
                Happening.PROPERTY_UNKNOWN, connection_id=candidate.connection_id, reason=refusal.reason
            )

    async def _must_be_as_said(self, candidate: Grant, named: tuple[str, ...]) -> None:
        """A token belongs to the hotel that the vendor names, even if its import named another one (F87)."""
        if candidate.said_of is None or candidate.said_of in named:
            return
        mismatch = f"Cloudbeds names property {', '.join(named)}, not {candidate.said_of}"
        await self._world.db.write(drop_candidate(candidate.id, mismatch))
        raise InvalidRequest(
            mismatch,
            connection_id=candidate.connection_id,
            next_step="correct the property and import the same token again: it was kept",
        )

    async def _must_be_same_hotel(self, candidate: Grant, covered: tuple[str, ...]) -> None:
        """One hotel's approval never silently replaces another hotel's (F87), even after the other hotel has left.

        Raises PropertyMismatch; the approval is set aside.
        """
        known = await self._world.db.read(read_covered(candidate.connection_id))
        if not covered or fits(known, covered):
            return
        placed = await self._world.db.write(
            set_aside(candidate.id, candidate.generation, covered, self._spare(), known)
        )
        if placed is not None:  # else later, by any process; it is never taken into use here
            await self._aside(placed)
        raise PropertyMismatch(
            expected=known,
            found=covered,
            connection_id=candidate.connection_id,
            next_step="approve as the hotel that was connected, or connect the other one with a link of its own",
        )


def why_unnamed(
    connection_id: str, problem: str | None, retry_after: float | None = None
) -> RefreshInDoubt | ReauthorizationRequired:
    """The error for an approval whose property is not known: only another approval helps where a scope is missing."""
    if problem == HOTEL_SCOPE_MISSING:
        return ReauthorizationRequired(
            "Cloudbeds does not say which property this is: the approval lacks the scope read:hotel",
            connection_id=connection_id,
            next_step=WAITING[HOTEL_SCOPE_MISSING].text,
        )
    return RefreshInDoubt(
        "the hotel approved, but Cloudbeds has not said yet for which property",
        connection_id=connection_id,
        next_step=WAITING[PROPERTY_UNKNOWN].text,
        retry_after=retry_after,
    )


def why_turned_down(approval: Authorization) -> PropertyMismatch | StateMismatch:
    """The error for an approval that led to nothing although Cloudbeds named its properties."""
    if fits(approval.expected, approval.found):
        return StateMismatch("this connect link was used in another browser a moment ago")
    return PropertyMismatch(expected=approval.expected, found=approval.found)
