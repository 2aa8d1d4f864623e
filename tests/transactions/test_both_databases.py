"""SQLite and PostgreSQL after the same operations: each is the other's oracle.

Whatever is drawn (also what no coordinator would do: old fences, strangers' tokens, steps out of order, other boots),
both answer alike, raise alike, hold the same rows after each step, and are read alike.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.support.bench import link
from tests.support.drawing import CALM
from tests.support.fakes import ADA, pair
from tests.support.postgres_stage import Elsewhere
from tests.transactions.both import Both

from cloudbeds_auth.engine.authorize import spend
from cloudbeds_auth.engine.history import record_calls, roll_up_calls
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.history import Calls
from cloudbeds_auth.rules.model import App, CredentialKind, Fence, Pair, StoredToken, User
from cloudbeds_auth.rules.rate_limit import Rate
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.api_keys import add_key, begin_migration, end_migration
from cloudbeds_auth.transactions.apps import (
    add_app,
    close_circuit,
    drop_previous_secret,
    open_circuit,
    remove_app,
    rotate_secret,
)
from cloudbeds_auth.transactions.authorizations import (
    Authorization,
    NewAuthorization,
    add_authorization,
    add_link,
    read_authorization,
)
from cloudbeds_auth.transactions.candidates import add_candidate, drop_candidate, note_unnamed, promote
from cloudbeds_auth.transactions.connections import claim_listings, disconnect, relist
from cloudbeds_auth.transactions.expectations import Settlement, Spare, set_aside, settle_approval
from cloudbeds_auth.transactions.grants import (
    AttemptEnd,
    Leased,
    commit_pair,
    release_lease,
    renew_lease,
    settle,
    take_lease,
    write_intent,
)
from cloudbeds_auth.transactions.history import sweep
from cloudbeds_auth.transactions.marketplace import begin_arrival, claim, discard_parked
from cloudbeds_auth.transactions.outbox import claim_messages, message_delivered, message_failed
from cloudbeds_auth.transactions.rate_limit import pause_turns, reserve_turn
from cloudbeds_auth.transactions.reconnect import bring_home
from cloudbeds_auth.transactions.refusals import confirm, count_refusal, note_problem
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.transactions.upkeep import claim_due, claim_polls

PROPERTIES = ("1000", "1001", "1002")
APPS = ("default", "other")
OWNERS = ("us", "them")
SETTINGS = settings(
    CALM, max_examples=8, stateful_step_count=40, phases=[Phase.reuse, Phase.generate]
)  # what fails is told as it was drawn: to make it smaller takes minutes over a server
ALL = 1000  # of several that are due at the same moment each database may take another one first

small = st.integers(0, 5)  # an index into what there is so far
seconds = st.sampled_from([0.0, 0.5, 19.0, 30.0, 45.0, 61.0, 700.0, 3300.0, 90000.0])
held = st.sampled_from([0.0, 20.0, 60.0])
properties = st.lists(st.sampled_from(PROPERTIES), max_size=2, unique=True).map(tuple)
maybe = st.none() | st.sampled_from(["a", "b"])


async def _delivered(store: Database, name: str) -> None:
    await store.write(message_delivered(name))


async def _failed(store: Database, name: str, again_in: float | None) -> None:
    await store.write(message_failed(name, "HTTP 503", again_in))


class Operations(RuleBasedStateMachine):
    """Both stores, and the names of what was put into them."""

    def __init__(self, stores: Both) -> None:
        super().__init__()
        self.stores = stores
        stores.begin_anew()
        self.clock, self.dead, self.both = self.stores.clock, self.stores.dead, self.stores.ask
        self.begun: list[NewAuthorization] = []
        self.grants: list[str] = []
        self.homes: list[str] = ["con_nobody"]
        self.fences: list[Fence] = []
        self.links: list[str] = []
        self.pairs = 0

    def teardown(self) -> None:
        self.stores.compare(self.grants, self.homes)
        self.stores.compare_lists(APPS, PROPERTIES, self.links)

    def _pair(self, refresh: str, kind: CredentialKind = CredentialKind.OAUTH, covered: tuple[str, ...] = ()) -> Pair:
        self.pairs += 1
        named = {"new": f"R-{self.pairs}", "none": None, "first": "R-1"}[refresh]
        return pair(self.pairs, refresh=named, kind=kind, property_ids=covered)

    def _grant(self, at: int) -> str:
        return self.grants[at % len(self.grants)]

    # --- time

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        self.clock.pass_(passed)

    @rule(jump=st.sampled_from([-4e6, -60.0, 60.0, 4e6]))
    def wall_clock_is_set(self, jump: float) -> None:
        self.clock.wall += jump

    @rule(number=st.integers(1, 3))
    def host_starts_again(self, number: int) -> None:
        self.clock.boot, self.clock.steady = f"boot-{number}", 5.0

    @rule(owner=st.sampled_from(OWNERS))
    def process_dies_or_is_back(self, owner: str) -> None:
        self.dead.symmetric_difference_update({owner})

    # --- coming in

    @rule(lifetime=seconds, reference=maybe)
    def link_is_made(self, lifetime: float, reference: str | None) -> None:
        self.links.append(f"link-{len(self.links)}")
        self.both(lambda store: store.write(add_link(link(self.links[-1], lifetime=lifetime, reference=reference))))

    @rule(
        app=st.sampled_from(APPS), browser=maybe, reference=maybe, home=st.none() | small, by=st.none() | small,
        lifetime=seconds,
    )  # fmt: skip
    def state_is_issued(
        self, app: str, browser: str | None, reference: str | None, home: int | None, by: int | None, lifetime: float
    ) -> None:
        number = len(self.begun)
        asked = None if home is None else self.homes[home % len(self.homes)]
        through = None if by is None or not self.links else self.links[by % len(self.links)]
        new = NewAuthorization(
            f"aut_{number}", app, f"state-{number}", browser, reference, None, asked, through, lifetime
        )
        self.begun.append(new)
        self.both(lambda store: store.write(add_authorization(new)))

    @precondition(lambda self: self.begun)
    @rule(at=small, browser=maybe, code=st.sampled_from(["x", "y"]))
    def state_comes_back(self, at: int, browser: str | None, code: str) -> None:
        new = self.begun[at % len(self.begun)]
        self.both(lambda store: spend(store, new.state_hash, browser, code))

    @rule(
        kind=st.sampled_from(CredentialKind), covered=properties, app=st.sampled_from(APPS), home=st.none() | small,
        by=st.none() | small,
    )  # fmt: skip
    def approval_comes_in(
        self, kind: CredentialKind, covered: tuple[str, ...], app: str, home: int | None, by: int | None
    ) -> None:
        self.state_is_issued(app=app, browser=None, reference=None, home=home, by=by, lifetime=600.0)
        new, number = self.begun[-1], len(self.grants)
        first = self._pair("new" if kind is CredentialKind.OAUTH else "none", kind, covered)
        led_to = self.both(
            lambda store: store.write(
                add_candidate(new.id, f"con_{number:03}", f"gra_{number}", first, stale_after=3200.0)
            )
        )
        if led_to is not None:
            self.grants.append(f"gra_{number}")
            self.homes = sorted({*self.homes, led_to})

    @rule(code=st.sampled_from(["x", "y", "z"]), covered=properties, app=st.sampled_from(APPS), most=st.integers(0, 3))
    def hotel_comes_from_the_marketplace(self, code: str, covered: tuple[str, ...], app: str, most: int) -> None:
        number = len(self.begun)
        new = NewAuthorization(
            f"aut_{number}", app, f"arrival {code}", None, None, None, None, None, 600.0, parked=True
        )
        begun = self.both(lambda store: store.write(begin_arrival(new, code, most=most)))
        self.grants = [one for one in self.grants if one in self.stores.grants()]  # those whose day is over are gone
        self.fences = [fence for fence in self.fences if fence.grant_id in self.grants]
        if isinstance(begun, Authorization) and begun.earlier is None:
            self.begun.append(new)
            at, first = len(self.grants), self._pair("new", covered=covered)
            self.both(
                lambda store: store.write(add_candidate(begun.id, f"con_{at:03}", f"gra_{at}", first, stale_after=9.0))
            )
            self.grants.append(f"gra_{at}")
            self.homes = sorted({*self.homes, f"con_{at:03}"})

    @rule(at=small, reference=maybe)
    def somebody_claims(self, at: int, reference: str | None) -> None:
        home, grant = self.homes[at % len(self.homes)], f"gra_{len(self.grants)}"
        self.both(lambda store: store.write(claim(home, reference, grant)))
        if any(grant == one for one in self.stores.grants()):
            self.grants.append(grant)

    @precondition(lambda self: self.grants)
    @rule(at=small)
    def nobody_claimed_it(self, at: int) -> None:
        grant = self._grant(at)
        if self.both(lambda store: store.write(discard_parked(grant))):
            self.grants = [one for one in self.grants if one in self.stores.grants()]
            self.fences = [fence for fence in self.fences if fence.grant_id in self.grants]

    @precondition(lambda self: self.grants)
    @rule(at=small, older=st.sampled_from([0, 0, 0, 1]), named=properties)
    def candidate_turns_out_to_be_of(self, at: int, older: int, named: tuple[str, ...]) -> None:
        self.pairs += 1
        row, new = self.stores.row(self._grant(at)), f"gra_home_{self.pairs:03}"
        self.both(lambda store: store.write(bring_home(row.id, row.generation - older, named, new)))
        if new in self.stores.grants():
            self.grants.append(new)

    @precondition(lambda self: self.grants)
    @rule(
        covered=st.sampled_from([*((one,) for one in PROPERTIES), PROPERTIES[:2]]),
        reference=maybe,
        twice=st.booleans(),
        before=st.none() | small,
    )
    def hotel_comes_back(
        self, covered: tuple[str, ...], reference: str | None, twice: bool, before: int | None
    ) -> None:
        """An approval that names nothing, perhaps two of one connection, or one that is refreshed; then it is named."""
        self.state_is_issued(app="default", browser=None, reference=reference, home=None, by=None, lifetime=600.0)
        new, at = self.begun[-1], len(self.grants)
        first = self._pair("new")
        name, home = f"gra_back_{self.pairs:03}", f"con_back_{self.pairs:03}"
        self.both(lambda store: store.write(add_candidate(new.id, home, name, first, stale_after=3200.0)))
        self.grants.append(name)
        self.homes = sorted({*self.homes, home})
        if twice:
            self.approval_comes_in(
                kind=CredentialKind.OAUTH, covered=(), app="default", home=self.homes.index(home), by=None
            )
        if before is not None:
            self.grant_is_refreshed(at=at, release=before % 2 == 0)
        self.candidate_turns_out_to_be_of(at=len(self.grants) - 1, older=0, named=covered)
        self.both(lambda store: store.read(read_authorization(new.id)))

    @rule(
        covered=properties,
        expected=properties,
        home=st.none() | small,
        by=st.none() | small,
        unproven=st.booleans(),
        claimed=st.booleans(),
        named=st.none() | properties,
    )
    def hotel_is_expected(
        self,
        covered: tuple[str, ...],
        expected: tuple[str, ...],
        home: int | None,
        by: int | None,
        unproven: bool,
        claimed: bool,
        named: tuple[str, ...] | None,
    ) -> None:
        """An approval that is to cover certain properties, or waits for its secret; it may be claimed, and named."""
        number, at = len(self.begun), len(self.grants)
        asked = None if home is None else self.homes[home % len(self.homes)]
        through = None if by is None or not self.links else self.links[by % len(self.links)]
        new = NewAuthorization(
            f"aut_{number}", "default", f"state-{number}", None, "theirs", None, asked, through, 600.0,
            expected=expected, challenge="c" if unproven else None,
        )  # fmt: skip
        self.begun.append(new)
        self.both(lambda store: store.write(add_authorization(new)))
        first, grant, own = self._pair("new", covered=covered), f"gra_{at}", f"con_{at:03}"
        stored = add_candidate(new.id, own, grant, first, stale_after=9.0, unproven=unproven)
        led_to = self.both(lambda store: store.write(stored))
        if led_to is None:
            return
        self.grants.append(grant)
        self.homes = sorted({*self.homes, led_to})
        if claimed:
            self.both(lambda store: store.write(claim(led_to, None, "gra_unused", "c")))
        if named is not None:
            self.approval_is_settled(at=at, named=named)

    @precondition(lambda self: self.grants)
    @rule(at=small, named=properties)
    def approval_is_settled(self, at: int, named: tuple[str, ...]) -> None:
        self.pairs += 1
        row, spare = self.stores.row(self._grant(at)), Spare(f"gra_spare_{self.pairs:03}", f"con_spare_{self.pairs:03}")
        placed = self.both(lambda store: store.write(settle_approval(row.id, row.generation, named, spare)))
        self._note_moved(placed, spare)

    @precondition(lambda self: self.grants)
    @rule(at=small, named=properties)
    def approval_is_set_aside(self, at: int, named: tuple[str, ...]) -> None:
        self.pairs += 1
        row, spare = self.stores.row(self._grant(at)), Spare(f"gra_spare_{self.pairs:03}", f"con_spare_{self.pairs:03}")
        placed = self.both(lambda store: store.write(set_aside(row.id, row.generation, named, spare, PROPERTIES)))
        self._note_moved(placed, spare)

    def _note_moved(self, placed: Settlement | None, spare: Spare) -> None:
        if placed is not None and placed.grant_id == spare.grant_id:
            self.grants.append(spare.grant_id)
            self.homes = sorted({*self.homes, placed.connection_id})

    @precondition(lambda self: self.grants)
    @rule(at=small, user=st.sampled_from([None, ADA]), learnt=properties)
    def candidate_is_promoted(self, at: int, user: User | None, learnt: tuple[str, ...]) -> None:
        row = self.stores.row(self._grant(at))
        self.both(lambda store: store.write(promote(row.connection_id, row.id, row.generation, user, learnt)))

    @precondition(lambda self: self.grants)
    @rule(at=small, generation=small, problem=st.sampled_from(["a", "b"]), again_in=st.none() | seconds)
    def candidate_waits_for_its_property(self, at: int, generation: int, problem: str, again_in: float | None) -> None:
        grant = self._grant(at)
        said = {"reason": problem, "said": ""}
        self.both(lambda store: store.write(note_unnamed(grant, generation, problem, said, again_in=again_in)))

    @precondition(lambda self: self.grants)
    @rule(at=small)
    def candidate_is_dropped(self, at: int) -> None:
        self.both(lambda store: store.write(drop_candidate(self._grant(at), "of no use")))

    @rule(at=small)
    def hotel_leaves(self, at: int) -> None:
        home = self.homes[at % len(self.homes)]
        self.both(lambda store: store.write(disconnect(home, detail="asked")))

    # --- a refresh

    @initialize(connected=st.integers(0, 2), unproven=st.integers(0, 2))
    def hotels_are_there(self, connected: int, unproven: int) -> None:
        """Not every history begins with nothing."""
        for at in range(connected):
            covered = PROPERTIES[at : at + 1]
            self.approval_comes_in(kind=CredentialKind.OAUTH, covered=covered, app="default", home=None, by=None)
            self.candidate_is_promoted(at=at, user=ADA, learnt=())
            for _ in range(unproven):
                self.grant_is_refreshed(at=at, release=True)

    @precondition(lambda self: self.grants)
    @rule(at=small, release=st.booleans())
    def grant_is_refreshed(self, at: int, release: bool) -> None:
        """A whole refresh that goes well, as far as the fences let it."""
        before = len(self.fences)
        self.lease_is_asked_for(at=at, owner="us", lasting=30.0)
        if len(self.fences) > before:
            self.intent_is_written(back=0, position=1, hold=20.0)
            self.pair_is_committed(back=0, at=-1, refresh="new", known=True)
            if release:
                self.lease_is_renewed_or_released(back=0, lasting=0.0, give_back=True)

    @precondition(lambda self: self.grants)
    @rule(
        at=small, reason=st.sampled_from(["revoked", "user_inactive"]), wait=st.sampled_from([30.0, 61.0]),
        newer=st.booleans(),
    )  # fmt: skip
    def grant_is_refused(self, at: int, reason: str, wait: float, newer: bool) -> None:
        """Two passes refused, as far as the fences let them; perhaps a newer approval comes in between."""
        before = len(self.fences)
        self.lease_is_asked_for(at=at, owner="us", lasting=30.0)
        if len(self.fences) > before:
            self.pass_is_refused(back=0, reason=reason, may_mark=False, interval=60.0)
            self.time_passes(passed=wait)
            if newer:
                home = self.homes.index(self.stores.row(self._grant(at)).connection_id)
                self.approval_comes_in(kind=CredentialKind.OAUTH, covered=(), app="default", home=home, by=None)
            self.pass_is_refused(back=0, reason=reason, may_mark=wait > 60.0, interval=60.0)

    @precondition(lambda self: self.grants)
    @rule(at=small, boot=st.integers(1, 3), passed=seconds)
    def host_crashes_in_mid_refresh(self, at: int, boot: int, passed: float) -> None:
        """An intent is pending; another boot takes the lease, and time passes."""
        before = len(self.fences)
        self.lease_is_asked_for(at=at, owner="us", lasting=30.0)
        if len(self.fences) > before:
            self.intent_is_written(back=0, position=1, hold=20.0)
        self.host_starts_again(number=boot)
        self.lease_is_asked_for(at=at, owner="them", lasting=30.0)
        self.time_passes(passed=passed)

    @precondition(lambda self: self.grants)
    @rule(at=small, owner=st.sampled_from(OWNERS), lasting=st.sampled_from([5.0, 30.0, 4000.0]))
    def lease_is_asked_for(self, at: int, owner: str, lasting: float) -> None:
        grant = self._grant(at)
        taken = self.both(lambda store: store.write(take_lease(grant, owner, lasting)))
        if isinstance(taken, Leased):
            self.fences.append(Fence(grant, self.stores.row(grant).generation, taken.epoch))

    @precondition(lambda self: self.fences)
    @rule(back=small, lasting=st.sampled_from([5.0, 30.0]), give_back=st.booleans())
    def lease_is_renewed_or_released(self, back: int, lasting: float, give_back: bool) -> None:
        fence = self._fence(back)
        if give_back:
            self.both(lambda store: store.write(release_lease(fence.grant_id, fence.epoch)))
        else:
            self.both(lambda store: store.write(renew_lease(fence.grant_id, fence.epoch, lasting)))

    @precondition(lambda self: self.fences)
    @rule(back=small, position=st.integers(1, 3), hold=held)
    def intent_is_written(self, back: int, position: int, hold: float) -> None:
        fence = self._fence(back)
        self.both(lambda store: store.write(write_intent(fence, position, lease=30.0, hold=hold)))

    # --- the move to an API key

    @precondition(lambda self: self.fences)
    @rule(back=small, client=st.sampled_from(["client-1", "client-2"]))
    def migration_begins(self, back: int, client: str) -> None:
        fence = self._fence(back)
        self.both(lambda store: store.write(begin_migration(fence, client)))

    @precondition(lambda self: self.fences)
    @rule(back=small, in_doubt=st.booleans())
    def migration_ends(self, back: int, in_doubt: bool) -> None:
        fence = self._fence(back)
        self.both(lambda store: store.write(end_migration(fence, in_doubt=in_doubt)))

    @precondition(lambda self: self.fences)
    @rule(back=small, position=st.integers(1, 2), hold=held)
    def token_is_exchanged(self, back: int, position: int, hold: float) -> None:
        fence = self._fence(back)
        self.both(lambda store: store.write(write_intent(fence, position, lease=30.0, hold=hold, exchange=True)))

    @precondition(lambda self: self.grants)
    @rule(at=small, epoch=st.integers(1, 3), covered=properties, app=st.sampled_from(APPS), again=st.booleans())
    def key_comes(self, at: int, epoch: int, covered: tuple[str, ...], app: str, again: bool) -> None:
        self.pairs += 1
        fence = Fence(self._grant(at), 1, epoch)
        key = pair(self.pairs, refresh=None, kind=CredentialKind.API_KEY, lifetime=FOREVER, property_ids=covered)
        name = self._grant(at + 1) if again else f"gra_key_{self.pairs}"
        if self.both(lambda store: store.write(add_key(fence, name, app, key))) and name not in self.grants:
            self.grants.append(name)

    @precondition(lambda self: self.grants)
    @rule(at=small, attempt=st.none() | st.sampled_from(AttemptEnd), comes=st.booleans())
    def grant_is_moved(self, at: int, attempt: AttemptEnd | None, comes: bool) -> None:
        """A whole move, as far as the fences let it; perhaps one exchange has another end before."""
        before = len(self.fences)
        self.lease_is_asked_for(at=at, owner="us", lasting=30.0)
        if len(self.fences) > before:
            self.migration_begins(back=0, client="client-1")
            self.token_is_exchanged(back=0, position=1, hold=20.0)
            if attempt is not None:
                self.attempt_ends(back=0, attempt=attempt, hold=20.0)
                self.migration_ends(back=0, in_doubt=False)
                self.token_is_exchanged(back=0, position=1, hold=20.0)
            if comes:
                self.key_comes(at=at, epoch=self._fence(0).epoch, covered=(), app="default", again=False)

    @precondition(lambda self: self.fences)
    @rule(back=small, attempt=st.sampled_from(AttemptEnd), hold=held)
    def attempt_ends(self, back: int, attempt: AttemptEnd, hold: float) -> None:
        fence = self._fence(back)
        self.both(lambda store: store.write(settle(fence, attempt, hold=hold, detail="HTTP 500")))

    @precondition(lambda self: self.fences)
    @rule(back=small, at=small, refresh=st.sampled_from(["new", "new", "none", "first"]), known=st.booleans())
    def pair_is_committed(self, back: int, at: int, refresh: str, known: bool) -> None:
        fence = self._fence(back)
        tokens = self.stores.row(fence.grant_id).tokens
        sent = tokens[at % len(tokens)] if known and tokens else StoredToken(at, Secret("R-stranger"))
        new = self._pair(refresh)
        self.both(lambda store: store.write(commit_pair(fence, sent, new, stale_after=3200.0)))

    @precondition(lambda self: self.grants)
    @rule(at=small, older=st.sampled_from([0, 0, 1]))
    def proof_comes(self, at: int, older: int) -> None:
        row = self.stores.row(self._grant(at))
        self.both(lambda store: store.write(confirm(row.id, row.generation - older)))

    @precondition(lambda self: self.fences)
    @rule(back=small, reason=st.sampled_from(["revoked", "user_inactive"]), may_mark=st.booleans(), interval=held)
    def pass_is_refused(self, back: int, reason: str, may_mark: bool, interval: float) -> None:
        fence = self._fence(back)
        self.both(lambda store: store.write(count_refusal(fence, reason, may_mark=may_mark, interval=interval)))

    @precondition(lambda self: self.grants)
    @rule(at=small, older=st.sampled_from([0, 0, 1]), problem=st.sampled_from(["missing_scope", "forbidden"]))
    def call_is_refused(self, at: int, older: int, problem: str) -> None:
        row = self.stores.row(self._grant(at))
        self.both(lambda store: store.write(note_problem(row.id, row.generation - older, problem, {"path": "/a"})))

    def _fence(self, back: int) -> Fence:
        return self.fences[-1 - back % len(self.fences)]

    # --- behind the callers

    @precondition(lambda self: self.grants)
    @rule(at=small, ago=seconds | st.just(4e6), refused=st.integers(0, 2), line=st.sampled_from(["us/1", "them/1"]))
    def calls_are_recorded(self, at: int, ago: float, refused: int, line: str) -> None:
        last = self.clock.wall - ago
        calls = [
            Calls(name, 1, last - 1.0, last, 3, refused, {"GET /a": 3}, line)
            for name in (self._grant(at), "gra_nobody")
        ]
        self.both(lambda store: record_calls(store, calls))

    @rule()
    def lines_of_calls_are_merged(self) -> None:
        self.both(lambda store: roll_up_calls(store, ALL))

    @rule(age=seconds | st.just(4e6))
    def history_is_swept(self, age: float) -> None:
        self.both(lambda store: store.write(sweep(age, ALL)))

    @rule(hold=held)
    def due_ones_are_claimed(self, hold: float) -> None:
        self.both(lambda store: store.write(claim_due(ALL, hold)))

    @rule(every=seconds)
    def app_states_are_asked_about(self, every: float) -> None:
        self.both(lambda store: store.write(claim_polls(ALL, every)))

    @rule(hold=seconds)
    def listings_are_claimed(self, hold: float) -> None:
        self.both(lambda store: store.write(claim_listings(ALL, hold)))

    @precondition(lambda self: self.grants)
    @rule(at=small, named=properties)
    def properties_are_listed_anew(self, at: int, named: tuple[str, ...]) -> None:
        grant = self._grant(at)
        self.both(lambda store: store.write(relist(grant, named)))

    @rule(limit=st.integers(1, 3), hold=held, ends=st.sampled_from(["well", "badly", "for ever", "unknown"]))
    def messages_are_sent(self, limit: int, hold: float, ends: str) -> None:
        for message in self.both(lambda store: store.write(claim_messages(limit, hold))) or ():
            name, again_in = message.id, 300.0 if ends == "badly" else None
            if ends == "well":
                self.both(partial(_delivered, name=name))
            elif ends != "unknown":
                self.both(partial(_failed, name=name, again_in=again_in))

    @rule(client=st.sampled_from(["c1", "c2"]), patience=held)
    def turn_is_asked_for(self, client: str, patience: float) -> None:
        self.both(lambda store: store.write(reserve_turn(client, Rate(2, 20.0), patience)))

    @rule(client=st.sampled_from(["c1", "c2"]), pause=held)
    def vendor_asks_for_a_pause(self, client: str, pause: float) -> None:
        self.both(lambda store: store.write(pause_turns(client, pause)))

    @rule(app=st.sampled_from(APPS), opens=st.booleans(), after=seconds)
    def circuit_opens_or_closes(self, app: str, opens: bool, after: float) -> None:
        if opens:
            self.both(lambda store: store.write(open_circuit(app, "f1", trial_after=after)))
        else:
            self.both(lambda store: store.write(close_circuit(app, "f1")))

    # --- registrations

    @rule(name=st.sampled_from(APPS), client=st.sampled_from(["c1", "c2"]), path=st.sampled_from(["/a", "/b"]))
    def app_is_added(self, name: str, client: str, path: str) -> None:
        app = App(name, client, (Secret(client),), f"https://a.example{path}", ("read:hotel",), "property")
        self.both(lambda store: store.write(add_app(app)))

    @rule(name=st.sampled_from(APPS), number=small)
    def secret_is_reset(self, name: str, number: int) -> None:
        self.both(lambda store: store.write(rotate_secret(name, Secret(f"secret-{number}"))))

    @rule(name=st.sampled_from(APPS), whole=st.booleans())
    def app_or_its_former_secret_goes(self, name: str, whole: bool) -> None:
        if whole:
            self.both(lambda store: store.write(remove_app(name)))
        else:
            self.both(lambda store: store.write(drop_previous_secret(name)))

    # --- what is read

    @precondition(lambda self: self.grants)
    @rule(at=small, home=small)
    def somebody_reads(self, at: int, home: int) -> None:
        self.stores.compare([self._grant(at)], [self.homes[home % len(self.homes)]])

    @invariant()
    def rows_are_the_same(self) -> None:
        self.stores.compare_rows()


@pytest.mark.long
@pytest.mark.parametrize("part", range(3))
def test_sqlite_and_postgresql_agree(postgres_url: str, elsewhere: Elsewhere, part: int) -> None:
    """Random sequences of operations; in parts, which run side by side."""
    with closing(Both(postgres_url, elsewhere)) as stores:

        class Here(Operations):
            def __init__(self) -> None:
                super().__init__(stores)

        run_state_machine_as_test(Here, settings=SETTINGS)
